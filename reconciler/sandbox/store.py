"""Keeps the worlds of the simulators: in memory, or one JSON file a world, shared by processes.

A file is locked (flock) while requests are under way and replaced as a whole before they are answered, so that two
commands in one sandbox see each other and a kill never loses what was answered. Requests of several threads that end
together share one write: each alone would rewrite the whole world. Nothing is synced to the disk's platter.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.diagnostics import Diagnostic, StateError
from reconciler.sandbox.base import World

LONGEST_TURN = 0.05  # seconds that one process goes on taking requests before another may have the file

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_-]+)?")


@dataclass(slots=True)
class _Slot:
    """One world in this process.

    `alone` is held by the one request that looks at or changes the world, `writing` by the one that writes for all.
    `changes` counts requests that changed it, `written` how many of those the file holds. `turn` guards who is inside:
    `inside` requests since `since` share the lock of the file (`handle`).
    """

    world: World
    alone: threading.Lock = field(default_factory=threading.Lock)
    writing: threading.Lock = field(default_factory=threading.Lock)
    changes: int = 0
    written: int = 0
    stamp: tuple[int, int, int] | None = None
    turn: threading.Condition = field(default_factory=threading.Condition)
    inside: int = 0
    since: float = 0.0
    handle: int = -1


class SandboxStore:
    """The worlds under `folder` (None: in memory). `wall` gives seconds since 1970, `speed` a new world's.

    A world's name is `<type>` or `<type>.<suffix>`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        speed: float = 1.0,
    ) -> None:
        self._folder = folder
        self._wall = wall
        self._monotonic = monotonic
        self._speed = speed
        self._slots: dict[str, _Slot] = {}
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def world(self, name: str, *, keep: bool = True) -> Iterator[World]:
        """The world, alone, as it is now; what was changed is written when the block ends (`keep`, or `touch`).

        Raises StateError where the file can't be read or is not a world. Written also when the block raises: a
        simulator that fails half-way has done what it has done.
        """
        slot = self._slot(name)
        with self._turn(name, slot):
            change = 0
            try:
                with slot.alone:
                    slot.world.touched = keep
                    try:
                        yield slot.world
                    finally:
                        if slot.world.touched:
                            slot.changes += 1
                            change = slot.changes
            finally:
                if change and self._folder is not None:
                    self._write(name, slot, change)

    def names(self) -> list[str]:
        """The worlds that exist, sorted."""
        found = set(self._slots)
        if self._folder is not None and self._folder.is_dir():
            found |= {path.name.removesuffix(".json") for path in self._folder.glob("*.json")}
        return sorted(found)

    def reset(self) -> list[str]:
        """Forget everything; gives the names of the worlds that were forgotten."""
        names = self.names()
        for name in names:
            slot = self._slot(name)
            with self._turn(name, slot, read=False), slot.writing, slot.alone:
                slot.world, slot.stamp, slot.written = self._new(name), None, slot.changes
                if self._folder is not None:
                    self._path(name).unlink(missing_ok=True)
        return names

    def _new(self, name: str) -> World:
        return World(name, self._wall, speed=self._speed)

    def _slot(self, name: str) -> _Slot:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a sandbox world: {name!r}")
        with self._guard:
            if name not in self._slots:
                self._slots[name] = _Slot(self._new(name))
            return self._slots[name]

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}.json"

    # --- one file, several processes -----------------------------------------------------------------------------
    @contextlib.contextmanager
    def _turn(self, name: str, slot: _Slot, *, read: bool = True) -> Iterator[None]:
        """Be inside: the file is locked by the first and freed by the last; the first reads what others wrote.

        After a while the door stays shut until all are out, so that another process gets its turn.
        """
        if self._folder is None:
            yield
            return
        with slot.turn:
            while slot.inside and self._monotonic() - slot.since > LONGEST_TURN:
                slot.turn.wait()
            if not slot.inside:
                self._lock(name, slot)
                try:
                    self._refresh(name, slot, read)
                except BaseException:
                    self._unlock(slot)
                    raise
            slot.inside += 1
        try:
            yield
        finally:
            with slot.turn:
                slot.inside -= 1
                if not slot.inside:
                    self._unlock(slot)
                    slot.turn.notify_all()

    def open_folder(self) -> None:
        """Make the folder where there is none. Raises StateError."""
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._closed(error) from error

    def _closed(self, error: OSError) -> StateError:
        return StateError(Diagnostic(f"the sandbox folder {self._folder} can't be written: {error.strerror}"))

    def _lock(self, name: str, slot: _Slot) -> None:
        """Lock the lock file of this world; it is never deleted, so that all processes lock the same one."""
        assert self._folder is not None
        self.open_folder()
        try:
            slot.handle = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._closed(error) from error
        fcntl.flock(slot.handle, fcntl.LOCK_EX)
        slot.since = self._monotonic()

    def _unlock(self, slot: _Slot) -> None:
        os.close(slot.handle)
        slot.handle = -1

    def _refresh(self, name: str, slot: _Slot, read: bool) -> None:
        """Read the file again if another process has replaced it since."""
        path = self._path(name)
        stamp = _stamp(path)
        if stamp == slot.stamp or not read:
            return
        world = self._new(name)
        if stamp is not None:
            try:
                world.load(json.loads(path.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StateError(
                    Diagnostic(
                        f"the sandbox data in {path} can't be read",
                        detail=f"{type(error).__name__}: {error}",
                        hint="forget it with `reconciler sandbox reset`",
                    )
                ) from error
        slot.world, slot.stamp = world, stamp

    def _write(self, name: str, slot: _Slot, change: int) -> None:
        """Have the file hold this change; whoever comes first writes for all that have ended."""
        with slot.writing:
            if slot.written >= change:
                return
            with slot.alone:
                upto = slot.changes
                text = json.dumps(slot.world.dump(), ensure_ascii=False, separators=(",", ":"))
            path = self._path(name)
            fresh = path.with_suffix(f".{os.getpid()}.tmp")
            try:
                descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
                    stream.write(text)
                os.replace(fresh, path)
            except OSError as error:
                fresh.unlink(missing_ok=True)
                raise StateError(
                    Diagnostic(f"the sandbox data can't be written to {path}: {error.strerror}")
                ) from error
            slot.stamp, slot.written = _stamp(path), upto


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
