"""The entry point: answers `version` before anything is imported, turns every error into its exit code.

Nothing here knows a command; exit codes of errors are owned by the error classes (`diagnostics`).
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from reconciler.cli.exits import SIGINT, SIGTERM


class TerminatedError(BaseException):
    """SIGTERM while nothing was being changed; a BaseException so that no handler of ordinary errors keeps it."""


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["version"], ["--version"]):
        from reconciler.version import VERSION

        leave(_write_version(VERSION))
    try:
        signal.signal(signal.SIGTERM, _terminated)
        code = run(arguments)
    except KeyboardInterrupt:  # right before a command begins, or right behind its end
        code = SIGINT
    except TerminatedError:
        code = SIGTERM
    leave(code)


def leave(code: int) -> NoReturn:
    """Exit without the interpreter's own complaint about a stdout that can no longer be flushed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = code or 1
    os._exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of one command line; errors are printed to stderr as they are meant to be read."""
    try:
        from reconciler.cli.main import invoke

        return invoke(arguments)
    except KeyboardInterrupt:
        return _interrupted("interrupted", SIGINT)
    except TerminatedError:
        return _interrupted("terminated", SIGTERM)


def _interrupted(word: str, code: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # we are leaving: a second Ctrl-C has nothing left to stop
        signal.signal(number, signal.SIG_IGN)
    try:
        sys.stderr.write(f"{word}; nothing was being changed\n")
    except (OSError, ValueError):
        return code
    return code


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise TerminatedError


def _write_version(version: str) -> int:
    try:
        sys.stdout.write(f"reconciler {version}\n")
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        return 1
    return 0
