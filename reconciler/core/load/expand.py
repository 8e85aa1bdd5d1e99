"""What a declared deployment is made from: its instances (`for_each`), the defaults merged under it, its own words.

Pure functions on value trees; complaints go to the caller's collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.interpolation import Each
from reconciler.core.values.sensitive import hides_secret
from reconciler.core.values.words import show
from reconciler.diagnostics import Span
from reconciler.model import Json, Secret, Unknown

_SETTLED = frozenset((dict, list, float, Secret))  # kinds of values that `settle` may change
_REFUSED_IN_KEYS = "\"'[]\\"
PLAIN_VARIABLE = "use a plain variable for what is no secret: ${var.NAME}, set by RECONCILER_VAR_NAME"


def instances(value: Json, key: str, span: Span, complaints: Complaints) -> list[Each]:
    """The instances that a `for_each` value asks for, in its order; none after a complaint."""
    if hides_secret(value):
        complaints.error("`for_each` is sensitive, and its keys are addresses", span, address=key, hint=PLAIN_VARIABLE)
        return []
    if isinstance(value, Unknown) or (isinstance(value, dict) and any(_open(member) for member in value.values())):
        return []  # complained about where it was read
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            bad = next(item for item in value if not isinstance(item, str))
            complaints.error(
                "`for_each` takes a mapping or a list of texts",
                span,
                address=key,
                detail=f"found {show(bad)} in the list",
            )
            return []
        made = [Each(item, item) for item in value]
    elif isinstance(value, dict):
        made = [Each(name, member) for name, member in value.items()]
    else:
        complaints.error(
            "`for_each` takes a mapping or a list of texts", span, address=key, detail=f"found {show(value)}"
        )
        return []
    return [each for each in made if _good_key(each, made, key, span, complaints)]


def _open(value: Json) -> bool:
    if isinstance(value, dict | list):
        return any(_open(member) for member in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, Unknown)


def _good_key(each: Each, made: list[Each], key: str, span: Span, complaints: Complaints) -> bool:
    bad = [mark for mark in each.key if mark in _REFUSED_IN_KEYS or not mark.isprintable()]
    if not each.key or bad or len(each.key) > 200:
        complaints.error(
            f"the key {show(each.key).removeprefix('the text ')} of `for_each` can't be part of an address",
            span,
            address=key,
            detail="expected 1 to 200 characters without quotes, brackets, backslashes or control characters",
        )
        return False
    first = next(other for other in made if other.key == each.key)
    if first is not each:
        complaints.error(f"`for_each` names {show(each.key).removeprefix('the text ')} twice", span, address=key)
        return False
    return True


def deep_merge(below: Mapping[str, Json], above: Mapping[str, Json]) -> dict[str, Json]:
    """`above` over `below`: mappings merge key by key, everything else is replaced. Neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = deep_merge(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return merged


def settle(value: Json, schema: Json, properties: Mapping[str, Any] | None = None) -> Json:
    """A spec as its schema means it: null attributes left out, defaults of nested objects filled in, `2.0` as 2.

    Only declared attributes are touched; a free-form mapping keeps its nulls.
    """
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, float) and value.is_integer() and "integer" in _type_names(schema):
        return value if "number" in _type_names(schema) else int(value)
    if isinstance(value, Secret):
        inner = settle(value.value, schema)
        return value if inner is value.value else Secret(inner, value.template)
    declared = schema.get("properties") if properties is None else properties
    if isinstance(value, dict) and isinstance(declared, Mapping):
        return _settle_members(value, declared)
    items = schema.get("items")
    if isinstance(value, list) and needs_settling(items):
        return [settle(item, items) for item in value]
    return value


def _settle_members(value: dict[str, Json], declared: Mapping[str, Any]) -> dict[str, Json]:
    settled: dict[str, Json] = {}
    for name, member in value.items():
        part = declared.get(name, {})
        if member is None and name in declared and "null" not in _type_names(part):
            continue
        settled[name] = settle(member, part) if member.__class__ in _SETTLED else member
    for name, part in declared.items():
        if name not in settled and isinstance(part, dict) and "default" in part:
            settled[name] = part["default"]
    return settled


def _type_names(schema: Json) -> tuple[str, ...]:
    names = schema.get("type", ()) if isinstance(schema, Mapping) else ()
    return (names,) if isinstance(names, str) else tuple(names)


def needs_settling(schema: Json, depth: int = 0) -> bool:
    """Whether `settle` could change a value of that schema."""
    if not isinstance(schema, Mapping) or depth > 12:
        return False
    return (
        bool(schema.get("properties"))
        or "integer" in _type_names(schema)
        or needs_settling(schema.get("items"), depth + 1)
    )
