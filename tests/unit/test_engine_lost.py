"""A create whose answer does not come: nothing deployed twice, nothing deployed lost."""

from __future__ import annotations

import pytest

from reconciler.core.state.journal import IntentClosed
from reconciler.model import Timeouts
from reconciler.provider import Call, Conflict, Operation, Reply, UnavailableError
from tests.support.engine_runs import Bench, outcome, results, want
from tests.support.fake_provider import KilledError


def test_an_answer_lost_on_the_way_back_is_found_and_recorded() -> None:
    """The server had accepted: one deployment, ours, no second request."""
    bench = Bench()
    bench.cloud.fault("create", "lost_after")
    report = bench.run(want("a"))
    assert results(report) == {"a": "done"}
    assert bench.trace.sends() == [("create", "a")]
    assert len(bench.cloud.alive()) == 1
    assert bench.intents == ()


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_replace_has_undeployed_is_named_where_its_create_is_looked_for(killed: bool) -> None:
    """A list that lags shows the old one under the same name: a look for the new one leaves it out, killed or not."""
    bench = Bench()
    bench.running(want("a", size=1))
    removed: list[str | None] = []
    find = bench.provider.find

    def looking(op: Operation, call: Call) -> Reply | Conflict | None:
        removed.append(op.removed)
        return find(op, call)

    def die() -> None:
        raise KilledError

    bench.provider.find = looking  # type: ignore[method-assign]
    plan, before = bench.plan(want("a", size=2)), bench.state
    if killed:
        bench.cloud.fault("create", "call", then=die)
        with pytest.raises(KilledError):
            bench.apply(plan)
        bench.state, bench.intents = bench.journal.after(before)
        bench.recover()
    else:
        bench.cloud.fault("create", "lost_after")
        bench.apply(plan)
    assert set(removed) == {"dep-1"}


def test_a_create_that_never_arrived_is_repeated_after_the_timeout_and_two_looks() -> None:
    """Not before the request's timeout, and not before two looks after it that lack it."""
    bench = Bench()
    bench.cloud.fault("create", "lost_before")
    start = bench.clock.time
    report = bench.run(want("a"))
    assert results(report) == {"a": "done"}
    assert bench.trace.sends() == [("create", "a")] * 2
    second = [i for i, item in enumerate(bench.trace.items) if item[0] == "send"][1]
    assert len([item for item in bench.trace.items[:second] if item[0] == "find"]) == 3
    assert bench.clock.time - start > 30
    assert len(bench.cloud.alive()) == 1


def test_a_provider_that_never_answers_a_create_is_asked_until_the_actions_time_is_up() -> None:
    """However often that is: it ends by the deploy's timeout, which names the trouble."""
    bench = Bench()
    bench.cloud.fault("create", "lost_before", times=1000)
    report = bench.run(want("a", timeouts=Timeouts(deploy=6000)))
    error = outcome(report, "a").error
    assert error is not None
    assert "was not done within" in error.summary
    assert "the answer was lost" in error.summary
    assert len(bench.trace.sends()) > 100
    assert bench.cloud.alive() == []


def test_a_create_that_lands_late_is_found_by_the_looks_after_the_timeout() -> None:
    """It comes into being while we wait: found, not repeated."""
    bench = Bench()
    bench.cloud.fault("create", "lost_before")
    landed: list[object] = []

    def land(event: object) -> None:
        if not landed and bench.clock.time > 1005 and not bench.cloud.alive():
            landed.append(bench.cloud.create({"name": "a"}))

    report = bench.apply(bench.plan(want("a")), emit=land)
    assert landed
    assert results(report) == {"a": "done"}
    assert bench.trace.sends() == [("create", "a")]


def test_a_repeat_that_is_refused_because_the_first_landed_is_found() -> None:
    """The name is taken, by our own first request: looked up once more and taken as ours."""
    bench = Bench()
    bench.cloud.fault("create", "lost_before")
    bench.cloud.fault("create", "call", then=lambda: bench.cloud.create({"name": "a"}))
    report = bench.run(want("a"))
    assert results(report) == {"a": "done"}
    assert len(bench.cloud.alive()) == 1


def test_a_conflict_fails_with_commands_and_leaves_the_step_open() -> None:
    """What is there can't be shown to be ours: the error names the id and the ways out, the next run looks again."""
    bench = Bench()
    bench.cloud.fault("create", "lost_before")
    bench.cloud.fault("find", "conflict")
    report = bench.run(want("a"))
    error = outcome(report, "a").error
    assert error is not None
    assert "dep-9" in error.detail
    assert "reconciler import a dep-9" in error.hint
    assert [intent.address for intent in bench.intents] == ["a"]


def test_something_else_under_our_name_is_not_taken_for_ours() -> None:
    """Found, but an attribute that can't be changed differs: a conflict, never ours."""
    bench = Bench()

    def strange() -> None:
        bench.cloud.create({"name": "a", "size": 9})
        raise UnavailableError("no answer", provider="fake", effect="unknown")

    bench.cloud.fault("create", "call", then=strange)
    report = bench.run(want("a", size=2))
    error = outcome(report, "a").error
    assert error is not None
    assert "size" in error.summary
    assert "a" not in bench.state.deployments


def test_looks_that_fail_say_nothing() -> None:
    """The provider is down while we look: asked again until it answers, neither repeated nor given up."""
    bench = Bench()
    bench.cloud.fault("create", "lost_after")
    bench.cloud.fault("find", "down", times=5)
    report = bench.run(want("a"))
    assert results(report) == {"a": "done"}
    assert bench.trace.sends() == [("create", "a")]


def test_an_answer_that_stays_lost_leaves_the_intent_for_the_next_run() -> None:
    """The action's time is up while nobody can tell: failed, intent open, and the next run finds it."""
    bench = Bench()
    bench.cloud.fault("create", "lost_after")
    bench.cloud.fault("find", "down", times=10_000)
    report = bench.run(want("a"))
    assert results(report) == {"a": "failed"}
    assert len(bench.intents) == 1
    bench.cloud.faults.clear()
    bench.write_down()
    again = bench.run(want("a"))
    assert results(again) in ({}, {"a": "done"})
    assert bench.trace.sends() == [("create", "a")]
    assert bench.state.deployments["a"].id == "dep-1"


@pytest.mark.parametrize("step", ["delete", "scale"])
def test_a_lost_answer_of_anything_else_is_no_reason_to_guess(step: str) -> None:
    """The action fails and says so; the state marks it as unfinished, and the next apply completes it."""
    bench = Bench()
    bench.running(want("a", replicas=1))
    bench.cloud.fault(step, "lost_after")
    wanted = [want("a", replicas=2)] if step == "scale" else []
    report = bench.run(*wanted)
    assert results(report) == {"a": "failed"}
    assert bench.state.deployments["a"].pending is not None
    bench.run(*wanted)
    bench.run(*wanted)
    assert not [entry for entry in bench.state.deployments.values() if entry.pending]
    assert len(bench.state.deployments) == len(wanted) == len(bench.cloud.alive())


def test_a_refused_create_closes_its_intent_and_is_not_in_the_state() -> None:
    """The provider said no: nothing was made, nothing is recorded, nothing is left open."""
    bench = Bench()
    bench.cloud.fault("create", "refused")
    report = bench.run(want("a"))
    assert results(report) == {"a": "failed"}
    assert bench.state.deployments == {}
    assert bench.intents == ()
    closed = [item[1].result for item in bench.trace.of("append") if isinstance(item[1], IntentClosed)]
    assert closed == ["refused"]
