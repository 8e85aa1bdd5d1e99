"""Durations as people write them (`30m`, `1h30m`, `45s`, `500ms`) to seconds and back. No clock."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?\Z", re.ASCII)
EXAMPLES = "30m, 1h30m, 45s"


def seconds(value: str | float) -> float:
    """Seconds of a duration; a bare number counts as seconds. Raises ValueError for anything else."""
    if isinstance(value, bool):
        raise ValueError("not a duration")
    if isinstance(value, int | float):
        if not 0 <= value < 1e9:
            raise ValueError("not a duration")
        return float(value)
    match = _DURATION.match(value)
    if match is None or len(value) > 32:
        raise ValueError(f"not a duration: {value!r}")
    hours, minutes, secs, millis = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + secs + millis / 1000


def text(value: float) -> str:
    """Seconds as the shortest of these forms, `0s` for nothing."""
    whole, fraction = divmod(round(value * 1000), 1000)
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (secs, "s"), (fraction, "ms")) if count]
    return "".join(parts) or "0s"
