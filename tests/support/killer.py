"""Lets harm come to the process that it is installed in, at one journal point: mostly SIGKILL, so no handler, no flush,
no goodbye; or another signal, or a disk that is full from then on.

It wraps the journal's file and the store's snapshot from outside; the product has no hook for it. A point is a moment
`before` or `after` some records of the journal reach the disk (or `torn`: half of their bytes do), or a moment of the
commit. Each is named by the kinds of its records, e.g. `after intent:create`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler.core.state.journal import (
    EntryRemoved,
    EntrySet,
    IntentClosed,
    IntentWritten,
    OutputsSet,
    ProvidersSet,
    Record,
    RunEnded,
    RunStarted,
)


def kind_of(record: Record) -> str:
    """A record's name in points: its kind and, where it has one, its step, verb or result."""
    match record:
        case IntentWritten(intent):
            return f"intent:{intent.step}"
        case IntentClosed(_, result):
            return f"closed:{result}"
        case EntrySet(entry):
            return f"entry:{entry.pending.verb if entry.pending else 'settled'}"
        case EntryRemoved():
            return "removed"
        case ProvidersSet():
            return "providers"
        case OutputsSet():
            return "outputs"
        case RunStarted():
            return "started"
        case RunEnded(_, result):
            return f"ended:{result}"


class Harm:
    """Writes every point that it passes to `report`, a line each, and does `harm` at `target`: the name of a point, and
    how many of the same name come before it. None: never. `harm` is the name of a signal, or
    of several with `+` between, or `fill:FILE`."""

    def __init__(self, report: Path, target: tuple[str, int] | None, harm: str = "SIGKILL") -> None:
        self._report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._target, self._how = target, harm
        self._passed: Counter[str] = Counter()
        self._pending: list[str] = []
        self._label = "begin"  # which file is being put in place: the journal's own, unless said otherwise

    def install(self) -> None:
        """Wrap the journal and the store of this process."""
        from reconciler.edge import files, journal_file, store

        self._wrap_journal(journal_file)
        self._wrap_commit(files, store)

    def _reach(self, name: str, then: Callable[[], object] = lambda: None) -> None:
        os.write(self._report, f"{name}\n".encode())
        if (name, self._passed[name]) == self._target:
            then()
            self._do()
        self._passed[name] += 1

    def _do(self) -> None:
        kind, _, file = self._how.partition(":")
        if kind != "fill":
            for name in self._how.split("+"):
                os.kill(os.getpid(), signal.Signals[name])
            return
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for size in (4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, b"\0" * size)
        os.close(descriptor)

    def _wrap_journal(self, module: Any) -> None:
        append, sync, write = module.Journal.append, module.Journal.sync, module.write_fully

        def appending(journal: Any, *records: Record) -> None:
            append(journal, *records)
            self._pending += map(kind_of, records)

        def syncing(journal: Any) -> None:
            says = journal._buffer and (journal.begun or journal._facts)
            names = "+".join(self._pending)
            if not says:
                sync(journal)
                return
            self._reach(f"before {names}")
            sync(journal)
            self._pending.clear()
            self._reach(f"after {names}")

        def writing(descriptor: int, data: bytes) -> None:
            self._reach(f"torn {'+'.join(self._pending)}", lambda: os.write(descriptor, data[: len(data) * 2 // 3]))
            write(descriptor, data)

        module.Journal.append, module.Journal.sync, module.write_fully = appending, syncing, writing

    def _wrap_commit(self, files: Any, store: Any) -> None:
        put, reset, sync, keep = (
            store.LocalStore._write, store.LocalStore._reset_log, files.full_sync, files._keep_old,
        )  # fmt: skip

        def writing(self_: Any, *arguments: Any) -> None:
            self._within("snapshot", lambda: put(self_, *arguments))

        def resetting(self_: Any, *arguments: Any) -> None:
            self._within("reset", lambda: reset(self_, *arguments))

        def syncing(descriptor: int) -> None:
            sync(descriptor)
            self._reach(f"torn {self._label}")  # the new file is whole, but has not its name yet

        def keeping(*arguments: Any) -> None:
            keep(*arguments)
            self._reach(f"torn {self._label}")  # the old file has its second name, the new one not its own yet

        store.LocalStore._write, store.LocalStore._reset_log = writing, resetting
        files.full_sync, files._keep_old = syncing, keeping

    def _within(self, label: str, work: Callable[[], object]) -> None:
        before, self._label = self._label, label
        self._reach(f"before {label}")
        work()
        self._reach(f"after {label}")
        self._label = before
