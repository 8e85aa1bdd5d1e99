"""`--refresh-only`: write down what is live, ask no provider for anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.compare.absence import absence
from reconciler.core.compare.diff import has_members
from reconciler.core.compare.drift import Drifted, drift_of
from reconciler.core.compare.expect import expected_of, managed
from reconciler.core.compare.state_changes import SENSITIVE
from reconciler.core.planning.context import Context, Decision
from reconciler.core.planning.outside import unreadable_entry
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.tree import step
from reconciler.model import Desired, Json, Live, Recorded
from reconciler.plan import Action, ActionKind, Expected, StateChange


def accept(ctx: Context, entry: Recorded) -> tuple[Decision, tuple[StateChange, ...], Drifted]:
    """What a refresh makes of one recorded deployment: its live values accepted, or forgotten where it has gone.

    What is gone but left something beside it that we made stays in the state: only an undeploy can delete that.
    """
    if not ctx.index.readable(entry.provider) or unreadable_entry(ctx, entry) is not None:
        return Decision(_action(ctx, entry, None, "none", "it can't be read")), (), Drifted()
    schema = ctx.schemas[entry.type]
    live = ctx.index.find(entry, schema)
    found = drift_of(entry, live, schema, now=ctx.now, digest_key=ctx.digest_key)
    if live is None or live.dormant:
        judged = absence(entry, live, schema, ctx.now, entry.presence)
        if judged.in_sync or entry.created or entry.pending is not None:
            note = judged.text or "it has gone; what was made beside it stays in the state until it is undeployed"
            return Decision(_action(ctx, entry, live, "none", "refresh only", note), live), (), found
        return Decision(_action(ctx, entry, live, "forget", "it has gone"), live), (), found
    changes = tuple(
        StateChange(
            entry.address, "accept", row.path,
            SENSITIVE if row.sensitive else row.expected, SENSITIVE if row.sensitive else row.live,
        )
        for row in found.rows
        if row.kind == "changed" and row.path != "status"
    )  # fmt: skip
    return Decision(_action(ctx, entry, live, "none", "refresh only"), live, found.ignored), changes, found


def _action(ctx: Context, entry: Recorded, live: Live | None, kind: ActionKind, reason: str, note: str = "") -> Action:
    spec = entry.spec
    expected = Expected(exists=False)
    if live is not None:
        schema = ctx.schemas[entry.type]
        ignore = entry.lifecycle.ignore_changes
        expected = expected_of(live, entry.spec, schema, digest_key=ctx.digest_key, ignore=ignore)
        seen = managed(live, entry.spec, schema, digest_key=ctx.digest_key, ignore=ignore)
        spec = _merged(entry.spec, seen, schema)
    return Action(
        address=entry.address,
        provider=entry.provider,
        action=kind,
        reason=reason,
        id=live.id if live else entry.id,
        name=(live.name if live else "") or entry.name,
        depends_on=entry.depends_on,
        desired=_as_declared(entry, spec),
        expected=expected,
        generation=entry.generation,
        notes=(note,) if note else (),
    )


def _as_declared(entry: Recorded, spec: Mapping[str, Json]) -> Desired:
    """The record as if the file said so, so that an apply writes it down as it writes anything that is as desired."""
    return Desired(
        address=entry.address,
        provider=entry.provider,
        type=entry.type,
        spec=spec,
        depends_on=entry.depends_on,
        lifecycle=entry.lifecycle,
        timeouts=entry.timeouts,
        presence=entry.presence,
        probe=entry.probe,
    )


def _merged(
    recorded: Mapping[str, Json], live: Mapping[str, Json], schema: ProviderSchema, path: str = ""
) -> dict[str, Json]:
    """Recorded values, live ones over them; members of an object that the provider does not return stay."""
    result = dict(recorded)
    for key, value in live.items():
        old, here = result.get(key), step(path, key)
        inner = isinstance(old, dict) and isinstance(value, dict) and has_members(schema, here)
        result[key] = _merged(old, value, schema, here) if inner and isinstance(old, dict) else value
    return result
