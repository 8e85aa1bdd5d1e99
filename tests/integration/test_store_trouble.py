"""The local store where things go wrong: damaged files, failing and full disks, a lock taken away."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.state.journal import EntryRemoved, EntrySet
from reconciler.core.state.state_codec import encode_state
from reconciler.diagnostics import StateError
from reconciler.edge import files, journal_file
from tests.support.states import entry, run, state
from tests.support.stores import BACKUP, JOURNAL, LOCK, SNAPSHOT, holding, names, seeded, store_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that exists, with nothing in it."""
    path = tmp_path / "state"
    path.mkdir()
    return path


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
