"""What becomes of a recorded deployment that is not to stay: undeployed, or only forgotten. Pure."""

from __future__ import annotations

from reconciler.core.compare.expect import expected_of
from reconciler.core.compare.reason import status_of
from reconciler.core.planning.context import Context, Decision
from reconciler.core.planning.outside import unreadable_entry
from reconciler.model import Live, Recorded
from reconciler.plan import Action, ActionKind, Expected


def leave(ctx: Context, prior: Recorded, *, reason: str, forget: bool = False) -> Decision:
    """Undeploy what is live; forget what has gone, or what `removed: forget` leaves running.

    What we made beside a deployment (a group, a connector) outlives it: unless `retain`, it is still undeployed.
    """
    if forget:
        live = ctx.index.find(prior, ctx.schemas[prior.type]) if ctx.index.readable(prior.provider) else None
        note = "it stays as it is at the provider" if live and not live.dormant else ""
        return Decision(_action(ctx, prior, live, "forget", reason, note), live)
    if not ctx.index.readable(prior.provider):
        return Decision(_action(ctx, prior, None, "none", "it can't be read"))
    live = ctx.index.find(prior, ctx.schemas[prior.type])
    if live is None and unreadable_entry(ctx, prior) is not None:
        return Decision(_action(ctx, prior, None, "none", "it can't be read"))
    if live is not None and not live.dormant:
        note = f"it is on its way out already (status {status_of(live)})" if live.health == "deleting" else ""
        return Decision(_action(ctx, prior, live, "undeploy", reason, note), live)
    if prior.created and not prior.retain:
        note = f"deletes what was made beside it: {', '.join(sorted(prior.created))}"
        return Decision(_action(ctx, prior, live, "undeploy", f"{reason}; it is not live", note), live)
    return Decision(_action(ctx, prior, live, "forget", f"{reason}, and it has gone"), live)


def _action(ctx: Context, prior: Recorded, live: Live | None, kind: ActionKind, reason: str, note: str = "") -> Action:
    schema = ctx.schemas[prior.type]
    expected = expected_of(live, prior.spec, schema, digest_key=ctx.digest_key) if live else Expected(exists=False)
    return Action(
        address=prior.address,
        provider=prior.provider,
        action=kind,
        reason=reason,
        id=live.id if live else prior.id,
        name=(live.name if live else "") or prior.name or prior.identity,
        depends_on=prior.depends_on,
        expected=expected,
        generation=prior.generation,
        notes=(note,) if note else (),
    )
