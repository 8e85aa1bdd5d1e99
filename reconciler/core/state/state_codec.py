"""State ↔ JSON: the text of a state file, and the strict reading of one that may be damaged, foreign or newer.

Pure: takes and gives text, never touches a file. The form is that of `schemas/state.v1.schema.json`. Unknown keys are
refused, not preserved and not dropped: dropping would lose what somebody else recorded, and a field that this version
may ignore does not exist (a new field raises `version`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import NoReturn

from reconciler.core.schemas.probe import probe_from_json, probe_to_json
from reconciler.core.values.scalars import finite
from reconciler.diagnostics import Diagnostic, StateError
from reconciler.model import (
    DEFAULT_LIFECYCLE,
    DEFAULT_TIMEOUTS,
    HEALTH_KIND,
    Json,
    Lifecycle,
    Pending,
    Probe,
    Recorded,
    RecordedProvider,
    State,
    Timeouts,
)

STATE_VERSION = 1
LONGEST = 1e9  # seconds of a timeout
ADDRESS = re.compile(r'[a-z][a-z0-9_-]{0,62}(\["[^"\[\]\x00-\x1f\x7f]+"\])?')
STACK = re.compile(r"[a-z0-9-]{1,63}")

_KEY = re.compile(r"[0-9a-f]{64}")
_TOP = frozenset({"version", "stack", "lineage", "serial", "digest_key", "providers", "outputs", "deployments"})
_NEEDED = frozenset({"provider", "id", "identity", "spec"})
_TIMES = ("created_at", "updated_at", "deployed_at")
_VERBS = frozenset({"deploy", "scale", "update", "undeploy"})
_NAMES: Mapping[type, str] = {
    str: "a string",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a number",
}

# Most deployments have these, so they are recognised before they are built; see `_lifecycle` and `_timeouts`.
_LIFECYCLE_JSON: Json = {"prevent_undeploy": False, "create_before_undeploy": False, "ignore_changes": []}
_TIMEOUTS_JSON: Json = asdict(DEFAULT_TIMEOUTS)

# The fields by type. Any but `_NEEDED` may be left out (then: the default of `Recorded`).
_TEXTS = ("provider", "type", "identity", "name", "presence", "health", "status", *_TIMES)
_OBJECTS = ("spec", "computed", "created", "lifecycle", "timeouts")
_LISTS = ("depends_on",)
_FIELDS = (*_TEXTS, *_OBJECTS, *_LISTS)
_FIELD_TYPES: list[type] = [str] * len(_TEXTS) + [dict] * len(_OBJECTS) + [list] * len(_LISTS)
_ENTRY = frozenset({"id", "retain", "pending", "probe", "trusted", "generation", *_FIELDS})


class _BadFieldError(Exception):
    """Where in the document (`deployments.chat.spec`) and what is wrong there; becomes a StateError."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem


# --- writing ------------------------------------------------------------------------------------------------------
def recorded_to_json(entry: Recorded) -> dict[str, Json]:
    """One deployment without its address (the key it stands under). Rare fields are left out while they say nothing."""
    data: dict[str, Json] = {
        "provider": entry.provider,
        "type": entry.type,
        "id": entry.id,
        "identity": entry.identity,
        "name": entry.name,
        "spec": entry.spec,
        "computed": entry.computed,
        "depends_on": list(entry.depends_on),
        "lifecycle": _lifecycle_json(entry.lifecycle),
        "timeouts": _TIMEOUTS_JSON if entry.timeouts == DEFAULT_TIMEOUTS else asdict(entry.timeouts),
        "retain": entry.retain,
        "presence": entry.presence,
        "created": entry.created,
        "health": entry.health,
        "status": entry.status,
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
        "deployed_at": entry.deployed_at,
    }
    if entry.pending is not None:
        data["pending"] = {"verb": entry.pending.verb, "since": entry.pending.since, "cause": entry.pending.cause}
    if entry.probe is not None:
        data["probe"] = probe_to_json(entry.probe)
    if entry.trusted:
        data["trusted"] = list(entry.trusted)
    if entry.generation:
        data["generation"] = entry.generation
    return data


def provider_to_json(provider: RecordedProvider) -> dict[str, Json]:
    """One provider: `type`, `scope`, `settings` (never credentials)."""
    return {"type": provider.type, "scope": provider.scope, "settings": provider.settings}


def state_to_json(state: State) -> dict[str, Json]:
    """The whole state as plain JSON values, deployments and providers sorted by key."""
    return {
        "version": STATE_VERSION,
        "stack": state.stack,
        "lineage": state.lineage,
        "serial": state.serial,
        "digest_key": state.digest_key,
        "providers": {key: provider_to_json(state.providers[key]) for key in sorted(state.providers)},
        "outputs": state.outputs,
        "deployments": {key: recorded_to_json(state.deployments[key]) for key in sorted(state.deployments)},
    }


def encode_state(state: State) -> str:
    """The text of a state file: the same state gives the same bytes, one line a deployment, ASCII only.

    One line each keeps a `diff` of two states readable at a third of the time of full indentation. Raises TypeError
    for anything that is not JSON: a Secret can't be written by mistake.
    """
    document = state_to_json(state)
    deployments: dict[str, Json] = document.pop("deployments")
    head = [f"  {_line(key)}: {_line(value)}" for key, value in document.items()]
    body = ",\n".join(f"    {_line(address)}: {_line(entry)}" for address, entry in deployments.items())
    return "{\n" + ",\n".join(head) + ',\n  "deployments": {' + (f"\n{body}\n  " if body else "") + "}\n}\n"


def _line(value: Json) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _lifecycle_json(lifecycle: Lifecycle) -> Json:
    if lifecycle == DEFAULT_LIFECYCLE:
        return _LIFECYCLE_JSON
    return asdict(lifecycle) | {"ignore_changes": list(lifecycle.ignore_changes)}


# --- reading ------------------------------------------------------------------------------------------------------
def decode_state(text: str | bytes, *, file: str = "the state", hint: str = "") -> State:
    """Read the text of a state file. `file` and `hint` (what to do where it is damaged) go into the error.

    Raises StateError: not JSON, cut off, a field that is missing, unknown or of the wrong type, a newer `version`.
    """
    try:
        data = json.loads(text if isinstance(text, str) else text.decode(), parse_constant=_no_constant,
                          parse_float=finite)  # fmt: skip
    except (ValueError, RecursionError) as error:
        problem = "it is empty" if not text.strip() else f"it is not JSON ({_first_line(error)})"
        raise _damaged(file, problem, hint) from None
    return state_from_json(data, file=file, hint=hint)


def state_from_json(data: Json, *, file: str = "the state", hint: str = "") -> State:
    """The State of a JSON document. Raises StateError as `decode_state` does."""
    try:
        if type(data) is not dict:
            raise _BadFieldError("", f"the document is {_found(data)}, not an object")
        _check_version(data, file)
        return _state(data)
    except _BadFieldError as bad:
        problem = f"{bad.path}: {bad.problem}" if bad.path else bad.problem
        raise _damaged(file, problem, hint) from None


def recorded_from_json(address: str, data: Json, *, file: str = "the state") -> Recorded:
    """One deployment from what `recorded_to_json` gave. Raises StateError."""
    try:
        return _entry(address, data)
    except _BadFieldError as bad:
        raise _damaged(file, f"{bad.path}: {bad.problem}", "") from None


def providers_from_json(data: Json, *, file: str = "the state") -> dict[str, RecordedProvider]:
    """`providers` of a state. Raises StateError."""
    try:
        return _providers(data)
    except _BadFieldError as bad:
        raise _damaged(file, f"{bad.path}: {bad.problem}", "") from None


def _check_version(data: dict[str, Json], file: str) -> None:
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise _BadFieldError("version", f"is {_found(version)}, not a whole number from 1")
    if version > STATE_VERSION:
        raise StateError(
            Diagnostic(
                summary=f"{file} was written by a newer reconciler",
                detail=f"It has state version {version}; this release reads versions up to {STATE_VERSION}. "
                "Nothing was changed.",
                hint=f"install a release that reads state version {version}: pip install --upgrade reconciler",
            )
        )


def _state(data: dict[str, Json]) -> State:
    _only("", data, _TOP, _TOP)
    stack, lineage, serial, key = data["stack"], data["lineage"], data["serial"], data["digest_key"]
    if type(stack) is not str or not STACK.fullmatch(stack):
        raise _BadFieldError("stack", "is not a stack name ([a-z0-9-], 1 to 63 characters)")
    if type(lineage) is not str or not lineage:
        raise _BadFieldError("lineage", f"is {_found(lineage)}, not a text")
    if type(serial) is not int or serial < 0:
        raise _BadFieldError("serial", f"is {_found(serial)}, not a whole number from 0")
    if type(key) is not str or not _KEY.fullmatch(key):  # the value itself is never shown
        raise _BadFieldError("digest_key", "is not 64 hexadecimal digits")
    deployments = _typed("deployments", data["deployments"], dict)
    return State(
        stack=stack,
        lineage=lineage,
        serial=serial,
        digest_key=key,
        providers=_providers(data["providers"]),
        outputs=_typed("outputs", data["outputs"], dict),
        deployments={address: _entry(address, raw) for address, raw in deployments.items()},
    )


def _providers(data: Json) -> dict[str, RecordedProvider]:
    providers = {}
    needed = frozenset({"type", "scope"})
    for key, raw in _typed("providers", data, dict).items():
        path = f"providers.{key}"
        _only(path, _typed(path, raw, dict), needed | {"settings"}, needed)
        kind, scope = _typed(f"{path}.type", raw["type"], str), _typed(f"{path}.scope", raw["scope"], str)
        providers[key] = RecordedProvider(kind, scope, _typed(f"{path}.settings", raw.get("settings", {}), dict))
    return providers


def _entry(address: str, raw: Json) -> Recorded:
    """Written for 10,000 of them: plain checks first, the words for a complaint only when one fails."""
    path = f"deployments.{address}"
    if not ADDRESS.fullmatch(address):
        raise _BadFieldError(path, "is not an address")
    if type(raw) is not dict:
        raise _BadFieldError(path, f"is {_found(raw)}, not an object")
    if not (raw.keys() <= _ENTRY and raw.keys() >= _NEEDED):
        _only(path, raw, _ENTRY, _NEEDED)
    get = raw.get
    if list(map(type, map(get, _FIELDS))) != _FIELD_TYPES:
        _check_fields(path, raw)
    id_, retain, generation, pending = raw["id"], get("retain", False), get("generation", 0), get("pending")
    if id_ is not None and type(id_) is not str:
        raise _BadFieldError(f"{path}.id", f"is {_found(id_)}, not a string or null")
    if type(retain) is not bool:
        raise _BadFieldError(f"{path}.retain", f"is {_found(retain)}, not true or false")
    if type(generation) is not int or generation < 0:
        raise _BadFieldError(f"{path}.generation", f"is {_found(generation)}, not a whole number from 0")
    health, presence = get("health", "unknown"), get("presence", "always")
    if health not in HEALTH_KIND:
        raise _BadFieldError(f"{path}.health", "is not one of " + ", ".join(HEALTH_KIND))
    if presence != "always" and presence != "on_demand":
        raise _BadFieldError(f"{path}.presence", "is neither always nor on_demand")
    depends_on, trusted, created = get("depends_on"), get("trusted"), get("created", {})
    if created:
        _all_texts(path, "created", created.values())
    provider: str = raw["provider"]
    return Recorded(
        address=address,
        provider=provider,
        type=raw["type"] if "type" in raw else provider.partition(".")[0],
        id=id_,
        identity=raw["identity"],
        name=get("name", ""),
        spec=raw["spec"],
        computed=get("computed", {}),
        depends_on=_all_texts(path, "depends_on", depends_on) if depends_on else (),
        lifecycle=_lifecycle(path, get("lifecycle", _LIFECYCLE_JSON)),
        timeouts=_timeouts(path, get("timeouts", _TIMEOUTS_JSON)),
        retain=retain,
        presence=presence,
        probe=_probe(path, raw["probe"]) if "probe" in raw else None,
        created=created,
        health=health,
        status=get("status", ""),
        pending=None if pending is None else _pending(path, pending),
        trusted=() if trusted is None else _all_texts(path, "trusted", _typed(f"{path}.trusted", trusted, list)),
        generation=generation,
        created_at=get("created_at", ""),
        updated_at=get("updated_at", ""),
        deployed_at=get("deployed_at", ""),
    )


def _check_fields(path: str, raw: dict[str, Json]) -> None:
    for name, kind in zip(_FIELDS, _FIELD_TYPES, strict=True):
        if name in raw and type(raw[name]) is not kind:
            raise _BadFieldError(f"{path}.{name}", f"is {_found(raw[name])}, not {_NAMES[kind]}")


def _lifecycle(path: str, raw: Json) -> Lifecycle:
    if raw == _LIFECYCLE_JSON:
        return DEFAULT_LIFECYCLE
    path = f"{path}.lifecycle"
    _only(path, raw, frozenset(_LIFECYCLE_JSON), frozenset())
    flags = [_typed(f"{path}.{name}", raw.get(name, False), bool) for name in list(_LIFECYCLE_JSON)[:2]]
    ignored = _typed(f"{path}.ignore_changes", raw.get("ignore_changes", []), list)
    return Lifecycle(flags[0], flags[1], _all_texts(path, "ignore_changes", ignored))


def _timeouts(path: str, raw: Json) -> Timeouts:
    if raw == _TIMEOUTS_JSON:
        return DEFAULT_TIMEOUTS
    path = f"{path}.timeouts"
    _only(path, raw, frozenset(_TIMEOUTS_JSON), frozenset())
    for name, seconds in raw.items():
        if type(seconds) not in (int, float) or not 0 < seconds < LONGEST:
            raise _BadFieldError(f"{path}.{name}", f"is {_found(seconds)}, not a number of seconds above 0")
    return Timeouts(**{name: float(seconds) for name, seconds in raw.items()})


def _pending(path: str, raw: Json) -> Pending:
    path = f"{path}.pending"
    _only(path, _typed(path, raw, dict), frozenset({"verb", "since", "cause"}), frozenset({"verb", "since"}))
    if raw["verb"] not in _VERBS:
        raise _BadFieldError(f"{path}.verb", "is not one of " + ", ".join(sorted(_VERBS)))
    return Pending(
        raw["verb"], _typed(f"{path}.since", raw["since"], str), _typed(f"{path}.cause", raw.get("cause", ""), str)
    )


def _probe(path: str, raw: Json) -> Probe:
    try:
        return probe_from_json(raw)
    except ValueError as error:
        raise _BadFieldError(f"{path}.probe", f"can't be read: {error}") from None


# --- complaints ---------------------------------------------------------------------------------------------------
def _typed(path: str, value: Json, kind: type) -> Json:
    if type(value) is not kind:
        raise _BadFieldError(path, f"is {_found(value)}, not {_NAMES[kind]}")
    return value


def _all_texts(path: str, name: str, values: Collection[Json]) -> tuple[str, ...]:
    for value in values:
        if type(value) is not str:
            raise _BadFieldError(f"{path}.{name}", f"holds {_found(value)}, not only strings")
    return tuple(values)


def _only(path: str, raw: dict[str, Json], allowed: frozenset[str], needed: frozenset[str]) -> None:
    """No key beyond `allowed`, none of `needed` missing."""
    where = f"{path}." if path else ""
    for name in sorted(needed - raw.keys()):
        raise _BadFieldError(f"{where}{name}", "is missing")
    for name in sorted(raw.keys() - allowed):
        raise _BadFieldError(f"{where}{name}", "is a key that this version of the state does not have")


def _found(value: Json) -> str:
    """What stands there, without quoting it: a damaged file may hold anything."""
    if value is None:
        return "nothing"
    if type(value) is int and value < 0:
        return "below 0"
    return _NAMES.get(type(value), "a number")


def _damaged(file: str, problem: str, hint: str) -> StateError:
    return StateError(Diagnostic(summary=f"{file} can't be read as a state: {problem}", hint=hint))


def _first_line(error: Exception) -> str:
    text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return text.partition("\n")[0][:200]


def _no_constant(name: str) -> NoReturn:
    """`NaN` and `Infinity` are not JSON; Python would take them."""
    raise ValueError(f"{name} is not a JSON value")
