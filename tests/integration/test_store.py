"""The local store on real files: what readers see, what a commit leaves, and what survives a kill or a full disk."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.journal import EntryRemoved, EntrySet, IntentClosed, IntentWritten, RunEnded, encode
from reconciler.core.state_codec import decode_state, encode_state
from reconciler.core.state_ops import renamed
from reconciler.diagnostics import FileError, StateError
from reconciler.edge import files, journal_file
from reconciler.edge.backends.choose import open_backend
from reconciler.edge.store import LocalStore, move_stack
from reconciler.model import State
from tests.support.states import entry, environment, intent, run, state

ROOT = Path(__file__).parents[2]
SNAPSHOT, BACKUP, JOURNAL, LOCK = "bots.state.json", "bots.backup.json", "bots.journal", "bots.lock"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that exists, with nothing in it."""
    path = tmp_path / "state"
    path.mkdir()
    return path


def store_in(folder: Path, stack: str = "bots") -> LocalStore:
    return LocalStore(folder, stack, environment())


@contextmanager
def holding(store: LocalStore) -> Iterator[LocalStore]:
    with store.locked(command="apply", unlock_command="reconciler unlock"):
        yield store


def seeded(folder: Path, *addresses: str) -> State:
    """A snapshot at serial 7, written as the tool writes it."""
    base = state(*(entry(address) for address in addresses))
    (folder / SNAPSHOT).write_text(encode_state(base))
    return base


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- life of a state ----------------------------------------------------------------------------------------------
def test_first_apply_to_last(tmp_path: Path) -> None:
    """No state, a first run, its commit: lineage and digest key stay, the serial counts runs that said something."""
    store = LocalStore(tmp_path / "state", "bots", environment())
    assert store.read().state is None
    assert not store.read().exists
    with holding(store):
        fresh = store.fresh()
        journal = store.open_journal(run(), fresh)
        journal.append(EntrySet(entry()))
        journal.sync()
        assert store.read().state == replace(fresh, serial=1, deployments={"chat": entry()})
        journal.append(RunEnded("run-1", "done"))
        journal.sync()
        written = store.commit(replace(fresh, deployments={"chat": entry()}))
    assert written.serial == 1
    base = store.read()
    assert base.state == written
    assert base.last_run is not None
    assert base.last_run.result == "done"
    assert names(tmp_path / "state") == {SNAPSHOT, JOURNAL, LOCK, "README.md", ".gitignore"}


def test_each_commit_that_says_something_is_one_up(folder: Path) -> None:
    """A commit with news raises the serial by one and keeps the old snapshot; one without writes nothing."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        assert store.commit(base) == base
        assert not (folder / BACKUP).exists()
        news = store.commit(replace(base, outputs={}))
        assert news.serial == 8
        assert store.commit(news).serial == 8
    assert decode_state((folder / BACKUP).read_bytes()) == base
    assert store_in(folder).read().state == news


def test_run_without_news_leaves_no_trace(folder: Path) -> None:
    """A run that begins, says nothing and commits what it found changes no file but the lock's."""
    base = seeded(folder, "chat")
    before = (folder / SNAPSHOT).stat()
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(RunEnded("run-1", "done"))
        journal.sync()
        assert store.commit(base).serial == 7
    assert (folder / SNAPSHOT).stat() == before
    assert names(folder) == {SNAPSHOT, LOCK}


def test_first_run_without_news_makes_no_state(folder: Path) -> None:
    """Where there was no state and nothing was done, there still is none."""
    with holding(store_in(folder)) as store:
        fresh = store.fresh()
        store.open_journal(None, fresh).sync()
        assert store.commit(fresh) == fresh
    assert names(folder) == {LOCK}


def test_files_are_private(folder: Path) -> None:
    """State, backup and journal can be read by their owner only."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        store.commit(replace(base, outputs={}))
        journal = store.open_journal(run())
        journal.append(EntryRemoved("chat"))
        journal.sync()
    for name in (SNAPSHOT, JOURNAL):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_folder_explains_itself(tmp_path: Path) -> None:
    """A state folder made by the tool has a README and keeps itself out of git; the repository's own is the same."""
    env = environment()
    backend = open_backend(None, tmp_path, "bots", env, sandbox=True)
    with backend.locked(command="apply", unlock_command="x"):
        pass
    assert (tmp_path / "state" / "README.md").read_text() == files.README
    assert (tmp_path / "state" / ".gitignore").read_text() == files.GITIGNORE
    assert names(tmp_path / "state" / "sandbox") == {LOCK}
    for name in ("README.md", ".gitignore"):
        assert (ROOT / "state" / name).read_text() == (tmp_path / "state" / name).read_text()


def test_folder_of_yours_is_left_alone(folder: Path) -> None:
    """In a folder that was there before, nothing is written but the stack's files."""
    with holding(store_in(folder)):
        pass
    assert names(folder) == {LOCK}


def test_backend_section(tmp_path: Path) -> None:
    """`state: {backend, path}`: relative paths start at the file's folder; an unknown backend names the nearest."""
    env = environment()
    assert open_backend({"path": "s"}, tmp_path, "bots", env).location == str(tmp_path / "s" / SNAPSHOT)
    sandbox = open_backend({"backend": "local"}, tmp_path, "bots", env, sandbox=True)
    assert sandbox.location == str(tmp_path / "state" / "sandbox" / SNAPSHOT)
    with pytest.raises(FileError) as error:
        open_backend({"backend": "locl"}, tmp_path, "bots", env)
    assert "local" in error.value.diagnostics[0].hint
    with pytest.raises(FileError):
        open_backend({"path": 3}, tmp_path, "bots", env)
    with pytest.raises(StateError):
        open_backend({}, tmp_path, "../bots", env)


def test_writing_needs_the_lock(folder: Path) -> None:
    """No code path writes a state that it has not locked."""
    base = seeded(folder, "chat")
    store = store_in(folder)
    for write in (lambda: store.commit(base), lambda: store.replace(base), store.open_journal, store.remove):
        with pytest.raises(RuntimeError):
            write()


def test_push_replaces_and_keeps_the_old(folder: Path) -> None:
    """A pushed state stands as it is, serial and lineage included; what was there, journal included, is the backup."""
    base = seeded(folder, "chat")
    (folder / JOURNAL).write_bytes(
        encode(run(), 1) + encode(EntrySet(entry("new")), 1) + encode(IntentWritten(intent()), 1)
    )
    other = replace(base, lineage="other", serial=40, deployments={})
    with holding(store_in(folder)) as store:
        assert store.replace(other) == other
    got = store_in(folder).read()
    assert got.state == other
    assert got.intents == ()
    assert set(decode_state((folder / BACKUP).read_bytes()).deployments) == {"chat", "new"}


def test_rename_of_a_stack_moves_its_files(folder: Path) -> None:
    """After `mv-stack` everything stands under the new name; done twice (a kill in between) it ends the same."""
    base = seeded(folder, "chat")
    moved = renamed(base, "robots")
    for _ in range(2):
        with holding(store_in(folder)) as source, holding(store_in(folder, "robots")) as target:
            move_stack(source, target, moved)
        (folder / LOCK).touch()
        assert store_in(folder, "robots").read().state == moved
        assert not store_in(folder).read().exists
    assert names(folder) == {"robots.state.json", "robots.journal", "robots.lock", LOCK, "robots.backup.json"}


# --- after a kill -------------------------------------------------------------------------------------------------
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
from reconciler.core.journal import EntrySet, RunStarted
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


# --- things that go wrong -----------------------------------------------------------------------------------------
def test_damaged_snapshot_points_to_a_good_backup(folder: Path) -> None:
    """A state that can't be read is an error that names the copy command, if the backup is any better."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        store.commit(replace(base, outputs={}))
    (folder / SNAPSHOT).write_text("")
    with pytest.raises(StateError, match="it is empty") as error:
        store_in(folder).read()
    assert f"cp {folder / BACKUP} {folder / SNAPSHOT}" in error.value.diagnostics[0].hint
    (folder / BACKUP).write_text("{")
    with pytest.raises(StateError) as error:
        store_in(folder).read()
    assert "cp " not in error.value.diagnostics[0].hint


def test_lock_needs_no_readable_state(folder: Path) -> None:
    """Who holds the lock can be asked, and the lock be removed, with a state that can't be read."""
    (folder / SNAPSHOT).write_text("garbage")
    (folder / LOCK).write_text('{"id": "abc", "boot_id": "other", "host": "far"}')
    store = store_in(folder)
    assert store.lock_status().state == "elsewhere"
    assert store.unlock("abc").host == "far"
    assert store.lock_status().state == "free"


def test_state_of_another_stack_is_refused(folder: Path) -> None:
    """A file that was copied to another stack's name is not taken for its state; the rename is named."""
    (folder / SNAPSHOT).write_text(encode_state(state(entry(), stack="other")))
    with pytest.raises(StateError, match="stack other") as error:
        store_in(folder).read()
    assert "mv-stack other bots" in error.value.diagnostics[0].hint


def test_missing_state_with_a_backup_is_told(folder: Path) -> None:
    """A state that was removed is no state, but the backup beside it is pointed out."""
    (folder / BACKUP).write_text(encode_state(state(entry())))
    base = store_in(folder).read()
    assert base.state is None
    assert "cp " in base.notes[0].hint


def test_read_only_folder() -> None:
    """In a folder that we may only read, reading works and locking says what is missing; nothing is a traceback."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = seeded(folder, "chat")
        (folder / SNAPSHOT).chmod(0o444)
        folder.chmod(0o555)
        with ordinary_user():
            assert store_in(folder).read().state == base
            assert store_in(folder).lock_status().state == "free"
            with pytest.raises(StateError, match="permission denied"), holding(store_in(folder)):
                pass
            with pytest.raises(StateError, match="permission denied"), holding(store_in(folder / "state")):
                pass
        (folder / SNAPSHOT).chmod(0o000)
        with ordinary_user(), pytest.raises(StateError, match="can't read"):
            store_in(folder).read()
        folder.chmod(0o755)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may write anywhere; for as long as this lasts we are not root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    """A path that is no folder is an error in words."""
    (tmp_path / "state").write_text("")
    with (
        pytest.raises(StateError, match="a file stands where a folder is expected"),
        holding(store_in(tmp_path / "state")),
    ):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / SNAPSHOT).mkdir()
    with pytest.raises(StateError, match="a folder stands where a file is expected"):
        store_in(tmp_path / "other").read()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["write_fully", "full_sync", "_keep_old"])
def test_failing_disk_leaves_the_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    """Whatever the disk refuses during a commit: words, not a traceback; the state as it was; nothing left over."""
    base = seeded(folder, "chat")

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with holding(store_in(folder)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(files, call, fail)
            with pytest.raises(StateError, match=words) as error:
                store.commit(replace(base, outputs={}))
        assert SNAPSHOT in error.value.diagnostics[0].summary
        assert store.read().state == base
        assert names(folder) == {SNAPSHOT, LOCK}
        assert store.commit(replace(base, outputs={})).serial == 8, "once there is space it works"


def test_full_disk_for_real(folder: Path) -> None:
    """A file size limit for a full disk: the journal keeps what was acknowledged, and goes on when there is room."""
    base = seeded(folder, "chat")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(EntrySet(entry("a")))
        journal.sync()
        size = (folder / JOURNAL).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        try:
            journal.append(EntrySet(entry("b")))
            for _ in range(2):
                with pytest.raises(StateError, match="may not grow"):
                    journal.sync()
            with pytest.raises(StateError, match="may not grow"):
                store.commit(replace(base, outputs={"long": "x" * 5000}))
            assert (folder / JOURNAL).stat().st_size == size
            seen = store_in(folder).read()
            assert seen.state is not None
            assert set(seen.state.deployments) == {"chat", "a"}
            assert not seen.notes
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.sync()
    got = store_in(folder).read().state
    assert got is not None
    assert set(got.deployments) == {"chat", "a", "b"}


def test_disk_that_fails_to_sync_is_not_trusted_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the kernel may have dropped the data: the journal takes no more, in so many words."""
    seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(EntrySet(entry("a")))
        journal.sync()

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(journal_file, "full_sync", fail)
            journal.append(EntrySet(entry("b")))
            with pytest.raises(StateError, match="Input/output"):
                journal.sync()
        with pytest.raises(StateError, match="Input/output"):
            journal.append(EntrySet(entry("c")))


def test_journal_belongs_to_one_thread(folder: Path) -> None:
    """Another thread can't write to the journal, so records are never mixed."""
    seeded(folder, "chat")
    failures: list[BaseException] = []
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())

        def other() -> None:
            try:
                journal.append(EntryRemoved("chat"))
            except RuntimeError as error:
                failures.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(failures) == 1
    with pytest.raises(RuntimeError):
        journal.append(EntryRemoved("chat"))


def test_lock_taken_away_stops_the_writer(folder: Path) -> None:
    """A run whose lock somebody removed (from a machine that does not see the kernel lock) writes nothing more."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        journal.append(EntrySet(entry("a")))
        (folder / LOCK).write_text("")
        with pytest.raises(StateError, match="taken from us"):
            journal.sync()
        with pytest.raises(StateError, match="taken from us"):
            store.commit(replace(base, outputs={}))
    assert store_in(folder).read().state == base


def test_journal_grows_with_what_is_said(folder: Path) -> None:
    """An apply of many writes each result once and the snapshot once: bytes grow with the number, not its square."""
    base = seeded(folder)
    with holding(store_in(folder)) as store:
        journal = store.open_journal(run())
        sizes = []
        before = (folder / SNAPSHOT).stat()
        for number in range(60):
            journal.append(EntrySet(entry(f"m{number:02}")))
            journal.sync()
            sizes.append((folder / JOURNAL).stat().st_size)
        steps = {after - prior for prior, after in itertools.pairwise(sizes)}
        assert max(steps) - min(steps) <= 4
        assert (folder / SNAPSHOT).stat() == before
        store.commit(replace(base, deployments={f"m{n:02}": entry(f"m{n:02}") for n in range(60)}))
        assert (folder / JOURNAL).stat().st_size < 400
