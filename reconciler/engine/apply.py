"""Apply a plan: obey its actions, keep the journal, tell the events, report. Plans nothing anew.

What an apply writes down without asking any provider (moves, flags, forgotten deployments, outputs) is done here; the
rest is `scheduler.Owner` with the rules of `operate.Operate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reconciler.core.compare.live_index import LiveIndex
from reconciler.core.planning.select import matching
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.state.aside import place_for
from reconciler.core.state.moves import rename
from reconciler.diagnostics import Diagnostic, IncompleteError, ReconcilerError, StateError
from reconciler.engine.clock import Clock
from reconciler.engine.entries import Entries
from reconciler.engine.graph import Node, is_on_its_way, is_unfinished, nodes
from reconciler.engine.job import Job, Step
from reconciler.engine.lane import Lane, open_lane
from reconciler.engine.ledger import Journal, Ledger, Run
from reconciler.engine.operate import Operate
from reconciler.engine.probe import refuse_unable
from reconciler.engine.scheduler import Owner
from reconciler.engine.stop import StopSignal
from reconciler.engine.values import NotResolvedError, SecretLookup, Values
from reconciler.engine.workers import ThreadWorkers, Workers
from reconciler.engine.world import World
from reconciler.model import ProviderConfig, Recorded, Refreshed, State
from reconciler.plan import Action, Event, Outcome, Plan, Report
from reconciler.provider import Provider, ProviderType

PARALLELISM = 10


def apply(
    plan: Plan,
    state: State,
    refreshed: Refreshed,
    *,
    providers: Mapping[str, Provider],
    configs: Mapping[str, ProviderConfig],
    types: Mapping[str, ProviderType],
    schemas: Mapping[str, ProviderSchema],
    journal: Journal,
    run: Run,
    clock: Clock,
    emit: Callable[[Event], None],
    stop: StopSignal,
    parallelism: int = PARALLELISM,
    secrets: SecretLookup | None = None,
    workers: Callable[[int], Workers] = ThreadWorkers,
) -> Report:
    """Carry out `plan` on top of `state` (the lock is held, the plan is not stale) and say how each action ended.

    `refreshed` is what the providers had just before. `providers` and `configs` are by provider key, those that only
    the state names included; `types` and `schemas` by provider type. `secrets` resolves `env` and `var` references that
    stand beside a deployment's in one unknown value. What recovery found is in `state` and in the journal already (then
    `run.started` is set). At most `parallelism` actions are under way at once. Events are emitted on this thread, after
    what they tell is on disk.

    The plan's failures are in the report. Raises ReconcilerError where an action's provider is not connected, or can't
    make the probe that an action asks for, or the journal can't be written before anything was sent (nothing was done),
    IncompleteError where it can't be written any more, and whatever else `journal` or `emit` raises: then the journal
    tells the next run where this one ended.
    """
    ledger = Ledger(state, journal, clock, run, sum(1 for action in plan.actions if action.action != "none"))
    entries = Entries(types=types, schemas=schemas, digest_key=state.digest_key, clock=clock)
    world = World(
        lineage=state.lineage,
        live=LiveIndex(refreshed),
        entries=entries,
        values=Values(ledger.entries, secrets),
        ledger=ledger,
        clock=clock,
        forced=_forced(plan),
        settings={key: config.settings for key, config in configs.items()},
    )
    recorded = rename(ledger.entries, plan.moved)
    made = nodes(plan, recorded)
    jobs, steps, lanes = _steps(made, recorded, providers, configs, types, state)
    forgotten = [action for action in plan.actions if action.action == "forget"]
    if not anything_to_do(plan):
        return Report((), state, state.outputs)
    refuse_unable(steps, recorded)
    _write_down(plan, world, recorded)
    for action in forgotten:
        ledger.drop(action.address)
    ledger.sync()
    for action in forgotten:
        emit(Event("started", action.address, "forget", id=action.id))
        emit(Event("done", action.address, "forget", id=action.id, elapsed=0.0))
    try:
        if steps:
            _run(steps, lanes, world, workers, emit, stop, parallelism)
        return _report(plan, world, jobs, stop)
    except StateError as error:
        if not any(step.touched or step.intent_sent or step.asking == "flying" for step in steps):
            raise  # nothing was sent yet
        raise incomplete(error, "What was under way is looked up by the next run; its intents are on disk.") from error


def _run(
    steps: Sequence[Step],
    lanes: Sequence[Lane],
    world: World,
    workers: Callable[[int], Workers],
    emit: Callable[[Event], None],
    stop: StopSignal,
    parallelism: int,
) -> None:
    """All steps to their end, on threads of their own."""
    pool = workers(sum(lane.most for lane in lanes))
    try:
        owner = Owner(
            lanes=lanes, workers=pool, clock=world.clock, ledger=world.ledger, emit=emit, stop=stop,
            parallelism=parallelism,
        )  # fmt: skip
        owner.run(Operate(world, owner), steps)
    finally:
        pool.close()


def incomplete(error: StateError, rest: str) -> IncompleteError:
    """The same failure to write, in a run that has done something already; `rest` says what that means."""
    return IncompleteError(*(replace(d, detail=f"{d.detail} {rest}".strip()) for d in error.diagnostics))


def anything_to_do(plan: Plan) -> bool:
    """Whether an apply of this plan would send, write or wait for anything."""
    waits = not plan.options.refresh_only
    busy = any(action.action != "none" or (waits and is_on_its_way(action)) for action in plan.actions)
    return busy or bool(plan.state_changes or plan.moved)


def _forced(plan: Plan) -> frozenset[str]:
    addresses = tuple(action.address for action in plan.actions)
    return frozenset(matching("--replace", plan.options.replace, addresses)) if plan.options.replace else frozenset()


def _steps(
    made: Sequence[Node],
    recorded: Mapping[str, Recorded],
    providers: Mapping[str, Provider],
    configs: Mapping[str, ProviderConfig],
    types: Mapping[str, ProviderType],
    state: State,
) -> tuple[dict[str, Job], list[Step], list[Lane]]:
    """Jobs by address, their steps, and a lane for each provider that they need."""
    jobs: dict[str, Job] = {}
    lanes: dict[str, Lane] = {}
    steps: list[Step] = []
    for node in made:
        key, address = node.provider, node.action.address
        if key not in lanes:
            lanes[key] = _lane(key, address, providers, configs, types, state)
        first = address not in jobs
        if first:
            jobs[address] = Job(node.action, steps=0)
        jobs[address].steps += 1
        job = jobs[address]
        if node.action.create_first and address in recorded:
            job.aside = job.aside or place_for(recorded[address], recorded)
        record = job.aside if job.aside and node.name == "undeploy" else address
        steps.append(Step(node, job, lanes[key], record, first=first))
    return jobs, steps, list(lanes.values())


def _lane(
    key: str,
    address: str,
    providers: Mapping[str, Provider],
    configs: Mapping[str, ProviderConfig],
    types: Mapping[str, ProviderType],
    state: State,
) -> Lane:
    config, known = configs.get(key), state.providers.get(key)
    type_name = config.type if config is not None else known.type if known is not None else key.partition(".")[0]
    if key not in providers or type_name not in types:
        summary = f"{address} needs provider {key}, which is not connected"
        raise ReconcilerError(Diagnostic(summary, address=address, provider=key, hint="add it under providers:"))
    return open_lane(key, providers[key], types[type_name], config)


def _write_down(plan: Plan, world: World, recorded: Mapping[str, Recorded]) -> None:
    """Moves, settings, and what the plan's state changes say."""
    ledger = world.ledger
    ledger.put(*recorded.values())
    for source, _ in plan.moved:
        if source not in recorded:
            ledger.drop(source)
    ledger.providers({**ledger.recorded_providers, **plan.providers})
    changed = {change.address for change in plan.state_changes}
    for action in plan.actions:
        if action.action == "none" and action.address in changed and not is_on_its_way(action):
            _settle(action, world, steps_of_its_own=not plan.options.refresh_only)


def _settle(action: Action, world: World, *, steps_of_its_own: bool) -> None:
    """Record a deployment that is as desired already; one that an earlier run did not finish has a step of its own."""
    prior = world.ledger.entries.get(action.address)
    if steps_of_its_own and is_unfinished(action, prior):
        return
    if action.desired is None or prior is None:
        return
    try:
        desired = world.values.resolve(action.desired)
    except NotResolvedError:
        return  # what it refers to is under way: the next plan has the value
    live = world.live.find(prior, world.entries.schemas[desired.type])
    world.ledger.put(world.entries.settled(desired, live, prior, prior.generation))


def _report(plan: Plan, world: World, jobs: Mapping[str, Job], stop: StopSignal) -> Report:
    """Close the run and gather how it went."""
    ledger = world.ledger
    outcomes: list[Outcome] = []
    for action in plan.actions:
        job = jobs.get(action.address)
        if action.action == "forget":
            outcomes.append(Outcome(action.address, "forget", "done", id=action.id))
        elif job is not None and job.result is not None:
            quiet = action.action == "none" and job.result in ("done", "unchanged", "skipped")
            if not quiet:
                outcomes.append(
                    Outcome(action.address, action.action, job.result, job.elapsed, job.error, job.id, job.health)
                )
    good = all(outcome.result in ("done", "unchanged") for outcome in outcomes)
    interrupted = stop.requested and not good
    used = {entry.provider for entry in ledger.entries.values()}
    kept = {key: known for key, known in ledger.recorded_providers.items() if key in used or key in plan.providers}
    ledger.providers(kept)
    ledger.outputs(world.values.outputs(plan.outputs, ledger.recorded_outputs))
    ledger.end("interrupted" if interrupted else "done" if good else "failed")
    return Report(tuple(outcomes), ledger.state(), ledger.recorded_outputs, interrupted)
