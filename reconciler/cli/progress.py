"""Shows an apply while it runs: redrawn lines on a terminal, plain lines in a log, JSON lines where asked for.

What a line says is decided by `render.progress`; this module only writes. What can't be written stops no apply: the
first failure is kept in `failure`, and the apply goes on to its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from reconciler.cli.console import Console, OutputError
from reconciler.cli.context import Globals
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.plan import Event, Plan, Report
from reconciler.render.json import event_line, summary_to_json, to_json
from reconciler.render.progress import ProgressView

REDRAW = 0.1  # seconds between two drawings of the live block
TICK = 0.5  # seconds between two drawings while nothing happens, so that the times go on


class Progress:
    """Takes the events of one apply. `json_out`: the events are the result and go to stdout."""

    def __init__(self, console: Console, *, json_out: bool, events: TextIO | None) -> None:
        self._console, self._json_out, self._events = console, json_out, events
        self._view = ProgressView(color=console.color_err)
        self.failure: Diagnostic | None = None
        self._drawn = 0
        self._drawn_at = 0.0
        self._guard = threading.RLock()
        self._ended = threading.Event()
        self._live = console.live and not json_out
        if self._live:
            threading.Thread(target=self._keep_ticking, name="progress", daemon=True).start()

    @classmethod
    @contextmanager
    def opened(cls, run: Globals, format_: str, events: Path | None) -> Iterator[Progress]:
        """A progress whose events file is open; raises FileError where it can't be written."""
        stream: TextIO | None = None
        if events is not None:
            try:
                stream = events.open("w", encoding="utf-8")
            except OSError as error:
                raise FileError(Diagnostic(f"can't write events to {events}", detail=str(error.strerror))) from error
        progress = cls(run.console, json_out=format_ == "json", events=stream)
        try:
            yield progress
        finally:
            progress.close()
            if stream is not None:
                with suppress(OSError):  # the failure that is told is the one of the write before
                    stream.close()

    def begin(self, plan: Plan) -> None:
        """How many actions there will be."""
        total = sum(1 for action in plan.actions if action.action != "none")
        self._view = ProgressView(total, color=self._console.color_err)

    def emit(self, event: Event) -> None:
        """Take one event in and write what it says."""
        now = time.monotonic()
        with self._guard:
            self._take(event, now)

    def _take(self, event: Event, now: float) -> None:
        self._view.apply(event, now)
        if self._events is not None:
            self._write(self._events, event_line(event))
        if self._json_out:
            self._to_stdout(event)
        elif self._live and event.event in ("started", "progress"):
            self._tick(now)
        else:
            self._plain(event, now)

    def _write(self, events: TextIO, line: str) -> None:
        try:
            events.write(line + "\n")
            events.flush()
        except OSError as error:
            self._events = None
            self.failure = self.failure or Diagnostic("can't write the events", detail=error.strerror or "")

    def _to_stdout(self, event: Event) -> None:
        try:
            self._console.result(event_line(event))
        except OutputError as error:
            self.failure = self.failure or error.diagnostics[0]

    def end(self, report: Report) -> None:
        """The last line of the events."""
        if self._events is not None:
            self._write(self._events, to_json(summary_to_json(report.outcomes, report.outputs), indent=None))

    def close(self) -> None:
        """Take the live block away."""
        self._ended.set()
        with self._guard:
            if self._drawn:
                self._draw([], time.monotonic())

    def _keep_ticking(self) -> None:
        while not self._ended.wait(TICK):
            with self._guard:
                if not self._ended.is_set():
                    self._tick(time.monotonic())

    def _tick(self, now: float) -> None:
        """Redraw the live block, at most ten times a second."""
        if now - self._drawn_at >= REDRAW:
            self._draw(self._view.lines(now, self._console.width), now)

    def _plain(self, event: Event, now: float) -> None:
        line = self._view.plain(event, now)
        if line is None:
            return
        if self._drawn:
            self._draw([], now)
        self._console.say(line)
        self._drawn_at = 0.0

    def _draw(self, lines: list[str], now: float) -> None:
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        text = up + "".join(f"\x1b[2K{line}\n" for line in lines)
        if len(lines) < self._drawn:
            text += "\x1b[J"
        self._console.raw(text)
        self._drawn, self._drawn_at = len(lines), now
