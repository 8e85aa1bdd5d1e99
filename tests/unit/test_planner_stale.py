"""When a saved plan no longer fits the world, and when it still does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.planfile.plan_codec import plan_from_file, plan_to_file
from reconciler.core.planning.stale import needed_by, other_target, staleness
from reconciler.model import Listing, RecordedProvider, Refreshed, Secret, Stack, State, Unknown
from reconciler.plan import Plan
from tests.support.planning import (
    KEY,
    SCHEMAS,
    TYPES,
    Moved,
    Removed,
    config,
    desired,
    live,
    make,
    recorded,
    seen,
    stack,
    state,
)

CHAT = desired("chat", gpu="h", replicas=4)
BEFORE = state(recorded(desired("chat", gpu="h", replicas=2), "d-1"), recorded(desired("idle"), "i-1"))
LIVE = live("d-1", name="chat", gpu="h", replicas=2)
IDLE = live("i-1", name="idle")
FILE = stack(CHAT, desired("idle"))


def through_a_file(made: Plan, secret: str = "s3cret") -> Plan:
    """The plan as `apply PLANFILE` has it."""
    return plan_from_file(plan_to_file(made, KEY), lambda _: Secret(secret))


def stale(made: Plan, before: State | None, world: Refreshed | None, file: Stack = FILE) -> tuple[str, ...]:
    return staleness(through_a_file(made), before, file.providers, world, schemas=SCHEMAS, types=TYPES)


def test_fits() -> None:
    """The same state and the same world: not stale."""
    world = seen(LIVE, IDLE)
    assert stale(make(FILE, BEFORE, world), BEFORE, world) == ()


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (replace(BEFORE, serial=8), "serial 7, now it is 8"),
        (replace(BEFORE, lineage="other"), "lineage differs"),
        (replace(BEFORE, stack="other"), "is of stack bots"),
        (None, "not there any more"),
    ],
)
def test_the_state_moved_on(before: State | None, text: str) -> None:
    """Lineage and serial are checked first, without any look."""
    (reason,) = stale(make(FILE, BEFORE, seen(LIVE, IDLE)), before, None)
    assert text in reason


def test_a_plan_of_before_any_state_is_spent_once() -> None:
    """A first plan applied twice would deploy twice: with a state there it is stale."""
    made = make(FILE, None, seen())
    assert stale(made, None, seen()) == ()
    assert "before there was a state" in stale(made, BEFORE, None)[0]


def test_provider_settings() -> None:
    """Another endpoint or setting than the plan's is stale, and named."""
    made = make(FILE, BEFORE, seen(LIVE, IDLE))
    moved = stack(CHAT, providers={"toy": config("toy", endpoint="b")})
    assert stale(made, BEFORE, None, moved) == ("provider toy pointed to toy:home, now it points to toy:b",)
    tuned = stack(CHAT, providers={"toy": config("toy", timeout="1s")})
    assert stale(made, BEFORE, None, tuned) == ("settings of provider toy have changed: timeout",)
    assert staleness(made, BEFORE, {}, None, schemas=SCHEMAS, types=TYPES) == (
        "provider toy is not in the file any more",
    )


def test_a_secret_that_changed_since() -> None:
    """A sensitive value is compared by its digest."""
    item = desired("chat", gpu="h", replicas=4, token=Secret("s3cret", "${env.T}"))
    before = state(recorded(replace(item, spec={**item.spec, "replicas": 2}), "d-1"))
    file = stack(item)
    made = make(file, before, seen(LIVE))
    world = seen(LIVE)
    assert staleness(through_a_file(made), before, file.providers, world, schemas=SCHEMAS, types=TYPES) == ()
    (reason,) = staleness(through_a_file(made, "other"), before, file.providers, world, schemas=SCHEMAS, types=TYPES)
    assert "${env.T}" in reason
    assert "other" not in reason


@pytest.mark.parametrize(
    ("objects", "gone", "text"),
    [
        ([IDLE], ("d-1",), "chat has gone since"),
        ([replace(LIVE, attributes={**LIVE.attributes, "replicas": 3}), IDLE], (), "replicas (2 → 3) of chat"),
        ([replace(LIVE, health="failed", status="failed"), IDLE], (), "its status is failed"),
        ([replace(LIVE, health="updating", status="scaling"), IDLE], (), "its status is scaling"),
        ([IDLE], (), "can't be read any more"),
    ],
)
def test_what_the_plan_changes_is_no_longer_as_seen(objects: list[Any], gone: tuple[str, ...], text: str) -> None:
    """Existence, managed attributes and kind of health of a changed address."""
    (reason,) = stale(make(FILE, BEFORE, seen(LIVE, IDLE)), BEFORE, seen(*objects, gone=gone))
    assert text in reason


def test_the_name_that_a_replacement_takes_is_taken_by_now() -> None:
    """Its old one would go for nothing."""
    renamed = stack(desired("chat", name="other", gpu="h", replicas=2), desired("idle"))
    made = make(renamed, BEFORE, seen(LIVE, IDLE))
    assert [item.action for item in made.actions if item.address == "chat"] == ["replace"]
    assert stale(made, BEFORE, seen(LIVE, IDLE), renamed) == ()
    (reason,) = stale(made, BEFORE, seen(LIVE, IDLE, live("x", name="other")), renamed)
    assert reason == "other, which chat would take, is live now (id x)"
    assert stale(made, BEFORE, seen(LIVE, IDLE, live("x", name="other", health="deleting")), renamed) == ()


def test_what_is_forgotten_because_it_had_gone_is_looked_at_again() -> None:
    """It is back: forgetting it would leave it running unmanaged. What the file forgets is not looked at."""
    file = stack(desired("idle"))
    made = make(file, BEFORE, seen(IDLE, gone=["d-1"]))
    assert [item.action for item in made.actions] == ["forget", "none"]
    assert needed_by(made) == {"toy"}
    (reason,) = stale(made, BEFORE, seen(LIVE, IDLE), file)
    assert reason == "chat is live now (id d-1)"
    asked = make(stack(desired("idle"), removed=(Removed("chat", "forget"),)), BEFORE, seen(LIVE, IDLE))
    assert needed_by(asked) == frozenset()


def test_the_same_actions_elsewhere_are_not_the_same() -> None:
    """Another stack, scope, state, secret, or the real providers instead of the sandbox."""
    made = through_a_file(make(FILE, BEFORE, seen(LIVE, IDLE)))
    assert other_target(made, made, KEY) == ()
    moved = {"toy": RecordedProvider("toy", "toy:b", {})}
    for other, text in (
        (replace(made, stack="else"), "is of stack bots"),
        (replace(made, providers=moved), "pointed to toy:home, now it points to toy:b"),
        (replace(made, lineage="else"), "lineage differs"),
        (replace(made, sandbox=True), "not made in the sandbox"),
    ):
        (reason,) = other_target(made, other, KEY)
        assert text in reason
    secret = stack(desired("chat", gpu="h", replicas=4, token=Secret("s3cret", "${env.T}")))
    held = state(recorded(desired("chat", gpu="h", replicas=2, token=Secret("s3cret", "${env.T}")), "d-1"))
    before = through_a_file(make(secret, held, seen(LIVE)))
    assert other_target(before, before, KEY) == ()
    (reason,) = other_target(before, through_a_file(make(secret, held, seen(LIVE)), "other"), KEY)
    assert "${env.T}" in reason


@pytest.mark.parametrize(
    "objects",
    [
        [replace(LIVE, attributes={**LIVE.attributes, "rpm": 9}), IDLE],
        [LIVE, replace(IDLE, health="failed")],
        [LIVE, IDLE, live("x", name="theirs")],
        [replace(LIVE, health="degraded"), IDLE],
        [replace(LIVE, computed={"endpoint": "new"}), IDLE],
    ],
)
def test_the_rest_of_the_world_may_move_on(objects: list[Any]) -> None:
    """Unmanaged attributes, unchanged addresses, strangers and computed values make no plan stale."""
    assert stale(make(FILE, BEFORE, seen(LIVE, IDLE)), BEFORE, seen(*objects)) == ()


def test_in_transition_then_steady_now() -> None:
    """What has arrived at what is desired since is not stale; what has arrived elsewhere is."""
    wanted = stack(desired("chat", gpu="h", replicas=2, rpm=5))
    before = state(recorded(desired("chat", gpu="h", replicas=2, rpm=4), "d-1"))
    moving = live("d-1", name="chat", gpu="h", replicas=1, rpm=4, health="pending")
    made = make(wanted, before, seen(moving))
    assert [item.action for item in made.actions] == ["update"]
    arrived = live("d-1", name="chat", gpu="h", replicas=2, rpm=5)
    assert stale(made, before, seen(arrived), wanted) == ()
    (reason,) = stale(made, before, seen(replace(arrived, attributes={**arrived.attributes, "rpm": 4})), wanted)
    assert "was pending" in reason


def test_a_deploy_meets_a_namesake() -> None:
    """Somebody took the identity since: stale, with the id."""
    file = stack(desired("new"))
    made = make(file, state(), seen())
    assert stale(made, state(), seen(live("x-1", name="new")), file) == (
        "new, which new would take, is live now (id x-1)",
    )


def test_what_was_on_its_way_out_may_be_gone() -> None:
    """A deploy that waits for the old one to go is content if it has gone."""
    leaving = replace(LIVE, health="deleting")
    made = make(stack(CHAT), BEFORE, seen(leaving, IDLE), allow_undeploys=1)
    assert stale(made, BEFORE, seen(IDLE, gone=("d-1",))) == ()


def test_what_a_change_quotes_counts_too() -> None:
    """A value that another deployment takes from it must still be so."""
    base = desired("base")
    top = desired("top", url=Unknown("${deployments.base.endpoint}"), references=(("base", "endpoint"),),
                  depends_on=("base",))  # fmt: skip
    file = stack(base, top)
    before = state(recorded(base, "b-1"))
    world = seen(live("b-1", name="base"))
    made = make(file, before, world)
    assert stale(made, before, world, file) == ()
    other = seen(live("b-1", name="base", computed={"endpoint": "moved"}))
    (reason,) = stale(made, before, other, file)
    assert reason == "endpoint (https://b-1 → moved) of base has changed since"


def test_a_moved_deployment_is_found_under_its_new_address() -> None:
    """A plan with a move is checked against the record under the old address."""
    file = stack(desired("bot", gpu="h", replicas=4), moved=(Moved("chat", "bot"),))
    before = state(recorded(desired("chat", gpu="h", replicas=2), "d-1"))
    world = seen(LIVE)
    made = make(file, before, world)
    assert stale(made, before, world, file) == ()
    assert "bot has gone" in stale(made, before, seen(gone=("d-1",)), file)[0]


def test_whom_a_saved_plan_needs() -> None:
    """Only the providers of what it changes, waits for or quotes are contacted."""
    file = stack(CHAT, desired("idle", "toy.b"), desired("gone", "toy.c"))
    before = state(
        recorded(desired("chat", gpu="h", replicas=2), "d-1"), recorded(desired("idle", "toy.b"), "i-1"),
        recorded(desired("gone", "toy.c"), "g-1"),
    )  # fmt: skip
    world = replace(seen(LIVE, toy_b=[IDLE]), listings={
        **seen(LIVE, toy_b=[IDLE]).listings, "toy.c": Listing(gone=frozenset(("g-1",))),
    })  # fmt: skip
    assert needed_by(make(file, before, world)) == {"toy", "toy.c"}
    across = make(
        stack(desired("chat", "toy.b", gpu="h", replicas=2)), state(recorded(CHAT, "d-1")), seen(LIVE, toy_b=())
    )
    assert needed_by(across) == {"toy", "toy.b"}
