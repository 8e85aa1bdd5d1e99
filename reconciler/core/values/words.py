"""Small pieces of every complaint: how a found value is shown, what was expected, which spelling was probably meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from reconciler.model import Json, Secret, Unknown

_KINDS = {bool: "a boolean", int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
_TYPE_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing (null)",
}
_LONGEST = 60


def show(value: Json) -> str:
    """A found value for a message: short, never a secret."""
    if isinstance(value, Secret):
        return "a sensitive value"
    if isinstance(value, Unknown):
        return value.template
    if value is None:
        return "nothing (null)"
    if isinstance(value, list | dict):
        count = len(value)
        return f"{_KINDS[type(value)]} of {count}" if count else f"an empty {_KINDS[type(value)].split()[-1]}"
    text = json.dumps(value, ensure_ascii=False)
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f"the text {short}" if isinstance(value, str) else short


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The spelling that was probably meant, or None; case, `-` and `_` count for nothing."""
    options = sorted(set(names))
    plain = {_squeeze(option): option for option in reversed(options)}
    if _squeeze(name) in plain:
        return plain[_squeeze(name)]
    found = get_close_matches(name, options, 1, 0.6) if len(name) <= 100 else []
    if not found:
        found = [plain[match] for match in get_close_matches(_squeeze(name)[:100], list(plain), 1, 0.7)]
    return found[0] if found else None


def did_you_mean(name: str, names: Iterable[str], *, what: str = "known here") -> str:
    """A hint: the nearest spelling, else the valid names (the first of them where they are many)."""
    options = sorted(set(names))
    near = nearest(name, options)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"{what}: {listing(options)}" if options else ""


def listing(names: Iterable[str], most: int = 12) -> str:
    """Names for a sentence, cut where they are many."""
    options = list(names)
    rest = len(options) - most
    return ", ".join(f"`{name}`" for name in options[:most]) + (f" and {rest} more" if rest > 0 else "")


def describe(schema: Json) -> str:
    """What a schema expects of one value, in words."""
    if not isinstance(schema, Mapping):
        return "a value"
    if "x-expected" in schema:
        return str(schema["x-expected"])
    if "const" in schema:
        return show(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema and "type" not in schema:
            return " or ".join(dict.fromkeys(describe(part) for part in schema[word]))
    names = schema.get("type", [])
    words = [_TYPE_WORDS.get(name, name) for name in ([names] if isinstance(names, str) else names)]
    text = " or ".join(words) or "a value"
    return text + "".join(_limits(schema))


def _limits(schema: Mapping[str, Json]) -> Iterable[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f" from {low} to {high}"
    elif low is not None:
        yield f", {low} or more"
    elif high is not None:
        yield f", {high} or less"
    if "exclusiveMinimum" in schema:
        yield f" greater than {schema['exclusiveMinimum']}"
    if "exclusiveMaximum" in schema:
        yield f" less than {schema['exclusiveMaximum']}"
    if "multipleOf" in schema:
        yield f", a multiple of {schema['multipleOf']}"
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if shortest is not None and longest is not None:
        yield f" of {shortest} to {longest} characters"
    elif longest is not None:
        yield f" of at most {longest} characters"
    elif shortest == 1:
        yield " that is not empty"
    elif shortest:
        yield f" of at least {shortest} characters"
    if "pattern" in schema:
        yield f" that matches {schema['pattern']}"


def first_sentence(text: str) -> str:
    """The first sentence of a schema's description, without its full stop."""
    return re.split(r"(?<=[^.])\.(?:\s|\Z)", text.strip(), maxsplit=1)[0]


def _squeeze(name: str) -> str:
    return re.sub(r"[-_.\s]", "", name).lower()
