"""Commands in this process on files that somebody has been at: what they print, how they end, and what to put there."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from reconciler.cli.main import invoke
from tests.support.cli import Ran

FILE = """\
version: 1
stack: demo
providers: {nugen: {}, neevcloud: {org_id: org-1, project_id: prj-1}}
variables: {token: {type: string, sensitive: true, default: hush-hush}}
deployments:
  support: {provider: nugen, spec: {alignment_id: alignment-1}, depends_on: [chat]}
  chat:
    provider: neevcloud
    spec:
      {catalog_id: cat, region: in-south-1, gpu_config_id: gpu-1, gpu_count: 1, plan_id: plan-1, replicas: 1,
       config: {extra_args: [--token, "${var.token}"]}}
outputs: {chat_url: "${deployments.chat.endpoint_url}"}
"""
CHANGED = FILE.replace("alignment-1", "alignment-2").replace("replicas: 1", "replicas: 3")

HUGE = 10**400  # an integer that no float holds
DEEP: Any = "x"
for _ in range(300):
    DEEP = [DEEP]
NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, HUGE, -HUGE, 1e308, -0.0, 0.5, "", "x", "\x1b[2J\u202e", "\ud800", "a" * 10_000,
    "../..", "a.b[0]", "a[", "ready", "undeploy", "2026-11-21T10:00:00Z", "9999999", "${var.token}", [], {}, [None],
    [[]], ["a", "b"], {"": None}, {"a": {"b": []}}, {"$ref": "env.HOME"}, {"$ref": 3}, {"$template": "${"},
    {"$digest": "x"},
    {"$digest": []}, DEEP,
]  # fmt: skip


def run(folder: Path, *arguments: str, **env: str) -> Ran:
    """`reconciler -C FOLDER ARGUMENTS`, with nothing of our own environment."""
    out, err = io.StringIO(), io.StringIO()
    surroundings = mock.patch.dict("os.environ", env, clear=True)
    with surroundings, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = invoke(["-C", str(folder), *arguments])
    return Ran(code, out.getvalue(), err.getvalue())


def is_answered(ran: Ran) -> Ran:
    """It ended in words and with an exit code of ours; no bug, no secret, nothing that a terminal would obey."""
    text = ran.out + ran.err
    assert "this is a bug" not in text, ran.err
    assert ran.code in (0, 1, 2, 3, 4), str(ran)
    assert "hush-hush" not in text
    bad = {repr(char) for char in text if not (char.isprintable() or char == "\n")}
    assert not bad, bad
    text.encode()
    return ran


def prepared(folder: Path) -> None:
    """A project whose sandbox holds two deployments, with a saved plan `plan.json` that changes both."""
    folder.mkdir(exist_ok=True)
    (folder / "reconciler.yaml").write_text(FILE)
    run(folder, "--sandbox", "plan").ended(0)
    for world in (folder / "state" / "sandbox" / "data").glob("*.json"):
        document = json.loads(world.read_text())
        document["knobs"] = {"instant": True}
        world.write_text(json.dumps(document))
    run(folder, "--sandbox", "apply", "--auto-approve").ended(0)
    (folder / "reconciler.yaml").write_text(CHANGED)
    run(folder, "--sandbox", "plan", "--out", "plan.json").ended(0)


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a tree but the empty one."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace what stands at a path, unless it has gone."""
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value
