"""How values are printed: scalars, lists, maps, what is sensitive or not known yet, money and time.

Pure. Results are one neutral line each; a value is never shown as another type than it has (`"4"` is not `4`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.model import Json, Secret, Unknown
from reconciler.plan import Change, Cost, CostTotal
from reconciler.render.safe import cut, line, plain

UNKNOWN = "(known after apply)"
SENSITIVE = "(sensitive)"
NOT_SET = "(not set)"
LIMIT = 160  # characters of one value; JSON output always has all of it
_KEPT = 24  # characters of a common beginning that are kept where two long values differ later


def value(item: Json, limit: int = LIMIT) -> str:
    """A value tree as one line, cut with a count."""
    text = _text(item, limit)
    return plain(text if isinstance(item, str) else cut(text, limit))


def _text(item: Json, limit: int) -> str:
    """`item` as compact text. Stops soon after `limit` characters where it is a text, never by walking megabytes."""
    if item is None:
        return "null"
    if isinstance(item, Secret):
        return SENSITIVE
    if isinstance(item, Unknown):
        return SENSITIVE if item.sensitive else UNKNOWN
    if isinstance(item, str):
        return _quoted(item, limit)
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, (int, float)):
        return number(item)
    if isinstance(item, Mapping):
        if len(item) == 1 and next(iter(item)) in ("$digest", "$ref", "$template"):
            return SENSITIVE
        return "{" + ", ".join(f"{_key(k)}: {_text(v, limit)}" for k, v in _some(item.items(), limit)) + "}"
    return "[" + ", ".join(_text(v, limit) for v in _some(item, limit)) + "]"


def _some(items: Iterable[Json], limit: int) -> Iterator[Json]:
    """Enough items to fill `limit` characters: each prints as one character and a comma at least."""
    for position, item in enumerate(items):
        if position > limit:
            return
        yield item


def _quoted(text: str, limit: int) -> str:
    rest = len(text) - limit
    if rest > 0:
        return f'{json.dumps(text[:limit], ensure_ascii=False)[:-1]}…" ({rest} more characters)'
    return json.dumps(text, ensure_ascii=False)


def _key(key: Json) -> str:
    text = str(key)
    return text if text.replace("_", "").replace("-", "").isalnum() else json.dumps(text, ensure_ascii=False)


def number(item: float) -> str:
    """A number as people write it: `2.0` is not `2`, no exponent for what fits."""
    return repr(item) if isinstance(item, float) else str(item)


def pair(before: Json, after: Json, limit: int = LIMIT) -> tuple[str, str]:
    """Two different values, so that the difference is seen even where both are long and begin alike."""
    left, right = _text(before, 10**9), _text(after, 10**9)
    if max(len(left), len(right)) <= limit:
        return plain(left), plain(right)
    same = _common(left, right)
    if same <= limit // 2:
        return line(left, limit), line(right, limit)
    skipped = same - _KEPT
    mark = f"(the first {skipped} characters are the same) …"
    return tuple(mark + line(text[skipped:], limit) for text in (left, right))  # type: ignore[return-value]  # two texts in, two out


def _common(left: str, right: str) -> int:
    """Length of the common beginning, by halving: comparing slices is quick, walking characters is not."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True)
class Shown:
    """One change as text. `before` is None where there is nothing to compare with (a deploy)."""

    path: str
    before: str | None
    after: str
    forces_replacement: bool
    note: str


def change(item: Change, *, fresh: bool = False) -> Shown:
    """A change as text; `fresh` where the deployment does not exist before, so that `before` says nothing."""
    before: str | None
    if item.sensitive:
        before, after = SENSITIVE, UNKNOWN if item.unknown else SENSITIVE
    elif item.unknown:
        before, after = _present(item.before), UNKNOWN
    elif item.before is None or item.after is None:
        before, after = _present(item.before), _present(item.after)
    else:
        before, after = pair(item.before, item.after)
    if fresh:
        before = None
    return Shown(line(item.path), before, after, item.forces_replacement, line(item.note))


def _present(item: Json) -> str:
    return NOT_SET if item is None else value(item)


# --- money ------------------------------------------------------------------------------------------------------


def amount(sum_: float, currency: str) -> str:
    """`2.50 USD/h`; four digits where two would hide something."""
    digits = 2 if round(sum_, 2) == round(sum_, 4) else 4
    return f"{sum_:.{digits}f} {line(currency, 12)}/h"


def cost(item: Cost) -> str:
    """What one deployment costs: `2.50 → 10.00 USD/h`, `unknown` where no price is known."""
    if item.before == item.after:
        return "unknown" if item.after is None else amount(item.after, item.currency)
    before = "unknown" if item.before is None else amount(item.before, item.currency).split(" ")[0]
    after = f"unknown ({line(item.currency, 12)}/h)" if item.after is None else amount(item.after, item.currency)
    return f"{before} → {after}"


def total(sum_: float, currency: str, unknown: int) -> str:
    """A sum that says what it lacks: `≥ 10.00 USD/h, 2 unknown`; never a zero made of unknown prices."""
    if not unknown:
        return amount(sum_, currency) if currency else "nothing"
    if not sum_:
        return f"{unknown} unknown"
    return f"≥ {amount(sum_, currency)}, {unknown} unknown"


def totals(costs: Sequence[CostTotal]) -> list[str]:
    """One line a currency: `2.50 USD/h → 10.00 USD/h (+7.50)`; the difference only where both sums are complete."""
    out = []
    for item in costs:
        before = total(item.before, item.currency, item.unknown_before)
        after = total(item.after, item.currency, item.unknown_after)
        if before == after:
            out.append(after)
            continue
        complete = not item.unknown_before and not item.unknown_after
        change_ = amount(abs(item.after - item.before), item.currency).split(" ")[0]
        sign = "+" if item.after >= item.before else "-"
        out.append(f"{before} → {after}" + (f" ({sign}{change_})" if complete else ""))
    return out


# --- time and counts --------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """`0.4s`, `7s`, `1m 20s`, `2h 5m`, `3d 4h`: at most two units."""
    if seconds < 0.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return _two(whole // 60, "m", whole % 60, "s")
    if whole < 86400:
        return _two(whole // 3600, "h", whole % 3600 // 60, "m")
    return _two(whole // 86400, "d", whole % 86400 // 3600, "h")


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit} {second}{smaller}" if second else f"{first}{unit}"


def count(number_: int, singular: str, plural: str = "") -> str:
    """`1 deployment`, `2 deployments`."""
    return f"{number_} {singular if number_ == 1 else plural or singular + 's'}"


def listed(names: Sequence[str], limit: int = 8) -> str:
    """Untrusted names as one list: `a, b and 3 more`."""
    shown = ", ".join(line(name, 100) for name in names[:limit])
    rest = len(names) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown
