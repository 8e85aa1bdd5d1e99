"""Waiting costs one look a poll, however many wait; throttling slows down and fails nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from reconciler.engine.lane import open_lane
from reconciler.model import Live
from reconciler.provider import Call, Next, Operation
from tests.support.engine_runs import SHORT, Bench, outcome, results, want
from tests.support.fake_provider import FakeProvider, FakeType, config


def test_one_look_answers_all_waiters() -> None:
    """Fifty deployments that come up together cost as many looks as one."""
    one, fifty = Bench(), Bench()
    one.run(want("d"))
    fifty.apply(fifty.plan(*(want(f"d{i:02}") for i in range(50))), parallelism=50)
    assert max(item[1] for item in fifty.trace.of("look")) == 50
    assert len(fifty.trace.of("look")) <= len(one.trace.of("look")) + 3


def test_the_poll_interval_grows_from_half_a_second_to_fifteen() -> None:
    """A long wait is looked at ever more rarely, and never more rarely than each 15 seconds."""
    bench = Bench()
    bench.cloud.busy = 600.0
    looks: list[float] = []
    seen = bench.provider.look

    def look(waiting):  # type: ignore[no-untyped-def]
        looks.append(bench.clock.time)
        return seen(waiting)

    bench.provider.look = look  # type: ignore[method-assign]
    bench.run(want("a"))
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert gaps[0] < 1.0
    assert gaps == sorted(gaps)
    assert 14.9 < max(gaps) < 15.5


def test_a_set_poll_interval_is_kept_but_never_below_the_providers_least() -> None:
    """`poll_interval: 3s` is what it says; `0.1s` becomes the provider's own minimum."""
    lane = open_lane("fake", FakeProvider(Bench().cloud), FakeType(), config(poll_interval="3s"))
    assert lane.hurry(100.0) == 103.0
    assert [lane.looked(now) for now in (103.0, 106.0)] == [106.0, 109.0]
    eager = open_lane("fake", FakeProvider(Bench().cloud), FakeType(min_poll_interval=2.0), config(poll_interval=0.1))
    assert eager.hurry(100.0) == 102.0


def test_something_new_makes_polling_quick_again() -> None:
    """After a long wait the interval starts anew, but a look is never sooner than the minimum after the last."""
    lane = open_lane("fake", FakeProvider(Bench().cloud), FakeType(), None)
    lane.hurry(0.0)
    now = 0.5
    for _ in range(12):
        now = lane.looked(now)
    assert lane.looked(now) == now + 15.0
    assert lane.hurry(now + 3.0) == now + 3.5


def test_a_heartbeat_comes_at_least_every_ten_seconds_with_the_providers_word() -> None:
    """Nobody has to guess whether a deploy that takes minutes is still alive."""
    bench = Bench()
    bench.cloud.busy = 120.0
    bench.run(want("a"))
    times = [event.elapsed or 0.0 for event in bench.events]
    assert all(later - earlier <= 10.5 for earlier, later in itertools.pairwise(times))
    assert {event.status for event in bench.events if event.event == "progress"} >= {"PENDING"}


def test_throttling_never_fails_an_action() -> None:
    """Thirty answers of 429 in a row: sent later, by Retry-After, and done in the end."""
    bench = Bench()
    bench.cloud.fault("create", "throttle", times=30, retry_after=2.0)
    report = bench.apply(bench.plan(*(want(f"d{i}") for i in range(5))))
    assert set(results(report).values()) == {"done"}
    assert len(bench.cloud.alive()) == 5
    assert bench.intents == ()


def test_a_provider_that_asks_for_a_day_is_asked_again_all_the_same() -> None:
    """One such answer does not end all its actions."""
    bench = Bench()
    bench.cloud.fault("create", "throttle", retry_after=86_400.0)
    assert results(bench.run(want("a"), want("b"))) == {"a": "done", "b": "done"}
    assert bench.clock.time < 1_000.0 + 60.0


def test_retry_after_is_obeyed() -> None:
    """No request goes to the provider before the time it asked for."""
    bench = Bench()
    bench.cloud.fault("create", "throttle", retry_after=7.0)
    bench.run(want("a"))
    first, second = (i for i, item in enumerate(bench.trace.items) if item[0] == "send")
    assert all(item[0] not in ("look", "find") for item in bench.trace.items[first + 1 : second])
    assert bench.clock.time >= 1007.0


def test_throttling_halves_the_requests_in_flight_and_they_come_back_slowly() -> None:
    """Answers that come together halve once; success gives one back at a time, up to the bound."""
    lane = open_lane("fake", FakeProvider(Bench().cloud), FakeType(), None)
    opens = lane.throttled(10.0, None)
    lane.throttled(10.0, None)
    assert lane.limit == 4
    lane.throttled(opens, None)
    assert lane.limit == 2
    for _ in range(1000):
        lane.answered()
    assert lane.limit == lane.most == 8


def test_a_deploy_that_takes_too_long_fails_and_stays_in_the_state() -> None:
    """Pending with its cause; the next apply waits for it and sends nothing."""
    bench = Bench()
    bench.cloud.busy = 90.0
    report = bench.run(want("a", timeouts=SHORT))
    error = outcome(report, "a").error
    assert error is not None
    assert "not done within 1m" in error.summary
    assert "PENDING" in error.summary
    pending = bench.state.deployments["a"].pending
    assert pending is not None
    assert "1m" in pending.cause
    bench.run(want("a", timeouts=SHORT))
    assert bench.trace.sends() == [("create", "a")]
    assert bench.state.deployments["a"].pending is None
    assert bench.state.deployments["a"].health == "ready"


def test_an_undeploy_that_takes_too_long_stays_in_the_state() -> None:
    """It is not gone, so it is not forgotten."""
    bench = Bench()
    bench.running(want("a", timeouts=SHORT))
    bench.cloud.busy = 90.0
    report = bench.run()
    assert results(report) == {"a": "failed"}
    assert bench.state.deployments["a"].pending is not None
    bench.run()
    assert bench.state.deployments == {}


def test_looks_that_fail_do_not_end_a_wait() -> None:
    """An outage while a deployment comes up is waited through."""
    bench = Bench()
    bench.cloud.fault("look", "unreachable", times=3)
    assert results(bench.run(want("a"))) == {"a": "done"}


def test_a_provider_that_refuses_to_be_read_ends_the_wait() -> None:
    """401 or 403 again and again will not get better: the action fails, the deployment stays in the state."""
    bench = Bench()
    bench.cloud.fault("look", "denied", times=100)
    report = bench.run(want("a"))
    assert results(report) == {"a": "failed"}
    assert bench.state.deployments["a"].id == "dep-1"
    assert len(bench.trace.of("look")) < 6


def test_a_throttled_request_waits_no_longer_than_its_action() -> None:
    """Throttled for ever: the action's own timeout ends it, with nothing made and nothing left open."""
    bench = Bench()
    bench.cloud.fault("create", "throttle", times=10_000, retry_after=5.0)
    report = bench.run(want("a", timeouts=SHORT))
    assert results(report) == {"a": "failed"}
    assert bench.intents == ()
    assert bench.state.deployments == {}


def test_a_short_list_lag_is_no_loss() -> None:
    """The list lacks what was just created: waited for, never created again."""
    bench = Bench()
    seen, lag = bench.provider.look, [2]

    def late(waiting):  # type: ignore[no-untyped-def]
        lag[0] -= 1
        return dict.fromkeys((op.address for op in waiting), None) if lag[0] >= 0 else seen(waiting)

    bench.provider.look = late  # type: ignore[method-assign]
    assert results(bench.run(want("a"))) == {"a": "done"}
    assert bench.trace.sends() == [("create", "a")]


def test_the_files_max_concurrency_is_the_bound() -> None:
    """`max_concurrency: 2` beats what the provider type would bear."""
    lane = open_lane(
        "fake", FakeProvider(Bench().cloud), FakeType(), replace(config(), settings={"max_concurrency": 2})
    )
    assert lane.most == lane.limit == 2


@pytest.mark.parametrize("became", ["failed", "off", "gone"])
def test_a_resumed_wait_for_what_came_to_nothing_fails(became: str) -> None:
    """The run that began the deploy was killed, and the adapter would ask for it again: a wait sends nothing, and does
    not call that done. It stays in the state with its deploy pending."""
    bench = Bench(type=Forgetful())
    bench.cloud.busy = 90.0
    bench.run(want("a", timeouts=SHORT))
    plan, (thing,) = bench.plan(want("a")), bench.cloud.things.values()
    seen = bench.provider.look

    def ended(waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        told = {address: live for address, live in seen(waiting).items() if live is not None}
        if became == "off":
            return {
                address: replace(live, status="OFF", health="stopped", dormant=True) for address, live in told.items()
            }
        return {**dict.fromkeys((op.address for op in waiting), None), **told}

    bench.provider.look = ended  # type: ignore[method-assign]
    thing.health = "failed" if became == "failed" else thing.health
    thing.gone_at = 0.0 if became == "gone" else None
    report = bench.apply(plan)
    error, entry = outcome(report, "a").error, bench.state.deployments["a"]
    assert error is not None
    assert {"failed": "FAILED", "off": "OFF", "gone": "not show it"}[became] in error.summary
    assert (entry.id, entry.health, entry.pending and entry.pending.verb) == ("dep-1", "failed", "deploy")
    assert bench.trace.sends() == [("create", "a")]


class Forgetful(FakeType):
    """Knows a deploy of its own only by its memo, as Nugen's adapter does: whatever is not on its way is switched on
    again."""

    def next(self, op: Operation) -> Next:
        if op.verb == "deploy" and not op.memo and (op.live is None or op.live.health not in ("pending", "ready")):
            return Call("create", creates=True)
        return super().next(op)
