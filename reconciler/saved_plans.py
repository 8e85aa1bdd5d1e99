"""Saved plans: written, read, and carried out only where they still fit. Joins the rooms; has no rule of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reconciler.core.values.tree import marks
from reconciler.diagnostics import (
    Diagnostic,
    FileError,
    PlanConflictError,
    ReconcilerError,
    RefusedError,
    StaleError,
)
from reconciler.model import Json, ProviderConfig, Secret
from reconciler.plan import Plan, PlanOptions
from reconciler.recovery import findings_of, found, resolve, unended_note
from reconciler.workflow import Planned, plan
from reconciler.workspace import Workspace

_ANEW = "plan anew, with the same options and variables, and have that reviewed"


def saved(planned: Planned) -> dict[str, object]:
    """The plan as the document that `--out` writes."""
    from reconciler.core.planfile.plan_codec import plan_to_file

    state = planned.base.state
    return plan_to_file(planned.plan, state.digest_key if state else None)


def read_saved(path: Path, secrets: Callable[[str], Json] | None = None) -> Plan:
    """The plan in a file; with `secrets` (reference text to value) it can be carried out, without it only shown."""
    from reconciler.core.planfile.plan_codec import plan_from_file
    from reconciler.edge.planfile import read_plan

    try:
        return plan_from_file(read_plan(path), secrets)
    except FileError as error:
        named = (item if str(path) in item.summary else replace(item, summary=f"{path}: {item.summary}")
                 for item in error.diagnostics)  # fmt: skip
        raise FileError(*named) from None


def plan_from(space: Workspace, path: Path) -> Planned:
    """A saved plan, checked against the world as it is now. Raises StaleError with every reason against it."""
    from reconciler.core.load.desired import secret_lookup
    from reconciler.core.planning.findings import notes, uncertain
    from reconciler.core.planning.stale import concerns, needed_by, staleness

    shown, base = read_saved(path), space.base
    _refuse_sandboxed(space, shown, path)
    if shown.refused:
        raise RefusedError(*(Diagnostic(f"{path} holds a refused plan: {one.message}") for one in shown.refused))
    begun = [intent for intent in base.intents if concerns(shown, intent.address)]
    needed = needed_by(shown) | {intent.entry.provider for intent in begun}
    known = _configs_now(space)
    configs = {key: config for key, config in known.items() if key in needed}
    registry = space.registry
    early = staleness(shown, base.state, space.configs, None, schemas=registry.schemas, types=registry.types)
    if early:
        raise _stale(path, early)
    filled = read_saved(path, secret_lookup(space.document, space.inputs))
    providers = space.connect(configs, None, secrets=_secrets_of(filled))
    resolutions = resolve(space, base, known, providers, locked=True)
    recovered = findings_of(resolutions)
    unclear = uncertain(recovered, {one.address for one in recovered if concerns(shown, one.address)}, shown.moved)
    if unclear:
        raise PlanConflictError(*unclear)
    refreshed = space.fetch(configs, providers, base.state, found(recovered))
    if refreshed.failed:
        raise ReconcilerError(*refreshed.failed.values())
    late = staleness(
        filled, base.state, space.configs, refreshed, schemas=registry.schemas, types=registry.types,
        recovered=recovered,
    )  # fmt: skip
    if late:
        raise _stale(path, late)
    told = notes(recovered, filled.actions, filled.moved) or unended_note(space, base, locked=True)
    return Planned(replace(filled, notes=told), base, configs, providers, refreshed, resolutions)


def _secrets_of(plan: Plan) -> tuple[str, ...]:
    found = (mark.value for action in plan.actions if action.desired for mark in marks(action.desired.spec)
             if isinstance(mark, Secret))  # fmt: skip
    return tuple(value for value in found if isinstance(value, str))


def _configs_now(space: Workspace) -> dict[str, ProviderConfig]:
    return space.with_recorded(space.configs)


def _stale(path: Path, reasons: tuple[str, ...]) -> StaleError:
    return StaleError(
        Diagnostic(
            f"{path} is stale; nothing was changed",
            detail="\n".join(reasons),
            hint=_ANEW,
        )
    )


def plan_same_as(space: Workspace, options: PlanOptions, path: Path) -> Planned:
    """Plan anew; raises StaleError unless the actions are those of the saved plan, at the same providers."""
    from reconciler.core.planfile.plan_codec import same_actions
    from reconciler.core.planning.stale import other_target

    before = read_saved(path)
    _refuse_sandboxed(space, before, path)
    planned = plan(space, options, locked=True)
    reasons = other_target(before, planned.plan, planned.base.state.digest_key if planned.base.state else None)
    if reasons:
        raise _stale(path, reasons)
    if not same_actions(before, planned.plan):
        raise StaleError(Diagnostic(f"the actions are no longer those of {path}; nothing was changed", hint=_ANEW))
    return planned


def _refuse_sandboxed(space: Workspace, saved: Plan, path: Path) -> None:
    if saved.sandbox and not space.invocation.sandbox:
        hint = f"reconciler --sandbox apply {path}, or plan without --sandbox"
        raise FileError(Diagnostic(f"{path} is a sandbox plan", hint=hint))
