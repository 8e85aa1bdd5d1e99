"""The journal's file while a run writes it: appended to by its owner thread, on disk after `sync`.

What the lines mean is `core/state/journal.py`'s; when a journal begins and ends is the store's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.core.state.journal import (
    IntentClosed,
    IntentWritten,
    LastRun,
    Record,
    RunEnded,
    RunStarted,
    encode,
    unended,
)
from reconciler.diagnostics import StateError
from reconciler.edge.files import full_sync, storage_error, told, write_fully, write_whole
from reconciler.model import Intent, State


class Journal:
    """Append-only and for one thread: the one that opened it. Nothing is written before the first `sync` of a record
    that says something, so a run that does nothing leaves no trace.

    `base` is the state that the run builds on, `intents` those that earlier runs left open, `untold` a run that did not
    end and that this one does not tell of. `prepare` is called once
    before the file is begun, `verify` before each write; both may raise StateError. `run` may be appended later.
    """

    def __init__(
        self,
        path: Path,
        base: State,
        intents: Sequence[Intent],
        run: RunStarted | None,
        prepare: Callable[[], None],
        verify: Callable[[], None],
        *,
        untold: LastRun | None = None,
    ) -> None:
        self._path, self._serial, self._lineage = path, base.serial, base.lineage
        self._prepare, self._verify = prepare, verify
        self._owner = threading.get_ident()
        self._descriptor: int | None = None
        self._closed = False
        self._failure: StateError | None = None
        self._facts = False  # whether anything was said beyond that the run began and ended
        self.untold = untold
        self._buffer: list[bytes] = [] if untold is None else [encode(unended(untold), 1)]
        self._batch, self._size = 1, 0
        self.intents = {intent.id: intent for intent in intents}
        self.last_run: LastRun | None = None
        self.append(*(IntentWritten(intent) for intent in intents))
        self._facts = False
        if run is not None:
            self.append(run)

    @property
    def begun(self) -> bool:
        """Whether anything of this run is in the file."""
        return self._descriptor is not None or self._size > 0

    def append(self, *records: Record) -> None:
        """Take records down, in memory until the next `sync`."""
        self._check()
        for record in records:
            match record:
                case RunStarted():
                    # What it builds on is what the store found, whatever the caller believed: facts on top of an
                    # older serial would count as folded.
                    record = replace(record, serial=self._serial, lineage=self._lineage)
                    self.last_run = LastRun(record)
                case IntentWritten(intent):
                    ours = None if self.last_run is None else self.last_run.started.writer
                    self.intents[intent.id] = replace(intent, by=intent.by or ours)
                case IntentClosed(id):
                    self.intents.pop(id, None)
                case RunEnded(_, result) if self.last_run is not None:
                    self.last_run = LastRun(self.last_run.started, result)
                case _:
                    pass
            self._buffer.append(encode(record, self._batch))
            self._facts = self._facts or not isinstance(record, RunStarted | RunEnded)

    def sync(self) -> None:
        """Everything appended is on disk when this returns: one write, one sync. Nothing appended: nothing done.

        Raises StateError: the disk is full (what was appended is kept, and the next `sync` tries again), the lock was
        taken from us, or the disk failed to keep what it had taken (then this journal takes no more).
        """
        self._check()
        if not self._buffer or not (self.begun or self._facts):
            return
        self._verify()
        data = b"".join(self._buffer)
        if self._descriptor is None:
            self._begin(data)
        else:
            self._add(self._descriptor, data)
        self._size += len(data)
        self._batch += len(self._buffer)
        self._buffer = []

    def _check(self) -> None:
        if threading.get_ident() != self._owner:
            raise RuntimeError("only the thread that opened the journal may write to it")
        if self._closed:
            raise RuntimeError("the journal is closed")
        if self._failure is not None:
            raise self._failure

    def _begin(self, data: bytes) -> None:
        """The file anew: what earlier runs left in it has been folded, but for the intents in `data`."""
        self._prepare()
        write_whole(self._path, data)
        with told("open", self._path):
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def _add(self, descriptor: int, data: bytes) -> None:
        try:
            write_fully(descriptor, data)
        except OSError as error:
            with contextlib.suppress(OSError):  # half a line left there is read as a torn tail; the failure is told
                os.ftruncate(descriptor, self._size)
            raise storage_error("write", self._path, error) from None
        try:
            full_sync(descriptor)
        except OSError as error:
            # The kernel may have dropped the pages: a second sync would succeed and promise what is not there.
            self._failure = storage_error("write", self._path, error)
            raise self._failure from None

    def close(self) -> None:
        """Give the file back. What was not synced is dropped."""
        descriptor, self._descriptor, self._closed = self._descriptor, None, True
        if descriptor is not None:
            os.close(descriptor)
