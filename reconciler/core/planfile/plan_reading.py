"""Reading a plan file that anybody may have written: every field checked, FileError and never a traceback. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import NoReturn, TypeVar, cast, get_args

from reconciler.core.planfile.plan_json import FORMAT_VERSION
from reconciler.core.planfile.plan_values import Decoder, SecretLookup
from reconciler.core.schemas.probe import probe_from_json
from reconciler.core.values.paths import split
from reconciler.core.values.tree import step
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.model import Desired, Health, Json, Lifecycle, Presence, Probe, RecordedProvider, Timeouts
from reconciler.plan import (
    Action,
    ActionKind,
    Change,
    Cost,
    CostTotal,
    Drift,
    DriftClass,
    Expected,
    Plan,
    PlanOptions,
    Refusal,
    StateChange,
    Unmanaged,
)

T = TypeVar("T")
DEEPEST = 100
MOST_VALUES = 20_000_000
LARGEST = 1e300  # of a number that is calculated with; JSON has integers that no float holds
_KINDS: Mapping[type, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false",
                              dict: "an object", list: "a list"}  # fmt: skip


def plan_from_file(document: Mapping[str, Json], lookup: SecretLookup | None = None) -> Plan:
    """The plan of a plan file (or, to show it, of a plan document without `execution`).

    `lookup` gives secrets their values anew; without it they have none, and the plan can be shown but not applied.
    Raises FileError: for the first thing that is malformed, or for everything that `lookup` lacks.
    """
    _bounded(document)
    root = _Node(document, "")
    version = root.get("format_version", str)
    if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
        _fail(
            f"it has format version {version}, this reconciler reads {FORMAT_VERSION}", hint="use the one that wrote it"
        )
    decoder = Decoder(lookup)
    execution = root.child("execution", dict) if "execution" in document else _Node({}, "execution")
    if execution.opt("version", int, 1) != 1:
        _fail("its execution part is of a newer version", hint="use the reconciler that wrote it")
    plan = _plan(root, execution, decoder)
    if decoder.errors:
        raise FileError(*dict.fromkeys(decoder.errors))
    return plan


def _bounded(document: Mapping[str, Json]) -> None:
    """Refuse what is nested or large beyond any plan, before anything walks it."""
    level: list[Json] = [document]
    seen = 0
    for _ in range(DEEPEST):
        below: list[Json] = []
        for value in level:
            below += value.values() if isinstance(value, dict) else value
        if any(isinstance(value, float) and not isfinite(value) for value in below):
            _fail("it holds a number that is not finite")
        seen += len(below)
        if seen > MOST_VALUES:
            _fail(f"it holds more than {MOST_VALUES} values")
        level = [value for value in below if isinstance(value, dict | list)]
        if not level:
            return
    _fail(f"it is nested deeper than {DEEPEST} levels")


def _fail(problem: str, hint: str = "reconciler plan --out FILE writes a new one") -> NoReturn:
    raise FileError(Diagnostic(f"the plan file can't be used: {problem}", hint=hint))


class _Node:
    """A value of the document with its path; every access says what it expects."""

    def __init__(self, value: Json, path: str) -> None:
        self.value, self.path = value, path

    def get(self, key: str, kind: type[T], *, null: bool = False) -> T:
        """The member `key`; None passes where `null`."""
        if key not in self.value:
            _fail(f"{step(self.path, key)} is missing")
        return self._checked(self.value[key], kind, step(self.path, key), null)

    def opt(self, key: str, kind: type[T], default: T) -> T:
        return self.get(key, kind) if key in self.value else default

    def child(self, key: str, kind: type[dict[str, Json]] | type[list[Json]]) -> _Node:
        return _Node(self.get(key, kind), step(self.path, key))

    def each(self, key: str, make: Callable[[_Node], T], kind: type = dict) -> tuple[T, ...]:
        """The members of a list of objects (or of `kind`), made into values; () where the list is left out."""
        items = self.opt(key, list, [])
        path = step(self.path, key)
        return tuple(
            make(_Node(self._checked(item, kind, step(path, index), False), step(path, index)))
            for index, item in enumerate(items)
        )

    def texts(self, key: str) -> tuple[str, ...]:
        return self.each(key, lambda node: cast(str, node.value), str)

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.get(key, str)
        if value not in choices:
            _fail(f"{step(self.path, key)} is {value[:40]!r}, expected one of {', '.join(choices)}")
        return value

    def number(self, key: str) -> float | None:
        value = self.value.get(key)
        if value is None:
            return None
        return float(self._checked(value, float, step(self.path, key), False))

    @staticmethod
    def _checked(value: Json, kind: type[T], path: str, null: bool) -> T:
        fits = isinstance(value, int | float) and abs(value) < LARGEST if kind is float else isinstance(value, kind)
        if kind is not bool and isinstance(value, bool):
            fits = False
        if not fits and not (null and value is None):
            _fail(f"{path} is not {_KINDS[kind]}")
        return cast(T, value)


def _plan(root: _Node, execution: _Node, decoder: Decoder) -> Plan:
    extra = execution.child("actions", dict) if "actions" in execution.value else _Node({}, "execution.actions")
    actions = root.each("actions", lambda node: _action(node, extra, decoder))
    addresses = {action.address for action in actions}
    if len(addresses) != len(actions):
        _fail("two actions have the same address")
    if extra.value.keys() - addresses:
        _fail("execution.actions and actions differ")
    outputs = decoder(execution.opt("outputs", dict, {}))
    return Plan(
        stack=root.get("stack", str),
        lineage=root.get("lineage", str, null=True),
        serial=root.get("serial", int),
        actions=actions,
        state_changes=root.each("state_changes", _state_change),
        drift=root.each("drift", _drift),
        unmanaged=root.each("unmanaged", _unmanaged),
        unreadable=root.each("unreadable", _diagnostic),
        refused=root.each("refused", lambda node: Refusal(node.get("rule", str), node.get("message", str))),
        warnings=root.each("warnings", _diagnostic),
        notes=root.texts("notes"),
        costs=_costs(root),
        outputs=outputs if isinstance(outputs, dict) else {},
        moved=execution.each("moved", lambda node: (node.get("from", str), node.get("to", str))),
        looked_at=root.texts("looked_at"),
        skipped=root.texts("skipped"),
        ignored=root.opt("ignored", int, 0),
        options=_options(execution),
        providers=_providers(execution),
        sandbox=root.opt("sandbox", bool, False),
        secret_digests=_texts_by_key(execution, "secrets"),
    )


def _action(node: _Node, extra: _Node, decoder: Decoder) -> Action:
    address = node.get("address", str)
    more = extra.child(address, dict) if address in extra.value else _Node({}, step(extra.path, address))
    cost = node.value.get("hourly_cost")
    desired = more.child("desired", dict) if "desired" in more.value else None
    return Action(
        address=address,
        provider=node.get("provider", str),
        action=cast(ActionKind, node.one_of("action", get_args(ActionKind))),
        reason=node.get("reason", str),
        id=node.get("id", str, null=True),
        name=node.get("name", str),
        depends_on=node.texts("depends_on"),
        changes=node.each("changes", _change),
        hourly_cost=_cost(node.child("hourly_cost", dict)) if cost is not None else None,
        desired=_desired(desired, node, decoder) if desired else None,
        expected=_expected(more.child("expected", dict)) if "expected" in more.value else Expected(exists=False),
        create_first=node.opt("create_first", bool, False),
        may=node.opt("may", bool, False),
        generation=more.opt("generation", int, 0),
        notes=node.texts("notes"),
    )


def _change(node: _Node) -> Change:
    return Change(
        path=_path(node, "path"),
        before=node.value.get("before"),
        after=node.value.get("after"),
        sensitive=node.opt("sensitive", bool, False),
        unknown=node.opt("unknown", bool, False),
        forces_replacement=node.opt("forces_replacement", bool, False),
        note=node.opt("note", str, ""),
    )


def _path(node: _Node, key: str) -> str:
    text = node.get(key, str)
    try:
        split(text)
    except ValueError:
        _fail(f"{step(node.path, key)} is no attribute path: {text[:80]!r}")
    return text


def _desired(node: _Node, action: _Node, decoder: Decoder) -> Desired:
    lifecycle, timeouts = node.child("lifecycle", dict), node.child("timeouts", dict)
    spec = decoder(node.get("spec", dict))
    if not isinstance(spec, dict):
        _fail(f"{node.path}.spec is not an object")
    if node.get("type", str) != action.get("provider", str).partition(".")[0]:
        _fail(f"{node.path}.type is not the type of its provider")
    return Desired(
        address=action.get("address", str),
        provider=action.get("provider", str),
        type=node.get("type", str),
        spec=spec,
        derived=frozenset(node.texts("derived")),
        references=node.each("references", _pair, list),
        depends_on=action.texts("depends_on"),
        lifecycle=Lifecycle(
            prevent_undeploy=lifecycle.get("prevent_undeploy", bool),
            create_before_undeploy=lifecycle.get("create_before_undeploy", bool),
            ignore_changes=lifecycle.each("ignore_changes", _ignored, str),
        ),
        timeouts=Timeouts(*(timeouts.get(name, float) for name in ("deploy", "scale", "update", "undeploy"))),
        adopt=node.opt("adopt", bool, False),
        presence=cast(Presence, node.one_of("presence", get_args(Presence))),
        probe=_probe(node.child("probe", dict)) if "probe" in node.value else None,
    )


def _probe(node: _Node) -> Probe:
    try:
        return probe_from_json(node.value)
    except ValueError as error:
        _fail(f"{node.path}: {error}")


def _ignored(node: _Node) -> str:
    return _path(_Node({"path": node.value}, node.path), "path")


def _pair(node: _Node) -> tuple[str, str]:
    items = node.value
    if len(items) != 2 or not all(isinstance(item, str) for item in items):
        _fail(f"{node.path} is not an address and an attribute")
    return items[0], _path(_Node({"path": items[1]}, node.path), "path")


def _expected(node: _Node) -> Expected:
    health = node.value.get("health")
    return Expected(
        exists=node.get("exists", bool),
        id=node.get("id", str) if "id" in node.value else None,
        identities=node.texts("identities"),
        attributes=node.opt("attributes", dict, {}),
        health=cast(Health, node.one_of("health", get_args(Health))) if health is not None else None,
    )


def _cost(node: _Node) -> Cost:
    return Cost(node.number("before"), node.number("after"), node.get("currency", str))


def _costs(root: _Node) -> tuple[CostTotal, ...]:
    if root.value.get("hourly_cost") is not None:
        return (_total(root.child("hourly_cost", dict)),)
    return root.each("hourly_costs", _total)


def _total(node: _Node) -> CostTotal:
    unknown = node.child("unknown", dict) if "unknown" in node.value else _Node({}, step(node.path, "unknown"))
    return CostTotal(
        before=node.number("before") or 0.0,
        after=node.number("after") or 0.0,
        currency=node.get("currency", str, null=True) or "",
        unknown_before=unknown.opt("before", int, 0),
        unknown_after=unknown.opt("after", int, 0),
    )


def _state_change(node: _Node) -> StateChange:
    return StateChange(
        node.get("address", str), node.get("kind", str), node.get("path", str), node.value.get("from"),
        node.value.get("to"),
    )  # fmt: skip


def _drift(node: _Node) -> Drift:
    return Drift(
        address=node.get("address", str),
        kind=cast(DriftClass, node.one_of("class", get_args(DriftClass))),
        path=node.get("path", str),
        expected=node.value.get("expected"),
        live=node.value.get("live"),
        sensitive=node.opt("sensitive", bool, False),
        note=node.opt("note", str, ""),
    )


def _unmanaged(node: _Node) -> Unmanaged:
    return Unmanaged(*(node.get(name, str) for name in ("provider", "id", "name", "status")))


def _diagnostic(node: _Node) -> Diagnostic:
    return Diagnostic(
        node.get("summary", str),
        address=node.get("address", str) if "address" in node.value else None,
        provider=node.get("provider", str) if "provider" in node.value else None,
        request_id=node.get("request_id", str) if "request_id" in node.value else None,
        detail=node.opt("detail", str, ""),
        hint=node.opt("hint", str, ""),
    )


def _options(execution: _Node) -> PlanOptions:
    node = execution.child("options", dict) if "options" in execution.value else _Node({}, "execution.options")
    return PlanOptions(
        target=node.texts("target"),
        exclude=node.texts("exclude"),
        replace=node.texts("replace"),
        destroy=node.opt("destroy", bool, False),
        refresh_only=node.opt("refresh_only", bool, False),
        allow_undeploys=node.get("allow_undeploys", int) if "allow_undeploys" in node.value else None,
        allow_empty=node.texts("allow_empty"),
        accept_endpoint=node.texts("accept_endpoint"),
    )


def _providers(execution: _Node) -> dict[str, RecordedProvider]:
    node = execution.child("providers", dict) if "providers" in execution.value else _Node({}, "execution.providers")
    found: dict[str, RecordedProvider] = {}
    for key in node.value:
        item = node.child(key, dict)
        found[key] = RecordedProvider(item.get("type", str), item.get("scope", str), item.get("settings", dict))
    return found


def _texts_by_key(execution: _Node, key: str) -> dict[str, str]:
    node = execution.child(key, dict) if key in execution.value else _Node({}, step(execution.path, key))
    return {name: node.get(name, str) for name in node.value}
