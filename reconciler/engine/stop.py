"""How a run is told to stop: a flag with two levels, set from signal handlers. Installs handlers only when asked to.

First signal: start nothing new, record what is under way, leave soon. Second: leave at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignal:
    """Set by a handler (or a test), read by the owner of a run. `wake` must be safe to call from a signal handler."""

    def __init__(self) -> None:
        self.count = 0
        self.signal: int | None = None
        self._wake: Callable[[], None] | None = None

    @property
    def requested(self) -> bool:
        """Whether to start nothing new."""
        return self.count > 0

    @property
    def at_once(self) -> bool:
        """Whether to leave without waiting for anything."""
        return self.count > 1

    def request(self, number: int | None = None) -> None:
        """Ask once more to stop; `number` is the signal that did, and the first one is kept for the exit code."""
        self.count += 1
        if self.signal is None:
            self.signal = number
        if self._wake is not None:
            self._wake()

    def on_request(self, wake: Callable[[], None] | None) -> None:
        """Whom to wake up at a request; None for nobody."""
        self._wake = wake


@contextmanager
def stopping_on_signals(stop: StopSignal) -> Iterator[StopSignal]:
    """Let SIGINT and SIGTERM set `stop` instead of ending the process; the old handlers come back at the end.

    Works in the main thread alone (Python's rule); raises ValueError elsewhere.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.request(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
