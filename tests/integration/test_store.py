"""The local store on real files: what readers see, and what a commit leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.state.journal import EntryRemoved, EntrySet, IntentWritten, RunEnded, encode
from reconciler.core.state.state_codec import decode_state
from reconciler.core.state.state_ops import renamed
from reconciler.diagnostics import FileError, StateError
from reconciler.edge import files
from reconciler.edge.backends.choose import open_backend
from reconciler.edge.store import LocalStore, move_stack
from tests.support.states import entry, environment, intent, run
from tests.support.stores import BACKUP, JOURNAL, LOCK, SNAPSHOT, holding, names, seeded, store_in

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that exists, with nothing in it."""
    path = tmp_path / "state"
    path.mkdir()
    return path


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


def test_without_its_lock_file_a_run_overwrites_nobody(folder: Path) -> None:
    """The lock file is deleted under a run, and another one commits: the first one's journal and commit are refused."""
    base = seeded(folder, "chat")
    with holding(store_in(folder)) as first:
        journal = first.open_journal(run())
        journal.append(EntryRemoved("chat"))
        journal.sync()
        (folder / LOCK).unlink()
        with holding(store_in(folder)) as second:
            theirs = second.commit(replace(base, deployments={"chat": entry(), "web": entry("web")}))
        journal.append(EntrySet(entry("late")))
        for write in (journal.sync, lambda: first.commit(base)):
            with pytest.raises(StateError, match="was deleted or replaced"):
                write()
    assert decode_state((folder / SNAPSHOT).read_bytes()) == theirs
    assert store_in(folder).read().state == theirs


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


def test_a_rename_killed_while_it_forgets_the_old_name_can_be_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed run had in its journal is in the old snapshot by then: the old name never says something older."""
    seeded(folder, "chat")
    (folder / JOURNAL).write_bytes(encode(run(), 1) + encode(EntrySet(entry("new")), 1))
    whole = store_in(folder).read().state
    assert whole is not None
    moved = renamed(whole, "robots")
    unlink, removed = Path.unlink, []

    def die(path: Path, **options: bool) -> None:
        if path.name in (JOURNAL, SNAPSHOT):
            if removed:
                raise KeyboardInterrupt
            removed.append(path.name)
        unlink(path, **options)

    with holding(store_in(folder)) as source, holding(store_in(folder, "robots")) as target:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", die)
            with pytest.raises(KeyboardInterrupt):
                move_stack(source, target, moved)
        assert removed == [JOURNAL]
        left = store_in(folder).read().state
        assert left is not None
        assert (left.deployments, left.serial) == (whole.deployments, whole.serial)
        assert renamed(left, "robots", existing=store_in(folder, "robots").read().state) == moved
        move_stack(source, target, moved)
    assert not store_in(folder).read().exists


def test_a_push_that_fails_gives_up_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full where a state of another lineage was to stand: what an interrupted run left open stays so."""
    base = seeded(folder, "chat")
    (folder / JOURNAL).write_bytes(encode(run(), 1) + encode(IntentWritten(intent()), 1))
    other = replace(base, lineage="other", serial=40)

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with holding(store_in(folder)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_fully", fail)
            with pytest.raises(StateError):
                store.replace(other)
        got = store_in(folder).read()
        assert (got.state, len(got.intents)) == (base, 1)
        store.replace(other)
    assert store_in(folder).read().intents == ()
