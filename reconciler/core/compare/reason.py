"""Why: the one-line reasons and notes of a plan. Pure text; values that are sensitive never get here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.core.values.digest import canonical
from reconciler.model import Json, Live
from reconciler.plan import Change

_LONGEST = 40


def of_value(value: Json) -> str | None:
    """A value that is short enough to stand in a sentence, else None."""
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= _LONGEST and text.isprintable() else None


def of_change(change: Change) -> str:
    """`replicas 2 → 4`, `config.env.TOKEN changes`, `rpm_limit is no longer set`."""
    if change.sensitive:
        return f"{change.path} changes (sensitive)"
    before, after = of_value(change.before), of_value(change.after)
    if change.after is None:
        return f"{change.path} is no longer set"
    if after is None:
        return f"{change.path} changes"
    if change.before is None:
        return f"{change.path} {after} is new"
    return f"{change.path} changes" if before is None else f"{change.path} {before} → {after}"


def of_changes(changes: Sequence[Change], templates: Iterable[str]) -> list[str]:
    """The reasons behind a scale, update or replace: what forces a replacement first, then known ones, then unknown."""
    known = [change for change in changes if not change.unknown]
    forcing = [change.path for change in known if change.forces_replacement]
    reasons = [f"{path} can't be changed in place" for path in forcing]
    if not forcing:
        reasons += [of_change(change) for change in known]
    templates = sorted({*templates})
    if templates and not forcing:
        reasons.append(f"may change: {', '.join(templates)}")
    return reasons


def join(reasons: Sequence[str], most: int = 4) -> str:
    """Several reasons in one line, cut where they are many."""
    rest = len(reasons) - most
    return "; ".join(reasons[:most]) + (f"; and {rest} more" if rest > 0 else "")


def status_of(live: Live) -> str:
    """The provider's own word, else ours."""
    return live.status or live.health


def with_why(text: str, why: str) -> str:
    """A statement with the provider's explanation behind it, where there is one."""
    return f"{text} ({why})" if why else text
