"""The story of each command: validate, plan, apply, drift. Joins the rooms; has no rule of its own.

Functions take a `Workspace` and give values; what is printed, and where, is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from reconciler.core.values.bulk import collector_paused
from reconciler.diagnostics import (
    Diagnostic,
    IncompleteError,
    ReconcilerError,
    RefusedError,
    StaleError,
    StateError,
)
from reconciler.edge.backends.base import Base
from reconciler.model import Json, ProviderConfig, Refreshed, Stack, State
from reconciler.plan import Event, Plan, PlanOptions, Report
from reconciler.provider import Provider
from reconciler.recovery import findings_of, found, providers_to_ask, resolve, unended_note
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.core.values.references import Reference
    from reconciler.engine.recover import Resolution


# `answered`: a person said yes, after as long as that took; `given`: nobody had to be asked
Approval: TypeAlias = Literal["no", "given", "answered"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan together with what it was made from and what can carry it out. `base.state` is None on a first run."""

    plan: Plan
    base: Base
    configs: Mapping[str, ProviderConfig]
    providers: Mapping[str, Provider]
    refreshed: Refreshed
    resolutions: tuple[Resolution, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """How an apply ended: its plan and report, and by which signal it was stopped, if it was."""

    plan: Plan
    report: Report
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0 all done; 3 ended early or in part; 128 + signal where nothing had been begun."""
        bad = [outcome for outcome in self.report.outcomes if outcome.result not in ("done", "unchanged")]
        if self.report.interrupted and self.signal and all(o.result == "skipped" for o in self.report.outcomes):
            return 128 + self.signal
        return IncompleteError.exit_code if bad or self.report.interrupted else 0


# --- reading ------------------------------------------------------------------------------------------------------
def validate(space: Workspace) -> Stack:
    """The file as a value, or every error in it. Contacts nobody."""
    with collector_paused():
        return space.stack


def plan(space: Workspace, options: PlanOptions, *, locked: bool = False) -> Planned:
    """Refresh what the file and the state name, and diff. Raises with every provider that can't be read.

    `locked`: this run holds the lock and may create again what a killed run left uncertain, so it looks twice.
    """
    from reconciler.core.planning.planner import plan as make_plan

    planned = _look(space, options, partial(make_plan, secrets=_secrets(space)), locked=locked)
    if planned.plan.unreadable:
        raise ReconcilerError(*planned.plan.unreadable)
    return planned


def drift(space: Workspace, options: PlanOptions) -> Planned:
    """The same look, compared with the state instead of the file: what can't be read is part of the result."""
    from reconciler.core.planning.drift_report import find_drift

    return _look(space, options, find_drift, locked=False)


def _look(space: Workspace, options: PlanOptions, make: Callable[..., Plan], *, locked: bool) -> Planned:
    with collector_paused():
        stack, base = space.stack, space.base
        known, needed = space.provider_configs(stack), providers_to_ask(stack, base, options)
        configs = {key: config for key, config in known.items() if key in needed}
        providers = space.connect(configs, stack)
        # first what is uncertain, then the lists: what landed in between is found by both, not by one alone
        resolutions = resolve(space, base, known, providers, locked)
        recovered = findings_of(resolutions)
        refreshed = space.fetch(configs, providers, base.state, found(recovered))
        made = make(
            stack,
            base.state,
            refreshed,
            schemas=space.registry.schemas,
            types=space.registry.types,
            options=options,
            now=space.invocation.environment.now(),
            recovered=recovered,
            providers=configs,
            sandbox=space.invocation.sandbox,
        )
        if not resolutions:
            made = replace(made, notes=(*unended_note(space, base, locked), *made.notes))
    return Planned(made, base, configs, providers, refreshed, resolutions)


def _secrets(space: Workspace) -> Callable[[Reference], Json]:
    """Values of `env` and `var` references, as they are now."""
    from reconciler.core.load.desired import secret_lookup

    find = secret_lookup(space.document, space.inputs)
    return lambda reference: find(reference.text)


# --- saved plans --------------------------------------------------------------------------------------------------


# --- changing -----------------------------------------------------------------------------------------------------
def apply(
    space: Workspace,
    source: Callable[[], Planned],
    *,
    approve: Callable[[Plan], Approval],
    command: str,
    parallelism: int,
    lock_timeout: str,
    emit: Callable[[Event], None],
    begin: Callable[[Plan], None],
) -> Applied | None:
    """Lock, plan by `source`, let it be approved, execute. None where it was not approved: nothing was changed.

    Raises RefusedError for a plan that a guard refuses, whoever approved of it.
    """
    from reconciler.engine.apply import apply as execute
    from reconciler.engine.apply import incomplete
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.ledger import run_started
    from reconciler.engine.recover import records
    from reconciler.engine.stop import StopSignal, stopping_on_signals

    with space.locked(command, lock_timeout):
        planned = source()
        approval = approve(planned.plan)
        if planned.plan.refused:
            raise RefusedError(*(Diagnostic(f"refused ({one.rule}): {one.message}") for one in planned.plan.refused))
        match approval:
            case "no":
                return None
            case "answered":
                planned = _look_again(space, planned)
        begin(planned.plan)
        backend, stop = space.backend, StopSignal()
        state = planned.base.state or replace(backend.fresh(), lineage=planned.plan.lineage or backend.fresh().lineage)
        with stopping_on_signals(stop):
            run, known = space.run(command), records(planned.resolutions)
            to_do = sum(1 for action in planned.plan.actions if action.action != "none")
            started = run_started(run, SystemClock().now(), state, to_do) if known else None
            journal = backend.open_journal(started, state, tells=True)
            if known:
                journal.append(*known)
                journal.sync()
                state, run = backend.read().state or state, replace(run, started=True)
            report = execute(
                planned.plan,
                state,
                planned.refreshed,
                providers=planned.providers,
                configs=planned.configs,
                types=space.registry.types,
                schemas=space.registry.schemas,
                journal=journal,
                run=run,
                clock=SystemClock(),
                emit=emit,
                stop=stop,
                parallelism=parallelism,
                secrets=_secrets(space),
            )
            try:
                backend.commit(report.state)
            except StateError as error:
                raise incomplete(error, "All that was done is in the journal, and the next run reads it.") from error
    return Applied(planned.plan, report, stop.signal)


def _look_again(space: Workspace, planned: Planned) -> Planned:
    """The same plan with what is live now: however long the question stood, what is sent goes by a list of just before.
    Raises StaleError with every reason against it."""
    from reconciler.core.planning.stale import staleness

    base, recovered = planned.base, findings_of(planned.resolutions)
    refreshed = space.fetch(planned.configs, planned.providers, base.state, found(recovered))
    if refreshed.failed:
        raise ReconcilerError(*refreshed.failed.values())
    registry = space.registry
    reasons = staleness(
        planned.plan, base.state, planned.configs, refreshed, schemas=registry.schemas, types=registry.types,
        recovered=recovered,
    )  # fmt: skip
    if reasons:
        raise StaleError(
            Diagnostic(
                "the plan was overtaken while the question stood; nothing was changed",
                detail="\n".join(reasons),
                hint="run the same command again: it plans anew",
            )
        )
    return replace(planned, refreshed=refreshed)


def change_state(
    space: Workspace,
    change: Callable[[State], State],
    command: str,
    lock_timeout: str,
    *,
    fresh: bool = False,
    settles: Collection[str] = (),
) -> State:
    """Change the state by a rule, under the lock; `fresh`: begin one where there is none.

    `settles` are addresses (a key means its instances too) about which a person has decided: what a killed run left
    uncertain there is closed.
    """
    from reconciler.core.state.moves import is_at
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.ledger import Ledger

    with space.locked(command, lock_timeout):
        backend, base = space.backend, space.base
        state = backend.fresh() if fresh and base.state is None else space.state_or_error()
        changed = change(state)
        settled = [intent for intent in base.intents if is_at(intent.address, settles)]
        if changed == state and not settled and base.state is not None:
            return state
        journal = backend.open_journal(None, state)
        if settled:  # in one write with what was decided, so that a kill in between loses neither
            ledger = Ledger(state, journal, SystemClock(), space.run(command), 0)
            ledger.become(changed)
            for intent in settled:
                ledger.close(intent.id, "answered")
            ledger.end("done")
        return backend.commit(changed)


def move(space: Workspace, source: str, target: str, lock_timeout: str) -> State:
    """Give what stands at `source` the address `target`."""
    from reconciler.core.state.state_ops import move as moved

    def change(state: State) -> State:
        return moved(state, source, target, begun={intent.address for intent in space.base.intents})

    return change_state(space, change, "state mv", lock_timeout)


def remove(space: Workspace, addresses: Collection[str], lock_timeout: str) -> State:
    """Stop managing these addresses, and forget what a killed run may have begun there."""
    from reconciler.core.state.moves import is_at
    from reconciler.core.state.state_ops import remove as without

    def change(state: State) -> State:
        begun = [intent.address for intent in space.base.intents]
        only_begun = [
            name for name in addresses
            if any(is_at(one, [name]) for one in begun) and not any(is_at(one, [name]) for one in state.deployments)
        ]  # fmt: skip
        for intent in space.base.intents:
            if is_at(intent.address, addresses):
                space.invocation.say(
                    f"note: step {intent.step} of {intent.verb} {intent.address}, which an interrupted run began, "
                    f"is given up; what it may have made at {intent.entry.provider} is unmanaged: a plan lists that"
                )
        return without(state, [name for name in addresses if name not in only_begun])

    return change_state(space, change, "state rm", lock_timeout, settles=addresses)


def push_state(space: Workspace, new: State, *, force: bool, lock_timeout: str) -> State:
    """Put `new` in place of the present state if it may be; see `core.state_ops.pushed`."""
    from reconciler.core.state.state_ops import pushed

    with space.locked("state push", lock_timeout):
        backend = space.backend
        try:
            present, begun = space.base.state, len(space.base.intents)
        except StateError:
            if not force:
                raise
            present, begun = None, 0  # the way out of a state or journal that can't be read any more
        stack = new.stack if present is None else present.stack
        state = pushed(present, new, stack=stack, force=force, open_intents=begun)
        return state if state == present else backend.replace(state)


def move_stack(space: Workspace, source: str, target: str, lock_timeout: str) -> None:
    """Give the state of stack `source` the name `target`; may be repeated after a kill in between."""
    from reconciler.core.state.state_ops import renamed
    from reconciler.edge.store import move_stack as put

    old, new = space.backend_of(source), space.backend_of(target)
    with space.locked("state mv-stack", lock_timeout, old), space.locked("state mv-stack", lock_timeout, new):
        base = old.read()
        if base.state is None:
            raise StateError(Diagnostic(f"there is no state of stack {source} at {old.location}"))
        for note in unended_note(space, base, locked=True):  # it does not go along
            space.invocation.say(f"note: {note}")
        put(old, new, renamed(base.state, target, existing=new.read().state, open_intents=len(base.intents)))


def reset_sandbox(space: Workspace) -> list[str]:
    """Forget the simulators' data and the sandbox's state; says what went."""
    from reconciler.sandbox.mount import open_sandbox

    sandboxed = space.sandboxed()
    with sandboxed.locked("sandbox reset", "0s"):
        names = open_sandbox(sandboxed.sandbox_folder).store.reset()
        existed = sandboxed.base.state is not None
        sandboxed.backend.remove()
    lines = [f"forgot the data of {', '.join(names)}"] if names else []
    lines += ["forgot the sandbox's state"] if existed else []
    return lines or ["there was nothing to forget"]
