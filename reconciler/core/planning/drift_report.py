"""`drift`: live against prior state for a whole stack, as a plan without actions. Pure.

Unlike a plan it needs no file that could be applied: a declared deployment that is not in the state is no error here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.core.compare import cost
from reconciler.core.compare.drift import drift_of, not_compared
from reconciler.core.compare.live_index import LiveIndex
from reconciler.core.planning.context import context_of
from reconciler.core.planning.draft import Draft
from reconciler.core.planning.findings import Finding, notes
from reconciler.core.planning.outside import unmanaged, unreadable, unreadable_entry
from reconciler.core.planning.prepare import prepare
from reconciler.core.planning.resolve import Resolver
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.bulk import collector_paused
from reconciler.model import Live, ProviderConfig, Refreshed, Stack, State
from reconciler.plan import Drift, Plan, PlanOptions
from reconciler.provider import ProviderType


def find_drift(
    stack: Stack | None,
    state: State | None,
    refreshed: Refreshed,
    *,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    options: PlanOptions,
    now: str,
    recovered: Sequence[Finding] = (),
    providers: Mapping[str, ProviderConfig] | None = None,
    sandbox: bool = False,
) -> Plan:
    """What differs from the state, as `Plan.drift`, with `unmanaged`, `unreadable` and the cost of what is live.

    Rows of class `changed` and `missing` are drift (`core/drift.is_drift`), those of class `not_compared` are notes.
    Raises UsageError for a pattern that matches nothing, PlanConflictError never.
    """
    with collector_paused():
        index = LiveIndex(refreshed)
        given = prepare(stack, state, schemas=schemas, options=options, recovered=recovered, providers=providers)
        ctx = context_of(given, index, schemas, types, now, Resolver(lambda _: None))
        draft = Draft(given, sandbox=sandbox)
        rows: list[Drift] = []
        lives: dict[str, Live] = {}
        for address in sorted(given.chosen & given.recorded.keys()):
            entry = given.recorded[address]
            if entry.type not in schemas or not index.readable(entry.provider) or unreadable_entry(ctx, entry):
                continue
            live = index.find(entry, schemas[entry.type])
            found = drift_of(entry, live, schemas[entry.type], now=now, digest_key=ctx.digest_key)
            rows += found.rows
            draft.ignored += found.ignored
            if live is not None and not live.dormant:
                lives[address] = live
                spec = cost.running(entry, live, schemas[entry.type])
                money = draft.tariff(ctx, entry.provider, entry.type)(spec)
                draft.money.append((money, money))
        rows += not_compared((given.recorded[address] for address in sorted(lives)), index, schemas)
        return Plan(
            stack=given.name,
            lineage=state.lineage if state else None,
            serial=state.serial if state else 0,
            drift=tuple(sorted(rows, key=lambda row: (row.address, row.path))),
            unmanaged=unmanaged(ctx, given, lives),
            unreadable=(*(replace(error, severity="error") for error in given.errors), *unreadable(ctx, given)),
            warnings=tuple(draft.warnings),
            notes=notes(recovered),
            costs=cost.totals(draft.money),
            looked_at=tuple(sorted({*refreshed.listings, *refreshed.failed})),
            skipped=tuple(sorted(given.known - given.chosen)),
            ignored=draft.ignored,
            options=options,
            sandbox=sandbox,
            managed=len(given.recorded),
        )
