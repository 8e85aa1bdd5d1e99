"""Refresh: lists side by side, requests by id only for what a list lacks, and a failure is never an empty list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from reconciler.engine.fetch import fetch
from reconciler.model import Live, Refreshed
from reconciler.provider import AccessError, Capabilities, UnreachableError
from tests.support.engine_runs import Bench, want
from tests.support.fake_provider import FakeProvider, FakeType, InlineWorkers


def refresh(bench: Bench) -> Refreshed:
    return bench.fetch()


def test_what_the_list_shows_costs_no_request_of_its_own() -> None:
    """A hundred recorded deployments, one list, no read."""
    bench = Bench()
    bench.running(*(want(f"d{i}") for i in range(100)))
    found = refresh(bench)
    assert len(found.listings["fake"].objects) == 100
    assert [item[0] for item in bench.trace.items] == ["list"]


def test_what_the_list_lacks_is_gone_only_after_one_read_says_so() -> None:
    """Each missing id is read once; `not found` makes it gone."""
    bench = Bench()
    bench.running(want("a"), want("b"))
    del bench.cloud.things["dep-1"]
    found = refresh(bench)
    assert bench.trace.of("read") == [("read", "dep-1")]
    assert found.listings["fake"].gone == {"dep-1"}


def test_a_list_that_lags_loses_nothing() -> None:
    """The list lacks it, the read shows it: it counts as live."""
    bench = Bench()
    bench.running(want("a"))
    bench.provider.list = list  # type: ignore[method-assign]
    found = refresh(bench)
    assert [live.id for live in found.listings["fake"].objects] == ["dep-1"]
    assert not found.listings["fake"].gone


def test_a_read_that_is_denied_is_unreadable_and_not_gone() -> None:
    """403 is never absence; the reason is kept."""
    bench = Bench()
    bench.running(want("a"))
    bench.cloud.things.clear()
    bench.cloud.fault("read", "denied")
    listing = refresh(bench).listings["fake"]
    assert listing.unreadable == {"dep-1": "no right"}
    assert not listing.gone


def test_a_failed_list_is_told_and_is_not_an_empty_list() -> None:
    """The provider is in `failed` under its key in the file, and in nothing else."""
    bench = Bench()
    bench.cloud.list_fault = UnreachableError("no route", provider="fake")
    found = refresh(bench)
    assert not found.listings
    assert found.failed["fake"].summary == "no route"
    assert found.failed["fake"].provider == "fake"


def test_one_provider_failing_leaves_the_others_readable() -> None:
    """Every provider that can't be read is named, and the rest is there."""
    good, bad = Bench(), Bench()
    good.running(want("a"))
    bad.cloud.list_fault = AccessError("wrong key", provider="fake", status=401)
    capabilities = FakeType().capabilities
    found = fetch(
        {"fake": good.provider, "fake.two": bad.provider, "fake.three": bad.provider}, {},
        dict.fromkeys(("fake", "fake.two", "fake.three"), capabilities),
    )  # fmt: skip
    assert set(found.listings) == {"fake"}
    assert {key: failed.provider for key, failed in found.failed.items()} == {
        "fake.two": "fake.two", "fake.three": "fake.three",
    }  # fmt: skip


def test_without_read_by_id_a_second_list_decides() -> None:
    """One more list in all, however many are missing; it may show what the first one missed."""
    bench = Bench(type=FakeType(read_by_id=False))
    bench.running(want("a"), want("b"), want("c"))
    del bench.cloud.things["dep-1"]
    del bench.cloud.things["dep-2"]
    found = refresh(bench)
    assert len(bench.trace.of("list")) == 2
    assert bench.trace.of("read") == []
    assert found.listings["fake"].gone == {"dep-1", "dep-2"}


def test_a_second_list_that_fails_makes_them_unreadable() -> None:
    """Not gone: nobody confirmed it."""
    bench = Bench(type=FakeType(read_by_id=False))
    bench.running(want("a"))
    answers: list[Sequence[Live] | Exception] = [[], UnreachableError("no route", provider="fake")]

    def listing() -> Sequence[Live]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.provider.list = listing  # type: ignore[method-assign]
    listing_ = refresh(bench).listings["fake"]
    assert not listing_.gone
    assert "no route" in listing_.unreadable["dep-1"]


def test_an_id_that_changed_is_recognised_by_its_identity_where_nothing_is_read_by_id() -> None:
    """Such a provider may rename ids; the one list that shows the identity is enough."""
    bench = Bench(type=FakeType(read_by_id=False))
    bench.running(want("a"))
    entry = bench.state.deployments["a"]
    bench.state = replace(bench.state, deployments={"a": replace(entry, id="dep-1-deployed")})
    assert not refresh(bench).listings["fake"].gone
    assert len(bench.trace.of("list")) == 1


def test_reads_by_id_are_bounded_by_the_providers_concurrency() -> None:
    """Two hundred missing, four reads at a time."""
    bench = Bench()
    bench.running(*(want(f"d{i}") for i in range(200)))
    bench.cloud.things.clear()
    workers = InlineWorkers(bench.clock)
    found = fetch(
        {"fake": bench.provider}, {"fake": tuple(bench.state.deployments.values())},
        {"fake": Capabilities(100, True, True, False, True, True)}, max_concurrency={"fake": 4},
        workers=lambda size: workers,
    )  # fmt: skip
    assert len(found.listings["fake"].gone) == 200
    assert workers.most == 4


def test_providers_are_listed_side_by_side() -> None:
    """All lists are under way at once: the slowest decides, not the sum."""
    clouds = [Bench() for _ in range(4)]
    workers = InlineWorkers(clouds[0].clock, latency=1.0)
    providers = {f"fake.p{i}": FakeProvider(bench.cloud) for i, bench in enumerate(clouds)}
    start = clouds[0].clock.time
    fetch(providers, {}, dict.fromkeys(providers, FakeType().capabilities), workers=lambda size: workers)
    assert clouds[0].clock.time - start == 1.0


def test_a_bug_in_an_adapter_is_not_swallowed() -> None:
    """Anything but a provider's own error comes through."""
    bench = Bench()
    bench.cloud.list_fault = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        refresh(bench)


def test_nothing_to_ask_asks_nobody() -> None:
    """No providers: no threads, an empty answer."""
    assert fetch({}, {}, {}) == Refreshed()
