"""One provider's share of the traffic: how many requests at once, when again, who waits. Sends nothing itself."""

from __future__ import annotations

import random as randomlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reconciler.core.values.duration import seconds
from reconciler.edge.pace import LONGEST_RETRY_AFTER, backoff
from reconciler.model import ProviderConfig
from reconciler.provider import Call, Capabilities, Provider, ProviderType

if TYPE_CHECKING:
    from reconciler.engine.job import Step

FIRST_POLL = 0.5
LONGEST_POLL = 15.0
_GROWTH = 1.5
_LEAST_PAUSE = 0.05
DEFAULT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request to one provider. `turn` is the step's turn when it was made: an answer to an older one is ignored."""

    kind: Literal["send", "find", "read", "look", "probe"]
    lane: Lane
    step: Step | None = None
    call: Call | None = None
    turn: int = 0
    waiters: tuple[tuple[Step, int], ...] = ()


@dataclass(slots=True, eq=False)
class Lane:
    """Requests of one provider. `most` bounds those in flight; throttling halves the bound, success regains it slowly.

    `waiting` are the steps that one look answers together. `fixed_poll` is the file's `poll_interval` (None: growing);
    `random` (0 to 1) spreads the pauses that the provider does not name.
    """

    key: str
    provider: Provider
    type: ProviderType
    most: int
    timeout: float
    fixed_poll: float | None = None
    random: Callable[[], float] = randomlib.random
    limit: int = 0
    in_flight: int = 0
    queue: deque[Request] = field(default_factory=deque)
    closed_until: float = 0.0
    waiting: dict[str, Step] = field(default_factory=dict)
    looking: bool = False
    poll_at: float | None = None
    refused_looks: int = 0
    _interval: float = FIRST_POLL
    _last_look: float = float("-inf")
    _successes: int = 0
    _throttles: int = 0
    _halved_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = self.most

    def take(self, now: float) -> Request | None:
        """The next request that may go out now, counted as in flight."""
        if not self.queue or self.in_flight >= self.limit or now < self.closed_until:
            return None
        self.in_flight += 1
        return self.queue.popleft()

    def answered(self) -> None:
        """A request got through: regain what throttling took, one for every round of successes."""
        self._throttles = 0
        self._successes += 1
        if self.limit < self.most and self._successes >= 4 * self.limit:
            self.limit += 1
            self._successes = 0

    def throttled(self, now: float, retry_after: float | None) -> float:
        """The provider asks for less: halve (once for answers that come together) and close. When it opens again."""
        pause = min(retry_after or 0.0, LONGEST_RETRY_AFTER)
        if now >= self.closed_until and now > self._halved_at:
            if retry_after is None:
                pause = backoff(self._throttles, self.random)
            self.limit = max(1, self.limit // 2)
            self._halved_at = now
            self._throttles += 1
        self._successes = 0
        self.closed_until = max(self.closed_until, now + max(pause, _LEAST_PAUSE))
        return self.closed_until

    def hurry(self, now: float) -> float:
        """Something new waits: poll soon again. When the next look is due."""
        self._interval = self._shortest()
        due = now + self._interval
        self.poll_at = due if self.poll_at is None else min(self.poll_at, due)
        return self.poll_at

    def looked(self, now: float) -> float:
        """A look came back: when the next one is due, each time a little later."""
        self._last_look = now
        self.poll_at = now + self._interval
        if self.fixed_poll is None:
            self._interval = max(self._shortest(), min(LONGEST_POLL, self._interval * _GROWTH))
        return self.poll_at

    def _shortest(self) -> float:
        least = self.type.capabilities.min_poll_interval
        return max(self.fixed_poll if self.fixed_poll is not None else FIRST_POLL, least)


def open_lane(key: str, provider: Provider, type_: ProviderType, config: ProviderConfig | None) -> Lane:
    """A lane by the provider's settings (`max_concurrency`, `timeout`, `poll_interval`) and its type's capabilities."""
    settings = config.settings if config is not None else {}
    poll = settings.get("poll_interval")
    return Lane(
        key,
        provider,
        type_,
        most=most_in_flight(type_.capabilities, config),
        timeout=seconds(settings["timeout"]) if settings.get("timeout") is not None else DEFAULT_TIMEOUT,
        fixed_poll=seconds(poll) if poll is not None else None,
    )


def most_in_flight(capabilities: Capabilities, config: ProviderConfig | None) -> int:
    """Requests at once: the file's `max_concurrency` if it sets one, else what the provider type bears."""
    asked = config.settings.get("max_concurrency") if config is not None else None
    return max(1, int(asked) if asked is not None else capabilities.max_concurrency)
