"""The local store after a kill: at any byte, before any system call, by any signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.state.journal import EntrySet, IntentClosed, IntentWritten
from reconciler.core.state.state_codec import decode_state
from reconciler.edge import files
from reconciler.edge.store import LocalStore
from tests.support.states import entry, environment, intent, run
from tests.support.stores import BACKUP, JOURNAL, LOCK, SNAPSHOT, holding, names, seeded, store_in

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that exists, with nothing in it."""
    path = tmp_path / "state"
    path.mkdir()
    return path


def test_kill_between_journal_and_fold(folder: Path) -> None:
    """What a killed run wrote down is the state, its serial is one up, and folding it changes neither."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(EntrySet(entry("new")), IntentWritten(intent("lost")))
        journal.sync()
    seen = store_in(folder).read()
    assert seen.state is not None
    assert seen.state.serial == 8
    assert set(seen.state.deployments) == {"chat", "new"}
    assert seen.intents == (intent("lost"),)
    assert seen.last_run is not None
    assert seen.last_run.result is None
    with holding(store_in(folder)) as store:
        store.open_journal(run())
    after = store_in(folder).read()
    assert after.state == seen.state
    assert after.intents == seen.intents
    assert decode_state((folder / SNAPSHOT).read_bytes()) == seen.state
    assert decode_state((folder / BACKUP).read_bytes()) == base


def test_run_after_a_killed_run_goes_one_up_again(folder: Path) -> None:
    """A plan made on what a killed run left is stale once the next run has said something."""
    seeded(folder, "chat")
    for name, serial in (("a", 8), ("b", 9), ("c", 10)):
        with holding(store_in(folder)) as store:
            journal = store.open_journal(run(serial=3))  # what the caller believes does not matter
            journal.append(EntrySet(entry(name)))
            journal.sync()
        got = store_in(folder).read().state
        assert got is not None
        assert got.serial == serial
        assert name in got.deployments


@pytest.mark.parametrize("journal_again", [True, False])
def test_kill_between_snapshot_and_fresh_journal(folder: Path, journal_again: bool) -> None:
    """The old journal beside the new snapshot says nothing twice and loses no open intent."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(EntrySet(entry("new")), IntentWritten(intent("lost")))
        journal.sync()
        old = (folder / JOURNAL).read_bytes()
        if not journal_again:
            store.commit(replace(base, deployments=base.deployments | {"new": entry("new", health="failed")}))
        else:
            store.commit(replace(base, deployments=base.deployments | {"new": entry("new")}))
    written = decode_state((folder / SNAPSHOT).read_bytes())
    (folder / JOURNAL).write_bytes(old)
    got = store_in(folder).read()
    assert got.state == written
    assert got.intents == (intent("lost"),)


def test_closed_intents_are_gone_open_ones_stay(folder: Path) -> None:
    """A commit carries open intents over to the next run, and drops those with an outcome."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(
            IntentWritten(intent("one", 1)), IntentWritten(intent("two", 2)), IntentClosed("intent-1", "absent")
        )
        journal.sync()
        store.commit(base)
    assert store_in(folder).read().intents == (intent("two", 2),)
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(IntentClosed("intent-2", "refused"))
        journal.sync()
        assert store.commit(base).serial == 7
    assert store_in(folder).read().intents == ()


def test_torn_journal_tail_at_every_byte(folder: Path) -> None:
    """Wherever the last write was cut, a reader sees a prefix, and the next run goes on from it."""
    seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        for name in ("a", "b"):
            journal.append(EntrySet(entry(name)))
            journal.sync()
    data = (folder / JOURNAL).read_bytes()
    snapshot = (folder / SNAPSHOT).read_bytes()
    prefixes = [{"chat"}, {"chat", "a"}, {"chat", "a", "b"}]
    seen = -1
    for end in range(len(data) + 1):
        (folder / SNAPSHOT).write_bytes(snapshot)
        (folder / JOURNAL).write_bytes(data[:end])
        base = store_in(folder).read()
        assert base.state is not None
        assert set(base.state.deployments) in prefixes
        assert prefixes.index(set(base.state.deployments)) >= seen
        seen = prefixes.index(set(base.state.deployments))
        assert bool(base.notes) == (data[:end][-1:] not in (b"", b"\n"))
        if end % 50 == 0:
            with holding(store_in(folder)) as store:
                journal = store.open_journal(run())
                journal.append(EntrySet(entry("z")))
                journal.sync()
            after = store_in(folder).read()
            assert after.state is not None
            assert set(after.state.deployments) == set(base.state.deployments) | {"z"}
            assert not after.notes
    assert seen == 2


def test_leftovers_of_a_killed_run_are_cleaned(folder: Path) -> None:
    """What a run was writing when it was killed is removed by the next one; nothing else stays in the folder."""
    base = seeded(folder, "chat")
    for name in (SNAPSHOT, BACKUP, JOURNAL):
        (folder / f".{name}.tmp").write_text("half a")
    assert store_in(folder).read().state == base
    with holding(store_in(folder)):
        pass
    assert names(folder) == {SNAPSHOT, LOCK}


def test_killed_at_any_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before any of the system calls of a commit, state and open intents are those before or those after."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(EntrySet(entry("new")), IntentWritten(intent("lost")))
        journal.sync()
    start = {name: (folder / name).read_bytes() for name in (SNAPSHOT, JOURNAL)}

    class Killed(BaseException):
        pass

    calls = ("write_fully", "full_sync", "sync_folder", "_keep_old")
    for stop_at in range(1, 30):
        for path in folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        for name, content in start.items():
            (folder / name).write_bytes(content)
        done = 0

        def counted(call: Callable[..., None]) -> Callable[..., None]:
            def wrapped(*arguments: object) -> None:
                nonlocal done
                done += 1
                if done == stop_at:  # noqa: B023 - called within this round only
                    raise Killed
                call(*arguments)

            return wrapped

        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(files, name, counted(getattr(files, name)))
            try:
                with holding(store_in(folder)) as store:
                    store.commit(replace(base, deployments={"other": entry("other")}))
            except Killed:
                pass
        got = store_in(folder).read()
        assert got.state is not None
        assert (got.state.serial, set(got.state.deployments)) in [(8, {"chat", "new"}), (9, {"other"})]
        assert got.intents == (intent("lost"),)
        with holding(store_in(folder)):
            pass
        assert names(folder) <= {SNAPSHOT, BACKUP, JOURNAL, LOCK}
        if done < stop_at:
            return
    pytest.fail("a commit does not take that many system calls")


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from reconciler.core.state.journal import EntrySet, RunStarted
from reconciler.edge.environment import real_environment
from reconciler.edge.store import LocalStore
from tests.support.states import entry, run
store = LocalStore(Path(sys.argv[1]), "bots", real_environment())
with store.locked(command="apply", unlock_command="reconciler unlock"):
    for turn in range(1000):
        journal = store.open_journal(run(), store.fresh())
        for name in "abc":
            journal.append(EntrySet(entry(f"{name}{turn}", depends_on=("x" * 500,))))
            journal.sync()
            print(f"{name}{turn}", flush=True)
        if turn % 2:
            store.commit(store.read().state)
"""


def test_kill_9_at_any_moment_and_readers_meanwhile(folder: Path) -> None:
    """While a run writes and after it was killed, a reader sees all that was acknowledged, and never an error."""
    for lines in (1, 3, 8, 29):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        seen = []
        for _ in range(lines):
            seen.append(process.stdout.readline().strip())
            live = store_in(folder).read()
            assert live.state is not None
            assert set(seen) <= set(live.state.deployments)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        got = store_in(folder).read()
        assert got.state is not None
        assert set(seen) <= set(got.state.deployments)
        with holding(LocalStore(folder, "bots", environment(boot_id=_boot_id()))) as store:
            assert store.commit(got.state) == got.state, "writing down what the journal says keeps the serial"
        assert names(folder) <= {SNAPSHOT, BACKUP, JOURNAL, LOCK}


def _boot_id() -> str:
    from reconciler.edge.environment import real_environment

    return real_environment().boot_id
