"""The whole loop over the real adapters and their simulators: plan, apply, plan again; lost answers, kills, faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import pytest

from reconciler.core.planning.planner import plan as make_plan
from reconciler.core.schemas.schema import ProviderSchema, compile_schema
from reconciler.edge.schemas import read_schema
from reconciler.engine.apply import anything_to_do, apply
from reconciler.engine.fetch import fetch
from reconciler.engine.ledger import Run
from reconciler.engine.recover import findings, records, resolve_intents
from reconciler.engine.stop import StopSignal
from reconciler.engine.workers import Job
from reconciler.model import Desired, Intent, Json, ProviderConfig, Refreshed, Stack, State
from reconciler.plan import Plan, PlanOptions, Report
from tests.contract.case import Bench as Sandbox
from tests.contract.case import ContractCase
from tests.contract.test_modelstudio import TestModelStudio as ModelStudio
from tests.contract.test_neevcloud import TestNeevCloud as NeevCloud
from tests.contract.test_nugen import TestNewerStyle as NugenNewer
from tests.contract.test_nugen import TestNugen as NugenOlder
from tests.contract.test_opensearch import TestRegisteredAlready as OpenSearchRegistered
from tests.contract.test_opensearch import TestRegisteredFromHere as OpenSearchOwn
from tests.support.fake_provider import InlineWorkers, KilledError, MemoryJournal, Trace, empty_state

CASES: Mapping[str, ContractCase] = {
    "neevcloud": NeevCloud.case,
    "modelstudio": ModelStudio.case,
    "nugen": NugenOlder.case,
    "nugen-newer": NugenNewer.case,
    "opensearch-own": OpenSearchOwn.case,
    "opensearch-registered": OpenSearchRegistered.case,
}


class SandboxTime:
    """The simulator's clock as the engine's: waiting lets deployments come up."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.ids = 0

    @property
    def time(self) -> float:
        return self._sandbox.clock.at

    @time.setter
    def time(self, value: float) -> None:
        self._sandbox.clock.at = value

    def monotonic(self) -> float:
        return self.time

    def now(self) -> str:
        return "2026-01-01T00:00:00Z"

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:012x}"

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class World:
    """One provider type in its sandbox, and a state that goes through several runs."""

    case: ContractCase
    state: State = field(default_factory=empty_state)
    intents: tuple[Intent, ...] = ()

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(self.case)
        self.sandbox.presuppose(6)
        self.type = self.sandbox.type
        self.schemas: dict[str, ProviderSchema] = {
            self.case.type: compile_schema(read_schema(f"providers/{self.case.type}"), self.case.type)
        }
        settings = dict(self.case.settings)
        self.config = ProviderConfig(self.case.type, self.case.type, settings, self.type.scope(settings))
        self.clock: Any = SandboxTime(self.sandbox)
        self.journal = MemoryJournal(Trace())

    def want(self, number: int, needs: tuple[str, ...] = (), **changes: Json) -> Desired:
        spec = {**self.sandbox.spec(number), **changes}
        derived = frozenset(self.type.derive({}, "bots", self.sandbox.address(number), 0))
        return Desired(
            self.sandbox.address(number), self.case.type, self.case.type, spec, derived=derived, depends_on=needs
        )

    def changed(self, desired: Desired, change: Any) -> Desired:
        return replace(desired, spec=change(dict(desired.spec)))

    def plan(self, *wanted: Desired, **options: Any) -> Plan:
        key = self.case.type
        self.refreshed: Refreshed = fetch(
            {key: self.sandbox.provider}, {key: tuple(self.state.deployments.values())}, {key: self.type.capabilities},
            workers=lambda size: InlineWorkers(self.clock),
        )  # fmt: skip
        assert not self.refreshed.failed, self.refreshed.failed
        stack = Stack("bots", {key: self.config}, {desired.address: desired for desired in wanted})
        plan = make_plan(
            stack, self.state, self.refreshed, schemas=self.schemas, types={key: self.type},
            options=PlanOptions(allow_undeploys=10, **options), now=self.clock.now(),
        )  # fmt: skip
        assert not plan.refused, plan.refused
        return plan

    def apply(self, plan: Plan, workers: InlineWorkers | None = None, *, parallelism: int = 10) -> Report:
        key = self.case.type
        self.workers = workers or InlineWorkers(self.clock)
        base = self.state
        report = apply(
            plan, self.state, self.refreshed, providers={key: self.sandbox.provider}, configs={key: self.config},
            types={key: self.type}, schemas=self.schemas, journal=self.journal, run=Run("r", "apply", "me", "here"),
            clock=self.clock, emit=lambda event: None, stop=StopSignal(), workers=lambda size: self.workers,
            parallelism=parallelism,
        )  # fmt: skip
        self.state, self.intents = self.journal.after(base)
        self.journal = MemoryJournal(Trace())
        return report

    def run(self, *wanted: Desired, **options: Any) -> Report:
        report = self.apply(self.plan(*wanted, **options))
        for outcome in report.outcomes:
            assert outcome.result in ("done", "unchanged"), (outcome.address, outcome.error)
        return report

    def recover(self) -> None:
        from reconciler.core.state.journal import RunStarted

        resolved = resolve_intents(
            self.intents, state=self.state, providers={self.case.type: self.sandbox.provider}, schemas=self.schemas,
            last_run=None, clock=self.clock, timeouts={self.case.type: 30.0},
            workers=lambda size: InlineWorkers(self.clock),
        )  # fmt: skip
        assert "unclear" not in {finding.what for finding in findings(resolved)}, findings(resolved)
        journal = MemoryJournal(Trace())
        journal.append(RunStarted("r", "apply", "me", "here", self.clock.now(), self.state.serial, self.state.lineage))
        journal.append(*records(resolved))
        journal.sync()
        self.state, self.intents = journal.after(self.state)[0], ()

    def settled(self, *wanted: Desired) -> None:
        """The plan is empty, and exactly what is wanted serves."""
        plan = self.plan(*wanted)
        assert [
            (action.address, action.action, action.reason) for action in plan.actions if action.action != "none"
        ] == []
        assert plan.state_changes == ()
        assert not anything_to_do(plan)
        assert len(self.sandbox.serving()) == len(wanted)
        assert {entry.id for entry in self.state.deployments.values()} == {live.id for live in self.sandbox.serving()}


@pytest.fixture(params=list(CASES))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(CASES[request.param])
    yield made
    made.sandbox.close()


def test_the_plan_after_an_apply_is_empty(world: World) -> None:
    """Deploy two, one depending on the other; change what can change; replace; undeploy: each time nothing is left."""
    first, second = world.want(0), world.want(1, ("case-0",))
    world.run(first, second)
    world.settled(first, second)
    for change in (world.case.scaled, world.case.updated):
        if change is not None:
            first = world.changed(first, change)
            report = world.run(first, second)
            assert [outcome.action for outcome in report.outcomes] in (["scale"], ["update"])
            world.settled(first, second)
    world.run(first, second, replace=("case-1",))
    world.settled(first, second)
    world.run(second)
    world.settled(second)
    world.run()
    world.settled()
    assert world.state.deployments == {}


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "status:503", "html", "truncate", "empty"])
def test_a_lost_answer_deploys_nothing_twice(world: World, kind: str) -> None:
    """The creating request's answer is lost in every way there is; one deployment serves, and the plan is empty."""
    world.sandbox.fault(world.case.create, kind)
    wanted = world.want(0)
    world.run(wanted)
    world.settled(wanted)
    assert world.intents == ()


def test_throttling_fails_nothing(world: World) -> None:
    """Every third answer is a 429, whatever was asked: slower, and done."""
    wanted = (world.want(0), world.want(1))
    plan = world.plan(*wanted)
    for skip in range(0, 30, 2):
        world.sandbox.fault(".*", "throttle:1", skip=skip)
    report = world.apply(plan)
    assert {outcome.result for outcome in report.outcomes} == {"done"}
    world.sandbox.calm()
    world.settled(*wanted)


class Counting(InlineWorkers):
    """Remembers, for each request that went out, when that was and how many were in flight then."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.sent: list[tuple[float, int]] = []

    def submit(self, token: object, job: Job) -> None:
        super().submit(token, job)
        self.sent.append((self.clock.time, len(self.jobs)))


@pytest.mark.parametrize("kind", ["throttle:2", "status:429"])
def test_requests_in_flight_go_down_while_a_provider_throttles_and_up_again(kind: str) -> None:
    """Every create is 429 at first: the next round has half as many in flight, the one after it half of those; nothing
    waits in the client, so that all who want something of the provider wait. Then they come back, up to the bound."""
    world = World(CASES["neevcloud"])
    most, wanted = world.type.capabilities.max_concurrency, [world.want(number) for number in range(120)]
    world.sandbox.presuppose(len(wanted))
    plan = world.plan(*wanted)
    world.sandbox.fault(world.case.create, kind, times=most + most // 2)
    counting = Counting(world.clock)
    assert {outcome.result for outcome in world.apply(plan, counting, parallelism=200).outcomes} == {"done"}
    at_once = [max(count for _, count in sent) for _, sent in groupby(counting.sent, key=itemgetter(0))]
    lowest = at_once.index(most // 4)
    assert at_once[0] == most
    assert most // 2 in at_once[:lowest]
    assert max(at_once[lowest:]) == most
    assert max(at_once) == most
    assert world.sandbox.waits == []
    world.settled(*wanted)


@pytest.mark.parametrize("at", range(2, 22))
def test_a_kill_at_any_write_converges(world: World, at: int) -> None:
    """Killed in a run that deploys, replaces and undeploys; recovered and applied again: as if nothing had happened."""
    kept, gone = world.want(0), world.want(1)
    world.run(kept, gone)
    wanted = (kept, world.want(2))
    plan, base = world.plan(*wanted, replace=("case-0",)), world.state
    journal = world.journal = MemoryJournal(Trace(), kill_at=at)
    try:
        world.apply(plan)
    except KilledError:
        world.workers.collect(60.0)
        world.state, world.intents = journal.after(base)
        world.journal = MemoryJournal(Trace())
    world.recover()
    world.apply(world.plan(*wanted))
    world.run(*wanted)
    world.settled(*wanted)
