"""Plain YAML scalars as JSON values: `no`, `on`, dates and `012` stay texts; numbers, true, false and null do not."""

from __future__ import annotations

import math
import re

from reconciler.model import Json

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z", re.ASCII)
_MAX_DIGITS = 1000  # beyond, int() and str() get slow or refuse
WORDS: dict[str, Json] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


def finite(text: str) -> float:
    """A JSON number with a fraction or an exponent. Raises ValueError for one that no double holds."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value


def scalar(text: str) -> Json:
    """The JSON value of an unquoted scalar; anything that is no JSON number or word is the text itself."""
    if text in WORDS:
        return WORDS[text]
    match = _NUMBER.match(text)
    if match is None or len(text) > _MAX_DIGITS:
        return text
    if match[1] is None and match[2] is None:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else text
