"""A conversation with a cluster as data: requests, and what of the answers must be the same wherever it is held.

Ids and node names stand as `<name>`; times, counters of the index and internals of the server are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.model import Json

Ask = Callable[[str, str, Json], tuple[int, Json]]
_VOLATILE = {
    "took", "_shards", "_seq_no", "_version", "_primary_term", "_score", "max_score", "sort", "_index",
    "created_time", "last_updated_time", "last_deployed_time", "create_time", "last_update_time",
    "auto_redeploy_retry_times", "predictor", "planning_worker_node_count", "current_worker_node_count",
    "planning_worker_nodes", "worker_node", "worker_nodes", "target_worker_nodes", "is_async", "line", "col",
    "caused_by", "forced_refresh", "index_uuid", "shard", "index",
}  # fmt: skip


def hold(steps: list[dict[str, Any]], ask: Ask, wait: Callable[[float], None]) -> list[dict[str, Any]]:
    """Ask everything in order; what came back, in comparable form, beside each request.

    A step: `ask` ("POST models/_register"), `body`, `keep` (name -> the field of the answer that is an id), and `wait`
    (seconds before it).
    """
    names: dict[str, str] = {}
    held = []
    for step in steps:
        wait(float(step.get("wait", 0)))
        method, _, path = _filled(step["ask"], names).partition(" ")
        status, answer = ask(method, path, _filled(step.get("body"), names))
        for name, field in step.get("keep", {}).items():
            names[name] = answer[field]
        held.append({"ask": step["ask"], "status": status, "answer": comparable(answer, names)})
    return held


def _filled(value: Json, names: Mapping[str, str]) -> Any:
    """The value with `<name>` replaced by what it stands for."""
    text = json.dumps(value)
    for name, known in names.items():
        text = text.replace(f"<{name}>", known)
    return json.loads(text)


def comparable(answer: Json, names: Mapping[str, str]) -> Any:
    """An answer without what differs from run to run; nodes collapse into one."""
    text = json.dumps(_plain(answer))
    for name, known in names.items():
        text = text.replace(known, f"<{name}>")
    return json.loads(text)


def _plain(value: Json) -> Json:
    if isinstance(value, str) and value.startswith('{"'):  # a task's error: node to reason
        return _plain({"nodes": json.loads(value)})
    if isinstance(value, str) and (allowed := re.search(r"allowed: \[(.*)\]", value)):  # in no fixed order
        return value.replace(allowed[1], ", ".join(sorted(allowed[1].split(", "))))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _plain(item) for name, item in value.items() if name not in _VOLATILE}
    if "nodes" in kept:
        kept["nodes"] = {"<node>": next(iter(kept["nodes"].values()), None)}
    if any(isinstance(item, dict) and "stats" in item for item in kept.values()):
        kept = {"<node>": next(iter(kept.values()))}
    return kept
