"""Waiting for providers is heard of at least every ten seconds: lists, reads by id, looks and sleeps of recovery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from reconciler.engine.fetch import fetch
from reconciler.engine.heartbeat import Heartbeat
from reconciler.engine.recover import resolve_intents
from reconciler.engine.workers import Job
from reconciler.model import Intent
from tests.support.engine_runs import want
from tests.support.fake_provider import FakeClock, FakeType, InlineWorkers, empty_state, recorded, schema
from tests.support.pairs import FAST, SLOW, Pair

Told = list[tuple[Sequence[str], int]]


class Taking(InlineWorkers):
    """Each request takes as long as `seconds` says of its token."""

    def __init__(self, clock: FakeClock, seconds: Callable[[Any], float]) -> None:
        super().__init__(clock)
        self.seconds = seconds

    def submit(self, token: object, job: Job) -> None:
        self.latency = self.seconds(token)
        super().submit(token, job)


def heartbeat(clock: FakeClock, told: Told) -> Heartbeat:
    return Heartbeat(clock, lambda keys, seconds: told.append((keys, round(seconds))))


def refreshed(seconds: Callable[[Any], float], missing: int = 0) -> Told:
    """What is told while both providers are listed, each request as long as `seconds` says; the fast one lacks so many
    recorded deployments, to be read one after the other."""
    pair, told = Pair(), Told()
    thing = pair.clouds[FAST].create(want("x").spec)
    entries = [replace(recorded(f"d{n}", thing, pair.clouds[FAST]), id=f"gone-{n}") for n in range(missing)]
    fetch(
        pair.providers, {FAST: entries}, dict.fromkeys(pair.providers, FakeType().capabilities),
        max_concurrency={FAST: 1}, workers=lambda _: Taking(pair.clock, seconds), heartbeat=heartbeat(pair.clock, told),
    )  # fmt: skip
    return told


def test_a_list_that_takes_long_is_heard_of() -> None:
    """Each provider by its key as long as it is waited for, and since when; what is quick is never named."""
    assert refreshed(lambda token: {FAST: 15.0, SLOW: 34.0}[token[0].key]) == [
        ([FAST, SLOW], 10), ([SLOW], 20), ([SLOW], 30),
    ]  # fmt: skip
    assert refreshed(lambda _: 9.0) == []


def test_answers_in_between_do_not_silence_it() -> None:
    """Reads by id of three seconds each: something comes all the time, and it is told all the same."""
    told = refreshed(lambda token: 3.0 if token[0].key == FAST else 0.1, missing=12)
    assert [keys for keys, _ in told] == [[FAST]] * 3
    assert [seconds // 10 for _, seconds in told] == [1, 2, 3]


@pytest.mark.parametrize(("look", "timeout", "expected"), [(0.1, 30.0, [10, 20, 30]), (12.0, 0.0, [10, 20])])
def test_recovery_is_heard_of(look: float, timeout: float, expected: list[int]) -> None:
    """While it looks, and while it lets the lost request's timeout pass before it looks again."""
    pair, told = Pair(), Told()
    thing = pair.clouds[FAST].create({"name": "x"})
    entry = replace(recorded("a", thing, pair.clouds[FAST]), id=None, identity="a", spec={"name": "a"}, provider=SLOW)
    resolve_intents(
        [Intent("0" * 12, "a", "deploy", "create", entry)], state=empty_state(), providers=pair.providers,
        schemas={"fake": schema()}, last_run=None, clock=pair.clock, timeouts={SLOW: timeout},
        workers=lambda _: Taking(pair.clock, lambda _: look), heartbeat=heartbeat(pair.clock, told),
    )  # fmt: skip
    assert told == [([SLOW], seconds) for seconds in expected]
