"""Whatever the graph, whatever fails, wherever it is killed: order, bounds and convergence hold."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import Desired
from tests.support.engine_runs import Bench, results, want
from tests.support.fake_provider import InlineWorkers, KilledError, MemoryJournal


@st.composite
def graphs(draw: st.DrawFn, most: int = 7) -> tuple[Desired, ...]:
    """Deployments that depend on earlier ones; names are shuffled so that the order of names says nothing."""
    count = draw(st.integers(1, most))
    names = draw(st.permutations([f"d{i}" for i in range(count)]))
    wanted = []
    for index, name in enumerate(names):
        needs = draw(st.sets(st.sampled_from(names[:index]), max_size=3)) if index else set()
        replicas = draw(st.sampled_from([1, 2]))
        wanted.append(want(name, needs, size=draw(st.integers(1, 2)), replicas=replicas))
    return tuple(wanted)


def check_deploys(bench: Bench, wanted: tuple[Desired, ...]) -> None:
    ends = {event.address: i for i, event in enumerate(bench.events) if event.event == "done"}
    starts = {event.address: i for i, event in enumerate(bench.events) if event.event == "started"}
    for desired in wanted:
        for needed in desired.depends_on:
            if desired.address in starts and needed in starts:
                assert ends[needed] < starts[desired.address]


@given(wanted=graphs(), parallelism=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_every_graph_is_deployed_in_order_within_its_bounds(wanted: tuple[Desired, ...], parallelism: int) -> None:
    """Dependencies are ready first, never more than N under way; then all of it goes, dependents first."""
    bench = Bench()
    report = bench.run(*wanted, parallelism=parallelism)
    assert set(results(report).values()) == {"done"}
    check_deploys(bench, wanted)
    under_way = most = 0
    for event in bench.events:
        under_way += {"started": 1, "done": -1}.get(event.event, 0)
        most = max(most, under_way)
    assert most <= parallelism
    bench.events.clear()
    bench.run(parallelism=parallelism)
    gone = {event.address: i for i, event in enumerate(bench.events) if event.event == "done"}
    for desired in wanted:
        for needed in desired.depends_on:
            assert gone[desired.address] < gone[needed]
    assert bench.cloud.alive() == []
    assert bench.state.deployments == {}


@given(before=graphs(), after=graphs(), parallelism=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_any_file_leads_to_any_other(before: tuple[Desired, ...], after: tuple[Desired, ...], parallelism: int) -> None:
    """Whatever the two graphs are, however they contradict each other: one apply, then an empty plan."""
    bench = Bench()
    bench.run(*before)
    report = bench.run(*after, parallelism=parallelism)
    assert set(results(report).values()) <= {"done"}
    assert {thing.name for thing in bench.cloud.alive()} == {desired.address for desired in after}
    plan = bench.plan(*after)
    assert {action.action for action in plan.actions} == {"none"}
    assert plan.state_changes == ()


@given(wanted=graphs(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_faults_stop_only_what_depends_on_them(wanted: tuple[Desired, ...], data: st.DataObject) -> None:
    """Failed ones and what needs them are not done, everything else is; the next run completes it."""
    bench = Bench()
    bad = data.draw(st.sets(st.sampled_from([desired.address for desired in wanted]), max_size=2))
    for address in bad:
        bench.cloud.fault("create", data.draw(st.sampled_from(["refused", "unreachable", "denied"])), address=address)
    stuck: set[str] = set()
    tried: set[str] = set()
    for desired in wanted:
        if stuck & set(desired.depends_on):
            stuck.add(desired.address)
        elif desired.address in bad:
            stuck.add(desired.address)
            tried.add(desired.address)
    report = bench.run(*wanted)
    assert {address for address, result in results(report).items() if result != "done"} == stuck
    assert {address for address, result in results(report).items() if result == "failed"} == tried
    bench.cloud.faults.clear()
    bench.run(*wanted)
    assert {thing.name for thing in bench.cloud.alive()} == {desired.address for desired in wanted}


@given(
    before=graphs(4), after=graphs(4), at=st.integers(2, 60), lost=st.sampled_from([None, "lost_after", "lost_before"])
)
@settings(max_examples=80, deadline=None)
def test_a_kill_anywhere_converges_to_the_same_world(
    before: tuple[Desired, ...], after: tuple[Desired, ...], at: int, lost: str | None
) -> None:
    """Killed at any write, with or without lost answers: recover, apply, and each deployment exists exactly once."""
    bench = Bench()
    bench.run(*before)
    plan, base = bench.plan(*after), bench.state
    if lost is not None:
        bench.cloud.fault("create", lost)
    journal = bench.journal = MemoryJournal(bench.trace, kill_at=at)
    try:
        bench.apply(plan)
    except KilledError:
        bench.workers.collect(60.0)
        bench.state, bench.intents = journal.after(base)
    bench.cloud.faults.clear()
    bench.journal, bench.workers = MemoryJournal(bench.trace), InlineWorkers(bench.clock)
    bench.write_down()
    bench.run(*after)
    bench.run(*after)
    assert sorted(thing.name for thing in bench.cloud.alive()) == sorted(desired.address for desired in after)
    assert {entry.id for entry in bench.state.deployments.values()} == set(bench.cloud.things)
    assert bench.intents == ()
    assert {action.action for action in bench.plan(*after).actions} <= {"none"}


@given(wanted=graphs(5), unmanaged=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_what_nobody_manages_is_never_touched(wanted: tuple[Desired, ...], unmanaged: int) -> None:
    """Objects of others come through deploy, change and undeploy as they were."""
    bench = Bench()
    others = [replace(bench.cloud.create({"name": f"other-{i}"}), ready_at=0.0) for i in range(unmanaged)]
    bench.cloud.things = {thing.id: thing for thing in others}
    bench.run(*wanted)
    bench.run()
    assert {thing.id: thing for thing in bench.cloud.alive()} == {thing.id: thing for thing in others}
