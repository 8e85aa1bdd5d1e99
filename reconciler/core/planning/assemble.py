"""From decisions to a plan: order, costs, outputs, provider settings, guards. Pure; decides no deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.core.compare import cost
from reconciler.core.compare.state_changes import of_outputs, of_provider
from reconciler.core.planning.context import Context
from reconciler.core.planning.draft import Draft
from reconciler.core.planning.findings import notes
from reconciler.core.planning.guard import Guarded, refusals
from reconciler.core.planning.order import run_after, topological
from reconciler.core.planning.outside import unmanaged, unreadable
from reconciler.core.planning.prepare import Prepared
from reconciler.core.planning.resolve import quoted
from reconciler.core.values.references import BadReferenceError
from reconciler.diagnostics import Diagnostic, PlanConflictError
from reconciler.model import Json, Recorded, RecordedProvider
from reconciler.plan import Action, Plan, StateChange


def finish(ctx: Context, given: Prepared, draft: Draft) -> Plan:
    """Everything about the plan as a whole."""
    table = {action.address: action for action in draft.actions}
    actions = _costed(
        ctx, given, draft, [table[name] for name in topological(run_after(draft.actions, given.recorded))]
    )
    totals = cost.totals(draft.money)
    outputs = _outputs(ctx, given)
    touched = _touched(given, actions)
    state_changes = (*draft.state_changes, *_of_stack(given, outputs, touched))
    left_out = _left_out(ctx, given, draft)
    all_costs = cost.totals((*draft.money, *left_out)) if left_out else totals
    guarded = Guarded(
        given.stack, given.state, given.recorded, actions, all_costs, ctx.index, given.configs, given.options
    )
    return Plan(
        stack=given.name,
        lineage=given.state.lineage if given.state else None,
        serial=given.state.serial if given.state else 0,
        actions=tuple(actions),
        state_changes=tuple(sorted(state_changes, key=lambda change: (change.address, change.kind, change.path))),
        drift=tuple(sorted(draft.drift, key=lambda row: (row.address, row.path))),
        unmanaged=unmanaged(ctx, given, draft.lives),
        unreadable=unreadable(ctx, given, draft.short),
        refused=refusals(guarded),
        warnings=tuple(draft.warnings),
        notes=notes(given.recovered, actions, given.moved),
        costs=totals,
        outputs=outputs,
        moved=tuple(pair for pair in given.moved if pair[1] in given.chosen),
        looked_at=tuple(sorted({*ctx.index.refreshed.listings, *ctx.index.refreshed.failed})),
        skipped=tuple(sorted(given.known - given.chosen)),
        ignored=draft.ignored,
        options=given.options,
        providers={
            key: RecordedProvider(config.type, config.scope, dict(config.settings))
            for key, config in sorted(given.configs.items())
            if key in touched
        },
        sandbox=draft.sandbox,
    )


def _touched(given: Prepared, actions: Iterable[Action]) -> set[str]:
    """The provider keys that the state will hold because of this plan's deployments."""
    keys = {action.provider for action in actions}
    return keys | {given.recorded[action.address].provider for action in actions if action.address in given.recorded}


# --- money ----------------------------------------------------------------------------------------------------------
def _costed(ctx: Context, given: Prepared, draft: Draft, actions: list[Action]) -> list[Action]:
    """The actions with their cost lines; the sums go to `draft.money`."""
    costed: list[Action] = []
    for action in actions:
        if action.address in draft.short:
            line = action.hourly_cost  # priced already
            known = cost.Money(line.after, line.currency) if line else cost.UNKNOWN
            draft.money.append((known, known))
            costed.append(action)
            continue
        before = _before(ctx, draft, action, given.recorded.get(action.address))
        after = before
        if action.action == "undeploy":
            after = cost.NOTHING
        elif action.desired is not None and action.action not in ("none", "forget"):
            after = draft.tariff(ctx, action.provider, action.desired.type)(action.desired.spec)
        draft.money.append((before, after))
        line = cost.change_of(before, after)
        costed.append(replace(action, hourly_cost=line) if line is not None else action)
    return costed


def _before(ctx: Context, draft: Draft, action: Action, prior: Recorded | None) -> cost.Money:
    live = draft.lives.get(action.address)
    if live is None or live.dormant:
        return cost.UNKNOWN if action.expected.exists else cost.NOTHING
    type_ = prior.type if prior else action.desired.type if action.desired else ""
    tariff = draft.tariff(ctx, prior.provider if prior else action.provider, type_)
    return tariff(cost.running(prior, live, ctx.schemas[type_]))


def _left_out(ctx: Context, given: Prepared, draft: Draft) -> list[tuple[cost.Money, cost.Money]]:
    """What goes on costing beside the plan: a limit is on all deployments, whatever the targets. A provider that was
    not looked at is taken to run what is recorded."""
    if given.stack is None or not given.stack.limits.max_hourly_cost:
        return []
    found: list[tuple[cost.Money, cost.Money]] = []
    for address in sorted(given.recorded.keys() - given.chosen):
        entry = given.recorded[address]
        money = cost.UNKNOWN
        if entry.type in ctx.schemas:
            schema, tariff = ctx.schemas[entry.type], draft.tariff(ctx, entry.provider, entry.type)
            live = ctx.index.find(entry, schema)
            if live is not None:
                money = cost.NOTHING if live.dormant else tariff(cost.running(entry, live, schema))
            elif entry.id is None or (ctx.index.readable(entry.provider) and ctx.index.unreadable(entry) is None):
                money = cost.NOTHING
            else:
                money = tariff(entry.spec)
        found.append((money, money))
    return found


# --- outputs, providers ---------------------------------------------------------------------------------------------
def _outputs(ctx: Context, given: Prepared) -> dict[str, Json]:
    """The outputs as far as they are known; what refers to a deployment that was left out keeps its recorded value.

    Raises PlanConflictError for one that can never be known.
    """
    recorded = dict(given.state.outputs) if given.state else {}
    if given.options.destroy:
        return {} if {*given.recorded} <= given.chosen else recorded
    if given.stack is None or given.options.refresh_only:
        return recorded
    result: dict[str, Json] = {}
    for name, tree in sorted(given.stack.outputs.items()):
        if {address for address, _ in quoted(tree)} <= given.chosen:
            try:
                result[name] = ctx.resolver(tree)
            except BadReferenceError as error:
                raise PlanConflictError(Diagnostic(f"output {name}: {error.summary}", hint=error.hint)) from None
        elif name in recorded:
            result[name] = recorded[name]
    return result


def _of_stack(given: Prepared, outputs: Mapping[str, Json], touched: set[str]) -> Iterable[StateChange]:
    """State changes that belong to no single deployment's record: moves, outputs, provider settings."""
    for source, target in given.moved:
        if target in given.chosen:
            yield StateChange(target, "moved", "address", source, target)
    yield from of_outputs(given.state.outputs if given.state else {}, outputs)
    for key, known in sorted(given.state.providers.items()) if given.state else ():
        config = given.configs.get(key)
        if config is not None and key in touched:
            yield from of_provider(key, known, config, scope_accepted=key in given.options.accept_endpoint)
