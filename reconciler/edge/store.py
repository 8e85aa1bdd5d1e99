"""The local state of one stack: `<stack>.state.json`, `.backup.json`, `.journal` and `.lock` in one folder.

Joins the codec and the journal (pure) with files and lock; has no rule of its own about what a state means. Readers
take no lock. Writers hold it, and put a file in place whole. The order of writes makes every moment safe to be killed
in: the snapshot first, then a fresh journal; facts on top of an older serial than the snapshot's count as folded.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from reconciler.core.state.journal import Replayed, RunStarted, carried, encode, once_told
from reconciler.core.state.journal import replay as replay_journal
from reconciler.core.state.state_codec import STACK, decode_state, encode_state
from reconciler.core.values.bulk import collector_paused
from reconciler.diagnostics import Diagnostic, StateError
from reconciler.edge.backends.base import Base
from reconciler.edge.environment import Environment
from reconciler.edge.files import ensure_folder, read_bytes, remove_leftovers, sync_folder, told, write_whole
from reconciler.edge.journal_file import Journal
from reconciler.edge.lock import LockRecord, LockStatus, StateLock
from reconciler.model import State

_READS = 20  # a reader meets at most a few commits; each takes longer than a read


class LocalStore:
    """A `Backend` on a local disk. `home` is the state folder (default: `folder` itself): where we make it, it gets a
    README and a .gitignore. Raises StateError for a stack name that can't be a file name. Not for several threads."""

    def __init__(self, folder: Path, stack: str, env: Environment, *, home: Path | None = None) -> None:
        if not STACK.fullmatch(stack):
            raise StateError(Diagnostic(summary=f"{stack!r} is not a stack name ([a-z0-9-], 1 to 63 characters)"))
        self.folder = folder
        self.stack = stack
        self._home = home or folder
        self._env = env
        self._state = folder / f"{stack}.state.json"
        self._backup = folder / f"{stack}.backup.json"
        self._log = folder / f"{stack}.journal"
        self._lock = StateLock(folder / f"{stack}.lock", stack, env)
        self._journal: Journal | None = None
        self._base: State | None = None  # what the run that is under way builds on
        self._on_disk = False  # whether that is in the snapshot already

    @property
    def location(self) -> str:
        return str(self._state)

    # --- reading --------------------------------------------------------------------------------------------------
    def read(self) -> Base:
        with collector_paused():
            snapshot, replayed = self._load()
        notes = []
        if replayed.torn:
            notes.append(
                Diagnostic(
                    summary=f"the last lines of {self._log} were not written to their end, and are left out",
                    severity="note",
                    detail="A run was cut off while writing them; nothing had been done on the strength of them.",
                )
            )
        if snapshot is None and self._backup.exists():
            notes.append(
                Diagnostic(
                    summary=f"there is no {self._state}, but there is a backup of it",
                    severity="warning",
                    hint=f"if it was removed by accident: cp {self._backup} {self._state}",
                )
            )
        return Base(
            replayed.state, replayed.intents, replayed.last_run, replayed.untold, snapshot is not None, tuple(notes)
        )

    def _load(self) -> tuple[State | None, Replayed]:
        """Snapshot and journal of one and the same moment: read again if the snapshot was replaced meanwhile."""
        for _ in range(_READS):
            found = read_bytes(self._state)
            log = read_bytes(self._log)
            if self._stamp() == (None if found is None else _stamp_of(found[1])):
                break
        else:
            raise StateError(Diagnostic(summary=f"{self._state} keeps changing while it is read", hint="try again"))
        snapshot = None if found is None else self._decode(found[0])
        return snapshot, replay_journal(snapshot, b"" if log is None else log[0], file=str(self._log))

    def _stamp(self) -> tuple[int, int, int] | None:
        with told("read", self._state):
            try:
                return _stamp_of(self._state.stat())
            except FileNotFoundError:
                return None

    def _decode(self, data: bytes) -> State:
        try:
            state = decode_state(data, file=str(self._state))
        except StateError as error:
            problem = error.diagnostics[0]
            raise StateError(problem if problem.hint else replace(problem, hint=self._way_out())) from None
        if state.stack != self.stack:
            raise StateError(
                Diagnostic(
                    summary=f"{self._state} holds the state of stack {state.stack}, not of {self.stack}",
                    hint=f"to rename the stack: reconciler state mv-stack {state.stack} {self.stack}; else set "
                    f"`stack: {state.stack}` or another `state: {{path: …}}`",
                )
            )
        return state

    def _way_out(self) -> str:
        """What to do about a damaged snapshot, depending on whether the backup is any better."""
        with contextlib.suppress(StateError):
            found = read_bytes(self._backup)
            if found is not None:
                serial = decode_state(found[0]).serial
                return f"the backup beside it (serial {serial}) can be read: cp {self._backup} {self._state}"
        return "put back a copy of it; without one, move it away and take the deployments over (`reconciler import`)"

    # --- locking --------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def locked(
        self,
        *,
        command: str,
        unlock_command: str,
        timeout: float = 0.0,
        on_wait: Callable[[LockStatus], None] | None = None,
    ) -> Iterator[LockRecord | None]:
        ensure_folder(self.folder, self._home)
        taken_over = self._lock.acquire(
            command=command, unlock_command=unlock_command, timeout=timeout, on_wait=on_wait
        )
        try:
            remove_leftovers(self._state, self._backup, self._log)
            yield taken_over
        finally:
            self._end_journal()
            self._lock.release()

    def lock_status(self) -> LockStatus:
        return self._lock.status()

    def unlock(self, lock_id: str) -> LockRecord:
        return self._lock.unlock(lock_id)

    # --- writing, under the lock ----------------------------------------------------------------------------------
    def fresh(self) -> State:
        return State(stack=self.stack, lineage=self._env.new_id(), serial=0, digest_key=self._env.new_key())

    def open_journal(
        self, run: RunStarted | None = None, state: State | None = None, *, tells: bool = False
    ) -> Journal:
        self._lock.verify()
        self._end_journal()
        with collector_paused():
            snapshot, replayed = self._load()
            base = replayed.state or state
            if base is None:
                raise RuntimeError("a first run needs a fresh state to begin with")
            news = tells and replayed.untold is not None
            if tells:
                replayed = once_told(replayed)
            if snapshot is not None and base != snapshot:
                self._write(base, snapshot)
            if snapshot is not None and (base != snapshot or news):
                self._reset_log(replayed)
        self._base, self._on_disk = base, snapshot is not None

        def prepare() -> None:
            """Lineage and digest key are on disk before the first fact that needs them."""
            if not self._on_disk:
                self._write(base, None)
                self._on_disk = True

        self._journal = Journal(
            self._log, base, replayed.intents, run, prepare, self._lock.verify, untold=replayed.untold
        )
        return self._journal

    def commit(self, state: State) -> State:
        self._lock.verify()
        with collector_paused():
            snapshot, replayed = self._known()
            before = replayed.state or State(state.stack, state.lineage, 0, state.digest_key)
            if (state.stack, state.lineage, state.digest_key) != (before.stack, before.lineage, before.digest_key):
                raise StateError(Diagnostic(summary=f"this is another state than the one in {self._state}"))
            state = replace(state, serial=before.serial)
            unchanged = state == before
            if not unchanged:
                state = replace(state, serial=before.serial + 1)
            says_new = not unchanged or (snapshot is not None and snapshot.serial != before.serial)
            if says_new:
                self._write(state, snapshot)
        self._end_journal()
        if says_new or replayed.pending:
            # The snapshot is in place, so the old journal counts as folded: failing to tidy it up loses nothing.
            with contextlib.suppress(StateError):
                self._reset_log(replayed)
        return state

    def replace(self, state: State) -> State:
        self._lock.verify()
        self._end_journal()
        with collector_paused():
            snapshot, replayed = self._load_any()
            folded = replayed.state
            if folded is not None and folded != snapshot:
                self._write(folded, snapshot)
            if folded is not None and folded.lineage == state.lineage:
                self._reset_log(replayed)
                self._write(state, folded)
            else:  # what is open is given up only once the other state stands there
                self._write(state, folded)
                self._reset_log(replace(replayed, intents=()))
        return state

    def remove(self) -> None:
        self._lock.verify()
        self._end_journal()
        for path in (self._log, self._state, self._backup):
            with told("remove", path):
                path.unlink(missing_ok=True)
        with told("write", self.folder):
            sync_folder(self.folder)

    def _known(self) -> tuple[State | None, Replayed]:
        """Snapshot and what stands on top of it. During a run of ours nothing needs reading: the run's facts are in
        the state that is committed, and all of them together are one step of the serial."""
        if self._journal is None or self._base is None:
            return self._load()
        journal, snapshot = self._journal, self._base if self._on_disk else None
        last = journal.last_run and replace(journal.last_run, result=journal.last_run.result or "done")
        intents = tuple(journal.intents.values())
        return snapshot, Replayed(self._base, intents, last, journal.untold, pending=journal.begun)

    def _load_any(self) -> tuple[State | None, Replayed]:
        """For `replace`, which is also the way out of a state that can't be read any more."""
        try:
            return self._load()
        except StateError:
            return None, Replayed(None)

    def _write(self, state: State, before: State | None) -> None:
        worth_keeping = before is not None and (before.serial > 0 or before.deployments)
        data = encode_state(state).encode("ascii")
        write_whole(self._state, data, backup=self._backup if worth_keeping else None)

    def _reset_log(self, replayed: Replayed) -> None:
        write_whole(self._log, b"".join(encode(record, 1) for record in carried(replayed)))

    def _end_journal(self) -> None:
        journal, self._journal, self._base = self._journal, None, None
        if journal is not None:
            journal.close()


def move_stack(source: LocalStore, target: LocalStore, state: State) -> None:
    """Put `state` (renamed by `core/state/state_ops.py`) under the target's name, then forget the source's files. Both
    locks are held. Killed in between, both stand there, and the same command finishes it. Raises StateError."""
    target.replace(state)
    folded = source.read().state
    if folded is not None:
        source.replace(folded)  # removing may end between two files, and what is left must say the same
    source.remove()


def _stamp_of(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
