"""A small pure world for the planner: two provider types of nobody, live objects as values, an apply without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.core.compare.diff import compare
from reconciler.core.compare.record import record
from reconciler.core.planning.planner import plan
from reconciler.core.schemas.schema import ProviderSchema, compile_schema
from reconciler.core.state.moves import rename
from reconciler.core.values.references import Reference, resolve
from reconciler.core.values.tree import get, plain
from reconciler.model import (
    Desired,
    Health,
    Json,
    Lifecycle,
    Limits,
    Listing,
    Live,
    Moved,
    ProviderConfig,
    Recorded,
    RecordedProvider,
    Refreshed,
    Removed,
    Stack,
    State,
    Timeouts,
    Unknown,
)
from reconciler.plan import Action, Plan, PlanOptions
from reconciler.provider import Capabilities, Problem

KEY = "ab" * 32
NOW = "2025-11-21T12:00:00Z"

TOY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "x-identity": True, "x-default": "address"},
        "suffix": {"type": "string", "x-identity": True, "x-default": "derived"},
        "gpu": {"type": "string"},
        "plan_id": {"type": "string", "x-write-only": True, "x-price": "key"},
        "replicas": {"type": "integer", "minimum": 1, "x-change": "scale", "x-ready-only": True, "x-price": "quantity"},
        "rpm": {"type": "integer", "x-change": "update"},
        "url": {"type": "string", "x-change": "update"},
        "hook": {"type": "string"},
        "config": {"type": "object"},
        "labels": {"type": "object", "x-change": "update"},
        "nodes": {"type": "array", "x-change": "update", "x-set": True},
        "token": {"type": "string", "x-sensitive": True, "x-write-only": True, "x-change": "update"},
        "setting": {
            "type": "object",
            "x-change": "update",
            "properties": {
                "ttl": {"type": "integer", "x-note": "interrupts serving"},
                "auto": {"type": "boolean"},
            },
        },
        "retain": {"type": "boolean", "x-change": "record"},
        "comment": {"type": "string", "x-change": "never"},
    },
    "x-computed": {
        "id": {"type": "string"},
        "endpoint": {"type": "string"},
        "build": {"type": "string", "changed-by": ["update"]},
    },
    "x-on-demand": "setting.ttl",
}
SWITCH: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "model_id": {"type": "string", "x-identity": True},
        "early": {"type": "boolean", "x-write-only": True},
    },
    "x-existing": ["model_id"],
    "x-refuse-create-first": "a model is on or off",
    "x-computed": {"id": {"type": "string"}},
}
TOY_SCHEMA = compile_schema(TOY, "toy")
SWITCH_SCHEMA = compile_schema(SWITCH, "switch")
SCHEMAS: Mapping[str, ProviderSchema] = {"toy": TOY_SCHEMA, "switch": SWITCH_SCHEMA}


class FakeType:
    """The pure side of a provider type; `name` and `suffix` identify, or `model_id`."""

    def __init__(self, type_: str, *, restartable: bool = False) -> None:
        self.type = type_
        self.capabilities = Capabilities(
            page_size=100, scales=True, updates=True, restartable=restartable, create_first=True, read_by_id=True
        )

    def scope(self, settings: Mapping[str, Json]) -> str:
        return str(settings.get("endpoint", "home"))

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        parts = [plain(spec[key]) for key in ("name", "suffix", "model_id") if spec.get(key) is not None]
        return "-".join(parts) or None if all(isinstance(part, str) for part in parts) else None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:
        return {} if "suffix" in spec else {"suffix": f"g{generation}"}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:
        return [Problem("rpm", "rpm is more than 1000")] if spec.get("rpm") == 1001 else []

    def next(self, op: object) -> Any:
        raise AssertionError("the planner asks for no operation")

    def connect(self, *_: object) -> Any:
        raise AssertionError("the planner connects to nobody")


TYPES: Mapping[str, Any] = {"toy": FakeType("toy"), "switch": FakeType("switch")}
RESTARTABLE: Mapping[str, Any] = {"toy": FakeType("toy", restartable=True), "switch": FakeType("switch")}


def desired(address: str, provider: str = "toy", /, **given: Any) -> Desired:
    """A declared deployment; what is no field of Desired is its spec (`name` defaults to the address)."""
    fields = {
        name: given.pop(name)
        for name in ("depends_on", "lifecycle", "timeouts", "adopt", "presence", "references", "derived", "spans")
        if name in given
    }
    type_ = provider.partition(".")[0]
    if type_ == "toy" and "name" not in given:
        given["name"] = address
        fields.setdefault("derived", frozenset(("name",)))
    return Desired(address, provider, type_, given, **fields)


def config(key: str, **settings: Any) -> ProviderConfig:
    prices = settings.pop("prices", {})
    type_ = key.partition(".")[0]
    return ProviderConfig(key, type_, settings, f"{type_}:{TYPES[type_].scope(settings)}", prices=prices)


def stack(*deployments: Desired, **given: Any) -> Stack:
    """A stack with the providers that its deployments name, and those of `providers=`."""
    keys = {"toy", "switch", *(item.provider for item in deployments)}
    providers = {key: config(key) for key in keys} | given.pop("providers", {})
    return Stack("bots", providers, {item.address: item for item in deployments}, **given)


def live(id_: str, /, **given: Any) -> Live:
    """A live toy; `health`, `status`, `computed`, `identities`, `dormant` and `reason` aside, its attributes."""
    health: Health = given.pop("health", "ready")
    known = {name: given.pop(name) for name in ("dormant", "reason") if name in given}
    computed = given.pop("computed", {"id": id_, "endpoint": f"https://{id_}", "build": "b1"})
    identity = TYPES["toy"].identity(given)
    identities = given.pop("identities", (identity,) if identity else ())
    status = given.pop("status", health)
    return Live(id_, identities, str(given.get("name", id_)), given, computed, status, health, **known)


def recorded(item: Desired, id_: str | None, /, **given: Any) -> Recorded:
    """The entry of a deployment that was applied as declared; `given` are fields of Recorded to differ."""
    entry = record(
        item, None, None, schema=SCHEMAS[item.type], digest_key=KEY, identity=TYPES[item.type].identity, now=NOW
    )
    fields = {"id": id_, "health": "ready", "status": "ready", "deployed_at": NOW,
              "computed": {"id": id_, "endpoint": f"https://{id_}", "build": "b1"}}  # fmt: skip
    return replace(entry, **{**fields, **given})


def state(*entries: Recorded, **given: Any) -> State:
    keys = {"toy", "switch", *(entry.provider for entry in entries)}
    providers = {key: RecordedProvider(config(key).type, config(key).scope) for key in keys}
    fields = {"providers": providers, "deployments": {entry.address: entry for entry in entries}, **given}
    return State("bots", "lineage-1", 7, KEY, **fields)


def seen(*objects: Live, gone: Sequence[str] = (), **by_key: Sequence[Live]) -> Refreshed:
    """What the providers answer: `objects` at `toy`; other keys with `_` for `.`."""
    listings = {"toy": Listing(tuple(objects), frozenset(gone)), "switch": Listing()}
    for key, items in by_key.items():
        listings[key.replace("_", ".")] = Listing(tuple(items))
    return Refreshed(listings)


def make(
    file: Stack | None, before: State | None, world: Refreshed, *, types: Mapping[str, Any] = TYPES, **given: Any
) -> Plan:
    """The plan, with planning options as keywords."""
    others = {name: given.pop(name) for name in ("recovered", "secrets", "providers", "now") if name in given}
    options = PlanOptions(**given)
    return plan(file, before, world, schemas=SCHEMAS, types=types, options=options, **{"now": NOW, **others})


def action(made: Plan, address: str) -> Action:
    return next(item for item in made.actions if item.address == address)


def kinds(made: Plan) -> dict[str, str]:
    return {item.address: item.action for item in made.actions}


# --- an apply of nobody ---------------------------------------------------------------------------------------------
@dataclass
class World:
    """Live objects by provider key. `apply` does to them, and to a state, what a plan says."""

    objects: dict[str, dict[str, Live]] = field(default_factory=lambda: {"toy": {}, "switch": {}})
    made: int = 0

    def refreshed(self, before: State | None) -> Refreshed:
        """Every list, and what the recorded ids that they lack come to."""
        listings = {}
        for key, objects in self.objects.items():
            ids = {entry.id for entry in before.deployments.values() if entry.provider == key} if before else set()
            listings[key] = Listing(tuple(objects.values()), frozenset(id_ for id_ in ids - {*objects} if id_))
        return Refreshed(listings)

    def apply(self, made: Plan, before: State | None) -> State:
        """The state after the plan; serial up by one if it says anything new."""
        base = before or State(made.stack, "lineage-1", 0, KEY)
        entries = rename(base.deployments, made.moved)
        touched = {change.address for change in made.state_changes}
        for item in made.actions:
            if item.action != "none" or item.address in touched:
                self._act(item, entries)
        lookup = _Lookup(entries)
        after = replace(
            base,
            deployments=entries,
            providers={**base.providers, **made.providers},
            outputs={name: resolve(tree, lookup) for name, tree in made.outputs.items()},
        )
        return base if after == base else replace(after, serial=base.serial + 1)

    def _act(self, item: Action, entries: dict[str, Recorded]) -> None:
        prior = entries.get(item.address)
        if item.action in ("undeploy", "forget") or (item.action == "replace" and not item.create_first):
            if prior is not None and item.action != "forget":
                self.objects[prior.provider].pop(prior.id or "", None)
            entries.pop(item.address, None)
        if item.desired is None or item.action in ("undeploy", "forget"):
            return
        wanted = replace(item.desired, spec=resolve(dict(item.desired.spec), _Lookup(entries)))
        there = self.objects[item.provider]
        if item.action in ("deploy", "replace"):
            found = self._create(wanted)
            if item.action == "replace" and item.create_first and prior is not None:
                self.objects[prior.provider].pop(prior.id or "", None)
        elif item.action == "none":
            found = there[item.id or ""]
        else:
            changed = compare(
                wanted.spec, there[item.id or ""], prior, SCHEMAS[wanted.type],
                ignore=wanted.lifecycle.ignore_changes if prior else (), digest_key=KEY,
            )  # fmt: skip
            found = _changed(there[item.id or ""], wanted, {change.path.split(".")[0] for change in changed.changes})
        there[found.id] = found
        entries[item.address] = replace(
            record(
                wanted, found, prior, schema=SCHEMAS[wanted.type], digest_key=KEY,
                identity=TYPES[wanted.type].identity, now=NOW, generation=item.generation,
                adopted=item.action == "adopt",
            ),
            deployed_at=NOW,
        )  # fmt: skip

    def _create(self, wanted: Desired) -> Live:
        if wanted.type == "switch":
            found = next(
                item for item in self.objects[wanted.provider].values() if item.name == wanted.spec["model_id"]
            )
            return replace(found, dormant=False, health="ready", status="on")
        self.made += 1
        return live(f"id-{self.made}", **_returned(wanted.spec))


def _returned(spec: Mapping[str, Json]) -> dict[str, Json]:
    """What the toy provider returns of a spec: everything that is not write-only or its own."""
    return {
        name: plain(value)
        for name, value in spec.items()
        if not TOY_SCHEMA.attribute(name).write_only and TOY_SCHEMA.attribute(name).change not in ("record", "never")
    }


def _changed(found: Live, wanted: Desired, names: set[str]) -> Live:
    attributes = dict(found.attributes)
    for name in names:
        if TOY_SCHEMA.attribute(name).write_only:
            continue
        attributes.pop(name, None)
        if wanted.spec.get(name) is not None:
            attributes[name] = plain(wanted.spec[name])
    return replace(found, attributes=attributes, health="ready", status="ready")


class _Lookup:
    def __init__(self, entries: Mapping[str, Recorded]) -> None:
        self.entries = entries

    def __call__(self, reference: Reference) -> Json:
        entry = self.entries.get(reference.address)
        if entry is None:
            return Unknown(reference.text)
        for tree in ({"id": entry.id}, entry.computed, entry.spec):
            found = get(tree, reference.path)
            if found:
                return found
        return Unknown(reference.text)


__all__ = [
    "KEY", "NOW", "RESTARTABLE", "SCHEMAS", "SWITCH_SCHEMA", "TOY_SCHEMA", "TYPES", "FakeType",
    "Lifecycle", "Limits", "Moved", "Removed", "Timeouts", "World", "action", "config", "desired", "kinds", "live",
    "make", "recorded", "seen", "stack", "state",
]  # fmt: skip
