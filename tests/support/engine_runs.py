"""One apply after the other on the scripted provider: desired specs in, the real planner, the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.core.planning.planner import plan as make_plan
from reconciler.engine.apply import apply
from reconciler.engine.fetch import fetch
from reconciler.engine.ledger import Run
from reconciler.engine.recover import Resolution, findings, records, resolve_intents
from reconciler.engine.stop import StopSignal
from reconciler.model import Desired, Intent, Json, Lifecycle, ProviderConfig, Refreshed, Stack, State, Timeouts
from reconciler.plan import Event, Outcome, Plan, PlanOptions, Report
from tests.support.fake_provider import (
    Cloud,
    FakeClock,
    FakeProvider,
    FakeType,
    InlineWorkers,
    MemoryJournal,
    Trace,
    config,
    empty_state,
    recorded,
    schema,
)


def want(address: str, needs: Iterable[str] = (), **spec: Json) -> Desired:
    """A declared deployment; its name is its address unless given."""
    more: dict[str, Any] = {
        key: spec.pop(key) for key in ("lifecycle", "timeouts", "adopt", "references") if key in spec
    }
    return Desired(address, "fake", "fake", {"name": address, **spec}, depends_on=tuple(sorted(needs)), **more)


CREATE_FIRST = Lifecycle(create_before_undeploy=True)


@dataclass
class Bench:
    """A cloud, a clock and a state that go through several runs."""

    clock: FakeClock = field(default_factory=FakeClock)
    trace: Trace = field(default_factory=Trace)
    state: State = field(default_factory=empty_state)
    type: FakeType = field(default_factory=FakeType)
    settings: ProviderConfig = field(default_factory=config)
    intents: tuple[Intent, ...] = ()
    latency: float = 0.02

    def __post_init__(self) -> None:
        self.cloud = Cloud(self.clock, self.trace)
        self.provider = FakeProvider(self.cloud)
        self.stop = StopSignal()
        self.events: list[Event] = []
        self.journal = MemoryJournal(self.trace)
        self.workers = InlineWorkers(self.clock, self.latency)

    # --- a world to begin with ------------------------------------------------------------------------------------
    def running(self, *wanted: Desired, **more: Any) -> None:
        """These run at the provider and are in the state, as earlier applies left them."""
        for desired in wanted:
            thing = self.cloud.create(desired.spec)
            thing.ready_at, thing.replicas = 0.0, int(desired.spec.get("replicas", 1))
            entry = recorded(
                desired.address, thing, self.cloud, depends_on=desired.depends_on, lifecycle=desired.lifecycle,
                timeouts=desired.timeouts, **more,
            )  # fmt: skip
            self.state = replace(self.state, deployments={**self.state.deployments, desired.address: entry})

    # --- the phases of a run --------------------------------------------------------------------------------------
    def fetch(self) -> Refreshed:
        return fetch(
            {"fake": self.provider},
            {"fake": tuple(self.state.deployments.values())},
            {"fake": self.type.capabilities},
            workers=lambda size: InlineWorkers(self.clock),
        )

    def plan(self, *wanted: Desired, outputs: Mapping[str, Json] | None = None, **options: Any) -> Plan:
        stack = Stack("bots", {"fake": self.settings}, {d.address: d for d in wanted}, outputs=outputs or {})
        self.refreshed = self.fetch()
        return make_plan(
            stack, self.state, self.refreshed, schemas={"fake": schema()}, types={"fake": self.type},
            options=PlanOptions(**options), now=self.clock.now(), recovered=findings(self.recover()),
        )  # fmt: skip

    def recover(self, patient: bool = False) -> tuple[Resolution, ...]:
        return resolve_intents(
            self.intents,
            state=self.state,
            providers={"fake": self.provider},
            schemas={"fake": schema()},
            last_run=None,
            clock=self.clock,
            timeouts={"fake": 30.0} if patient else None,
            workers=lambda size: InlineWorkers(self.clock),
        )

    def write_down(self) -> None:
        """What a run that holds the lock does about open intents before it plans."""
        from reconciler.core.state.journal import RunStarted

        journal = MemoryJournal(self.trace)
        state = self.state
        journal.append(RunStarted("r", "apply", "me", "here", self.clock.now(), state.serial, state.lineage))
        resolved = self.recover(patient=True)
        journal.append(*records(resolved))
        journal.sync()
        self.state, _ = journal.after(state)
        closed = {r.intent.id for r in resolved if r.findings[-1].what != "unclear"}
        self.intents = tuple(intent for intent in self.intents if intent.id not in closed)

    def apply(
        self,
        plan: Plan,
        *,
        parallelism: int = 10,
        emit: Callable[[Event], None] | None = None,
    ) -> Report:
        def told(event: Event) -> None:
            self.trace.add("event", event)
            self.events.append(event)
            if emit is not None:
                emit(event)

        report = apply(
            plan, self.state, self.refreshed, providers={"fake": self.provider}, configs={"fake": self.settings},
            types={"fake": self.type}, schemas={"fake": schema()}, journal=self.journal, run=RUN, clock=self.clock,
            emit=told, stop=self.stop, parallelism=parallelism, workers=lambda size: self.workers,
        )  # fmt: skip
        assert self.journal.after(self.state)[0] == report.state, "the journal does not say what the report says"
        self.state, self.intents = self.journal.after(self.state)
        self.journal = MemoryJournal(self.trace)
        return report

    def run(self, *wanted: Desired, parallelism: int = 10, **options: Any) -> Report:
        """Plan and apply."""
        return self.apply(self.plan(*wanted, **options), parallelism=parallelism)


RUN = Run("run-1", "apply", "me", "here")
SHORT = Timeouts(deploy=60, scale=60, update=60, undeploy=60)


def results(report: Report) -> dict[str, str]:
    return {outcome.address: outcome.result for outcome in report.outcomes}


def outcome(report: Report, address: str) -> Outcome:
    return next(found for found in report.outcomes if found.address == address)
