"""Attribute paths: `config.extra_args[1]`, `labels["a.b"]`. Text to parts and back; knows nothing of what they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from reconciler.model import Json

Part: TypeAlias = str | int

_PLAIN = re.compile(r"[^.\[\]\"\s]+\Z")
_TOKEN = re.compile(r"""\.?([^.\[\]"\s]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]""")


def join(parts: Iterable[Part]) -> str:
    """The dotted text of a path; keys with a dot, bracket, quote or blank stand as `["k.e"]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def split(path: str) -> tuple[Part, ...]:
    """The parts of a dotted path, `()` for the empty one. Raises ValueError where it is malformed."""
    parts: list[Part] = []
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if match is None or (bool(parts) != path.startswith(".", position) and match[1]):
            raise ValueError(f"not an attribute path: {path!r}")
        name, index, quoted = match.groups()
        parts.append(name if name is not None else int(index) if index is not None else str(json.loads(quoted)))
        position = match.end()
    return tuple(parts)


def lookup(tree: Json, parts: Sequence[Part]) -> Json:
    """The value at a path. Raises KeyError (with the parts up to the one that is missing) where there is none."""
    value = tree
    for depth, part in enumerate(parts):
        here = part in value if isinstance(value, Mapping) else isinstance(value, list) and part in range(len(value))
        if not here:
            raise KeyError(tuple(parts[: depth + 1]))
        value = value[part]
    return value
