"""Values, money and time as people read them."""

from __future__ import annotations

import pytest

from reconciler.model import Json, Secret, Unknown
from reconciler.plan import Change, Cost, CostTotal
from reconciler.render import values


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (4, "4"),
        (2.0, "2.0"),
        ("4", '"4"'),
        ("", '""'),
        ('a"\n', '"a\\"\\n"'),
        ([], "[]"),
        ({}, "{}"),
        ([1, "a", [None]], '[1, "a", [null]]'),
        ({"a": 1, "k.e": {"b-c": False}}, '{a: 1, "k.e": {b-c: false}}'),
        (Secret("hunter2"), "(sensitive)"),
        ({"token": Secret("hunter2")}, "{token: (sensitive)}"),
        (Unknown("${deployments.a.id}"), "(known after apply)"),
        (Unknown("${deployments.a.id}", sensitive=True), "(sensitive)"),
        ({"$digest": "hmac-sha256:00"}, "(sensitive)"),
        ({"$ref": "env.HF_TOKEN"}, "(sensitive)"),
    ],
)
def test_values_keep_their_type_and_their_secrets(item: Json, shown: str) -> None:
    """A text is never taken for a number, and nothing sensitive is shown, at any depth."""
    assert values.value(item) == shown


def test_long_values_are_cut_with_a_count() -> None:
    """Megabytes from a provider become one line."""
    assert values.value("x" * 1_000_000, 5) == '"xxxxx…" (999995 more characters)'
    assert len(values.value("x" * 1_000_000)) < 250
    assert len(values.value([0] * 1_000_000)) < 250
    assert len(values.value({str(n): n for n in range(100_000)})) < 250


def test_a_late_difference_is_seen() -> None:
    """Two long values that begin alike are shown where they differ."""
    before, after = values.pair("a" * 5000 + "b", "a" * 5000 + "c")
    assert before.endswith('b"')
    assert after.endswith('c"')
    assert "characters are the same" in before


def test_an_early_difference_is_seen() -> None:
    """Two long values that differ at once are cut at the end."""
    before, after = values.pair("b" + "a" * 5000, "c" + "a" * 5000)
    assert before.startswith('"b')
    assert after.startswith('"c')
    assert before.endswith("more characters)")


@pytest.mark.parametrize(
    ("change", "fresh", "before", "after"),
    [
        (Change("n", 1, 4), False, "1", "4"),
        (Change("n", None, 4), True, None, "4"),
        (Change("n", None, 4), False, "(not set)", "4"),
        (Change("n", 4, None), False, "4", "(not set)"),
        (Change("n", 4, None, unknown=True), False, "4", "(known after apply)"),
        (Change("n", None, None, sensitive=True), False, "(sensitive)", "(sensitive)"),
        (Change("n", None, None, sensitive=True, unknown=True), False, "(sensitive)", "(known after apply)"),
        (Change("n", "leak", "leak2", sensitive=True), False, "(sensitive)", "(sensitive)"),
    ],
)
def test_changes(change: Change, fresh: bool, before: str | None, after: str) -> None:
    """Before and after are shown as far as they exist, are known and may be seen."""
    shown = values.change(change, fresh=fresh)
    assert (shown.before, shown.after) == (before, after)


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        (Cost(2.5, 10, "USD"), "2.50 → 10.00 USD/h"),
        (Cost(2.5, 2.5, "USD"), "2.50 USD/h"),
        (Cost(None, 2.5, "USD"), "unknown → 2.50 USD/h"),
        (Cost(2.5, None, "USD"), "2.50 → unknown (USD/h)"),
        (Cost(None, None, "USD"), "unknown"),
        (Cost(0.0, 0.0031, "USD"), "0.00 → 0.0031 USD/h"),
    ],
)
def test_costs(cost: Cost, shown: str) -> None:
    """An unknown price is said to be unknown, never zero, and small ones are not rounded away."""
    assert values.cost(cost) == shown


@pytest.mark.parametrize(
    ("total", "shown"),
    [
        (CostTotal(2.5, 10, "USD"), "2.50 USD/h → 10.00 USD/h (+7.50)"),
        (CostTotal(10, 2.5, "USD"), "10.00 USD/h → 2.50 USD/h (-7.50)"),
        (CostTotal(2.5, 2.5, "USD"), "2.50 USD/h"),
        (CostTotal(10, 10, "USD", 2, 2), "≥ 10.00 USD/h, 2 unknown"),
        (CostTotal(0, 10, "USD", 1, 2), "1 unknown → ≥ 10.00 USD/h, 2 unknown"),
        (CostTotal(0, 0, "", 0, 2), "nothing → 2 unknown"),
    ],
)
def test_totals(total: CostTotal, shown: str) -> None:
    """A sum says what it lacks; a difference is given only between complete sums."""
    assert values.totals([total]) == [shown]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"), (0.42, "0.4s"), (0.96, "1s"), (7, "7s"), (59.6, "1m"), (80, "1m 20s"), (3600, "1h"),
        (7500, "2h 5m"), (90000, "1d 1h"), (-1, "0.0s"),
    ],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    """At most two units."""
    assert values.duration(seconds) == shown


def test_counts_and_lists() -> None:
    """Numbers agree with their words, long lists are cut with a count."""
    assert values.count(1, "deployment") == "1 deployment"
    assert values.count(2, "reply", "replies") == "2 replies"
    assert values.listed(["a", "b"]) == "a, b"
    assert values.listed(["a", "b", "c"], 2) == "a, b and 1 more"
