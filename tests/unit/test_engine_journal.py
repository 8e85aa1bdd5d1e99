"""What is on disk before what happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.state.journal import EntryRemoved, EntrySet, IntentClosed, IntentWritten, RunEnded, RunStarted
from reconciler.diagnostics import Diagnostic, IncompleteError, StateError
from reconciler.model import Desired, Secret
from tests.support.engine_runs import Bench, results, want
from tests.support.fake_provider import KilledError, MemoryJournal, Trace


def synced(trace: Trace, start: int, end: int) -> bool:
    return any(item[0] == "sync" for item in trace.items[start:end])


def test_the_run_is_announced_before_anything_else_is_written() -> None:
    """The first line names who runs what, so that a killed run can be told of."""
    bench = Bench()
    bench.run(want("a"))
    lines = [item[1] for item in bench.trace.of("append")]
    assert isinstance(lines[0], RunStarted)
    assert (lines[0].user, lines[0].host, lines[0].actions) == ("me", "here", 1)
    assert isinstance(lines[-1], RunEnded)
    assert lines[-1].result == "done"


def test_an_intent_is_on_disk_before_its_request_goes_out() -> None:
    """For every creating request: written, synced, then sent; and it says that a list just before lacked it."""
    bench = Bench()
    bench.run(*(want(f"d{i}") for i in range(5)))
    for index, item in enumerate(bench.trace.items):
        if item[:2] == ("send", "create"):
            written = next(
                i for i, it in enumerate(bench.trace.items)
                if it[0] == "append" and isinstance(it[1], IntentWritten) and it[1].intent.address == item[2]
            )  # fmt: skip
            assert written < index
            assert synced(bench.trace, written, index)
            assert bench.trace.items[written][1].intent.memo["lacked"] is True


CHANGES = pytest.mark.parametrize(
    ("verb", "step", "wanted"),
    [
        ("undeploy", "delete", ()),
        ("scale", "scale", (want("a", replicas=2),)),
        ("update", "update", (want("a", note="new"),)),
    ],
)


@CHANGES
def test_a_change_is_on_disk_before_its_request_goes_out(verb: str, step: str, wanted: tuple[Desired, ...]) -> None:
    """What a killed run was changing is known to be under way; what it took away looks like no outage."""
    bench = Bench()
    bench.running(want("a"))
    bench.run(*wanted)
    sent = bench.trace.place("send", step, "a")
    pending = [
        index for index, item in enumerate(bench.trace.items[:sent])
        if item[0] == "append" and isinstance(item[1], EntrySet)
        and item[1].entry.pending is not None and item[1].entry.pending.verb == verb
    ]  # fmt: skip
    assert pending
    assert synced(bench.trace, pending[0], sent)


@CHANGES
def test_a_change_that_was_refused_leaves_the_record_as_it_was(
    verb: str, step: str, wanted: tuple[Desired, ...]
) -> None:
    """Nothing of it is under way."""
    bench = Bench()
    bench.running(want("a"))
    before = bench.state.deployments["a"]
    bench.cloud.fault(step, "refused", address="a")
    report = bench.run(*wanted)
    assert (report.outcomes[0].action, report.outcomes[0].result) == (verb, "failed")
    assert bench.state.deployments["a"] == before


def test_a_secret_that_a_killed_run_was_changing_is_brought_again() -> None:
    """Killed between the effect and the record: with the old value back in the file it is planned again, since nobody
    can see which of the two is there."""
    old, new = (replace(want("a"), spec={"name": "a", "token": Secret(text, "${env.T}")}) for text in ("old", "new"))
    bench = Bench()
    bench.run(old)
    plan, before = bench.plan(new), bench.state

    def die() -> None:
        raise KilledError

    bench.cloud.fault("update", "call", then=die)
    with pytest.raises(KilledError):
        bench.apply(plan)
    bench.state, _ = bench.journal.after(before)
    assert [action.action for action in bench.plan(old).actions] == ["update"]


def test_a_mistake_of_an_adapter_is_no_refusal() -> None:
    """It raises over an update, so nobody knows whether that was carried out: the record says that it is unfinished."""
    bench = Bench()
    bench.running(want("a"))

    def blunder() -> None:
        raise KeyError("a field that the answer lacks")

    bench.cloud.fault("update", "call", then=blunder)
    assert results(bench.run(want("a", note="new"))) == {"a": "failed"}
    pending = bench.state.deployments["a"].pending
    assert pending is not None
    assert pending.verb == "update"


def test_an_outcome_is_on_disk_before_its_event_is_told() -> None:
    """`done` is said only of what a killed process would find again."""
    bench = Bench()
    bench.running(want("old"))
    bench.run(want("a", replicas=2), want("b", ["a"]))
    for index, item in enumerate(bench.trace.items):
        if item[0] == "event" and item[1].event == "done":
            recorded = max(
                i for i, it in enumerate(bench.trace.items[:index])
                if it[0] == "append" and (
                    (isinstance(it[1], EntrySet) and it[1].entry.address == item[1].address)
                    or (isinstance(it[1], EntryRemoved) and it[1].address == item[1].address)
                )
            )  # fmt: skip
            assert synced(bench.trace, recorded, index)


def test_an_intent_is_closed_after_what_it_led_to() -> None:
    """A torn tail may lose the closing, never the entry while the intent counts as closed."""
    bench = Bench()
    bench.run(want("a"))
    kinds = [type(item[1]) for item in bench.trace.of("append")]
    assert kinds.index(EntrySet) < kinds.index(IntentClosed)


def test_outcomes_that_come_together_share_one_sync() -> None:
    """Group commit: twenty creates answered at once cost two syncs each round, not forty."""
    bench = Bench()
    bench.cloud.busy = 0.0
    bench.apply(bench.plan(*(want(f"d{i:02}") for i in range(20))), parallelism=20)
    assert len(bench.trace.of("sync")) < 12


def test_a_journal_that_can_not_be_written_ends_the_run_before_the_next_request() -> None:
    """A full disk: nothing more is sent, what is out has its intent on disk, and the next run finds it."""
    bench = Bench()
    plan, base, journal = bench.plan(want("a"), want("b", ["a"])), bench.state, bench.journal
    sync = journal.sync

    def full() -> None:
        if bench.trace.sends():
            raise StateError(Diagnostic("the disk is full"))
        sync()

    journal.sync = full  # type: ignore[method-assign]
    with pytest.raises(IncompleteError, match="disk is full"):
        bench.apply(plan)
    assert bench.trace.sends() == [("create", "a")]
    bench.state, bench.intents = journal.after(base)
    assert [intent.address for intent in bench.intents] == ["a"]
    bench.journal = MemoryJournal(bench.trace)
    bench.write_down()
    bench.run(want("a"), want("b", ["a"]))
    assert len(bench.cloud.alive()) == 2


def test_every_call_that_creates_has_its_own_intent() -> None:
    """As many intents as creating requests, each with an id of its own; a scale needs none."""
    bench = Bench()
    bench.run(want("a", replicas=2), want("b"))
    ids = [item[1].intent.id for item in bench.trace.of("append") if isinstance(item[1], IntentWritten)]
    assert len(ids) == len(set(ids)) == len([s for s in bench.trace.sends() if s[0] == "create"]) == 2


def test_a_deployment_under_way_is_recorded_as_pending_with_its_id() -> None:
    """After the create's answer the state knows the id, long before it is ready."""
    bench = Bench()
    bench.run(want("a"))
    entries = [item[1].entry for item in bench.trace.of("append") if isinstance(item[1], EntrySet)]
    assert entries[0].id == "dep-1"
    assert entries[0].pending is not None
    assert entries[-1].pending is None
    assert entries[-1].health == "ready"
    assert entries[-1].computed["url"] == "https://a.example"
