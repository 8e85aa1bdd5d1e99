"""A provider that is slow or down delays only what depends on it."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.fetch import fetch
from reconciler.engine.lane import Request
from reconciler.engine.recover import findings, resolve_intents
from reconciler.engine.workers import Job, ThreadWorkers
from reconciler.model import Intent
from reconciler.plan import Event
from reconciler.provider import Call, Operation
from tests.support.engine_runs import results, want
from tests.support.fake_provider import (
    Cloud,
    FakeClock,
    FakeProvider,
    FakeType,
    InlineWorkers,
    Trace,
    empty_state,
    recorded,
    schema,
)
from tests.support.pairs import FAST, SLOW, BlackHole, Pair, at_slow
from tests.unit.test_engine_threads import Quick

MANY = 100


def hole(expected: int = MANY) -> BlackHole:
    return BlackHole(Cloud(FakeClock(), Trace(), busy=0.0), expected)


def test_a_provider_that_hangs_holds_no_thread_of_another() -> None:
    """A hundred creates hang at one provider, all in flight at once; the other's are done meanwhile."""
    black = hole()
    pair = Pair(Quick(), lambda cloud: black)
    pair.clouds[FAST].busy = 0.0
    meanwhile: list[int] = []

    def emit(event: Event) -> None:
        if event.event == "done" and event.address == "z2":
            assert black.full.wait(20)
            meanwhile.append(black.hanging)
            black.released.set()

    slow = [at_slow(f"a{number:03}") for number in range(MANY)]
    fast = [want("z0"), want("z1", ["z0"]), want("z2", ["z1"])]
    report = pair.apply(
        *slow, *fast, workers=ThreadWorkers, parallelism=MANY + 10, emit=emit, max_concurrency=MANY
    )  # fmt: skip
    assert set(results(report).values()) == {"done"}
    assert (meanwhile, black.gave_up) == ([MANY], 0)
    assert pair.ended[:3] == ["z0", "z1", "z2"]


class Uneven(InlineWorkers):
    """Requests to the slow provider take a minute, all others no time worth mentioning."""

    def submit(self, token: object, job: Job) -> None:
        self.latency = 60.0 if isinstance(token, Request) and token.lane.key == SLOW else 0.02
        super().submit(token, job)


def test_only_what_depends_on_a_slow_provider_waits_for_it() -> None:
    """More actions at a slow provider than may be under way at all: the other's, whole chains of them, are done before
    the first of these; what depends on one of these comes after it."""
    pair = Pair()
    pair.clouds[SLOW].busy = 600.0
    slow = [at_slow(f"a{number:02}") for number in range(30)]
    fast = [want(f"z{number:02}", [f"z{number - 10:02}"] if number >= 10 else []) for number in range(30)]
    between = want("m", ["a00"])
    report = pair.apply(*slow, *fast, between, workers=lambda _: Uneven(pair.clock), parallelism=10)
    assert set(results(report).values()) == {"done"}
    assert sorted(pair.ended[:30]) == [one.address for one in fast]
    assert pair.ended.index("m") > pair.ended.index("a00")


def test_slots_that_one_provider_leaves_free_are_used_by_another() -> None:
    """Two actions at one, many at the other: as many are under way as may be, whoever they belong to."""
    pair, under_way, most = Pair(), set[str](), [0]

    def emit(event: Event) -> None:
        if event.event in ("started", "done"):
            (under_way.add if event.event == "started" else under_way.discard)(event.address)
        most[0] = max(most[0], len(under_way))

    wanted = [at_slow("a0"), at_slow("a1"), *(want(f"z{number}") for number in range(9))]
    pair.apply(*wanted, workers=lambda _: InlineWorkers(pair.clock), parallelism=6, emit=emit)
    assert (most[0], len(pair.ended)) == (6, 11)


class Follower(FakeProvider):
    """Answers once the other one hangs with all that it was asked, and releases it at the last of its own answers."""

    def __init__(self, black: BlackHole, answers: int) -> None:
        super().__init__(Cloud(FakeClock(), Trace()))
        self.black, self.left = black, answers
        self.met = False

    def read(self, id: str) -> None:  # noqa: A002 - the port's name
        self._answer()

    def find(self, op: Operation, call: Call) -> None:
        self._answer()

    def _answer(self) -> None:
        self.met = self.black.full.wait(20)
        self.left -= 1
        if not self.left:
            self.black.released.set()


def test_reads_that_hang_hold_up_no_reads_of_another_provider() -> None:
    """Refresh: a hundred reads by id hang at one provider, and the other's are answered."""
    black = hole()
    follower = Follower(black, answers=1)
    thing = follower.cloud.create({"name": "x"})
    entries = [replace(recorded(f"d{n}", thing, follower.cloud), id=f"gone-{n}") for n in range(MANY)]
    found = fetch(
        {FAST: follower, SLOW: black}, {FAST: entries[:1], SLOW: entries},
        dict.fromkeys((FAST, SLOW), FakeType(max_concurrency=MANY).capabilities),
    )  # fmt: skip
    assert follower.met
    assert (len(found.listings[FAST].gone), len(found.listings[SLOW].gone), black.gave_up) == (1, MANY, 0)


def test_looks_that_hang_hold_up_no_looks_at_another_provider() -> None:
    """Recovery: as many looks hang at one provider as may be under way there, and the other is asked all the same."""
    black = hole(expected=8)
    follower = Follower(black, answers=2)
    thing = follower.cloud.create({"name": "x"})

    def intent(number: int, key: str) -> Intent:
        entry = replace(recorded(f"d{number}", thing, follower.cloud), id=None, provider=key, identity=f"d{number}")
        return Intent(f"{number:012x}", entry.address, "deploy", "create", replace(entry, spec={"name": entry.address}))

    intents = [*(intent(number, SLOW) for number in range(20)), intent(20, FAST), intent(21, FAST)]
    resolved = resolve_intents(
        intents, state=empty_state(), providers={FAST: follower, SLOW: black}, schemas={"fake": schema()},
        last_run=None, clock=FakeClock(),
    )  # fmt: skip
    assert follower.met
    assert {finding.what for finding in findings(resolved)} == {"absent"}
    assert ([one.intent.id for one in resolved], black.hanging) == ([one.id for one in intents], 20)
    assert black.gave_up == 0
