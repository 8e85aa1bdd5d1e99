"""The table of desired, state and live: one row, one action."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.diagnostics import PlanConflictError
from reconciler.model import Pending
from tests.support.planning import (
    RESTARTABLE,
    Lifecycle,
    Removed,
    action,
    desired,
    kinds,
    live,
    make,
    recorded,
    seen,
    stack,
    state,
)

CHAT = desired("chat", gpu="h100", replicas=2, rpm=5)
LIVE = live("d-1", name="chat", gpu="h100", replicas=2, rpm=5)


def changed(**attributes: object) -> object:
    return replace(LIVE, attributes={**LIVE.attributes, **attributes})


def test_declared_and_nowhere_is_deployed() -> None:
    """What is only declared is deployed, and shows every attribute."""
    made = make(stack(CHAT), None, seen())
    found = action(made, "chat")
    assert (found.action, found.reason) == ("deploy", "it is new")
    assert [(change.path, change.before, change.after) for change in found.changes] == [
        ("gpu", None, "h100"), ("name", None, "chat"), ("replicas", None, 2), ("rpm", None, 5),
    ]  # fmt: skip
    assert (made.lineage, made.serial) == (None, 0)


def test_declared_live_but_not_recorded_is_a_conflict_with_both_ways_out() -> None:
    """A live deployment of the declared identity is never taken silently: the error names its id and what to do."""
    with pytest.raises(PlanConflictError) as caught:
        make(stack(CHAT), None, seen(LIVE))
    (problem,) = caught.value.diagnostics
    assert "d-1" in problem.summary
    assert "reconciler import 'chat' 'd-1'" in problem.hint
    assert "adopt: true" in problem.hint
    assert problem.address == "chat"


def test_adopt_takes_over_and_brings_the_changes_it_needs() -> None:
    """`adopt: true` makes it an adoption with the changes in place; nothing else is done."""
    made = make(stack(replace(CHAT, adopt=True)), None, seen(changed(replicas=3)))
    found = action(made, "chat")
    assert (found.action, found.id) == ("adopt", "d-1")
    assert found.reason == "adopt: true; replicas 3 → 2"
    assert [change.path for change in found.changes] == ["replicas"]


def test_adopt_says_what_it_takes_on_trust() -> None:
    """What the provider never returns is taken from the file without a change, and said so."""
    made = make(stack(desired("chat", plan_id="p", adopt=True)), None, seen(live("d-1", name="chat")))
    found = action(made, "chat")
    assert found.changes == ()
    assert any("plan_id" in note and "trust" in note for note in found.notes)


def test_adopt_never_replaces() -> None:
    """An adoption that would need a replacement is an error, not the end of somebody's deployment."""
    with pytest.raises(PlanConflictError, match="gpu can't be changed in place"):
        make(stack(replace(CHAT, adopt=True)), None, seen(changed(gpu="a100")))


def test_two_live_of_one_identity_are_never_chosen_from() -> None:
    """Where several answer to the identity, the error names all of them."""
    with pytest.raises(PlanConflictError, match="d-1, d-2"):
        make(stack(replace(CHAT, adopt=True)), None, seen(LIVE, replace(LIVE, id="d-2")))


def test_one_on_its_way_out_is_waited_for_not_adopted() -> None:
    """A terminating namesake is no conflict: the deploy waits until it is gone."""
    made = make(stack(CHAT), None, seen(replace(LIVE, health="deleting", status="terminating")))
    found = action(made, "chat")
    assert found.action == "deploy"
    assert "d-1" in found.notes[0]


def test_equal_is_none() -> None:
    """Nothing differs, nothing is done."""
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(LIVE))
    assert kinds(made) == {"chat": "none"}
    assert made.state_changes == made.drift == made.unmanaged == made.refused == ()


@pytest.mark.parametrize(
    ("attributes", "kind", "reason"),
    [
        ({"replicas": 4}, "scale", "replicas 2 → 4"),
        ({"rpm": 9}, "update", "rpm 5 → 9"),
        ({"replicas": 4, "rpm": 9}, "update", "replicas 2 → 4; rpm 5 → 9"),
        ({"gpu": "a100"}, "replace", "gpu can't be changed in place"),
        ({"gpu": "a100", "replicas": 4}, "replace", "gpu can't be changed in place"),
    ],
)
def test_the_strongest_change_decides(attributes: dict[str, object], kind: str, reason: str) -> None:
    """Scaling, updating and immutable attributes each have their action; the reason says which."""
    wanted = replace(CHAT, spec={**CHAT.spec, **attributes})
    found = action(make(stack(wanted), state(recorded(CHAT, "d-1")), seen(LIVE)), "chat")
    assert (found.action, found.reason, found.id) == (kind, reason, "d-1")


def test_before_is_the_live_value() -> None:
    """A change shows what is live now, not what was recorded."""
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(changed(replicas=7)))
    (change,) = action(made, "chat").changes
    assert (change.path, change.before, change.after) == ("replicas", 7, 2)
    assert [(row.expected, row.live) for row in made.drift] == [(2, 7)]


def test_failed_is_replaced() -> None:
    """A deployment whose health is failed is replaced, with the provider's own word as the reason."""
    failed = replace(LIVE, health="failed", status="failed", reason="no capacity")
    found = action(make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(failed)), "chat")
    assert (found.action, found.reason) == ("replace", "live status is failed")
    assert found.notes == ("no capacity",)


def test_gone_is_deployed_again() -> None:
    """What the provider says is gone is deployed again."""
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(gone=["d-1"]))
    found = action(made, "chat")
    assert (found.action, found.reason) == ("deploy", "it has gone")
    assert [(row.kind, row.path, row.expected, row.live) for row in made.drift] == [
        ("missing", "status", "ready", None)
    ]


def test_a_list_that_lacks_it_proves_nothing() -> None:
    """Missing from a list, without a read that says so, is unreadable: never deployed a second time."""
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen())
    assert kinds(made) == {"chat": "none"}
    assert [item.address for item in made.unreadable] == ["chat"]


def test_another_object_of_that_name_is_not_ours() -> None:
    """Gone, but somebody made another one under the name: a conflict, not an update of theirs."""
    with pytest.raises(PlanConflictError, match="d-9"):
        make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(replace(LIVE, id="d-9"), gone=["d-1"]))


def test_undeclared_is_undeployed() -> None:
    """What the state holds and the file does not is undeployed by its record alone."""
    made = make(stack(), state(recorded(CHAT, "d-1")), seen(LIVE), allow_undeploys=1)
    found = action(made, "chat")
    assert (found.action, found.reason, found.id, found.desired) == ("undeploy", "no longer declared", "d-1", None)


def test_undeclared_and_gone_is_forgotten() -> None:
    """Nothing is sent for what is neither declared nor live."""
    made = make(stack(), state(recorded(CHAT, "d-1")), seen(gone=["d-1"]), allow_undeploys=0)
    assert kinds(made) == {"chat": "forget"}


def test_undeclared_and_gone_with_things_beside_it_is_still_undeployed() -> None:
    """A group that we made is deleted though its deployment has gone, unless it is to be retained."""
    entry = recorded(CHAT, "d-1", created={"group": "g-1"})
    made = make(stack(), state(entry), seen(gone=["d-1"]), allow_undeploys=1)
    assert kinds(made) == {"chat": "undeploy"}
    kept = make(stack(), state(replace(entry, retain=True)), seen(gone=["d-1"]), allow_undeploys=1)
    assert kinds(kept) == {"chat": "forget"}


def test_removed_forget_leaves_it_running() -> None:
    """`removed: forget` stops managing without a request, even where the provider is not looked at."""
    file = stack(removed=(Removed("chat", "forget"),))
    made = make(file, state(recorded(CHAT, "d-1")), seen(LIVE), allow_undeploys=0)
    assert action(made, "chat").action == "forget"
    assert action(made, "chat").reason == "removed: forget"


def test_unmanaged_is_counted_and_never_touched() -> None:
    """What is live, declared nowhere and in no state appears in the list of unmanaged ones and nowhere else."""
    other = live("d-9", name="theirs")
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(LIVE, other))
    assert [(item.provider, item.id, item.name) for item in made.unmanaged] == [("toy", "d-9", "theirs")]
    assert kinds(made) == {"chat": "none"}


def test_another_provider_key_is_a_replace() -> None:
    """Recorded under another provider key: undeploy there, deploy here."""
    here = desired("chat", "toy.b", gpu="h100", replicas=2, rpm=5)
    made = make(stack(here), state(recorded(CHAT, "d-1")), seen(LIVE, toy_b=()))
    found = action(made, "chat")
    assert (found.action, found.provider, found.reason) == ("replace", "toy.b", "provider toy → toy.b")
    gone = make(stack(here), state(recorded(CHAT, "d-1")), seen(gone=["d-1"], toy_b=()))
    assert action(gone, "chat").action == "deploy"


@pytest.mark.parametrize("health", ["pending", "updating", "unknown"])
def test_on_its_way_to_what_is_desired_is_none(health: str) -> None:
    """In transition with the desired attributes: nothing to do but wait, and the plan says so."""
    moving = replace(LIVE, health=health, status="initializing", attributes={**LIVE.attributes, "replicas": 1})
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(moving))
    found = action(made, "chat")
    assert (found.action, found.expected.health) == ("none", health)
    assert "apply waits" in found.notes[0]
    assert made.drift == ()


def test_on_its_way_to_something_else_still_changes() -> None:
    """In transition, but with another attribute than desired: the change is planned."""
    moving = replace(LIVE, health="updating", attributes={**LIVE.attributes, "rpm": 1})
    found = action(make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(moving)), "chat")
    assert (found.action, found.reason) == ("update", "rpm 1 → 5")


def test_on_its_way_out_is_deployed_after_it_has_gone() -> None:
    """A recorded deployment that is being undeployed is waited for, then deployed again."""
    leaving = replace(LIVE, health="deleting", status="terminating")
    found = action(make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(leaving)), "chat")
    assert found.action == "deploy"
    assert "waits until it is gone" in found.reason


def test_stopped_without_a_way_to_start_it_is_none_with_a_warning() -> None:
    """Where no call starts it again the plan warns and does nothing; drift shows it."""
    stopped = replace(LIVE, health="stopped", status="STOPPED")
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(stopped))
    assert action(made, "chat").action == "none"
    assert [warning.address for warning in made.warnings] == ["chat"]
    assert [(row.path, row.expected, row.live) for row in made.drift] == [("status", "ready", "stopped")]


@pytest.mark.parametrize("health", ["stopped", "degraded", "failed"])
def test_what_can_be_started_again_is_deployed(health: str) -> None:
    """Where the provider can start it again, stopped, degraded and failed ones are deployed under the id they have."""
    found = replace(LIVE, health=health, status="PARTIAL")
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(found), types=RESTARTABLE)
    planned = action(made, "chat")
    assert (planned.action, planned.id, planned.reason) == ("deploy", "d-1", "live status is PARTIAL")
    assert any("may interrupt" in note for note in planned.notes) == (health == "degraded")


def test_failed_is_replaced_where_starting_again_is_not_enough() -> None:
    """An immutable change of something failed, or --replace, makes a new one also where it could be started again."""
    failed = replace(LIVE, health="failed", status="DOWN")
    other = replace(CHAT, spec={**CHAT.spec, "gpu": "a100"})
    before = state(recorded(CHAT, "d-1"))
    assert kinds(make(stack(other), before, seen(failed), types=RESTARTABLE)) == {"chat": "replace"}
    assert kinds(make(stack(CHAT), before, seen(failed), types=RESTARTABLE, replace=("chat",))) == {"chat": "replace"}


def test_degraded_keeps_running() -> None:
    """A degraded deployment that nobody can start again is left alone, and warned about."""
    made = make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(replace(LIVE, health="degraded")))
    assert action(made, "chat").action == "none"
    assert len(made.warnings) == 1


def test_left_pending_by_an_earlier_run_is_settled() -> None:
    """What timed out earlier and is ready by now is none; the state change says that the record is closed."""
    entry = recorded(CHAT, "d-1", pending=Pending("deploy", "2025-11-21T11:50:00Z", "timed out"), health="pending")
    made = make(stack(CHAT), state(entry), seen(LIVE))
    assert kinds(made) == {"chat": "none"}
    assert [(change.kind, change.path) for change in made.state_changes] == [("record", "pending")]


@pytest.mark.parametrize(
    ("replicas", "kind", "note"),
    [
        (1, "scale", "its scale was not seen to end (interrupted)"),
        (2, "none", "its scale was not seen to end (interrupted); it is as declared now"),
    ],
)
def test_a_change_that_an_earlier_run_left_is_told(replicas: int, kind: str, note: str) -> None:
    """What the earlier run left uncertain, and what is found of it: done, or still to do."""
    entry = recorded(CHAT, "d-1", pending=Pending("scale", "2025-11-21T11:50:00Z", "interrupted"))
    found = replace(LIVE, attributes={**LIVE.attributes, "replicas": replicas})
    act = action(make(stack(CHAT), state(entry), seen(found)), "chat")
    assert (act.action, act.notes) == (kind, (note,))


def test_nothing_live_yet_of_an_interrupted_deploy() -> None:
    """Only things beside it exist: it is deployed, and the reason says that it never was to the end."""
    entry = recorded(CHAT, None, created={"group": "g"})
    assert action(make(stack(CHAT), state(entry), seen()), "chat").reason == "it was not deployed to the end"


def test_forced_replace() -> None:
    """--replace replaces what is live, and says who asked."""
    found = action(make(stack(CHAT), state(recorded(CHAT, "d-1")), seen(LIVE), replace=("chat",)), "chat")
    assert (found.action, found.reason) == ("replace", "asked for by --replace")


def test_forced_replace_of_something_dormant() -> None:
    """What we made of it is made anew. Of a model that stood there before us a deploy is all there is."""
    off = replace(LIVE, dormant=True, health="stopped", status="UNDEPLOYED")
    ours = recorded(CHAT, "d-1", created={"group": "g"})
    reason = "asked for by --replace; it has gone (live status is UNDEPLOYED)"
    for entry, kind in ((ours, "replace"), (replace(ours, retain=True), "deploy"), (recorded(CHAT, "d-1"), "deploy")):
        found = action(make(stack(CHAT), state(entry), seen(off), replace=("chat",)), "chat")
        assert (found.action, found.id, found.reason) == (kind, "d-1", reason)


def test_destroy_undeploys_everything() -> None:
    """destroy undeploys everything that the state holds, dependents first."""
    base, top = desired("base"), desired("top", depends_on=("base",), lifecycle=Lifecycle())
    before = state(recorded(base, "d-1"), recorded(top, "d-2"))
    world = seen(live("d-1", name="base"), live("d-2", name="top"))
    made = make(stack(base, top), before, world, destroy=True)
    assert [(item.address, item.action, item.reason) for item in made.actions] == [
        ("top", "undeploy", "destroy"), ("base", "undeploy", "destroy"),
    ]  # fmt: skip
