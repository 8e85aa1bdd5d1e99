"""What refuses a plan: each guard with its figure and the flag that lifts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.diagnostics import UsageError
from reconciler.model import Listing, Pending, Refreshed
from reconciler.plan import Plan
from tests.support.planning import (
    NOW,
    Lifecycle,
    Limits,
    Removed,
    config,
    desired,
    kinds,
    live,
    make,
    recorded,
    seen,
    stack,
    state,
)

PROTECTED = Lifecycle(prevent_undeploy=True)


def rules(made: Plan) -> list[str]:
    return [refusal.rule for refusal in made.refused]


def fleet(size: int, drop: int = 0, *, limits: Limits | None = None, **options: Any) -> Plan:
    """`size` managed deployments of which the first `drop` are declared no longer."""
    items = [desired(f"d{index}") for index in range(size)]
    before = state(*(recorded(item, f"id-{item.address}") for item in items))
    world = seen(*(live(f"id-{item.address}", name=item.address) for item in items))
    return make(stack(*items[drop:], limits=limits or Limits()), before, world, **options)


@pytest.mark.parametrize("in_state", [True, False])
@pytest.mark.parametrize("in_file", [True, False])
def test_protection_holds_from_file_and_from_state(in_state: bool, in_file: bool) -> None:
    """A replace is refused where either the file or the state protects the deployment."""
    item = desired("chat", gpu="b", lifecycle=PROTECTED if in_file else Lifecycle())
    old = replace(item, spec={**item.spec, "gpu": "a"}, lifecycle=PROTECTED if in_state else Lifecycle())
    made = make(stack(item), state(recorded(old, "d-1")), seen(live("d-1", name="chat", gpu="a")))
    assert kinds(made) == {"chat": "replace"}
    assert rules(made) == (["prevent_undeploy"] if in_state or in_file else [])


def test_deleting_the_block_does_not_lift_protection() -> None:
    """What the state protects is not undeployed because its block is gone, not by destroy either."""
    before = state(recorded(desired("chat", lifecycle=PROTECTED), "d-1"))
    world = seen(live("d-1", name="chat"))
    made = make(stack(desired("new")), before, world)
    assert rules(made) == ["prevent_undeploy"]
    assert "declare it again" in made.refused[0].message
    assert rules(make(stack(), before, world, destroy=True)) == ["prevent_undeploy"]


def test_applying_false_lifts_protection() -> None:
    """The flag alone is a state change that nothing refuses."""
    item = desired("chat")
    before = state(recorded(replace(item, lifecycle=PROTECTED), "d-1"))
    made = make(stack(item), before, seen(live("d-1", name="chat")))
    assert (made.refused, [change.path for change in made.state_changes]) == ((), ["lifecycle.prevent_undeploy"])


@pytest.mark.parametrize(
    ("size", "drop", "refused"),
    [
        (20, 2, []),
        (20, 3, []),
        (10, 3, []),
        (9, 3, ["many_undeploys"]),
        (3, 3, ["declares_nothing"]),
        (2, 1, []),
        (1, 1, ["declares_nothing"]),
    ],
)
def test_many_at_once(size: int, drop: int, refused: list[str]) -> None:
    """Three or more that are over 30 % are refused; so is a file that declares nothing."""
    made = fleet(size, drop)
    assert rules(made) == refused
    if refused:
        assert f"--allow-undeploys {drop}" in made.refused[0].message
        assert fleet(size, drop, allow_undeploys=drop).refused == ()
        assert rules(fleet(size, drop, allow_undeploys=drop - 1)) == refused


def test_all_of_one_provider() -> None:
    """Three that are all that one provider has are refused, though few of the whole."""
    many = [desired(f"d{index}") for index in range(17)]
    few = [desired(f"x{index}", "toy.b") for index in range(3)]
    before = state(*(recorded(item, f"id-{item.address}") for item in (*many, *few)))
    world = seen(
        *(live(f"id-{item.address}", name=item.address) for item in many),
        toy_b=[live(f"id-{item.address}", name=item.address) for item in few],
    )
    made = make(stack(*many, providers={"toy.b": config("toy.b")}), before, world)
    assert rules(made) == ["all_of_provider"]
    assert "toy.b" in made.refused[0].message


@pytest.mark.parametrize(("limit", "refused"), [(2, True), (3, False), ("10%", True), ("15%", False)])
def test_max_undeploys(limit: int | str, refused: bool) -> None:
    """A number, or a share of the managed; the flag lifts it."""
    made = fleet(20, 3, limits=Limits(max_undeploys=limit))
    assert rules(made) == (["max_undeploys"] if refused else [])
    assert fleet(20, 3, limits=Limits(max_undeploys=limit), allow_undeploys=3).refused == ()


def test_shares_are_of_the_managed_before_targets() -> None:
    """A target makes the plan smaller, not the fleet."""
    made = fleet(20, 3, limits=Limits(max_undeploys="15%"), target=("d0", "d1", "d2"))
    assert (len(made.actions), made.refused) == (3, ())


def test_replacements_count_as_undeploys() -> None:
    """A replace takes a deployment away for a while, and counts."""
    items = [desired(f"d{index}", gpu="b") for index in range(4)]
    before = state(*(recorded(replace(i, spec={**i.spec, "gpu": "a"}), f"id-{i.address}") for i in items))
    world = seen(*(live(f"id-{item.address}", name=item.address, gpu="a") for item in items))
    assert rules(make(stack(*items), before, world)) == ["many_undeploys"]


def test_destroy_is_held_by_protection_alone() -> None:
    """`destroy` and its plan need no other flag."""
    assert fleet(9, 0, destroy=True, limits=Limits(max_undeploys=0)).refused == ()


def test_forgetting_explicitly_is_still_an_empty_file() -> None:
    """A file that declares nothing is told so; the flag takes the number of undeploys, which is none."""
    before = state(recorded(desired("a"), "1"))
    file = stack(removed=(Removed("a", "forget"),))
    assert rules(make(file, before, seen())) == ["declares_nothing"]
    assert make(file, before, seen(), allow_undeploys=0).refused == ()


def test_an_empty_list_looks_like_an_outage() -> None:
    """A list that came back empty while three are known is refused until that provider is allowed."""
    items = [desired(f"d{index}") for index in range(3)]
    before = state(*(recorded(item, f"id-{item.address}") for item in items))
    world = seen(gone=[f"id-{item.address}" for item in items])
    made = make(stack(*items), before, world)
    assert rules(made) == ["allow_empty"]
    assert "--allow-empty toy" in made.refused[0].message
    assert make(stack(*items), before, world, allow_empty=("toy",)).refused == ()
    two = make(stack(*items[:2]), state(*list(before.deployments.values())[:2]), world)
    assert two.refused == ()


def test_a_flag_for_a_provider_that_is_not_there_is_an_error() -> None:
    """It would lift nothing, and nobody would notice."""
    for flag in ("allow_empty", "accept_endpoint"):
        with pytest.raises(UsageError, match="names no provider"):
            make(stack(desired("a")), None, seen(), **{flag: ("toys",)})


def test_what_a_killed_run_was_taking_away_is_no_outage() -> None:
    """Its undeploys are on record, so the next run goes on without a flag."""
    items = [desired(f"d{index}") for index in range(3)]
    pending = Pending("undeploy", NOW, "interrupted")
    before = state(*(recorded(item, f"id-{item.address}", pending=pending) for item in items))
    made = make(stack(*items), before, seen(gone=[f"id-{item.address}" for item in items]))
    assert made.refused == ()
    assert set(kinds(made).values()) == {"deploy"}


def test_another_endpoint() -> None:
    """Another scope than the recorded one is refused with both ways out, and accepted only if every id is found."""
    items = [desired("a"), desired("b")]
    before = state(*(recorded(item, f"id-{item.address}") for item in items))
    file = stack(*items, providers={"toy": config("toy", endpoint="elsewhere")})
    there = [live(f"id-{item.address}", name=item.address) for item in items]
    refused = make(file, before, seen(gone=["id-a", "id-b"]))
    assert rules(refused) == ["accept_endpoint"]
    for text in ("toy:home", "toy:elsewhere", "restore it", "alias", "--accept-endpoint toy"):
        assert text in refused.refused[0].message
    half = make(file, before, seen(there[0], gone=["id-b"]), accept_endpoint=("toy",))
    assert rules(half) == ["accept_endpoint"]
    assert "b (id-b)" in half.refused[0].message
    accepted = make(file, before, seen(*there), accept_endpoint=("toy",))
    assert accepted.refused == ()
    assert [(c.kind, c.before, c.after) for c in accepted.state_changes if c.kind == "scope"] == [
        ("scope", "toy:home", "toy:elsewhere")
    ]


@pytest.mark.parametrize(
    ("limits", "refused"),
    [({"*": 9.0}, True), ({"*": 10.0}, False), ({"USD": 9.0}, True), ({"CNY": 9.0}, False), ({}, False)],
)
def test_max_hourly_cost(limits: dict[str, float], refused: bool) -> None:
    """A plan that goes beyond the limit of a currency is refused with the figure; unknown costs are told."""
    prices = {"p": {"unit_price": 2.5, "currency": "USD"}}
    file = stack(
        desired("a", plan_id="p", replicas=4), desired("b"), limits=Limits(max_hourly_cost=limits),
        providers={"toy": config("toy", prices=prices)},
    )  # fmt: skip
    made = make(file, None, seen())
    assert rules(made) == (["max_hourly_cost"] if refused else [])
    if refused:
        assert "10 USD" in made.refused[0].message
        assert "1 more are unknown" in made.refused[0].message


@pytest.mark.parametrize("looked_at", [True, False])
def test_the_cost_limit_is_on_all_deployments_whatever_the_targets(looked_at: bool) -> None:
    """A target makes the plan smaller, not the bill: what is left out counts as it runs, or else as it is recorded;
    what is known to have gone costs nothing."""
    prices = {"p": {"unit_price": 50, "currency": "USD"}}
    old, new = desired("a", "toy.b", plan_id="p", replicas=1), desired("b", plan_id="p", replicas=1)
    providers = {key: config(key, prices=prices) for key in ("toy", "toy.b")}
    before = state(recorded(old, "1"))
    there = {"toy_b": [live("1", name="a")]} if looked_at else {}
    for limit, refused in ((60.0, ["max_hourly_cost"]), (100.0, [])):
        file = stack(old, new, limits=Limits(max_hourly_cost={"*": limit}), providers=providers)
        made = make(file, before, seen(**there), target=("b",))
        assert rules(made) == refused
        assert [(total.before, total.after) for total in made.costs] == [(0.0, 50.0)]
        if refused:
            assert "would be 100 USD (now 50), with what this plan leaves out; the limit" in made.refused[0].message
        gone = Refreshed({"toy": Listing(), "toy.b": Listing(gone=frozenset(("1",)))})
        assert make(file, before, gone, target=("b",)).refused == ()


def test_getting_cheaper_is_never_beyond_the_limit() -> None:
    """A plan that lowers the cost is not refused for still being above."""
    prices = {"p": {"unit_price": 10, "currency": "USD"}}
    item = desired("a", plan_id="p", replicas=2)
    before = state(recorded(replace(item, spec={**item.spec, "replicas": 4}), "1"))
    file = stack(item, limits=Limits(max_hourly_cost={"*": 5.0}), providers={"toy": config("toy", prices=prices)})
    assert make(file, before, seen(live("1", name="a", replicas=4))).refused == ()


def test_an_unreadable_list_is_not_an_empty_one() -> None:
    """A provider that failed refuses nothing by its emptiness: it is unreadable."""
    items = [desired(f"d{index}") for index in range(3)]
    before = state(*(recorded(item, f"id-{item.address}") for item in items))
    world = replace(seen(), listings={"switch": Listing()})
    made = make(stack(*items), before, world)
    assert made.refused == ()
    assert [problem.provider for problem in made.unreadable] == ["toy"]
