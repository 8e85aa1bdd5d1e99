"""How fast requests may follow each other: requests in flight, requests a second, waits before a retry, and who waits.

Says how long to wait and never waits by itself, but for a free place among the requests in flight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT = 0.25  # seconds; doubled at each retry
LONGEST_WAIT = 8.0
LONGEST_RETRY_AFTER = 30.0  # a server that asks for a day is asked again all the same


@dataclass(slots=True)
class Errand:
    """What a thread is doing for a line of requests; `answered`: some request of it has got through."""

    answered: bool = False


_errand: ContextVar[Errand | None] = ContextVar("errand", default=None)


def in_line(job: Callable[[], object]) -> Callable[[], object]:
    """The job, to be run out of a line in which it can stand again, with all others that go to its provider.

    A request of it that is throttled is an error at once: waiting belongs to the line, which then sends less. Once one
    has been answered the job is not to be begun anew (it may have done something, or be half through a long list), and
    a client waits by itself, as it does for whoever stands in no line.
    """

    def run() -> object:
        token = _errand.set(Errand())
        try:
            return job()
        finally:
            _errand.reset(token)

    return run


def line_waits() -> bool:
    """Whether what is throttled now goes back into a line."""
    errand = _errand.get()
    return errand is not None and not errand.answered


def was_answered() -> None:
    """A request of this thread's job has got through."""
    errand = _errand.get()
    if errand is not None:
        errand.answered = True


def backoff(retry: int, random: Callable[[], float]) -> float:
    """Seconds before retry number `retry` (from 0): full jitter below a doubling, capped bound.

    The lower tenth is cut off, so that a server in trouble is never hit again at once.
    """
    bound = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(retry, 10))
    return bound * (0.1 + 0.9 * random())


def retry_after(text: str | None, now: Callable[[], float]) -> float | None:
    """Seconds that a `Retry-After` header asks for (a number of seconds, or a date); None where it says nothing usable.

    `now` gives seconds since 1970. Not capped: the caller decides what it can afford.
    """
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - datetime.fromtimestamp(now(), UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None


class Pace:
    """The limits of one client: at most `in_flight` requests at a time, `per_second` on average (bursts: 1 s)."""

    def __init__(self, in_flight: int, per_second: float | None, monotonic: Callable[[], float]) -> None:
        self.slot = threading.BoundedSemaphore(max(1, in_flight))
        self._every = 1.0 / per_second if per_second else 0.0
        self._burst = max(0.0, 1.0 - self._every) if per_second and per_second > 1 else 0.0
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._next = monotonic() - self._burst

    def delay(self) -> float:
        """Take the next place in line: seconds until its request may be sent (0 without a limit)."""
        if not self._every:
            return 0.0
        with self._guard:
            now = self._monotonic()
            mine = max(self._next, now - self._burst)
            self._next = mine + self._every
        return max(0.0, mine - now)
