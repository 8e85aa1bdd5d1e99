"""What the journal adds to a snapshot: facts, open intents, the last run, and the effective serial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from reconciler.core.state.journal import (
    EntryRemoved,
    EntrySet,
    IntentClosed,
    IntentWritten,
    OutputsSet,
    ProvidersSet,
    Record,
    RunEnded,
    carried,
    decode,
    encode,
    once_told,
    replay,
    unended,
)
from reconciler.diagnostics import StateError
from reconciler.model import Pending, RecordedProvider, Secret, Writer
from tests.support.states import entry, full_entry, intent, run, state

BASE = state(entry("chat"), entry("old"))


def text(*batches: Iterable[Record]) -> bytes:
    """A journal of these batches, each written by one sync."""
    data, line = b"", 1
    for batch in batches:
        lines = [encode(record, line) for record in batch]
        data += b"".join(lines)
        line += len(lines)
    return data


def test_facts_are_replayed_in_order() -> None:
    """Entries set and removed, outputs and providers: the later fact wins, and the serial is one up."""
    data = text(
        [run()],
        [EntrySet(entry("chat", health="pending")), EntrySet(full_entry("new"))],
        [EntrySet(entry("chat", health="failed")), EntryRemoved("old"), EntryRemoved("never")],
        [OutputsSet({"a": [1]}), ProvidersSet({"nugen": RecordedProvider("nugen", "scope")})],
    )
    got = replay(BASE, data).state
    assert got is not None
    assert got.serial == 8
    assert got.deployments == {"chat": entry("chat", health="failed"), "new": full_entry("new")}
    assert got.outputs == {"a": [1]}
    assert got.providers == {"nugen": RecordedProvider("nugen", "scope")}
    assert (got.lineage, got.digest_key) == (BASE.lineage, BASE.digest_key)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [RunEnded("run-1", "done")],
        [EntrySet(entry("chat"))],
        [EntrySet(entry("chat", health="failed")), EntrySet(entry("chat"))],
        [EntryRemoved("never")],
        [IntentWritten(intent()), IntentClosed("intent-1", "refused")],
        [IntentWritten(intent())],
    ],
)
def test_nothing_new_keeps_the_serial(records: list[Record]) -> None:
    """A journal that says nothing new about the state makes no plan stale."""
    assert replay(BASE, text([run(), *records])).state == BASE


def test_folding_makes_no_plan_stale() -> None:
    """Writing the effective state down as a snapshot, and replaying the same journal on it, changes nothing."""
    data = text([run(), EntrySet(entry("new")), IntentWritten(intent("two"))])
    first = replay(BASE, data)
    again = replay(first.state, data)
    assert again.state == first.state
    assert again.intents == first.intents == (intent("two"),)


def test_facts_older_than_the_snapshot_are_folded_already() -> None:
    """A kill between snapshot and fresh journal does not bring back what the snapshot has moved on from."""
    newer = state(entry("renamed"), serial=9)
    data = text([run(serial=7), EntrySet(entry("chat")), IntentWritten(intent())])
    got = replay(newer, data)
    assert got.state == newer
    assert got.intents == (intent(),), "an intent stays open until something closes it"


def test_backup_put_back_takes_the_journal_on() -> None:
    """A journal on top of a later serial than a restored backup's still says what was deployed, at a higher serial."""
    got = replay(replace(BASE, serial=6), text([run(serial=7), EntrySet(entry("new"))])).state
    assert got is not None
    assert "new" in got.deployments
    assert got.serial == 8


def test_open_intents_survive_until_closed() -> None:
    """What may have been created stays known, whatever else the journal says, until its outcome is."""
    one, two = intent("one", 1), intent("two", 2)
    data = text([run(), IntentWritten(one), IntentWritten(two)], [IntentClosed("intent-1", "answered")])
    assert replay(BASE, data).intents == (two,)
    assert replay(BASE, data + text([RunEnded("run-1", "interrupted")])).intents == (two,)


def test_last_run_tells_how_it_ended_and_where() -> None:
    """A killed run has no result, and the last thing it wrote down is known; a finished one has its result."""
    killed = replay(BASE, text([run(), IntentWritten(intent("chat"))])).last_run
    assert killed is not None
    assert (killed.started.command, killed.started.user, killed.result) == ("apply", "alice", None)
    assert killed.step == "deploy chat: create"
    half = replace(entry("chat"), pending=Pending("scale", "2025-01-31T08:00:00Z", "interrupted"))
    for records, step in (
        ([EntrySet(entry("chat"))], "chat is ready"),
        ([EntrySet(entry("chat")), EntrySet(half)], "chat: scale not finished"),
        ([EntrySet(entry("chat")), EntryRemoved("chat")], "chat is removed from the state"),
    ):
        killed = replay(BASE, text([run(), *records])).last_run
        assert killed is not None
        assert killed.step == step
    ended = replay(BASE, text([run(), RunEnded("run-1", "partial")])).last_run
    assert ended is not None
    assert ended.result == "partial"
    assert replay(BASE, b"").last_run is None


def test_torn_tail_at_every_byte_is_a_prefix() -> None:
    """A journal cut off at any byte reads as the whole lines before the cut."""
    records: list[Record] = [run(), EntrySet(entry("a")), IntentWritten(intent()), EntrySet(entry("b")), OutputsSet({})]
    data = b"".join(encode(record, number) for number, record in enumerate(records, start=1))
    lines = data.splitlines(keepends=True)
    for end in range(len(data) + 1):
        whole = sum(1 for n in range(len(lines)) if len(b"".join(lines[: n + 1])) <= end)
        got = replay(BASE, data[:end])
        assert got.state == replay(BASE, b"".join(lines[:whole])).state
        assert got.torn == (end != len(b"".join(lines[:whole])))


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"\x00" * 100 + b"\n", b"half a line", b"\xff\xfe\n", b"\n\n"])
def test_garbage_after_the_last_line_is_a_torn_tail(garbage: bytes) -> None:
    """What a power failure leaves at the end of the file is left out, and it is said."""
    got = replay(BASE, text([run(), EntrySet(entry("new"))]) + garbage)
    assert got.torn
    assert got.state is not None
    assert "new" in got.state.deployments


def test_hole_in_the_last_batch_is_a_torn_tail() -> None:
    """Pages of one unsynced write may reach the disk out of order: the batch counts up to its first hole."""
    head = text([run(), EntrySet(entry("a"))])
    batch = [encode(EntrySet(entry(name)), 3) for name in ("b", "c", "d")]
    got = replay(BASE, head + batch[0] + b"\x00" * (len(batch[1]) - 1) + b"\n" + batch[2])
    assert got.torn
    assert got.state is not None
    assert {"a", "b"} <= set(got.state.deployments)
    assert "d" not in got.state.deployments


def test_damage_before_a_synced_batch_is_an_error() -> None:
    """A line that had been synced and is damaged now is reported with its number, never skipped."""
    lines = text([run()], [EntrySet(entry("a"))], [EntrySet(entry("b"))], [EntrySet(entry("c"))]).splitlines(True)
    lines[1] = lines[1].replace(b"dep-a", b"dep-x")
    with pytest.raises(StateError, match="line 2 is damaged") as error:
        replay(BASE, b"".join(lines), file="state/bots.journal")
    assert "state/bots.journal" in str(error.value)
    assert error.value.diagnostics[0].hint


def test_any_changed_byte_is_noticed() -> None:
    """The checksum covers the whole line."""
    line = encode(EntrySet(entry("a")), 1)[:-1]
    for position in range(len(line)):
        changed = line[:position] + bytes([line[position] ^ 1]) + line[position + 1 :]
        assert decode(changed) is None


def test_journal_of_another_state_is_refused() -> None:
    """Facts of another lineage, or without any state, are neither applied nor dropped in silence."""
    data = text([run(), EntrySet(entry("a"))])
    with pytest.raises(StateError, match="another lineage"):
        replay(replace(BASE, lineage="other"), data)
    with pytest.raises(StateError, match="missing"):
        replay(None, data)
    with pytest.raises(StateError, match="missing"):
        replay(None, text([run(), IntentWritten(intent())]))


def test_finished_journal_without_a_state_is_no_state() -> None:
    """A state file that was removed on purpose leaves nothing behind that forbids to begin anew."""
    got = replay(None, text([run(), RunEnded("run-1", "done")]))
    assert got.state is None
    assert got.last_run is not None


def test_newer_journal_is_refused() -> None:
    """A record of a later release is an error that says what to install."""
    import json
    from zlib import crc32

    def raw(fields: dict[str, object]) -> bytes:
        body = f"1 {json.dumps(fields)}".encode()
        return b"%08x %b\n" % (crc32(body), body)

    for line in (raw({"record": "teleported"}), raw({"record": "run_started", "version": 2})):
        with pytest.raises(StateError, match="newer") as error:
            replay(BASE, text([run()]) + line)
        assert "pip install" in error.value.diagnostics[0].hint
    with pytest.raises(StateError, match="lacks"):
        replay(BASE, raw({"no": "record"}))
    with pytest.raises(StateError, match="without the run"):
        replay(BASE, text([EntrySet(entry("a"))]))


def test_what_a_fold_carries_on() -> None:
    """After a fold the journal still tells who wrote last and what is still open, and no facts."""
    data = text([run(), EntrySet(entry("a")), IntentWritten(intent())], [RunEnded("run-1", "interrupted")])
    first = replay(BASE, data)
    rest = replay(first.state, b"".join(encode(record, 1) for record in carried(first)))
    assert rest.state == first.state
    assert rest.intents == first.intents
    assert rest.last_run is not None
    assert rest.last_run.result == "interrupted"


def test_an_intent_keeps_the_run_that_it_belongs_to() -> None:
    """Carried on under a later run, also twice, an intent is still that of the run that wrote it."""
    first = replay(BASE, text([run(), IntentWritten(intent())]))
    later = text([*(IntentWritten(one) for one in first.intents), run(run="run-2", command="state mv", user="bob")])
    for data in (later, b"".join(encode(record, 1) for record in carried(replay(BASE, later)))):
        got = replay(BASE, data)
        assert [one.by for one in got.intents] == [Writer("run-1", "apply", "alice", "build-7", "2025-01-31T08:00:00Z")]
        assert got.last_run is not None
        assert (got.last_run.started.command, got.last_run.step) == ("state mv", "")


def test_journals_that_do_not_say_whose_an_intent_is() -> None:
    """Earlier releases carried intents on without it: it is that of the run above, and nobody's where there is none."""
    data = text([IntentWritten(intent("one", 1)), run(), IntentWritten(intent("two", 2))])
    assert b'"by"' not in data
    assert [one.by and one.by.user for one in replay(BASE, data).intents] == [None, "alice"]


def test_a_run_that_did_not_end_stays_untold_behind_later_ones() -> None:
    """Folded, or followed by a run that tells nothing, it is still known, and how far it came; told of, it is over."""
    killed = replay(BASE, text([run(), IntentWritten(intent("chat")), EntrySet(entry("new"))]))
    for _ in range(2):
        killed = replay(killed.state, b"".join(encode(record, 1) for record in carried(killed)))
        assert killed.untold is not None
        assert (killed.untold.started.run, killed.untold.step) == ("run-1", "new is ready")
    later = [run(run="run-2", serial=8), OutputsSet({}), RunEnded("run-2", "done")]
    behind = replay(killed.state, text([unended(killed.untold), *later]))
    assert behind.last_run is not None
    assert behind.last_run.started.run == "run-2"
    assert behind.untold == killed.untold
    assert replay(behind.state, b"".join(encode(one, 1) for one in carried(behind))).untold == killed.untold
    over = once_told(killed)
    assert over.untold is None
    got = replay(over.state, b"".join(encode(record, 1) for record in carried(over)))
    assert got.untold is None
    assert got.last_run is not None
    assert got.last_run.result == "killed"


def test_a_secret_can_not_be_written() -> None:
    """A value that is still secret stops the write."""
    with pytest.raises(TypeError):
        encode(OutputsSet({"x": Secret("hunter2")}), 1)
