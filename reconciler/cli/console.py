"""The terminal: what goes to stdout, what to stderr, whether there are colours, and how a question is asked.

The result goes to stdout and it alone; everything else goes to stderr. Decides nothing about content.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TextIO

from reconciler.diagnostics import Diagnostic, ReconcilerError

LEVELS = ("debug", "info", "warning", "error")


class OutputError(ReconcilerError):
    """stdout can't be written: closed, or the disk behind it is full."""


@dataclass(slots=True)
class Console:
    """Streams and their looks. `width` is that of the terminal on stderr or stdout, 100 without one.

    `called` is how the tool was called, up to the command: commands in hints begin with it, so that they can be pasted.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    no_color: bool = False
    log_level: str = "warning"
    called: str = "reconciler"
    out: TextIO | None = field(default_factory=lambda: sys.stdout)
    err: TextIO | None = field(default_factory=lambda: sys.stderr)

    def result(self, text: str) -> None:
        """Write the command's result to stdout. Raises OutputError where that is not possible."""
        if not text.endswith("\n"):
            text += "\n"
        try:
            if self.out is None:
                raise OSError("stdout is closed")
            self.out.write(text)
            self.out.flush()
        except UnicodeEncodeError as error:
            raise OutputError(
                Diagnostic("stdout can't carry this text", detail=str(error), hint="set PYTHONIOENCODING=utf-8")
            ) from error
        except BrokenPipeError:
            self._give_up()
            raise OutputError(Diagnostic("can't write to stdout: the reader has closed the pipe")) from None
        except (OSError, ValueError) as error:
            self._give_up()
            raise OutputError(Diagnostic("can't write to stdout", detail=str(error))) from error

    def _give_up(self) -> None:
        """Nothing more can be said there (the reader of a pipe has gone); flushing at exit must not complain."""
        if self.out is not None:
            self.out = None
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives until the process ends

    def say(self, text: str = "") -> None:
        """Write a line to stderr; a stderr that can't be written is no reason to stop."""
        try:
            if self.err is not None:
                self.err.write(text + "\n")
                self.err.flush()
        except (OSError, ValueError):
            self.err = None

    def tell(self, text: str) -> None:
        """As `say`, for lines that may quote a file, a state or a provider: nothing in them acts."""
        from reconciler.render.safe import harmless, plain

        self.say("\n".join(harmless(plain(row)) for row in text.split("\n")))

    def complain(self, *diagnostics: Diagnostic) -> None:
        """Write errors and warnings to stderr as they are meant to be read."""
        from reconciler.render.diagnostics import diagnostics_text

        if diagnostics:
            told = [replace(item, hint=self.pasteable(item.hint)) for item in diagnostics]
            self.say(diagnostics_text(told, color=self.color_err, width=self.width))

    def pasteable(self, text: str) -> str:
        """The text with this call's global options in each command line that it shows."""
        return re.sub(r"\breconciler(?= [a-z])", lambda _: self.called, text)

    def raw(self, text: str) -> None:
        """Write control text of the live block to stderr as it is."""
        try:
            if self.err is not None:
                self.err.write(text)
                self.err.flush()
        except (OSError, ValueError):
            self.err = None

    def log(self, level: str, text: str) -> None:
        """One line of the log; it may quote what a provider said."""
        if LEVELS.index(level) >= LEVELS.index(self.log_level):
            from reconciler.render.safe import plain

            self.say(f"{level}: {plain(text)}")

    def colored(self, stream: TextIO | None) -> bool:
        """Colours on a terminal only, never under NO_COLOR or --no-color."""
        if self.no_color or self.environ.get("NO_COLOR") or self.environ.get("TERM") == "dumb":
            return False
        return _is_terminal(stream)

    @property
    def color_out(self) -> bool:
        return self.colored(self.out)

    @property
    def color_err(self) -> bool:
        return self.colored(self.err)

    @property
    def width(self) -> int:
        return shutil.get_terminal_size((100, 24)).columns if _is_terminal(self.err) or _is_terminal(self.out) else 100

    @property
    def live(self) -> bool:
        """Whether progress may redraw lines: a terminal on stderr, and not a CI log."""
        return _is_terminal(self.err) and not self.environ.get("CI") and self.environ.get("TERM") != "dumb"

    @property
    def can_ask(self) -> bool:
        return _is_terminal(sys.stdin) and _is_terminal(self.err)

    def ask(self, question: str, answer: str = "yes") -> bool:
        """Ask on stderr; only the whole word counts."""
        if self.err is None:
            return False
        self.err.write(f"\n{question}\n  Only '{answer}' is accepted: ")
        self.err.flush()
        _wait_for_input()
        given = sys.stdin.readline()
        if not given.endswith("\n"):  # Ctrl-D: the cursor stands behind the question
            self.err.write("\n")
        return given.strip() == answer


def _wait_for_input() -> None:
    """Return once something was typed. A signal that comes just before a read would not end it: this one it does."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    before = signal.set_wakeup_fd(wake)
    try:
        select.select([sys.stdin, woken], [], [])
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wake)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
