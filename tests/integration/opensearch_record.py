"""Conversations with a real node as files: `python -m tests.integration.opensearch_record` holds all of them anew.

What is asked stands in the files too, so a new question is a line without status and answer; then run this.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from reconciler.model import Json
from tests.integration.opensearch_node import Cluster, Node
from tests.support.conversation import Ask, hold

FOLDER = Path(__file__).parent
CONVERSATIONS = sorted(path.stem for path in FOLDER.glob("opensearch-*.json"))


def read(name: str) -> list[dict[str, Any]]:
    """The steps of a conversation."""
    steps: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())["conversation"]
    return steps


def answers(name: str) -> list[dict[str, Any]]:
    """What `hold` gave when it was held."""
    return [{key: step[key] for key in ("ask", "status", "answer")} for step in read(name)]


def asker(node: Cluster) -> Ask:
    """Asks a real node."""

    def ask(method: str, path: str, body: Json) -> tuple[int, Json]:
        return node.ask(method, f"/_plugins/_ml/{path}", body)

    return ask


def write(name: str, about: str, steps: list[dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(step, ensure_ascii=False) for step in steps)
    (FOLDER / f"{name}.json").write_text(f'{{"node": {json.dumps(about)}, "conversation": [\n{lines}\n]}}\n')


def main() -> None:
    node = Node()
    try:
        node.start()
        for name in CONVERSATIONS:
            steps = read(name)
            held = hold(steps, asker(node), time.sleep)
            asked = [{key: step[key] for key in ("ask", "body", "keep", "wait") if key in step} for step in steps]
            write(name, Cluster(node.url).versions(), [one | said for one, said in zip(asked, held, strict=True)])
            sys.stdout.write(f"{name}: {len(held)} answers\n")
    finally:
        node.stop()


if __name__ == "__main__":
    main()
