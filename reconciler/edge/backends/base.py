"""What the rest may ask of a place where states are kept; small enough for an object store or a database to answer.

Holds shapes only. A backend that can't say who holds its lock, or can't make one, is no backend.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.core.state.journal import LastRun, Record, RunStarted
from reconciler.diagnostics import Diagnostic
from reconciler.edge.lock import LockRecord, LockStatus
from reconciler.model import Intent, State


@dataclass(frozen=True, slots=True)
class Base:
    """What a stack's state says now: snapshot plus journal. `state` (None: there is none yet) has the effective
    serial. `intents` are creating requests without a known outcome; `last_run` is who wrote last (`result` None: still
    under way, or killed); `untold` is a run that did not end and of which nobody has been told. `exists` says whether
    a snapshot is there. `notes` are to be told to the user."""

    state: State | None
    intents: tuple[Intent, ...] = ()
    last_run: LastRun | None = None
    untold: LastRun | None = None
    exists: bool = False
    notes: tuple[Diagnostic, ...] = field(default=())


class RunJournal(Protocol):
    """What the engine writes while it runs; thread-confined to its owner."""

    def append(self, *records: Record) -> None: ...

    def sync(self) -> None: ...


class Backend(Protocol):
    """One stack's state in one place. Methods raise StateError; only `locked` raises LockedError."""

    @property
    def location(self) -> str:
        """Where the state is, for messages."""

    def read(self) -> Base:
        """Snapshot and journal, consistent with each other; takes no lock, also while a run is writing."""

    def locked(
        self,
        *,
        command: str,
        unlock_command: str,
        timeout: float = 0.0,
        on_wait: Callable[[LockStatus], None] | None = None,
    ) -> AbstractContextManager[LockRecord | None]:
        """Hold the lock; gives the dead holder that was taken over, if any. See `StateLock.acquire`."""

    def fresh(self) -> State:
        """A first state, in memory: new lineage, new digest key, serial 0."""

    def open_journal(
        self, run: RunStarted | None = None, state: State | None = None, *, tells: bool = False
    ) -> RunJournal:
        """Begin to write (under the lock): first fold what an earlier run left. `run` is appended for the caller, who
        may do so himself; `serial` and `lineage` in it are filled in. `state` is the fresh one to begin with where
        there is none; it is written before the first record, and nothing is before that. `tells`: this command has told
        of a run that did not end, so that nobody need be told again."""

    def commit(self, state: State) -> State:
        """Write a new snapshot (under the lock), end the journal; gives the state as written, with its serial. Where it
        says nothing new nothing is written and the serial stays."""

    def replace(self, state: State) -> State:
        """Put `state`, serial and lineage included, in place of what is there (`state push`)."""

    def remove(self) -> None:
        """Forget the state, its backup and its journal (`state mv-stack`, once it stands under its new name)."""

    def lock_status(self) -> LockStatus:
        """Who holds the lock; needs no readable state."""

    def unlock(self, lock_id: str) -> LockRecord:
        """Remove the record of a holder that is gone; needs no readable state."""
