"""Command lines of the fault campaign: forked like all crash tests' (see `zygote`), and spoilt from outside if asked.

`python -m tests.support.campaign_child` is the forking process. What it may do to a child before the command begins:
aim harm at a journal point by provider, refuse connections, fill the disk, make the state folder read-only, and, for
the negative controls, take out one of the product's promises. The product has no hook for any of it.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import killer, zygote
from tests.support.crash import ROOT, Commands, Running, environment

TYPES = {"n": "neevcloud", "m": "modelstudio", "h": "nugen", "s": "opensearch"}  # an address begins with its type's
TWICE = "SIGINT+SIGINT"
PEACEFUL = 10.0  # seconds that a request may take where nothing goes wrong
SPOILT = "spoilt by "
Spoil = tuple[str, int, int]


# --- our side ---------------------------------------------------------------------------------------------------------
class CampaignCommands(Commands):
    """`spoils` and `variables` hold for the commands that are started from then on."""

    def __init__(self) -> None:
        self._started = 0
        self.spoils: Sequence[Spoil] = ()
        self.variables: dict[str, str] = environment()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.campaign_child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
        )  # fmt: skip

    def start(
        self, cwd: Path, *argv: str, points: bool = False, target: tuple[str, int] | None = None, harm: str = "SIGKILL"
    ) -> Running:
        self._started += 1
        out, err, report = (cwd.with_name(f"{kind}-{self._started}") for kind in ("out", "err", "points"))
        out.touch()
        err.touch()
        request = {
            "argv": argv, "cwd": str(cwd), "env": self.variables, "out": str(out), "err": str(err),
            "points": str(report) if points else None, "target": target, "harm": harm, "spoils": self.spoils,
        }  # fmt: skip
        return Running(self, int(self.ask(request)["pid"]), out, err, report)


# --- the child's side -------------------------------------------------------------------------------------------------
class Aim(killer.Harm):
    """Harm at the n-th point `WHEN KIND@TYPE`, whatever else is written with it; points are reported with the type."""

    def __init__(self, report: Path, target: tuple[str, int] | None, harm: str = "SIGKILL") -> None:
        super().__init__(report, None, harm)
        self._aim, self._left = (target[0], target[1] + 1) if target else ("", 0)

    def _reach(self, name: str, then: Callable[[], object] = lambda: None) -> None:
        super()._reach(name)
        when, _, kinds = name.partition(" ")
        if self._aim in {f"{when} {kind}" for kind in kinds.split("+")}:
            self._left -= 1
            if self._left == 0:
                then()
                self._do()


_owners: dict[str, str] = {}


def kind_of(record: Any) -> str:
    """The record's kind and the type of provider that it is about."""
    kind, type_ = type(record).__name__, ""
    if kind == "IntentWritten":
        _owners[record.intent.id] = type_ = record.intent.entry.type
    elif kind == "IntentClosed":
        type_ = _owners.get(record.id, "")
    elif kind == "EntrySet":
        type_ = record.entry.type
    elif kind == "EntryRemoved":
        type_ = TYPES.get(record.address.lstrip("~")[:1], "")
    return f"{kind}@{type_}"


_report: list[Path] = []  # where to tell


def _tell(spoil: str) -> None:
    """It takes effect: a line of the report of points."""
    with open(_report[0], "ab", buffering=0) as file:
        file.write(f"{SPOILT}{spoil}\n".encode())


def _refuse(after: int, times: int) -> None:
    """The connections number `after` to `after + times` are refused."""
    connect, seen = socket.create_connection, [0]

    def connecting(*args: Any, **options: Any) -> Any:
        seen[0] += 1
        if after < seen[0] <= after + times:
            _tell("refuse")
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return connect(*args, **options)

    socket.create_connection = connecting


def _full(after: int, _: int) -> None:
    """After so many writes below the state folder the disk is full; the write that fills it is cut in half."""
    write, seen = os.write, [0]

    def writing(descriptor: int, data: Any) -> int:
        if "/state/" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return write(descriptor, data)
        seen[0] += 1
        if seen[0] <= after:
            return write(descriptor, data)
        if seen[0] == after + 1:
            _tell("full")
        if seen[0] == after + 1 and len(data) > 1:
            return write(descriptor, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.write = writing


def _read_only(after: int, _: int) -> None:
    """After so many changes of files below the state folder it is read-only."""
    seen = [0]

    def wrap(name: str) -> None:
        original = getattr(os, name)

        def guarded(path: Any, *args: Any, **options: Any) -> Any:
            changes = name != "open" or (args and args[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if changes and "/state" in os.path.abspath(os.fsdecode(path)):
                seen[0] += 1
                if seen[0] > after:
                    if seen[0] == after + 1:
                        _tell("read-only")
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fsdecode(path))
            return original(path, *args, **options)

        setattr(os, name, guarded)

    for name in ("open", "replace", "rename", "unlink", "link", "mkdir"):
        wrap(name)


def _without(*kinds: str) -> None:
    """The journal does not take these records."""
    from reconciler.edge import journal_file

    append = journal_file.Journal.append

    def appending(journal: Any, *records: Any) -> None:
        append(journal, *(one for one in records if type(one).__name__ not in kinds))

    journal_file.Journal.append = appending  # type: ignore[method-assign]


def _unsynced() -> None:
    """What came of a request, its closing included, is written with the next intent or when the run ends."""
    from reconciler.edge import journal_file

    append, sync = journal_file.Journal.append, journal_file.Journal.sync
    waits = {"EntrySet", "EntryRemoved", "IntentClosed"}
    due = [False]

    def appending(journal: Any, *records: Any) -> None:
        append(journal, *records)
        due[0] = due[0] or any(type(one).__name__ not in waits for one in records)

    def syncing(journal: Any) -> None:
        if due[0]:
            sync(journal)
            due[0] = False

    journal_file.Journal.append, journal_file.Journal.sync = appending, syncing  # type: ignore[method-assign]


def _held_back() -> None:
    """That a create was answered is written at once; what came of it waits in a buffer until the run ends."""
    from reconciler.edge import journal_file

    append, held, begun = journal_file.Journal.append, [], set()

    def appending(journal: Any, *records: Any) -> None:
        for record in records:
            kind = type(record).__name__
            if kind == "IntentWritten":
                begun.add(record.intent.entry.address)
            if kind == "EntryRemoved" or (kind == "EntrySet" and record.entry.address in begun):
                held.append(record)
                continue
            if kind == "RunEnded":
                append(journal, *held)
                held.clear()
            append(journal, record)

    journal_file.Journal.append = appending  # type: ignore[method-assign]


def _blind() -> None:
    """Every request counts as safe to repeat."""
    from reconciler.edge import client

    client.REPEATABLE = frozenset({*client.REPEATABLE, "POST"})


def _impatient() -> None:
    """The client hands every 429 on to the engine, as it does when it has waited two minutes."""
    from reconciler.edge import client

    client.THROTTLE_BUDGET = 0.0


def _patient() -> None:
    """A command in peace waits for a busy machine, whatever short timeout the file gives for the disturbed ones."""
    from reconciler.edge import client

    begin = client.Client.__init__

    def beginning(made: Any, *args: Any, **options: Any) -> None:
        begin(made, *args, **{**options, "timeout": max(PEACEFUL, options.get("timeout", 0.0))})

    client.Client.__init__ = beginning  # type: ignore[method-assign]


def _hurry() -> None:
    """Retries follow each other as fast as the simulators' clock runs."""
    from reconciler.edge import pace

    pace.FIRST_WAIT, pace.LONGEST_WAIT = 0.02, 0.3


SPOILERS: Mapping[str, Callable[[int, int], None]] = {
    "refuse": _refuse,
    "full": _full,
    "read-only": _read_only,
    "impatient": lambda *_: _impatient(),
    "patient": lambda *_: _patient(),
    "no-intents": lambda *_: _without("IntentWritten", "IntentClosed"),
    "blind-retries": lambda *_: _blind(),
    "no-outcomes": lambda *_: _held_back(),
    "late-outcomes": lambda *_: _unsynced(),
}


def main() -> None:
    """The forking process, with what it needs to know about spoiling."""
    original = zygote.child

    def child(request: dict[str, Any]) -> Any:
        _hurry()
        _report[:] = [Path(request["points"] or os.devnull)]
        for name, first, second in request["spoils"]:
            SPOILERS[name](first, second)
        original(request)

    zygote.child = child  # type: ignore[assignment]
    killer.Harm, killer.kind_of = Aim, kind_of  # type: ignore[misc]
    zygote.main()


if __name__ == "__main__":
    main()
