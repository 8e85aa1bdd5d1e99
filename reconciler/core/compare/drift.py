"""Drift: live against prior state, managed attributes alone. Pure.

Three kinds of rows: `changed` and `missing` are drift; `not_compared` is a note: what is in transition, what a partial
apply left behind until its timeout, what is gone by the provider's own rule, what no provider returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.core.compare.absence import absence, elapsed
from reconciler.core.compare.diff import differences, pairs, usable
from reconciler.core.compare.live_index import LiveIndex
from reconciler.core.compare.reason import status_of, with_why
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.tree import ABSENT, within
from reconciler.model import HEALTH_KIND, Health, Live, Recorded
from reconciler.plan import Drift

_STEADY: frozenset[Health] = frozenset(("ready", "degraded", "stopped"))


@dataclass(frozen=True, slots=True)
class Drifted:
    """What one deployment shows; `ignored` counts differences that `ignore_changes` covers."""

    rows: tuple[Drift, ...] = ()
    ignored: int = 0


def is_drift(row: Drift) -> bool:
    """Whether a row makes `drift` exit 2 (and counts as drifted), rather than being a note."""
    return row.kind in ("changed", "missing")


def drift_of(
    prior: Recorded, live: Live | None, schema: ProviderSchema, *, now: str, digest_key: str | None
) -> Drifted:
    """The drift of one recorded deployment; `live` is None only where the provider says that it is gone."""
    if live is None or live.dormant:
        return Drifted((_missing(prior, live, schema, now),))
    status = _status(prior, live, now)
    if HEALTH_KIND[live.health] in ("in", "out"):
        return Drifted((status,) if status else ())
    rows, ignored = _attributes(prior, live, schema, digest_key)
    if _is_open(prior, now):
        rows = [_as_note(row, prior) for row in rows]
    return Drifted(((status,) if status else ()) + tuple(rows), ignored)


def _expected(prior: Recorded) -> Health:
    """The health to expect of what the last apply left: ready, unless it ended with something else."""
    if prior.pending is not None:
        return "ready"
    return prior.health if HEALTH_KIND[prior.health] in ("steady", "failed") else "ready"


def _is_open(prior: Recorded, now: str) -> bool:
    """Whether a partial apply left this pending or failed, and its action's timeout has not passed since."""
    if prior.pending is None:
        return False
    since = elapsed(prior.pending.since, now)
    return since is not None and since.total_seconds() <= getattr(prior.timeouts, prior.pending.verb)


def _cause(prior: Recorded) -> str:
    if prior.pending is None:
        return ""
    return with_why(f"{prior.pending.verb} not finished since {prior.pending.since}", prior.pending.cause)


def _as_note(row: Drift, prior: Recorded) -> Drift:
    return replace(row, kind="not_compared", note="; ".join(filter(None, (row.note, _cause(prior)))))


def _missing(prior: Recorded, dormant: Live | None, schema: ProviderSchema, now: str) -> Drift:
    judged = absence(prior, dormant, schema, now, prior.presence)
    row = Drift(prior.address, "missing", "status", _expected(prior), None, note=judged.text)
    if judged.in_sync:
        return replace(row, kind="not_compared")
    return _as_note(row, prior) if _is_open(prior, now) else row


def _status(prior: Recorded, live: Live, now: str) -> Drift | None:
    expected = _expected(prior)
    kind = HEALTH_KIND[live.health]
    late = prior.pending is not None and not _is_open(prior, now)
    if live.health == "ready" or (live.health == expected and not late):
        return None
    note = with_why(f"status {status_of(live)}", live.reason)
    row = Drift(prior.address, "changed", "status", expected, live.health, note=note)
    if _is_open(prior, now):
        return _as_note(row, prior)
    if kind in ("in", "out") and not late:
        return replace(row, kind="not_compared", note=f"in transition ({note})")
    return replace(row, note=f"{note}; {_cause(prior)}") if late else row


def _attributes(prior: Recorded, live: Live, schema: ProviderSchema, digest_key: str | None) -> tuple[list[Drift], int]:
    rows: list[Drift] = []
    ignored = 0
    for pair in pairs(schema, prior.spec, live.attributes, {}):
        if pair.live is ABSENT or pair.attribute.change in ("record", "never") or not usable(pair.attribute, live):
            continue
        for found in differences(pair.path, pair.wanted, pair.live, digest_key, is_set=pair.attribute.is_set):
            if any(within(found.path, path) for path in prior.lifecycle.ignore_changes):
                ignored += 1
            else:
                rows.append(
                    Drift(prior.address, "changed", found.path, found.left, found.right, sensitive=found.sensitive)
                )
    return rows, ignored


def not_compared(
    recorded: Iterable[Recorded], index: LiveIndex, schemas: Mapping[str, ProviderSchema]
) -> tuple[Drift, ...]:
    """One row a provider for the attributes that it does not return, so that drift in them can't be seen."""
    silent: dict[str, dict[str, int]] = {}
    for entry in recorded:
        schema = schemas.get(entry.type)
        live = index.find(entry, schema) if schema else None
        if schema is None or live is None or live.dormant:
            continue
        names = silent.setdefault(entry.provider, {})
        for name, value in entry.spec.items():
            attribute = schema.attribute(name)
            if value is None or attribute.change in ("record", "never"):
                continue
            if attribute.write_only or name not in live.attributes:
                names[name] = names.get(name, 0) + 1
    return tuple(
        Drift(
            key, "not_compared", ", ".join(sorted(names)), None, None,
            note=f"not returned by the provider, for {_count(max(names.values()))}",
        )
        for key, names in sorted(silent.items())
        if names
    )  # fmt: skip


def _count(number: int) -> str:
    return f"{number} deployment" if number == 1 else f"up to {number} deployments"
