"""Files that survive a crash: whole or not at all, on disk before we say so, and failures said in plain words.

Knows nothing of what is in them. Every OSError of a state's file leaves here as a StateError.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.diagnostics import Diagnostic, StateError

README = """# state

What `reconciler` last applied, one set of files a stack:

| file | what it is |
|---|---|
| `<stack>.state.json` | the state: ids, specs as applied, digests of secrets (never the secrets) |
| `<stack>.backup.json` | the state before the last write |
| `<stack>.journal` | what the run that is under way, or was cut off, has done so far; the next run reads it |
| `<stack>.lock` | who holds the state; stays when nobody does |
| `sandbox/` | the state and the simulators' data of `--sandbox` |

Change them by `reconciler state …`, not by hand, and never delete a journal: it may know of deployments that nothing
else knows of. `reconciler lock status` says who holds the lock.

The files are kept out of git: they change at every apply, and the digest key in them is nobody else's business. Keep
this folder where it survives (a disk that is backed up), and give each stack one.
"""
GITIGNORE = "*\n!.gitignore\n!README.md\n"

_NO_ACCESS = ("permission denied", "give your user the right to write to the folder and its files, then run it again")
_WHY: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("no space left on the disk", "free some space, then run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then run the same command again"),
    errno.EFBIG: ("the file may not grow further", "raise the file size limit (ulimit -f), then run it again"),
    errno.EROFS: ("the file system is read-only", "mount it writable, or set `state: {path: …}` to another folder"),
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.ENOTDIR: ("a file stands where a folder is expected", "set `state: {path: …}` to a folder"),
    errno.EEXIST: ("a file stands where a folder is expected", "set `state: {path: …}` to a folder"),
    errno.EISDIR: ("a folder stands where a file is expected", "move it away, then run the same command again"),
    errno.ENOLCK: ("the file system has no locks", "set `state: {path: …}` to a folder on a local disk"),
    errno.ENOTSUP: ("the file system has no locks", "set `state: {path: …}` to a folder on a local disk"),
    errno.ENOSYS: ("the file system has no locks", "set `state: {path: …}` to a folder on a local disk"),
}


@contextlib.contextmanager
def told(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a StateError that says what could not be done (`write`), to which file, and why."""
    try:
        yield
    except OSError as error:
        raise storage_error(doing, path, error) from None


def storage_error(doing: str, path: Path, error: OSError) -> StateError:
    """The StateError for a failed file operation."""
    why, hint = _WHY.get(error.errno or 0, (error.strerror or type(error).__name__, "mend it, then run it again"))
    detail = "What was recorded before is intact." if doing != "read" else ""
    return StateError(Diagnostic(summary=f"can't {doing} {path}: {why}", detail=detail, hint=hint))


def read_bytes(path: Path) -> tuple[bytes, os.stat_result] | None:
    """The content and the stat of one and the same file, None where there is none. Raises StateError."""
    with told("read", path):
        try:
            with path.open("rb") as file:
                return file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return None


def write_whole(path: Path, data: bytes, *, backup: Path | None = None) -> None:
    """Put `data` in place of what `path` held: a reader or a crash sees the old file or the new, never a part.

    `backup`, if given, holds the old file afterwards. Mode 0600. Needs the lock: the temporary name is fixed, so that
    what a killed run left is found (`remove_leftovers`). Raises StateError with the old file untouched.
    """
    with told("write", path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = temporary_path(path)
        temporary.unlink(missing_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                write_fully(descriptor, data)
                full_sync(descriptor)
            finally:
                os.close(descriptor)
            if backup is not None:
                _keep_old(path, backup)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _keep_old(path: Path, backup: Path) -> None:
    """A second name for the old file: no copy, no space. Where the file system has no hard links, a copy."""
    link = temporary_path(backup)
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except FileNotFoundError:
        return
    except OSError:
        write_whole(backup, path.read_bytes())
        return
    link.replace(backup)
    link.unlink(missing_ok=True)  # renaming one name of a file to another name of the same file does nothing


def temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def remove_leftovers(*paths: Path) -> None:
    """Remove what a killed run was writing to replace these files. Needs the lock."""
    for path in paths:
        with contextlib.suppress(OSError):  # a leftover harms nobody; the write that follows tells what is wrong
            temporary_path(path).unlink(missing_ok=True)


def write_fully(descriptor: int, data: bytes) -> None:
    """All of `data`, however many writes it takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def full_sync(descriptor: int) -> None:
    """Content on the disk itself. macOS keeps an fsync in the drive's cache unless asked for more. Raises OSError."""
    import fcntl

    command = getattr(fcntl, "F_FULLFSYNC", None)
    if command is not None:
        try:
            fcntl.fcntl(descriptor, command)
        except OSError:  # not every file system there knows it
            os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)


def sync_folder(folder: Path) -> None:
    """A rename on the disk itself. Some file systems can't sync a folder; the rename is then as good as it gets."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def ensure_folder(folder: Path, home: Path) -> None:
    """Make the state's folder. Where `home` (it, or the folder that holds it) is new, it gets a README and a
    .gitignore. Raises StateError."""
    if folder.is_dir():
        return
    with told("make", folder):
        fresh = not home.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            (home / "README.md").write_text(README, encoding="utf-8")
            (home / ".gitignore").write_text(GITIGNORE, encoding="utf-8")
