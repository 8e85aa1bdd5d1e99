"""Who may write a state: the kernel lock decides, the record in the lock file explains.

The kernel frees its lock when the holder dies, however it dies, so a lock on this machine is never stale. It may not
reach other machines (network file systems), so the record of another boot holds although the kernel lock is free, until
somebody says `unlock`. Pids decide nothing: they are reused, and containers have their own. The lock file is never
deleted or replaced by us: two processes could then hold locks on two files of one name. Where somebody else did, the
holder of the old file writes nothing any more. Needs no readable state.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Literal
from zlib import crc32

from reconciler.diagnostics import Diagnostic, LockedError, StateError
from reconciler.edge.environment import Environment, ci_job_url
from reconciler.edge.files import told

TELL_EVERY = 30.0  # seconds between two messages about the holder while we wait
LONGEST_PAUSE = 1.0  # seconds between two tries
_PROBES = 5  # tries before "held" is believed: `lock status` holds the kernel lock for an instant
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")  # it is pasted into a shell
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BUSY = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


@dataclass(frozen=True, slots=True)
class LockRecord:
    """Who holds a lock, for people. `pid_start` is in the system's own unit; `since` is RFC 3339 in UTC."""

    id: str
    boot_id: str = ""
    host: str = ""
    user: str = ""
    pid: int = 0
    pid_start: str = ""
    command: str = ""
    job_url: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class LockStatus:
    """`free`; `held`: by a living process that this kernel knows; `abandoned`: its holder died on this boot, the next
    run takes over; `elsewhere`: a record of another boot or machine, whose holder can't be seen from here; `damaged`:
    the record can't be read (its `id` is then made up from what stands there). `record` may be None while held."""

    state: Literal["free", "held", "abandoned", "elsewhere", "damaged"]
    record: LockRecord | None = None


class StateLock:
    """The lock of one state. Not for use by several threads at once."""

    def __init__(self, path: Path, stack: str, env: Environment) -> None:
        self.path = path
        self._stack = stack
        self._env = env
        self._descriptor: int | None = None
        self._content = b""

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(
        self,
        *,
        command: str,
        unlock_command: str,
        timeout: float = 0.0,
        on_wait: Callable[[LockStatus], None] | None = None,
    ) -> LockRecord | None:
        """Take the lock, waiting up to `timeout` seconds; gives the dead holder that was taken over, if any.

        `command` (without secrets) goes into the record. `unlock_command` is the complete command line up to the lock
        id, for the error. `on_wait` hears who holds it, at once and every 30 seconds. Raises LockedError; StateError
        where the file can't be written or the system has no kernel locks.
        """
        if self.held:
            raise RuntimeError("this lock is held by us already")
        deadline = self._env.monotonic() + timeout
        tell_at, pause = 0.0, 0.05
        while True:
            found = self._try(command)
            if self.held:
                return found.record if found.state == "abandoned" else None
            now = self._env.monotonic()
            if now >= deadline:
                raise self._locked(found, unlock_command)
            if on_wait is not None and (pause == 0.05 or now >= tell_at):
                on_wait(found)
                tell_at = now + TELL_EVERY
            self._env.sleep(min(pause, deadline - now))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def release(self) -> None:
        """Clear the record, then free the kernel lock. Does nothing when we don't hold it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            with told("write", self.path):
                if os.pread(descriptor, len(self._content) + 1, 0) == self._content:
                    os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def verify(self) -> None:
        """Before each write: the file that has the name is ours, and so is the record in it. Raises StateError where
        somebody removed or took the lock."""
        if self._descriptor is None:
            raise RuntimeError("the state may only be written under its lock")
        if not self._is_current(self._descriptor):
            raise StateError(
                Diagnostic(
                    summary=f"the lock file of stack {self._stack} was deleted or replaced while we were running; "
                    "nothing more is written",
                    detail=f"{self.path} is not the file that we hold, so another run may have begun beside us.",
                    hint="leave that file alone (`reconciler unlock` removes a lock); make sure that no other run is "
                    "under way, then run the same command again: it reads the journal and goes on",
                )
            )
        with told("read", self.path):
            ours = os.pread(self._descriptor, len(self._content) + 1, 0) == self._content
        if not ours:
            raise StateError(
                Diagnostic(
                    summary=f"the lock of stack {self._stack} was taken from us; nothing more is written",
                    detail="Somebody removed it with `unlock` while we were running.",
                    hint="make sure that no other run is under way, then run the same command again: it reads the "
                    "journal and goes on",
                )
            )

    def status(self) -> LockStatus:
        """Who holds the lock; takes nothing and writes nothing. Raises StateError where the file can't be read."""
        descriptor = self._open(os.O_RDONLY)
        if descriptor is None:
            return LockStatus("free")
        try:
            return self._look(descriptor, exclusive=False)
        finally:
            os.close(descriptor)

    def unlock(self, lock_id: str) -> LockRecord:
        """Remove the record `lock_id`, whose holder is gone. Raises StateError: not locked, another id, or a holder
        that is alive on this machine (end it: then the lock is free by itself)."""
        descriptor = self._open(os.O_RDWR)
        if descriptor is None:
            raise self._refused("it is not locked")
        try:
            found = self._look(descriptor, exclusive=True)
            if found.state == "held":
                who = describe(found.record)
                raise self._refused(f"its holder is alive on this machine: {who}", "end that process: the lock goes")
            if found.record is None:
                raise self._refused("it is not locked")
            if found.record.id != lock_id:
                raise self._refused(f"its lock id is {found.record.id}, held by {describe(found.record)}")
            with told("write", self.path):
                os.ftruncate(descriptor, 0)
                os.fsync(descriptor)
            return found.record
        finally:
            os.close(descriptor)

    # --- inside ---------------------------------------------------------------------------------------------------
    def _try(self, command: str) -> LockStatus:
        """One try; `held` afterwards tells whether it worked, the status what was found."""
        for _ in range(_PROBES):
            descriptor = self._open(os.O_RDWR | os.O_CREAT)
            assert descriptor is not None  # O_CREAT
            try:
                found = self._look(descriptor, exclusive=True)
                if found.state not in ("free", "abandoned"):
                    return found
                if self._is_current(descriptor):
                    self._write_record(descriptor, command)
                    self._descriptor, descriptor = descriptor, -1
                    return found
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        return LockStatus("held")  # somebody keeps deleting the file: then it locks nothing

    def _open(self, flags: int) -> int | None:
        _kernel_locks()
        with told("open", self.path):
            try:
                return os.open(self.path, flags | os.O_NOFOLLOW, 0o644)
            except FileNotFoundError:
                if flags & os.O_CREAT:
                    raise
                return None

    def _look(self, descriptor: int, *, exclusive: bool) -> LockStatus:
        """Ask the kernel, then read the record. Afterwards the kernel lock is ours unless the answer is `held`."""
        for attempt in range(_PROBES):
            if attempt:
                self._env.sleep(0.02)
            if self._flock(descriptor, exclusive):
                return self._explain(descriptor)
        with told("read", self.path):
            content = os.pread(descriptor, 65536, 0)
        return LockStatus("held", decode_record(content))

    def _explain(self, descriptor: int) -> LockStatus:
        with told("read", self.path):
            content = os.pread(descriptor, 65536, 0)
        if not content.strip(b"\0 \n"):
            return LockStatus("free")
        record = decode_record(content)
        if record is None:
            return LockStatus("damaged", LockRecord(id=f"damaged-{crc32(content):08x}"))
        same_boot = bool(record.boot_id) and record.boot_id == self._env.boot_id
        return LockStatus("abandoned" if same_boot else "elsewhere", record)

    def _flock(self, descriptor: int, exclusive: bool) -> bool:
        fcntl = _kernel_locks()
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        with told("lock", self.path):
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _BUSY:
                    return False
                raise
        return True

    def _is_current(self, descriptor: int) -> bool:
        """False where somebody deleted the lock file since we opened it: our lock then keeps nobody out."""
        ours = os.fstat(descriptor)
        with told("read", self.path):
            try:
                named = os.stat(self.path)
            except FileNotFoundError:
                return False
        return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)

    def _write_record(self, descriptor: int, command: str) -> None:
        env = self._env
        record = LockRecord(
            id=env.new_id(),
            boot_id=env.boot_id,
            host=env.host,
            user=env.user,
            pid=env.pid,
            pid_start=env.pid_start,
            command=command[:1000],
            job_url=ci_job_url(env.environ),
            since=env.now(),
        )
        self._content = (json.dumps(asdict(record)) + "\n").encode("ascii")
        with told("write", self.path):
            os.ftruncate(descriptor, 0)  # emptied first: cut off in between, the file says "free"
            os.pwrite(descriptor, self._content, 0)
            os.fsync(descriptor)  # a network file system must show it to others

    def _locked(self, found: LockStatus, unlock_command: str) -> LockedError:
        record = found.record
        lines = [f"{name}: {value}" for name, value in _facts(record)]
        line = f"{unlock_command} {record.id if record else 'LOCK_ID'}"
        if found.state == "held":
            hint = f"wait for it (--lock-timeout 10m) or end that process; if a record stays behind: {line}"
        elif found.state == "elsewhere":
            lines.append(
                "It was taken on another machine or before a restart, so it can't be seen from here if it lives."
            )
            hint = f"wait for it (--lock-timeout 10m) or, if you know that it is gone: {line}"
        else:
            lines.append("The lock record is damaged; no process of this machine holds the lock.")
            hint = f"make sure that no run is under way elsewhere, then: {line}"
        summary = f"the state of stack {self._stack} is locked by {describe(record)}"
        return LockedError(Diagnostic(summary=summary, detail="\n".join(lines), hint=hint))

    def _refused(self, why: str, hint: str = "`reconciler lock status` shows who holds it") -> StateError:
        return StateError(Diagnostic(summary=f"can't unlock the state of stack {self._stack}: {why}", hint=hint))


def _kernel_locks() -> ModuleType:
    """The module that has `flock`. Raises StateError where the system has none."""
    try:
        import fcntl
    except ImportError:
        raise StateError(
            Diagnostic(
                summary="local state needs Linux or macOS: this system has no flock",
                hint="run reconciler there, in WSL, or in a container",
            )
        ) from None
    return fcntl


def describe(record: LockRecord | None) -> str:
    """One line: who, where, since when."""
    if record is None or not record.host:
        return "an unknown holder"
    return f"{record.user or 'somebody'} on {record.host} (pid {record.pid}) since {record.since or 'an unknown time'}"


def decode_record(content: bytes) -> LockRecord | None:
    """A record as text that may be shown; None where it is damaged. Whatever stands there is not to be trusted."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if type(data) is not dict or type(data.get("id")) is not str or not _ID.fullmatch(data["id"]):
        return None
    pid = data.get("pid")
    names = [field.name for field in fields(LockRecord) if field.name != "pid"]
    texts = {name: _CONTROL.sub("?", str(data.get(name, "")))[:1000] for name in names}
    return LockRecord(**texts, pid=pid if type(pid) is int else 0)


def _facts(record: LockRecord | None) -> list[tuple[str, str]]:
    if record is None:
        return []
    facts = [
        ("who", record.user),
        ("where", f"{record.host}, pid {record.pid}" if record.host else ""),
        ("command", record.command),
        ("job", record.job_url),
        ("since", record.since),
        ("lock id", record.id),
    ]
    return [(name, value) for name, value in facts if value]
