"""Compares what a disturbed story left with what the undisturbed one gave: the simulators' worlds, and the state.

Nothing here goes through an adapter; ids and times are left out, as they differ from one run to the next.
"""

from __future__ import annotations

import json
import time
import urllib.error
from collections import Counter
from collections.abc import Container, Mapping
from typing import Any

from reconciler.edge.environment import real_environment
from reconciler.edge.store import LocalStore
from reconciler.providers.opensearch_wire import unmarked
from tests.support.crash import Place
from tests.support.crash_cases import KINDS, LIVE, standing

Thing = tuple[str, str]  # what it is (type, kind, name), and its facts as JSON
FACTS = {
    "neevcloud": ("name", "model_id", "region", "status", "gpu_config_id", "gpu_count", "replicas"),
    "modelstudio": ("name", "model_name", "plan", "capacity", "ready_capacity", "ptu_capacity", "rpm_limit", "status",
                    "enable_thinking", "overflow_strategy"),
    "nugen": ("alignment_id", "status"),
    "model": ("name", "algorithm", "model_state", "description", "model_content_hash_value", "held"),
    "model-group": ("name",),
    "connector": ("name", "parameters", "actions"),
}  # fmt: skip
NAMES = {"nugen": "alignment_id"}
PASSING = (
    "id",
    "created_at",
    "updated_at",
    "deployed_at",
    "serial",
    "lineage",
    "generation",
    "created",
    "computed",
    "trusted",
)


def things(place: Place) -> Counter[Thing]:
    """All that stands in the worlds of a place, however many times."""
    found: Counter[Thing] = Counter()
    for type_ in place.worlds:
        kinds = KINDS if type_ == "opensearch" else (type_,)
        for kind in kinds:
            items = standing(place, kind) if type_ == "opensearch" else live(place, type_)
            for item in items.values():
                facts = {name: item.get(name) for name in FACTS[kind]}
                if kind == "model":
                    facts["description"] = unmarked(facts["description"])  # the mark names the step that made it
                name = f"{kind} {item.get(NAMES.get(kind, 'name'))}"
                found[name, json.dumps(facts, sort_keys=True)] += 1
    return found


def live(place: Place, type_: str) -> dict[str, dict[str, Any]]:
    """What is live by its id; Nugen says 404 where it knows no model at all."""
    try:
        return LIVE[type_](place)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return {}


def ids(place: Place) -> dict[str, set[str]]:
    """By type, the ids of what is live or, in a cluster, stands there at all."""
    found = {}
    for type_ in place.worlds:
        if type_ == "opensearch":
            found[type_] = {id_ for kind in KINDS for id_ in standing(place, kind)}
        else:
            found[type_] = set(live(place, type_))
    return found


def told(place: Place) -> dict[str, Any]:
    """What the state says of each deployment, without what differs from run to run."""
    return {address: _plain(entry) for address, entry in place.state()["deployments"].items()}


def renamed(said: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """What `told` says, once `old` has the address `new`."""
    return {
        new if address == old else address: {
            key: sorted(new if one == old else one for one in value) if key == "depends_on" else value
            for key, value in entry.items()
        }
        for address, entry in said.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "$digest" in value:
            return "a secret"
        made_up = ("suffix", "identity") if value.get("type") == "modelstudio" or "suffix" in value else ()
        return {key: _plain(item) for key, item in sorted(value.items()) if key not in (*PASSING, *made_up)}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def unknown(place: Place, before: Mapping[str, set[str]]) -> list[str]:
    """What we made and neither the state nor an open intent knows of: it would bill unseen. For any moment at which no
    process of ours runs. `before` is what stood there before the story's change began."""
    base = LocalStore(place.state_folder, "crash", real_environment()).read()
    known: dict[str, set[str]] = {}
    for entry in base.state.deployments.values() if base.state else ():
        mine = known.setdefault(entry.type, set())
        mine.update(str(one).removesuffix("-deployed") for one in (entry.id, *entry.created.values()) if one)
    open_ = Counter(intent.entry.type for intent in base.intents)
    for intent in base.intents:  # what its deployment is made of already may stand in the intent alone
        mine = known.setdefault(intent.entry.type, set())
        mine.update(str(one) for one in (intent.entry.id, *intent.entry.created.values()) if one)
    if "opensearch" in place.worlds:  # a model in a group of ours is found by the group
        groups = known.setdefault("opensearch", set())
        groups |= {id_ for id_, one in standing(place, "model").items() if one["model_group_id"] in groups}
    problems = []
    for type_, there in ids(place).items():
        lost = there - before.get(type_, set()) - known.get(type_, set())
        if len(lost) > open_[type_]:
            problems.append(f"{type_}: {sorted(lost)} stand there, {open_[type_]} uncertain steps are recorded")
    return problems


READY = {"neevcloud": ("ready",), "modelstudio": ("RUNNING",), "nugen": ("DEPLOYED",), "opensearch": ("DEPLOYED",)}


def lies(place: Place, vanished: Container[str]) -> list[str]:
    """What the state claims and is not so: an id that never was, or one ready with nothing under way that is not there
    or not ready. `vanished` were taken away by somebody else. For any moment at which no process of ours runs."""
    base = LocalStore(place.state_folder, "crash", real_environment()).read()
    problems = []
    for address, entry in (base.state.deployments if base.state else {}).items():
        ever = _ever(place, entry.type)
        claimed = [str(one) for one in (entry.id, *entry.created.values()) if one]
        if never := [one for one in claimed if one.removesuffix("-deployed") not in ever]:
            problems.append(f"{address} is recorded with {never}, which never were")
        if entry.health != "ready" or entry.pending is not None or entry.id is None:
            continue
        id_ = str(entry.id).removesuffix("-deployed")
        there = standing(place, "model") if entry.type == "opensearch" else live(place, entry.type)
        status = there.get(id_, {}).get("model_state" if entry.type == "opensearch" else "status")
        if status not in READY[entry.type] and id_ not in vanished:
            problems.append(f"{address} is recorded as ready, but {id_} is {status or 'not there'}")
    return problems


def _ever(place: Place, type_: str) -> set[str]:
    """Ids of all that ever stood in a world: none is forgotten there."""
    data = place.world(type_)["data"]
    tables = (
        (f".plugins-ml-{kind}" for kind in (*KINDS, "task")) if type_ == "opensearch" else ("deployments", "models")
    )
    return {id_ for table in tables for id_ in data.get(table, {})}


def compare(now: Counter[Thing], wanted: Counter[Thing]) -> tuple[int, int, list[str]]:
    """How many things are doubled, how many lost, and every difference in words."""
    doubled = lost = 0
    here, there = (Counter(name for name, _ in side.elements()) for side in (now, wanted))
    for name in here | there:
        doubled += max(0, here[name] - there[name])
        lost += max(0, there[name] - here[name])
    words = [f"there, but not undisturbed: {one}" for one in (now - wanted).elements()]
    return doubled, lost, words + [f"not there, but undisturbed: {one}" for one in (wanted - now).elements()]


def hurry(place: Place) -> None:
    """Let come now, in every world, what was to come late."""
    for type_ in place.worlds:
        world = place.world(type_)
        clock = world["clock"]
        now = clock["own"] + (time.time() - clock["wall"]) * clock["speed"]
        data = {key: item if key == "tokens" else _sooner(item, now) for key, item in world["data"].items()}
        place.control("PUT", type_, "data", data)


def never(place: Place, type_: str) -> bool:
    """Whether something in the world is to come after any run's end."""
    world = place.world(type_)
    return _latest(world["data"]) > world["clock"]["own"] + 1e5


def _latest(tree: Any) -> float:
    if isinstance(tree, float):
        return tree
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return max(map(_latest, parts), default=0.0)


def _sooner(tree: Any, now: float) -> Any:
    if isinstance(tree, float) and tree > now:
        return now
    if isinstance(tree, dict):
        return {key: _sooner(item, now) for key, item in tree.items()}
    return [_sooner(item, now) for item in tree] if isinstance(tree, list) else tree
