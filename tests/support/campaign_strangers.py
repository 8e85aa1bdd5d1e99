"""Somebody else's deployments in the same accounts: so many that lists have several pages. Nobody may touch them.

They are made through the simulators' control face, without a request to a provider.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.crash import Place
from tests.support.crash_cases import SETTINGS

MANY = {"neevcloud": 120, "modelstudio": 120, "nugen": 20, "opensearch": 210}  # pages hold 100, 100, all, 200
MARK = "stranger"
Rows = dict[str, dict[str, Any]]  # by table and id


def settle(place: Place, types: Sequence[str]) -> None:
    """Let them be there, for hours already, in the worlds of these types."""
    for type_ in types:
        names = [f"{MARK}-{number:03}" for number in range(MANY[type_])]
        if type_ in ("nugen", "opensearch"):
            specs = [{"alignment_id" if type_ == "nugen" else "model_id": name} for name in names]
            place.control("POST", type_, "presuppose", {"specs": specs, "settings": SETTINGS[type_]})
        world = place.world(type_)
        data, since = world["data"], world["clock"]["own"] - 7200.0
        if type_ == "nugen":
            for name in names:
                data["models"][name]["versions"] = [{"at": 0.0, "status": "DEPLOYED"}]
        elif type_ == "neevcloud":
            project = f"{SETTINGS[type_]['org_id']}/{SETTINGS[type_]['project_id']}"
            for name in names:
                data.setdefault("deployments", {})[name] = {
                    "id": name, "name": name, "place": project, "created": since, "gone": None, "gpu_count": 1,
                    "catalog_id": "another-model", "region": "in-south-1", "gpu_config_id": "gpu-a100-80",
                    "phases": [[since, "ready", 1]],
                }  # fmt: skip
        elif type_ == "modelstudio":
            for name in names:
                version = {
                    "at": since, "modified": since, "created": since, "name": name, "plan": "mu", "capacity": 1,
                    "ready_capacity": 1, "status": "RUNNING", "model_name": "another-model",
                }  # fmt: skip
                data.setdefault("deployments", {})[name] = {
                    "id": name, "model_name": "another-model", "suffix": name[-3:], "workspace": "llm-sandbox",
                    "base_capacity": 1, "versions": [version],
                }  # fmt: skip
        place.control("PUT", type_, "data", data)


def rows(place: Place) -> dict[str, Rows]:
    """All that is known of them, by type of provider."""
    return {type_: _rows(place.world(type_)["data"]) for type_ in place.worlds}


def _rows(data: Mapping[str, Any]) -> Rows:
    """In a cluster, the models, and the groups and connectors that these name."""
    names: set[str] = set()
    for id_, document in data.get(".plugins-ml-model", {}).items():
        if id_.startswith(MARK):
            first = document["events"][0]["set"]
            names |= {id_, first["model_group_id"], first["connector_id"]}
    return {
        table: {id_: copy.deepcopy(row) for id_, row in held.items() if id_.startswith(MARK) or id_ in names}
        for table, held in data.items()
        if isinstance(held, dict)
    }


def touched(before: Mapping[str, Rows], now: Mapping[str, Rows]) -> list[str]:
    """Each stranger that is not as it was."""
    return [
        f"a stranger was touched: {type_} {table} {id_}: {row} became {now[type_].get(table, {}).get(id_)}"
        for type_, tables in before.items()
        for table, held in tables.items()
        for id_, row in held.items()
        if now[type_].get(table, {}).get(id_) != row
    ]
