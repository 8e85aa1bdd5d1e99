"""After a kill: the next run looks, tells, and goes on; nothing twice, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.state.journal import IntentClosed, LastRun, RunStarted
from reconciler.engine.recover import Resolution, findings, records, resolve_intents
from reconciler.model import Desired
from reconciler.provider import UnreachableError
from tests.support.engine_runs import CREATE_FIRST, Bench, want
from tests.support.fake_provider import InlineWorkers, KilledError, MemoryJournal, schema

STORY: tuple[Desired, ...] = (want("old", size=2), want("a", replicas=2), want("b", ["a"]), want("c", ["old"]))


def begin() -> Bench:
    """One to replace, one to undeploy, three to deploy, one of them with two calls."""
    bench = Bench()
    bench.running(want("old", size=1), want("gone"))
    return bench


def points() -> int:
    """How many appends and syncs an undisturbed run has."""
    bench = begin()
    journal = bench.journal
    bench.run(*STORY)
    return journal.count


def killed(bench: Bench, *wanted: Desired, at: int) -> None:
    """Apply and die at that write; the process keeps nothing, the provider everything."""
    plan = bench.plan(*wanted)
    base = bench.state
    bench.journal = MemoryJournal(bench.trace, kill_at=at)
    with pytest.raises(KilledError):
        bench.apply(plan)
    bench.workers.collect(60.0)  # requests that were out reach the provider all the same
    bench.state, bench.intents = bench.journal.after(base)
    bench.journal = MemoryJournal(bench.trace)
    bench.workers = InlineWorkers(bench.clock)


@pytest.mark.parametrize("at", range(2, points() + 1))
def test_a_kill_at_any_write_loses_nothing_and_doubles_nothing(at: int) -> None:
    """Killed at each append and sync of a run in turn; recover and apply again: the same world, an empty plan."""
    bench = begin()
    killed(bench, *STORY, at=at)
    bench.write_down()
    assert bench.intents == ()
    bench.run(*STORY)
    bench.run(*STORY)
    assert sorted(thing.name for thing in bench.cloud.alive()) == ["a", "b", "c", "old"]
    assert {entry.id for entry in bench.state.deployments.values()} == set(bench.cloud.things)
    plan = bench.plan(*STORY)
    assert {action.action for action in plan.actions} == {"none"}
    assert plan.state_changes == ()


@pytest.mark.parametrize("at", range(2, 16))
def test_a_kill_within_a_create_first_replace_keeps_both_in_view(at: int) -> None:
    """The old and the new one are never both forgotten: in the end the new one alone is left."""
    bench = Bench()
    bench.running(want("a", size=1, lifecycle=CREATE_FIRST))
    new = want("a", size=2, lifecycle=CREATE_FIRST)
    new = Desired(new.address, "fake", "fake", {"name": "a-new", "size": 2}, lifecycle=CREATE_FIRST)
    try:
        killed(bench, new, at=at)
    except pytest.fail.Exception:
        return  # the run had ended before that write
    bench.write_down()
    bench.run(new)
    bench.run(new)
    assert [thing.name for thing in bench.cloud.alive()] == ["a-new"]
    assert set(bench.state.deployments) == {"a"}


def interrupted(*, arrives: bool = True) -> Bench:
    """A run that died between the request and its answer."""
    bench = Bench()
    plan = bench.plan(want("a", size=3))
    base = bench.state

    def die() -> None:
        if arrives:
            bench.cloud.create({"name": "a", "size": 3})
        raise KilledError

    bench.cloud.fault("create", "call", then=die)
    journal = bench.journal
    with pytest.raises(KilledError):
        bench.apply(plan)
    bench.state, bench.intents = journal.after(base)
    bench.journal = MemoryJournal(bench.trace)
    return bench


def test_a_step_that_took_effect_is_found_and_said() -> None:
    """The message tells who left it, where, and what came of it."""
    bench = interrupted()
    started = RunStarted("r", "apply", "ada", "ci-7", "2026-01-01T00:00:00Z", 1, "l")
    (finding,) = findings(told(bench, started, started))
    assert finding.what == "found"
    assert finding.entry is not None
    assert finding.entry.id == "dep-1"
    for word in ("The last run", "apply", "ada on ci-7", "create", "deploy a", "dep-1"):
        assert word in finding.message


def told(bench: Bench, wrote: RunStarted, last: RunStarted) -> tuple[Resolution, ...]:
    """What is found of a step that one run left, after another one."""
    intents = [replace(intent, by=wrote.writer) for intent in bench.intents]
    return resolve_intents(
        intents, state=bench.state, providers={"fake": bench.provider}, schemas={"fake": schema()},
        last_run=LastRun(last), clock=bench.clock,
    )  # fmt: skip


def test_a_later_run_is_not_blamed() -> None:
    """Somebody ran another command since: the step is still that of the run that began it."""
    bench = interrupted()
    wrote = RunStarted("r", "apply", "ada", "ci-7", "2026-01-01T00:00:00Z", 1, "l")
    last = RunStarted("s", "apply", "bob", "desk", "2026-01-02T00:00:00Z", 1, "l")
    (finding,) = findings(told(bench, wrote, last))
    assert finding.message.startswith(
        "An earlier run (`apply`, ada on ci-7, 2026-01-01T00:00:00Z) ended at step create"
    )
    assert "bob" not in finding.message


def test_a_step_that_did_not_arrive_is_absent_and_done_again() -> None:
    """Closed as absent, and the next apply deploys it."""
    bench = interrupted(arrives=False)
    (finding,) = findings(bench.recover())
    assert finding.what == "absent"
    assert finding.message.endswith("It is not there.")
    bench.write_down()
    bench.run(want("a", size=3))
    assert len(bench.cloud.alive()) == 1


def test_reading_commands_look_once_and_wait_for_nothing() -> None:
    """A plan says what it sees now; it does not pause and writes nothing."""
    bench = interrupted(arrives=False)
    before = bench.clock.time
    bench.recover()
    assert len(bench.trace.of("find")) == 1
    assert bench.clock.slept == []
    assert bench.clock.time - before < 1


def test_a_command_that_will_create_again_waits_for_the_requests_timeout() -> None:
    """The killed run's request may still be on its way: absent only after that time and a second look."""
    bench = interrupted(arrives=False)
    bench.recover(patient=True)
    assert sum(bench.clock.slept) == pytest.approx(30.0)
    assert len(bench.trace.of("find")) == 2


def test_something_else_under_our_name_is_left_to_a_person() -> None:
    """An attribute that can't change differs: unclear, with commands to paste; the intent stays open."""
    bench = interrupted(arrives=False)
    bench.cloud.create({"name": "a", "size": 9})
    resolved = bench.recover()
    (finding,) = findings(resolved)
    assert finding.what == "unclear"
    assert "size" in finding.message
    assert "reconciler import a dep-1" in finding.message
    assert records(resolved) == ()


def test_a_match_is_ours_only_if_the_list_before_lacked_it() -> None:
    """The intent says that one of that name was there already: a conflict, though all agrees."""
    bench = interrupted()
    intent = bench.intents[0]
    bench.intents = (replace(intent, memo={**intent.memo, "lacked": False}),)
    (finding,) = findings(bench.recover())
    assert finding.what == "unclear"


def test_a_provider_that_does_not_answer_leaves_it_unclear() -> None:
    """Nobody can tell now; it says when to run again."""
    bench = interrupted()
    bench.cloud.fault("find", "down")
    (finding,) = findings(bench.recover())
    assert finding.what == "unclear"
    assert "when fake answers" in finding.message


def test_a_provider_that_is_not_connected_leaves_it_unclear() -> None:
    """Removed from the file meanwhile: told, not guessed."""
    bench = interrupted()
    (finding,) = findings(
        resolve_intents(
            bench.intents, state=bench.state, providers={}, schemas={"fake": schema()}, last_run=None, clock=bench.clock
        )
    )
    assert finding.what == "unclear"
    assert "not connected" in finding.message


def test_what_is_written_down_closes_the_intent_last() -> None:
    """A torn tail leaves it open, to be looked up again."""
    bench = interrupted()
    assert isinstance(records(bench.recover())[-1], IntentClosed)


def test_looks_are_made_side_by_side() -> None:
    """A run that died with fifty requests out does not cost fifty round trips."""
    bench = Bench()
    plan = bench.plan(*(want(f"d{i:02}") for i in range(8)))
    base = bench.state

    def die() -> None:
        raise KilledError

    bench.cloud.fault("create", "call", then=die)
    journal = bench.journal
    with pytest.raises(KilledError):
        bench.apply(plan)
    bench.state, bench.intents = journal.after(base)
    assert len(bench.intents) == 8
    start = bench.clock.time
    bench.recover()
    assert bench.clock.time - start < 0.1


def test_a_bug_in_an_adapters_find_comes_through() -> None:
    """Only a provider's own errors make a step unclear."""
    bench = interrupted()

    def wrong(op, call):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError

    bench.provider.find = wrong  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        bench.recover()


def test_an_outage_while_looking_is_told_by_its_own_words() -> None:
    """The provider's message is quoted."""
    bench = interrupted()

    def down(op, call):  # type: ignore[no-untyped-def]
        raise UnreachableError("connection refused", provider="fake")

    bench.provider.find = down  # type: ignore[method-assign]
    (finding,) = findings(bench.recover())
    assert "connection refused" in finding.message
