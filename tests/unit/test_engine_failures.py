"""One thing failing stops what depends on it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.model import Health
from reconciler.plan import Event, Plan
from reconciler.provider import Call, Next, Operation
from tests.support.engine_runs import Bench, outcome, results, want
from tests.support.fake_provider import FakeType, Thing


def test_a_failure_skips_what_depends_on_it_and_nothing_else() -> None:
    """The chain behind it is skipped with the reason; the independent one is done."""
    bench = Bench()
    bench.cloud.fault("create", "refused", address="a")
    report = bench.run(want("a"), want("b", ["a"]), want("c", ["b"]), want("free"))
    assert results(report) == {"a": "failed", "b": "skipped", "c": "skipped", "free": "done"}
    for address in ("b", "c"):
        error = outcome(report, address).error
        assert error is not None
        assert "depends on a" in error.summary
    assert {event.address for event in bench.events if event.event == "skipped"} == {"b", "c"}


def test_the_next_apply_continues_where_a_failed_one_ended() -> None:
    """Done stays done; only the rest is sent."""
    bench = Bench()
    bench.cloud.fault("create", "unreachable", address="b")
    wanted = (want("a"), want("b", ["a"]), want("c", ["b"]))
    bench.run(*wanted)
    again = bench.run(*wanted)
    assert results(again) == {"b": "done", "c": "done"}
    assert bench.trace.sends() == [("create", "a"), ("create", "b"), ("create", "b"), ("create", "c")]


def test_what_a_failed_dependent_still_needs_is_not_undeployed() -> None:
    """c can't be undeployed, so what it depends on stays running."""
    bench = Bench()
    bench.running(want("a"), want("b", ["a"]))
    bench.cloud.fault("delete", "refused", address="b")
    report = bench.run()
    assert results(report) == {"a": "skipped", "b": "failed"}
    error = outcome(report, "a").error
    assert error is not None
    assert "left running" in error.summary
    assert set(bench.state.deployments) == {"a", "b"}


def test_a_deployment_that_fails_stays_in_the_state_as_failed() -> None:
    """It exists and may cost money: recorded with the cause."""
    bench = Bench()
    bench.cloud.failing.add("a")
    report = bench.run(want("a"))
    entry = bench.state.deployments["a"]
    assert results(report) == {"a": "failed"}
    assert (entry.id, entry.health) == ("dep-1", "failed")
    assert entry.pending is not None
    assert "does not start" in entry.pending.cause


def test_a_failed_deployment_is_replaced_by_the_next_apply() -> None:
    """Read again just before: still failed, so it goes and a new one comes."""
    bench = Bench()
    bench.cloud.failing.add("a")
    bench.run(want("a"))
    bench.cloud.failing.clear()
    report = bench.run(want("a"))
    assert results(report) == {"a": "done"}
    assert bench.trace.sends()[1:] == [("delete", "a"), ("create", "a")]
    assert len(bench.trace.of("read")) == 1


def test_a_failed_deployment_that_recovered_by_itself_is_left_alone() -> None:
    """The read just before the undeploy finds it ready: nothing is sent, `unchanged`."""
    bench = Bench()
    bench.cloud.failing.add("a")
    bench.run(want("a"))
    plan = bench.plan(want("a"))
    thing = bench.cloud.named("a")
    assert thing is not None
    thing.health = None
    report = bench.apply(plan)
    assert results(report) == {"a": "unchanged"}
    assert bench.trace.sends() == [("create", "a")]
    assert bench.state.deployments["a"].health == "ready"
    assert bench.state.deployments["a"].pending is None


def test_a_failed_deployment_on_its_way_back_is_waited_for() -> None:
    """The read finds it starting again: not torn down, and unchanged once it is ready."""
    bench = Bench()
    bench.cloud.failing.add("a")
    bench.run(want("a"))
    plan = bench.plan(want("a"))
    thing = bench.cloud.named("a")
    assert thing is not None
    thing.health, thing.ready_at = None, bench.clock.time + 10
    assert results(bench.apply(plan)) == {"a": "unchanged"}
    assert bench.trace.sends() == [("create", "a")]


class Restarting(FakeType):
    """A type with a call that starts again what failed or stopped."""

    def __init__(self, **capabilities: Any) -> None:
        super().__init__(restartable=True, **capabilities)

    def next(self, op: Operation) -> Next:
        down = op.live is not None and op.live.health in ("failed", "stopped", "degraded")
        return Call("restart", creates=True) if down and "restart" not in op.memo else super().next(op)


def failed(**capabilities: Any) -> tuple[Bench, Plan, Thing]:
    """A deployment that failed, of such a type; the plan that starts it again, and what is at the provider."""
    bench = Bench(type=Restarting(**capabilities))
    bench.running(want("a"))
    (thing,) = bench.cloud.alive()
    thing.health = "failed"
    plan = bench.plan(want("a"))
    assert [(action.action, action.id) for action in plan.actions] == [("deploy", "dep-1")]
    return bench, plan, thing


@pytest.mark.parametrize("read_by_id", [True, False])
@pytest.mark.parametrize("seconds", [0, 10])
def test_one_to_be_started_again_that_recovered_is_left_alone(seconds: int, read_by_id: bool) -> None:
    """Looked at once more before anything is sent: ready by now, or on its way and waited for."""
    bench, plan, thing = failed(read_by_id=read_by_id)
    thing.health, thing.ready_at = None, bench.clock.time + seconds
    assert results(bench.apply(plan)) == {"a": "unchanged"}
    assert bench.trace.sends() == []
    assert (bench.state.deployments["a"].health, bench.state.deployments["a"].id) == ("ready", "dep-1")
    assert bench.plan(want("a")).actions[0].action == "none"


@pytest.mark.parametrize("health", ["failed", "stopped", "degraded"])
def test_one_that_is_not_all_there_is_started_again(health: Health) -> None:
    """Failed still, or back in part: started under its id."""
    bench, plan, thing = failed()
    thing.health = health

    def starts() -> None:
        thing.health = None

    bench.cloud.fault("restart", "call", then=starts)
    assert results(bench.apply(plan)) == {"a": "done"}
    assert bench.trace.sends() == [("restart", "a")]
    assert len(bench.trace.of("read")) == 1
    assert bench.state.deployments["a"].id == "dep-1"


def test_a_run_that_ends_while_it_looks_once_more_has_done_nothing() -> None:
    """Nothing was sent for it yet, so nothing is recorded as under way."""
    bench, plan, _ = failed()
    bench.cloud.fault("read", "call", then=lambda: [bench.stop.request(15) for _ in range(2)])
    before = bench.state.deployments
    assert results(bench.apply(plan)) == {"a": "interrupted"}
    assert bench.state.deployments == before


def test_replace_that_was_asked_for_replaces_even_what_recovered() -> None:
    """`--replace a` is a wish, not a repair."""
    bench = Bench()
    bench.running(want("a"))
    report = bench.run(want("a"), replace=("a",))
    assert results(report) == {"a": "done"}
    assert bench.trace.sends() == [("delete", "a"), ("create", "a")]


def test_a_failed_scale_leaves_the_running_part_alone() -> None:
    """The deployment stays, its record says what was applied before, and the next plan shows the scale again."""
    bench = Bench()
    bench.running(want("a", replicas=1))
    bench.cloud.fault("scale", "refused")
    assert results(bench.run(want("a", replicas=5))) == {"a": "failed"}
    assert bench.state.deployments["a"].spec["replicas"] == 1
    assert bench.plan(want("a", replicas=5)).actions[0].action == "scale"


def test_a_deploy_of_several_calls_that_fails_halfway_keeps_what_exists() -> None:
    """Created, then the scale was refused: in the state with its id; the next plan needs no create."""
    bench = Bench()
    bench.cloud.fault("scale", "refused")
    assert results(bench.run(want("a", replicas=4))) == {"a": "failed"}
    assert bench.state.deployments["a"].id == "dep-1"
    assert results(bench.run(want("a", replicas=4))) == {"a": "done"}
    assert [step for step, _ in bench.trace.sends()].count("create") == 1


def test_a_bug_in_an_adapter_fails_its_action_and_hangs_nothing() -> None:
    """An unforeseen exception in a worker: told with its place and without its text; the others are done."""
    bench = Bench()
    bench.cloud.fault("create", "bug", address="a")
    report = bench.run(want("a"), want("b"))
    assert results(report) == {"a": "failed", "b": "done"}
    error = outcome(report, "a").error
    assert error is not None
    assert "internal error (KeyError at fake_provider.py" in error.summary
    assert "a bug in the adapter" not in error.summary + error.detail
    assert [intent.address for intent in bench.intents] == ["a"]


def test_a_bug_in_next_fails_its_action_only() -> None:
    """The adapter's pure side raises: the same."""
    bench = Bench()
    right = bench.type.next

    def wrong(op):  # type: ignore[no-untyped-def]
        if op.address == "a" and op.live is not None:
            raise ZeroDivisionError
        return right(op)

    bench.type.next = wrong  # type: ignore[method-assign]
    report = bench.run(want("a"), want("b"))
    assert results(report) == {"a": "failed", "b": "done"}
    assert bench.state.deployments["a"].id == "dep-1"


def test_a_deployment_that_vanishes_while_waited_for_is_not_kept() -> None:
    """Deleted by hand while it came up: failed, and not in the state as if it existed."""
    bench = Bench()

    def vanish(event: Event) -> None:
        if event.event == "progress":
            bench.cloud.things.clear()

    bench.cloud.busy = 30.0
    report = bench.apply(bench.plan(want("a")), emit=vanish)
    assert results(report) == {"a": "failed"}
    assert bench.state.deployments == {}
    assert results(bench.run(want("a"))) == {"a": "done"}


def test_every_action_gets_one_start_and_one_end() -> None:
    """Whatever happens: the stream's ends are the report's outcomes."""
    bench = Bench()
    bench.running(want("r", size=1), want("gone"))
    bench.cloud.fault("create", "refused", address="x")
    report = bench.run(want("r", size=2), want("x"), want("y", ["x"]), want("z"))
    ends = [event.address for event in bench.events if event.event in ("done", "failed", "skipped")]
    assert sorted(ends) == sorted(results(report)) == ["gone", "r", "x", "y", "z"]
    starts = [event.address for event in bench.events if event.event == "started"]
    assert sorted(starts) == ["gone", "r", "x", "z"]
