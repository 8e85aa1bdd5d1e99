"""The real threads, the real clock and a real journal under the engine."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from reconciler.engine.clock import SystemClock
from reconciler.engine.workers import ThreadWorkers
from tests.support.engine_runs import Bench, results, want
from tests.support.fake_provider import FakeClock
from tests.support.stores import holding, store_in


class Quick(FakeClock):
    """The machine's own time under the fake's ids and dates."""

    def __init__(self) -> None:
        super().__init__()
        self.real = SystemClock()

    def monotonic(self) -> float:
        return self.real.monotonic()


def threaded() -> Bench:
    bench = Bench(clock=Quick())
    bench.cloud.busy = 0.0
    bench.workers = ThreadWorkers(8)  # type: ignore[assignment]
    return bench


def test_an_apply_on_real_threads_does_the_same() -> None:
    """Order, journal and state do not depend on the test's own workers."""
    bench = threaded()
    report = bench.run(*(want(f"d{i:02}") for i in range(30)), want("last", [f"d{i:02}" for i in range(30)]))
    assert set(results(report).values()) == {"done"}
    assert bench.trace.sends()[-1] == ("create", "last")
    assert len(bench.state.deployments) == 31


def test_an_interrupt_reaches_an_owner_that_waits() -> None:
    """A stop from elsewhere wakes it: the run ends long before the next poll."""
    bench = threaded()
    bench.cloud.busy = 3600.0
    threading.Timer(0.1, bench.stop.request).start()
    report = bench.run(want("a"))
    assert results(report) == {"a": "interrupted"}
    assert bench.state.deployments["a"].id == "dep-1"


def test_workers_hand_back_values_and_exceptions_of_any_kind() -> None:
    """Even what is no Exception: an owner that never hears would wait for ever."""

    def exits() -> object:
        raise SystemExit(3)

    workers = ThreadWorkers(2)
    workers.submit("a", lambda: 1)
    workers.submit("b", exits)
    found = []
    while len(found) < 2:
        found += workers.collect(None)
    workers.close()
    by_token = {result.token: result for result in found}
    assert by_token["a"].value == 1
    assert isinstance(by_token["b"].error, SystemExit)


def test_workers_start_no_more_threads_than_there_is_work() -> None:
    """One job at a time: one thread, however many are allowed."""
    workers = ThreadWorkers(50)
    used = set()
    for number in range(5):
        workers.submit(number, threading.get_ident)
        used |= {result.value for result in workers.collect(None)}
    assert len(used) == 1
    workers.close()


def test_a_wait_without_results_ends_by_itself_and_by_a_wake() -> None:
    """`collect` returns at its timeout, at once when woken, and at once when there is no time left."""
    workers = ThreadWorkers(1)
    assert workers.collect(0.01) == []
    assert workers.collect(0.0) == []
    workers.wake()
    assert workers.collect(None) == []


def test_threads_do_not_keep_the_process_alive() -> None:
    """A request that hangs must not hold up an interrupted run."""
    release = threading.Event()
    workers = ThreadWorkers(1)
    workers.submit("hangs", release.wait)
    hanging = [thread for thread in threading.enumerate() if thread.name.startswith("reconciler-request")]
    assert hanging
    assert all(thread.daemon for thread in hanging)
    release.set()
    workers.collect(None)
    workers.close()


def test_the_system_clock_gives_dates_in_utc_and_fresh_ids() -> None:
    """RFC 3339 with a Z, and ids that differ."""
    clock = SystemClock()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", clock.now())
    assert len({clock.new_id() for _ in range(1000)}) == 1000
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() > before


def test_an_apply_into_the_real_store_is_what_the_next_run_reads(tmp_path: Path) -> None:
    """The journal file holds what the report says, before any fold."""
    store = store_in(tmp_path)
    bench = threaded()
    with holding(store):
        bench.state = store.fresh()
        journal = store.open_journal(state=bench.state)
        journal.after = lambda base: (store.read().state, ())  # type: ignore[attr-defined]
        bench.journal = journal  # type: ignore[assignment]
        report = bench.run(want("a"), want("b", ["a"]))
    assert set(results(report).values()) == {"done"}
    read = store.read()
    assert read.state == report.state
    assert read.intents == ()
    assert read.last_run is not None
    assert read.last_run.result == "done"
