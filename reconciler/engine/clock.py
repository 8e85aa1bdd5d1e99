"""Time and ids as an argument: what the engine asks of a clock, and the real one. Decides nothing."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Seconds that only grow, the time of day for people, and ids that nobody had before."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def now(self) -> str:
        """The time of day as RFC 3339 in UTC, whole seconds (`2026-11-21T09:00:00Z`); for records, never for rules."""

    def new_id(self) -> str:
        """A fresh id of 12 lowercase hex digits."""

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds; a signal handler may run (and raise) in between."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self) -> str:
        return uuid.uuid4().hex[:12]

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            threading.Event().wait(seconds)
