"""Interrupts: nothing new starts, what is under way is recorded, and a later apply goes on."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from reconciler.engine.stop import StopSignal, stopping_on_signals
from reconciler.plan import Event
from tests.support.engine_runs import Bench, results, want


def test_after_the_first_signal_nothing_new_is_sent() -> None:
    """What waited is recorded as pending, what had not begun is skipped, and no further request goes out."""
    bench = Bench()
    bench.cloud.busy = 60.0

    def stop(event: Event) -> None:
        if event.event == "progress":
            bench.stop.request(signal.SIGINT)

    begin = bench.clock.time
    report = bench.apply(bench.plan(want("a"), want("b", ["a"])), emit=stop)
    assert results(report) == {"a": "interrupted", "b": "skipped"}
    assert report.interrupted
    assert bench.trace.sends() == [("create", "a")]
    pending = bench.state.deployments["a"].pending
    assert pending is not None
    assert pending.cause == "interrupted"
    assert bench.clock.time - begin < 20


def test_a_request_in_flight_is_answered_and_recorded() -> None:
    """The create's answer still comes: its id is recorded, so nothing is left to look up."""
    bench = Bench(latency=3.0)

    def stop(event: Event) -> None:
        if event.event == "started":
            bench.stop.request()

    report = bench.apply(bench.plan(want("a"), want("b")), emit=stop, parallelism=1)
    assert results(report) == {"a": "interrupted", "b": "skipped"}
    assert bench.state.deployments["a"].id == "dep-1"
    assert bench.intents == ()


def test_the_run_leaves_within_five_seconds_though_a_request_hangs() -> None:
    """Its intent stays open, and the next run looks."""
    bench = Bench(latency=300.0)

    def stop(event: Event) -> None:
        if event.event == "started":
            bench.stop.request()

    plan = bench.plan(want("a"))
    begin = bench.clock.time
    report = bench.apply(plan, emit=stop)
    assert bench.clock.time - begin <= 5.0
    assert results(report) == {"a": "interrupted"}
    assert len(bench.intents) == 1
    bench.workers.collect(None)  # the server gets it after all
    bench.workers.latency = 0.02
    bench.stop = StopSignal()
    bench.write_down()
    bench.run(want("a"))
    assert len(bench.cloud.alive()) == 1
    assert bench.state.deployments["a"].id == "dep-1"


def test_the_second_signal_leaves_at_once() -> None:
    """No waiting at all; what is known is on disk."""
    bench = Bench(latency=300.0)

    def stop(event: Event) -> None:
        if event.event == "started":
            bench.stop.request()
            bench.stop.request()

    plan = bench.plan(want("a"))
    begin = bench.clock.time
    report = bench.apply(plan, emit=stop)
    assert bench.clock.time == begin
    assert report.interrupted
    assert len(bench.intents) == 1


def test_a_signal_before_the_start_changes_nothing_at_any_provider() -> None:
    """Asked to stop while planning: everything is skipped, nothing is sent."""
    bench = Bench()
    plan = bench.plan(want("a"), want("b"))
    bench.stop.request()
    report = bench.apply(plan)
    assert bench.trace.sends() == []
    assert bench.cloud.alive() == []
    assert bench.intents == ()
    assert report.interrupted


@pytest.mark.parametrize("after", range(1, 14))
def test_an_interrupt_at_any_moment_loses_nothing(after: int) -> None:
    """Stop after the n-th event, then apply again: everything is there once, and the plan is empty."""
    bench = Bench()
    bench.running(want("old", size=1), want("gone"))
    wanted = (want("old", size=2), want("a", replicas=2), want("b", ["a"]), want("c", ["old"]))
    count = 0

    def stop(_: Event) -> None:
        nonlocal count
        count += 1
        if count == after:
            bench.stop.request()

    bench.apply(bench.plan(*wanted), emit=stop, parallelism=2)
    bench.stop = StopSignal()
    bench.write_down()
    bench.run(*wanted)
    bench.run(*wanted)
    assert {thing.name for thing in bench.cloud.alive()} == {"old", "a", "b", "c"}
    assert len(bench.cloud.alive()) == 4
    assert {entry.id for entry in bench.state.deployments.values()} == set(bench.cloud.things)
    assert all(action.action == "none" for action in bench.plan(*wanted).actions)


def test_handlers_count_signals_and_come_off_again() -> None:
    """Within the context a signal only sets the flag; the first one is kept for the exit code."""
    before = signal.getsignal(signal.SIGTERM)
    woken: list[int] = []
    with stopping_on_signals(StopSignal()) as stop:
        stop.on_request(lambda: woken.append(stop.count))
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        assert not stop.at_once
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.at_once
    assert stop.signal == signal.SIGTERM
    assert woken == [1, 2]
    assert signal.getsignal(signal.SIGTERM) is before


def test_handlers_are_for_the_main_thread_alone() -> None:
    """Elsewhere Python can't install them: an error at once, not a signal that nobody hears."""
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            with stopping_on_signals(StopSignal()):
                pass
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(raised) == 1
