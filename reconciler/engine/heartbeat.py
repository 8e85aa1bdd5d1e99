"""Lets a wait for providers be heard: who is waited for and since when, at least every ten seconds. Has no words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from reconciler.engine.clock import Clock
from reconciler.engine.workers import Result, Workers

HEARTBEAT = 10.0

Tell = Callable[[Sequence[str], float], None]


class Heartbeat:
    """Begins when it is made. `tell` gets the keys of the providers that are waited for, sorted, and the seconds since
    then, on the thread that waits."""

    def __init__(self, clock: Clock, tell: Tell) -> None:
        self._clock, self._tell = clock, tell
        self._began = self._told = clock.monotonic()

    def collect(self, pool: Workers, waited_for: Callable[[], Iterable[str]]) -> list[Result]:
        """The pool's next results, however long they take; `waited_for` says whose they are."""
        while True:
            results = pool.collect(self._left())
            self._beat(waited_for)
            if results:
                return results

    def sleep(self, seconds: float, keys: Iterable[str]) -> None:
        """Wait so long, for these providers' sake."""
        until = self._clock.monotonic() + seconds
        waited_for = tuple(keys)
        while (left := until - self._clock.monotonic()) > 0:
            self._clock.sleep(min(left, self._left()))
            self._beat(lambda: waited_for)

    def _left(self) -> float:
        return max(0.0, self._told + HEARTBEAT - self._clock.monotonic())

    def _beat(self, waited_for: Callable[[], Iterable[str]]) -> None:
        now = self._clock.monotonic()
        if now >= self._told + HEARTBEAT:
            self._told = now
            self._tell(sorted(set(waited_for())), now - self._began)
