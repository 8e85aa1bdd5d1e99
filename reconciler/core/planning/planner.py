"""Desired + state + live = plan: one pure function, the same bytes for the same input.

Decides and explains; sends and writes nothing. What one deployment needs stands in core/planning/decide.py and
core/planning/leave.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.compare.drift import drift_of
from reconciler.core.compare.live_index import LiveIndex
from reconciler.core.compare.state_changes import of_entry
from reconciler.core.compare.unchanged import unchanged
from reconciler.core.planning.assemble import finish
from reconciler.core.planning.collide import collisions
from reconciler.core.planning.context import Context, Decision, context_of
from reconciler.core.planning.decide import decide
from reconciler.core.planning.draft import Draft
from reconciler.core.planning.findings import Finding
from reconciler.core.planning.leave import leave
from reconciler.core.planning.outside import unreadable_entry
from reconciler.core.planning.prepare import Prepared, prepare
from reconciler.core.planning.refresh import accept
from reconciler.core.planning.resolve import Outlook, Resolver, outlook_of
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.bulk import collector_paused
from reconciler.core.values.digest import Sealer
from reconciler.core.values.graph import CycleError, order
from reconciler.core.values.references import Lookup
from reconciler.diagnostics import Diagnostic, PlanConflictError
from reconciler.model import ProviderConfig, Recorded, Refreshed, Stack, State
from reconciler.plan import Plan, PlanOptions
from reconciler.provider import ProviderType


def plan(
    stack: Stack | None,
    state: State | None,
    refreshed: Refreshed,
    *,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    options: PlanOptions,
    now: str,
    recovered: Sequence[Finding] = (),
    secrets: Lookup | None = None,
    providers: Mapping[str, ProviderConfig] | None = None,
    sandbox: bool = False,
) -> Plan:
    """What an apply would do, with reasons, costs, drift, and what refuses it.

    `stack` may be None only with `options.destroy` (then `providers` holds the configured ones). `now` is RFC 3339 and
    used for texts and TTLs alone. `recovered` is what the engine found of the steps that a killed run left uncertain.
    `secrets` looks up `env` and `var` references that stand in one text with a `deployments` reference.

    A provider or deployment that could not be read is in `Plan.unreadable`, and what refuses the plan in
    `Plan.refused`: such a plan is to be shown, not applied. Raises UsageError for a pattern that matches nothing and
    PlanConflictError, with every diagnostic, where no plan can be made.
    """
    with collector_paused():
        index = LiveIndex(refreshed)
        given = prepare(stack, state, schemas=schemas, options=options, recovered=recovered, providers=providers)
        draft = Draft(given, sandbox=sandbox)
        outlooks: dict[str, Outlook] = {}
        ctx = context_of(given, index, schemas, types, now, Resolver(outlooks.get, secrets))
        if not given.errors:
            if options.refresh_only:
                _refresh(ctx, given, draft)
            else:
                _declared(ctx, given, draft, outlooks)
                _undeclared(ctx, given, draft, outlooks)
                draft.errors += collisions(ctx, draft.actions, {error.address for error in draft.errors})
        if draft.errors:
            raise PlanConflictError(*draft.errors)
        return finish(ctx, given, draft)


def _refresh(ctx: Context, given: Prepared, draft: Draft) -> None:
    """`--refresh-only`: every selected deployment that the state holds."""
    for address in sorted(given.chosen):
        decision, changes, drifted = accept(ctx, given.recorded[address])
        draft.take(decision)
        draft.state_changes += changes
        draft.take_drift(drifted)


def _declared(ctx: Context, given: Prepared, draft: Draft, outlooks: dict[str, Outlook]) -> None:
    """Every selected declared deployment, dependencies first, so that references meet decisions."""
    declared = {} if given.options.destroy or given.stack is None else given.stack.deployments
    chosen = given.chosen
    edges = {address: desired.depends_on for address, desired in declared.items() if address in chosen}
    try:
        addresses = order(edges) if any(edges.values()) else tuple(sorted(edges))
    except CycleError as error:  # the file is checked when it is loaded: reached only through a hand-made Stack
        raise PlanConflictError(Diagnostic(f"dependencies form a circle: {error}")) from None
    sealer = Sealer(ctx.digest_key) if ctx.digest_key is not None else None
    quoted, recorded = ctx.quoted, ctx.recorded
    for address in addresses:
        desired = declared[address]
        prior = recorded.get(address)
        if prior is not None and address not in quoted and address not in ctx.replace:
            price = draft.tariff(ctx, desired.provider, desired.type)
            action = unchanged(desired, prior, ctx.index.ids(desired.provider), price, sealer)
            if action is not None:
                draft.actions.append(action)
                draft.short.add(address)
                continue
        decision = decide(ctx, desired, prior)
        draft.take(decision)
        outlooks[address] = _outlook(ctx, decision, prior, desired.type)
        if prior is not None:
            _look_back(ctx, draft, decision, prior)


def _outlook(ctx: Context, decision: Decision, prior: Recorded | None, type_: str) -> Outlook:
    restartable = ctx.types[type_].capabilities.restartable
    return outlook_of(decision.action, decision.live, prior, ctx.schemas[type_], restartable=restartable)


def _look_back(ctx: Context, draft: Draft, decision: Decision, prior: Recorded) -> None:
    """Drift and state changes of a recorded deployment, where it could be read."""
    if not ctx.index.readable(prior.provider) or unreadable_entry(ctx, prior) is not None:
        return
    schema = ctx.schemas[prior.type]
    live = decision.live if decision.live is not None else ctx.index.find(prior, schema)
    draft.take_drift(drift_of(prior, live, schema, now=ctx.now, digest_key=ctx.digest_key))
    if ctx.digest_key is not None:
        draft.state_changes += of_entry(decision.action, prior, live, schema, ctx.digest_key)


def _undeclared(ctx: Context, given: Prepared, draft: Draft, outlooks: dict[str, Outlook]) -> None:
    """Every selected deployment that the state holds and the file does not (with `--destroy`: all of them)."""
    declared = {} if given.options.destroy or given.stack is None else given.stack.deployments
    for address in sorted(given.recorded):
        if address not in given.chosen or address in declared:
            continue
        prior = given.recorded[address]
        removed = given.removed.get(address)
        reason = "destroy" if given.options.destroy else f"removed: {removed}" if removed else "no longer declared"
        decision = leave(ctx, prior, reason=reason, forget=removed == "forget")
        draft.take(decision)
        outlooks[address] = _outlook(ctx, decision, prior, prior.type)
        if removed != "forget":
            _look_back(ctx, draft, decision, prior)
