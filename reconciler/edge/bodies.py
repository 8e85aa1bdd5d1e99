"""The JSON of an answer from a server that is not trusted: what no later step could carry is refused here, once.

Bytes in, value out: no HTTP, no disk.
"""

from __future__ import annotations

import json
import re

from reconciler.core.values.scalars import finite
from reconciler.model import Json

DEEPEST = 100  # levels; beyond, whoever walks the value runs out of stack
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TOO_DEEP = f"is nested deeper than {DEEPEST} levels"
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")


def parse(body: bytes) -> tuple[Json, str]:
    """The JSON of a body (None for an empty one) and, where it can't be used, what is wrong with it.

    NaN and Infinity are not JSON. Half of a surrogate pair, which nothing could write down or send back, becomes
    U+FFFD.
    """
    if not body:
        return None, ""
    try:
        value = _DECODER.decode(body.decode("utf-8-sig"))
    except ValueError:
        return None, "is not JSON"
    except RecursionError:
        return None, _TOO_DEEP
    if _may_be_deep(body) and _is_deep(value):
        return None, _TOO_DEEP
    return (_whole(value) if _ESCAPED_HALF.search(body) else value), ""


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is not JSON")


# without NaN and Infinity, which Python would take, however they are written
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=finite)


def _may_be_deep(body: bytes) -> bool:
    """Whether there may be too many levels, without a loop over characters: each turn takes the innermost away.

    Brackets within texts may stay behind; then only a walk can tell.
    """
    left = body.translate(None, _NOT_BRACKETS)
    for _ in range(DEEPEST):
        fewer = left.replace(b"[]", b"").replace(b"{}", b"")
        if not fewer:
            return False
        if len(left) - len(fewer) < len(left) // 10:  # nothing goes any more, or it would go on for long
            return True
        left = fewer
    return True


def _is_deep(value: Json) -> bool:
    """The same for certain, level by level."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def _whole(value: Json) -> Json:
    """The value with U+FFFD for every half of a surrogate pair, in keys too. Its depth is bounded before."""
    if isinstance(value, str):
        return value if value.isascii() else _HALF.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value
