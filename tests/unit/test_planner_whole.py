"""A plan as a whole: order, moves, targets, create-first, presence, findings, refresh-only, costs, state changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.planning.findings import Finding
from reconciler.diagnostics import Diagnostic, PlanConflictError
from reconciler.model import Listing, Pending, Refreshed
from tests.support.planning import (
    KEY,
    Lifecycle,
    Moved,
    Removed,
    Timeouts,
    action,
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


def toy(address: str, id_: str = "", **given: Any) -> tuple[Any, Any, Any]:
    """A deployment that is declared, recorded and live alike."""
    item = desired(address, **given)
    attributes = {name: value for name, value in item.spec.items() if name not in ("plan_id", "retain")}
    return item, recorded(item, id_ or f"id-{address}"), live(id_ or f"id-{address}", **attributes)


# --- order ----------------------------------------------------------------------------------------------------------
def test_dependencies_first_dependents_first_on_the_way_out() -> None:
    """Deploys follow what they need; undeploys follow what needed them, whatever the names."""
    a, b, c = desired("a", depends_on=("b",)), desired("b", depends_on=("c",)), desired("c")
    made = make(stack(a, b, c), None, seen())
    assert [item.address for item in made.actions] == ["c", "b", "a"]
    before = state(recorded(a, "1"), recorded(b, "2"), recorded(c, "3"))
    world = seen(live("1", name="a"), live("2", name="b"), live("3", name="c"))
    gone = make(stack(), before, world, allow_undeploys=3)
    assert [(item.address, item.action) for item in gone.actions] == [
        ("a", "undeploy"), ("b", "undeploy"), ("c", "undeploy"),
    ]  # fmt: skip


def test_what_no_longer_needs_it_is_changed_before_it_goes() -> None:
    """A deployment that drops its dependency is updated before that dependency is undeployed."""
    old = desired("z", depends_on=("a",), rpm=1)
    before = state(recorded(old, "1"), recorded(desired("a"), "2"))
    world = seen(live("1", name="z", rpm=1), live("2", name="a"))
    made = make(stack(desired("z", rpm=2)), before, world, allow_undeploys=1)
    assert [(item.address, item.action) for item in made.actions] == [("z", "update"), ("a", "undeploy")]


def test_contradicting_records_never_stop_a_destroy() -> None:
    """Records of different times that form a circle still give one order."""
    before = state(recorded(desired("a", depends_on=("b",)), "1"), recorded(desired("b", depends_on=("a",)), "2"))
    made = make(stack(), before, seen(live("1", name="a"), live("2", name="b")), destroy=True)
    assert sorted(item.address for item in made.actions) == ["a", "b"]


# --- moves ----------------------------------------------------------------------------------------------------------
def test_a_move_is_a_state_change_and_nothing_else() -> None:
    """A renamed deployment keeps its id and its derived name; dependents follow; no action."""
    chat, entry, found = toy("chat", "d-1")
    user = desired("user", depends_on=("assistant",))
    before = state(entry, recorded(replace(user, depends_on=("chat",)), "u-1"))
    file = stack(desired("assistant"), user, moved=(Moved("chat", "assistant"),))
    made = make(file, before, seen(found, live("u-1", name="user")))
    assert kinds(made) == {"assistant": "none", "user": "none"}
    assert [(c.address, c.kind, c.before, c.after) for c in made.state_changes] == [
        ("assistant", "moved", "chat", "assistant")
    ]
    assert made.moved == (("chat", "assistant"),)
    assert chat.spec["name"] == action(made, "assistant").name


def test_a_move_into_an_instance_and_of_all_instances() -> None:
    """`chat` can become `chat["eu"]`; a key with instances only takes them all along."""
    _, entry, found = toy("chat", "d-1")
    one = make(stack(desired('chat["eu"]'), moved=(Moved("chat", 'chat["eu"]'),)), state(entry), seen(found))
    assert kinds(one) == {'chat["eu"]': "none"}
    items = [toy('chat["eu"]', "d-1"), toy('chat["us"]', "d-2")]
    every = make(
        stack(desired('bot["eu"]'), desired('bot["us"]'), moved=(Moved("chat", "bot"),)),
        state(*(item[1] for item in items)),
        seen(*(item[2] for item in items)),
    )
    assert kinds(every) == {'bot["eu"]': "none", 'bot["us"]': "none"}


@pytest.mark.parametrize(
    ("moved", "text"),
    [
        ((Moved("a", "b"), Moved("b", "c")), "end of one move and the start of another"),
        ((Moved("a", "taken"),), "taken is in the state already"),
    ],
)
def test_moves_that_are_refused(moved: tuple[Moved, ...], text: str) -> None:
    """A chain, or a move onto something recorded, is an error."""
    _, entry, found = toy("a", "1")
    _, taken, there = toy("taken", "2")
    with pytest.raises(PlanConflictError, match=text):
        make(stack(desired("taken"), moved=moved), state(entry, taken), seen(found, there))


def test_a_move_done_earlier_is_nothing() -> None:
    """A `moved` entry may stay in the file for ever."""
    item, entry, found = toy("assistant", "d-1")
    made = make(stack(item, moved=(Moved("chat", "assistant"),)), state(entry), seen(found))
    assert made.state_changes == ()


def test_a_forgotten_move_is_suggested() -> None:
    """A new address with the identity of one that the state holds: the error says how to tell it was renamed."""
    _, entry, found = toy("chat", "d-1")
    with pytest.raises(PlanConflictError) as caught:
        make(stack(desired("assistant", name="chat")), state(entry), seen(found))
    assert "moved: [{from: chat, to: assistant}]" in caught.value.diagnostics[0].hint


def test_a_forgotten_move_of_something_dormant_is_suggested_too() -> None:
    """What the old address made and would delete is not deployed under a new one at the same time."""
    old = recorded(desired("chat"), "d-1", created={"group": "g-1"})
    off = live("d-1", name="chat", dormant=True, status="UNDEPLOYED")
    renamed = desired("assistant", name="chat")
    with pytest.raises(PlanConflictError, match="state holds it as chat") as caught:
        make(stack(renamed), state(old), seen(off))
    assert "moved: [{from: chat, to: assistant}]" in caught.value.diagnostics[0].hint
    moved = make(stack(renamed, moved=(Moved("chat", "assistant"),)), state(old), seen(off))
    assert kinds(moved) == {"assistant": "deploy"}


def test_a_moved_deployment_and_a_new_one_never_get_one_name() -> None:
    """The moved one keeps its derived name, which the new one at the old address is given as well."""
    gone = recorded(desired("chat"), "d-1")
    file = stack(desired("bot"), desired("chat"), moved=(Moved("chat", "bot"),))
    with pytest.raises(PlanConflictError, match="still declared"):
        make(file, state(gone), seen(gone=["d-1"]))
    moved = replace(gone, address="bot")
    with pytest.raises(PlanConflictError, match="chat and bot would both be deployed as chat at toy") as caught:
        make(stack(desired("bot"), desired("chat")), state(moved), seen(gone=["d-1"]))
    assert caught.value.diagnostics[0].detail == "bot keeps the name that it was deployed under."
    named = stack(desired("bot"), desired("chat", name="another"))
    assert kinds(make(named, state(moved), seen(gone=["d-1"]))) == {"bot": "deploy", "chat": "deploy"}


def test_one_live_object_is_never_held_at_two_addresses() -> None:
    """It answers to two identities: adopting it twice would let one address undeploy the other's. Nor is what the state
    holds twice undeployed at one address while the other keeps it."""
    found = live("d-1", identities=("one", "two"))
    one, two = (desired(key, name=key, adopt=True) for key in ("one", "two"))
    with pytest.raises(PlanConflictError, match="two and one mean the same deployment: d-1 at toy answers to both"):
        make(stack(one, two), None, seen(found))
    assert kinds(make(stack(one), None, seen(found))) == {"one": "adopt"}
    twice = state(recorded(one, "d-1"), recorded(two, "d-1"))
    with pytest.raises(PlanConflictError, match="one and two mean the same deployment"):
        make(stack(one), twice, seen(found), allow_undeploys=1)
    assert set(kinds(make(stack(), twice, seen(found), destroy=True)).values()) == {"undeploy"}
    assert kinds(make(stack(one), twice, seen(found), exclude=("two",))) == {"one": "none"}


def test_what_another_address_only_forgets_is_deployed() -> None:
    """A model that stood there before, is off, and whose old address is not declared any more: nothing collides. A
    plan that leaves the old address out would keep both, so it is refused."""
    off = live("m", name="m", identities=("m",), dormant=True, status="READY")
    old, new = recorded(desired("old", "switch", model_id="m"), "m"), stack(desired("new", "switch", model_id="m"))
    made = make(new, state(old), seen(switch=[off]), allow_undeploys=1)
    assert kinds(made) == {"new": "deploy", "old": "forget"}
    assert action(made, "new").id == "m"
    with pytest.raises(PlanConflictError, match="state holds it as old"):
        make(new, state(old), seen(switch=[off]), target=("new",))
    chat, kept = desired("chat"), live("d-1", name="chat", dormant=True)
    ours = recorded(chat, "d-1", created={"group": "g-1"})
    file = stack(desired("assistant", name="chat"), removed=(Removed("chat", "forget"),))
    assert kinds(make(file, state(ours), seen(kept))) == {"assistant": "deploy", "chat": "forget"}


# --- create first, presence -----------------------------------------------------------------------------------------
FIRST = Lifecycle(create_before_undeploy=True)


def test_create_first_goes_up_a_generation() -> None:
    """What is derived is made anew, so that old and new stand side by side for a while."""
    item = desired("chat", suffix="g0", derived=frozenset(("name", "suffix")), lifecycle=FIRST, gpu="b")
    entry = recorded(replace(item, spec={**item.spec, "gpu": "a"}), "d-1")
    found = action(make(stack(item), state(entry), seen(live("d-1", name="chat", suffix="g0", gpu="a"))), "chat")
    assert (found.action, found.create_first, found.generation) == ("replace", True, 1)
    assert found.desired is not None
    assert found.desired.spec["suffix"] == "g1"
    assert [(c.path, c.before, c.after) for c in found.changes] == [("gpu", "a", "b"), ("suffix", "g0", "g1")]


def test_what_vanished_behind_an_old_one_is_deployed_under_a_name_of_its_own() -> None:
    """The new one of a create-first replace is gone while the old one still stands aside: the next does not ask for the
    old one's name, which it would collide with."""
    item = desired("chat", suffix="g0", derived=frozenset(("name", "suffix")), lifecycle=FIRST)
    aside = replace(recorded(item, "d-1"), address='chat["replaced-0"]')
    made = make(stack(item), state(aside), seen(live("d-1", name="chat", suffix="g0")))
    assert kinds(made) == {"chat": "deploy", 'chat["replaced-0"]': "undeploy"}
    found = action(made, "chat")
    assert found.desired is not None
    assert (found.generation, found.desired.spec["suffix"]) == (1, "g1")


def test_create_first_is_refused_where_identities_collide() -> None:
    """Nothing derived and the same name: refused at plan time, with what to do."""
    item = desired("chat", gpu="b", lifecycle=FIRST)
    entry = recorded(replace(item, spec={**item.spec, "gpu": "a"}), "d-1")
    with pytest.raises(PlanConflictError, match="identity of the old one"):
        make(stack(item), state(entry), seen(live("d-1", name="chat", gpu="a")))
    renamed = desired("chat", name="chat-2", gpu="b", lifecycle=FIRST)
    made = make(stack(renamed), state(entry), seen(live("d-1", name="chat", gpu="a")))
    assert action(made, "chat").create_first


def test_what_failed_is_replaced_where_two_cannot_stand_side_by_side() -> None:
    """It serves nothing, so it goes first, instead of a plan that can't be made until the file is edited."""
    item = desired("chat", lifecycle=FIRST)
    broken = live("d-1", name="chat", health="failed", status="FAILED")
    found = action(make(stack(item), state(recorded(item, "d-1")), seen(broken)), "chat")
    assert (found.action, found.create_first, found.generation) == ("replace", False, 0)


def test_create_first_is_refused_by_the_provider_type() -> None:
    """A type that says why it can't do it is quoted."""
    model = live("m", name="m", identities=("m",))
    item = desired("chat", "switch", model_id="m", early=True, lifecycle=FIRST)
    entry = recorded(desired("chat", "switch", model_id="m", early=False, lifecycle=FIRST), "m")
    with pytest.raises(PlanConflictError, match="a model is on or off"):
        make(stack(item), state(entry), seen(switch=[model]))


def test_what_must_exist_and_does_not_is_an_error() -> None:
    """A model that the provider does not know is an error of the plan; one that is off is deployed."""
    item = desired("chat", "switch", model_id="m")
    with pytest.raises(PlanConflictError, match="model_id m"):
        make(stack(item), None, seen())
    off = live("m", name="m", identities=("m",), dormant=True, status="READY")
    assert kinds(make(stack(item), None, seen(switch=[off]))) == {"chat": "deploy"}
    again = action(make(stack(item), state(recorded(item, "m")), seen(switch=[off])), "chat")
    assert (again.action, again.reason, again.id) == ("deploy", "it has gone (live status is READY)", "m")


def test_an_id_that_changes_under_an_identity_that_stays() -> None:
    """Where the identity names what stood there before us, a new id is the same thing: only written down."""
    item = desired("chat", "switch", model_id="m")
    found = live("m-deployed", name="m", identities=("m",))
    made = make(stack(item), state(recorded(item, "m")), seen(switch=[found]))
    assert kinds(made) == {"chat": "none"}
    assert [(c.kind, c.path, c.before, c.after) for c in made.state_changes] == [("record", "id", "m", "m-deployed")]
    assert made.unmanaged == ()


def test_gone_by_the_providers_own_rule() -> None:
    """With a TTL: in sync for on_demand once it can have run out, undeployed by hand before, deployed for always and
    where a change of ours was not finished."""
    item = desired("chat", setting={"ttl": 30}, presence="on_demand")
    off = live("d-1", name="chat", setting={"ttl": 30}, dormant=True, status="UNDEPLOYED")
    long_ago = recorded(item, "d-1", deployed_at="2025-11-21T11:00:00Z")
    made = make(stack(item), state(long_ago), seen(off))
    text = "expired or undeployed by hand (TTL 30 min; the server does not tell)"
    assert (action(made, "chat").action, action(made, "chat").notes) == ("none", (text,))
    assert made.drift == ()
    early = make(stack(item), state(recorded(item, "d-1", deployed_at="2025-11-21T11:45:00Z")), seen(off))
    assert action(early, "chat").reason == "it has gone (undeployed by hand)"
    for verb in ("update", "undeploy"):
        off_by_us = replace(long_ago, pending=Pending(verb, "2025-11-21T11:00:00Z", "interrupted"))
        unfinished = make(stack(item), state(off_by_us), seen(off))
        assert action(unfinished, "chat").reason == f"it has gone (its {verb} was not finished (interrupted))"
    always = replace(item, presence="always")
    forced = make(stack(always), state(replace(long_ago, presence="always")), seen(off))
    assert (action(forced, "chat").action, forced.drift[0].note) == ("deploy", text)


# --- findings -------------------------------------------------------------------------------------------------------
def test_what_a_killed_run_left_is_taken_from_the_findings() -> None:
    """Found: it counts as recorded. Absent: it is deployed. Both are told."""
    item, entry, found = toy("chat", "d-1")
    made = make(stack(item), state(), seen(found), recovered=[Finding("chat", "found", "it is there", entry)])
    assert kinds(made) == {"chat": "none"}
    assert made.notes == ("it is there",)
    absent = make(stack(item), state(), seen(), recovered=[Finding("chat", "absent", "it is not there")])
    assert kinds(absent) == {"chat": "deploy"}


def test_what_stays_unclear_stops_its_address_alone() -> None:
    """An unclear step is an error that repeats the commands to choose from; leaving it out lets the rest go on."""
    unclear = [Finding("chat", "unclear", "choose: import or state rm")]
    file = stack(desired("chat"), desired("other"))
    with pytest.raises(PlanConflictError) as caught:
        make(file, state(), seen(), recovered=unclear)
    assert caught.value.diagnostics[0].detail == "choose: import or state rm"
    assert kinds(make(file, state(), seen(), recovered=unclear, exclude=("chat",))) == {"other": "deploy"}


# --- refresh only ---------------------------------------------------------------------------------------------------
def test_refresh_only_accepts_what_is_live() -> None:
    """No action anywhere: live values are accepted, what has gone is forgotten, the file is not looked at."""
    a, b = desired("a", replicas=1, plan_id="p", setting={"ttl": 5}), desired("b")
    before = state(recorded(a, "1"), recorded(b, "2"))
    world = seen(live("1", name="a", replicas=3, setting={"ttl": 6, "auto": True}), gone=["2"])
    made = make(stack(desired("a", replicas=9)), before, world, refresh_only=True)
    assert kinds(made) == {"a": "none", "b": "forget"}
    assert [(c.kind, c.path, c.before, c.after) for c in made.state_changes] == [
        ("accept", "replicas", 1, 3), ("accept", "setting.ttl", 5, 6),
    ]  # fmt: skip
    kept = action(made, "a").desired
    assert kept is not None
    assert kept.spec == {"name": "a", "replicas": 3, "plan_id": "p", "setting": {"ttl": 6}}


# --- unreadable -----------------------------------------------------------------------------------------------------
def test_providers_that_fail_are_all_named() -> None:
    """What can't be read is listed, provider by provider, deployment by deployment; nothing is planned for it."""
    item, entry, _ = toy("chat", "d-1")
    world = Refreshed(
        {"toy": Listing(unreadable={"d-1": "403 forbidden"})}, {"switch": Diagnostic("connection refused")}
    )
    made = make(stack(item, desired("m", "switch", model_id="m")), state(entry), world)
    assert [(problem.provider, problem.summary) for problem in made.unreadable] == [
        ("switch", "connection refused"), ("toy", "chat can't be read: 403 forbidden"),
    ]  # fmt: skip
    assert kinds(made) == {"chat": "none", "m": "none"}


def test_a_provider_that_left_the_file_is_an_error() -> None:
    """Recorded deployments of a provider that is not declared any more can't be undeployed: both ways out are named."""
    entry = recorded(desired("left", "toy.old"), "9")
    with pytest.raises(PlanConflictError, match=r"toy\.old, which the file does not have"):
        make(stack(), state(entry), seen())


def test_destroy_never_forgets_because_of_another_endpoint() -> None:
    """At another scope than the recorded one a missing id proves nothing."""
    item, entry, _ = toy("chat", "d-1")
    file = stack(item, providers={"toy": config("toy", endpoint="elsewhere")})
    made = make(file, state(entry), seen(gone=["d-1"]), destroy=True)
    assert kinds(made) == {"chat": "none"}
    assert "recorded at toy:home" in made.unreadable[0].summary


# --- money ----------------------------------------------------------------------------------------------------------
PRICES = {"p": {"unit_price": 2.5, "currency": "USD"}, "q": {"unit_price": 3, "currency": "CNY"}}


def test_costs_before_and_after() -> None:
    """Price times quantity, live before, desired after; totals per currency; the unknown is counted and not zero."""
    file = stack(
        desired("a", plan_id="p", replicas=4), desired("b", plan_id="q", replicas=1), desired("c", plan_id="?"),
        providers={"toy": config("toy", prices=PRICES)},
    )  # fmt: skip
    before = state(recorded(desired("a", plan_id="p", replicas=1), "1"), recorded(desired("d", plan_id="p"), "4"))
    made = make(file, before, seen(live("1", name="a", replicas=1), live("4", name="d")), allow_undeploys=1)
    assert action(made, "a").hourly_cost == _cost(2.5, 10.0, "USD")
    assert action(made, "b").hourly_cost == _cost(0.0, 3.0, "CNY")
    assert action(made, "c").hourly_cost is None
    totals = {(total.currency, total.before, total.after) for total in made.costs}
    assert totals == {("USD", 2.5, 10.0), ("CNY", 0.0, 3.0)}
    assert {(total.unknown_before, total.unknown_after) for total in made.costs} == {(1, 1)}


def _cost(before: float | None, after: float | None, currency: str) -> object:
    from reconciler.plan import Cost

    return Cost(before, after, currency)


def test_no_price_at_all_is_unknown() -> None:
    """Without any price the total says how many are unknown, in no currency."""
    (total,) = make(stack(desired("a")), None, seen()).costs
    assert (total.currency, total.unknown_before, total.unknown_after) == ("", 0, 1)


# --- state changes --------------------------------------------------------------------------------------------------
def test_flags_are_state_changes() -> None:
    """Lifecycle, timeouts, depends_on and presence differ: each a line, no action."""
    item, entry, found = toy("chat", "d-1")
    _, other, there = toy("base", "b-1")
    new = replace(
        item, lifecycle=Lifecycle(prevent_undeploy=True, ignore_changes=("rpm",)), timeouts=Timeouts(deploy=60.0),
        depends_on=("base",), presence="on_demand",
    )  # fmt: skip
    made = make(stack(new, desired("base")), state(entry, other), seen(found, there))
    assert kinds(made) == {"base": "none", "chat": "none"}
    assert [(c.kind, c.path, c.before, c.after) for c in made.state_changes] == [
        ("depends_on", "depends_on", [], ["base"]),
        ("lifecycle", "lifecycle.ignore_changes", [], ["rpm"]),
        ("lifecycle", "lifecycle.prevent_undeploy", False, True),
        ("presence", "presence", "always", "on_demand"),
        ("timeouts", "timeouts.deploy", 1800.0, 60.0),
    ]


def test_settings_of_a_provider_are_a_state_change() -> None:
    """A provider setting that differs from the recorded one is written down; the scope only once it is accepted."""
    item, entry, found = toy("chat", "d-1")
    file = stack(item, providers={"toy": config("toy", timeout="60s")})
    made = make(file, state(entry), seen(found))
    assert [(c.address, c.kind, c.path, c.after) for c in made.state_changes] == [("toy", "settings", "timeout", "60s")]


def test_computed_values_are_no_state_change() -> None:
    """What the provider makes may change as it likes."""
    item, entry, found = toy("chat", "d-1")
    made = make(stack(item), state(entry), seen(replace(found, computed={"id": "d-1", "endpoint": "new"})))
    assert (made.state_changes, made.drift) == ((), ())


def test_the_digest_key_is_in_no_plan() -> None:
    """The state's key never leaves the state."""
    item, entry, found = toy("chat", "d-1")
    assert KEY not in repr(make(stack(item), state(entry), seen(found)))
