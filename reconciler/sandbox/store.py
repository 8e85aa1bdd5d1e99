"""Keeps the worlds of the simulators: in memory, or one JSON file a world, shared by processes.

A file is locked (flock) for the length of a request and replaced as a whole, so that two commands in one sandbox see
each other and a kill never leaves half a world. It is no system of record: nothing is synced to the disk's platter.
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

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_-]+)?")


@dataclass(slots=True)
class _Slot:
    """One world of this process, the lock for it, and which version of the file it is."""

    world: World
    lock: threading.Lock = field(default_factory=threading.Lock)
    stamp: tuple[int, int, int] | None = None


class SandboxStore:
    """The worlds under `folder` (None: in memory). `wall` gives seconds since 1970, `speed` a new world's.

    A world's name is `<type>` or `<type>.<suffix>`.
    """

    def __init__(
        self, folder: Path | None = None, *, wall: Callable[[], float] = time.time, speed: float = 1.0
    ) -> None:
        self._folder = folder
        self._wall = wall
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
        with slot.lock, self._locked(name):
            self._refresh(name, slot)
            slot.world.touched = keep
            try:
                yield slot.world
            finally:
                if slot.world.touched:
                    self._write(name, slot)

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
            with slot.lock, self._locked(name):
                slot.world, slot.stamp = World(name, self._wall, speed=self._speed), None
                if self._folder is not None:
                    self._path(name).unlink(missing_ok=True)
        return names

    def _slot(self, name: str) -> _Slot:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not the name of a sandbox world: {name!r}")
        with self._guard:
            if name not in self._slots:
                self._slots[name] = _Slot(World(name, self._wall, speed=self._speed))
            return self._slots[name]

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}.json"

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the lock file of this world; it is never deleted, so that all processes lock the same one."""
        if self._folder is None:
            yield
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                Diagnostic(f"the sandbox folder {self._folder} can't be written: {error.strerror}")
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _refresh(self, name: str, slot: _Slot) -> None:
        """Read the file again if another process has replaced it since."""
        if self._folder is None:
            return
        path = self._path(name)
        stamp = _stamp(path)
        if stamp == slot.stamp:
            return
        world = World(name, self._wall, speed=self._speed)
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

    def _write(self, name: str, slot: _Slot) -> None:
        if self._folder is None:
            return
        path = self._path(name)
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        text = json.dumps(slot.world.dump(), ensure_ascii=False, separators=(",", ":"))
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.replace(fresh, path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StateError(Diagnostic(f"the sandbox data can't be written to {path}: {error.strerror}")) from error
        slot.stamp = _stamp(path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
