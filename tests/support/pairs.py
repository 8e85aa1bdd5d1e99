"""Two providers of the scripted type under one stack, `fake` and `fake.slow`, each with a cloud of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from reconciler.core.planning.planner import plan as make_plan
from reconciler.engine.apply import apply
from reconciler.engine.clock import Clock
from reconciler.engine.fetch import fetch
from reconciler.engine.stop import StopSignal
from reconciler.engine.workers import Workers
from reconciler.model import Desired, Json, ProviderConfig, Stack
from reconciler.plan import Event, PlanOptions, Report
from tests.support.engine_runs import RUN, want
from tests.support.fake_provider import (
    Cloud,
    FakeClock,
    FakeProvider,
    FakeType,
    InlineWorkers,
    MemoryJournal,
    Trace,
    empty_state,
    schema,
)

FAST, SLOW = "fake", "fake.slow"


def at_slow(address: str, needs: Iterable[str] = (), **spec: Json) -> Desired:
    """As `want`, at the other provider."""
    return replace(want(address, needs, **spec), provider=SLOW)


class Pair:
    """Both providers, and one apply over them. `provider` makes one out of its cloud."""

    def __init__(self, clock: Clock | None = None, provider: Callable[[Cloud], FakeProvider] = FakeProvider) -> None:
        self.clock: Any = clock or FakeClock()
        self.trace = Trace()
        self.clouds = {key: Cloud(self.clock, self.trace) for key in (FAST, SLOW)}
        self.providers = {FAST: FakeProvider(self.clouds[FAST]), SLOW: provider(self.clouds[SLOW])}
        self.type, self.state, self.ended = FakeType(), empty_state(), list[str]()

    def apply(
        self,
        *wanted: Desired,
        workers: Callable[[int], Workers],
        parallelism: int = 10,
        emit: Callable[[Event], None] = lambda _: None,
        **settings: Json,
    ) -> Report:
        """Plan and apply; `ended` are the addresses in the order in which they were done. `settings` are the slow
        provider's."""
        configs = {FAST: ProviderConfig(FAST, "fake", {}, "fast"), SLOW: ProviderConfig(SLOW, "fake", settings, "slow")}
        capabilities = dict.fromkeys(configs, self.type.capabilities)
        refreshed = fetch(self.providers, {}, capabilities, workers=lambda _: InlineWorkers(FakeClock()))
        plan = make_plan(
            Stack("bots", configs, {one.address: one for one in wanted}), self.state, refreshed,
            schemas={"fake": schema()}, types={"fake": self.type}, options=PlanOptions(), now=self.clock.now(),
        )  # fmt: skip

        def told(event: Event) -> None:
            if event.event == "done":
                self.ended.append(event.address)
            emit(event)

        return apply(
            plan, self.state, refreshed, providers=self.providers, configs=configs, types={"fake": self.type},
            schemas={"fake": schema()}, journal=MemoryJournal(self.trace), run=RUN, clock=self.clock, emit=told,
            stop=StopSignal(), parallelism=parallelism, workers=workers,
        )  # fmt: skip


class BlackHole(FakeProvider):
    """Takes requests that create, read or find and does not answer until it is released. `full` is set once `expected`
    hang at a time; `gave_up` counts those that were never released."""

    def __init__(self, cloud: Cloud, expected: int = 1) -> None:
        super().__init__(cloud)
        self.released, self.full = threading.Event(), threading.Event()
        self.expected, self.hanging, self.gave_up = expected, 0, 0
        self._guard = threading.Lock()

    def send(self, op: Any, call: Any) -> Any:
        self._hang()
        return super().send(op, call)

    def read(self, id: str) -> Any:  # noqa: A002 - the port's name
        self._hang()
        return super().read(id)

    def find(self, op: Any, call: Any) -> Any:
        self._hang()
        return super().find(op, call)

    def _hang(self) -> None:
        with self._guard:
            self.hanging += 1
            if self.hanging >= self.expected:
                self.full.set()
        if not self.released.wait(20):
            self.gave_up += 1
