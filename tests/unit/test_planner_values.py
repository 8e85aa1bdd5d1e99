"""How values are compared: write-only, sensitive, unknown, ignored, sets, nested objects, references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.compare.diff import compare
from reconciler.core.values.digest import canonical, digest, seal
from reconciler.core.values.references import Reference
from reconciler.core.values.tree import same
from reconciler.diagnostics import PlanConflictError
from reconciler.model import Json, Lifecycle, Secret, Unknown
from reconciler.plan import Plan
from tests.support.planning import (
    KEY,
    RESTARTABLE,
    TOY_SCHEMA,
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


def with_spec(wanted: Mapping[str, Any], applied: Mapping[str, Any], returned: Mapping[str, Any]) -> Plan:
    """The plan for a deployment applied with one spec, wanted with another, of which the provider returns a third."""
    return make(
        stack(desired("chat", **wanted)),
        state(recorded(desired("chat", **applied), "d-1")),
        seen(live("d-1", name="chat", **returned)),
    )


def test_write_only_is_compared_with_the_record() -> None:
    """What a provider never returns differs only when the file says something else than what was applied."""
    assert kinds(with_spec({"plan_id": "p"}, {"plan_id": "p"}, {})) == {"chat": "none"}
    found = action(with_spec({"plan_id": "q"}, {"plan_id": "p"}, {}), "chat")
    assert [(change.path, change.before, change.after) for change in found.changes] == [("plan_id", "p", "q")]
    assert found.action == "replace"


def test_what_was_not_returned_this_time_is_compared_with_the_record() -> None:
    """An attribute that some answers lack is no difference while file and record agree."""
    assert kinds(with_spec({"gpu": "h"}, {"gpu": "h"}, {})) == {"chat": "none"}
    assert kinds(with_spec({"gpu": "h"}, {"gpu": "h"}, {"gpu": None})) == {"chat": "replace"}


def test_what_nobody_declared_is_not_managed() -> None:
    """An attribute that only the provider has is no difference and no drift."""
    made = with_spec({}, {}, {"rpm": 100})
    assert kinds(made) == {"chat": "none"}
    assert made.drift == ()


def test_an_attribute_taken_out_of_the_file_is_a_change() -> None:
    """What was applied and is no longer declared goes back to nothing."""
    found = action(with_spec({}, {"rpm": 5}, {"rpm": 5}), "chat")
    assert (found.action, found.reason) == ("update", "rpm is no longer set")


def test_members_that_are_not_declared_are_not_managed() -> None:
    """Of an object with named members only the declared ones are compared."""
    made = with_spec({"setting": {"ttl": 5}}, {"setting": {"ttl": 5}}, {"setting": {"ttl": 5, "auto": True}})
    assert kinds(made) == {"chat": "none"}
    assert made.drift == ()


def test_a_free_object_is_compared_as_a_whole_and_told_leaf_by_leaf() -> None:
    """An extra key in an object without named members is a difference, at its own path."""
    made = with_spec(
        {"labels": {"a": "1", "b": {"c": [1, 2]}}},
        {"labels": {"a": "1", "b": {"c": [1, 2]}}},
        {"labels": {"a": "1", "b": {"c": [1, 3]}, "x.y": "new"}},
    )
    found = {(change.path, change.before, change.after) for change in action(made, "chat").changes}
    assert found == {("labels.b.c[1]", 3, 2), ('labels["x.y"]', "new", None)}


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    """JSON's own equality: numbers by value, booleans apart."""
    assert same({"a": [1, 2.0]}, {"a": [1.0, 2]})
    assert not same({"a": [True]}, {"a": [1]})
    assert kinds(with_spec({"labels": {"a": True}}, {"labels": {"a": True}}, {"labels": {"a": 1}})) == {
        "chat": "update"
    }
    assert canonical({"b": 1.0, "a": "ü"}) == '{"a":"ü","b":1}'


def test_sets_have_no_order() -> None:
    """A list that the schema calls a set may come back in any order."""
    made = with_spec({"nodes": ["a", "b"]}, {"nodes": ["b", "a"]}, {"nodes": ["b", "a"]})
    assert kinds(made) == {"chat": "none"}
    assert made.state_changes == ()
    found = action(with_spec({"nodes": ["a", "c"]}, {"nodes": ["a", "b"]}, {"nodes": ["b", "a"]}), "chat")
    assert [(change.before, change.after) for change in found.changes] == [(["a", "b"], ["a", "c"])]


def test_ignored_is_counted_and_nothing_else() -> None:
    """An ignored difference is no change, no drift and no state change, but it is counted."""
    wanted = desired(
        "chat", labels={"a": "1", "b": "2"}, rpm=5, lifecycle=Lifecycle(ignore_changes=("labels.a", "rpm"))
    )
    made = make(
        stack(wanted),
        state(recorded(wanted, "d-1")),
        seen(live("d-1", name="chat", labels={"a": "9", "b": "2"}, rpm=6)),
    )
    assert kinds(made) == {"chat": "none"}
    assert (made.drift, made.state_changes, made.ignored) == ((), (), 2)


def test_ignored_in_the_file_is_not_recorded() -> None:
    """Changing an ignored attribute in the file changes nothing, not even the state."""
    lifecycle = Lifecycle(ignore_changes=("rpm",))
    before = state(recorded(desired("chat", rpm=5, lifecycle=lifecycle), "d-1"))
    made = make(stack(desired("chat", rpm=8, lifecycle=lifecycle)), before, seen(live("d-1", name="chat", rpm=5)))
    assert kinds(made) == {"chat": "none"}
    assert made.state_changes == ()


def test_what_is_never_compared_is_only_written_down() -> None:
    """An attribute that is not compared changes the record, and no deployment."""
    made = with_spec({"comment": "b"}, {"comment": "a"}, {"comment": "c"})
    assert kinds(made) == {"chat": "none"}
    assert [(change.kind, change.path) for change in made.state_changes] == [("record", "comment")]


def test_retain_is_a_state_change() -> None:
    """An attribute that is only for us is a state change under its own name."""
    made = with_spec({"retain": True}, {"retain": False}, {})
    assert [(change.kind, change.before, change.after) for change in made.state_changes] == [("retain", False, True)]


def test_accept() -> None:
    """Desired equals live but not the record: written down, nothing sent, and shown as drift."""
    made = with_spec({"replicas": 4}, {"replicas": 2}, {"replicas": 4})
    assert kinds(made) == {"chat": "none"}
    assert [(c.kind, c.path, c.before, c.after) for c in made.state_changes] == [("accept", "replicas", 2, 4)]
    assert [(row.path, row.expected, row.live) for row in made.drift] == [("replicas", 2, 4)]


def test_ready_only_counts_when_ready() -> None:
    """A live figure that lags while it starts is no difference before it is ready; the record stands for it."""
    wanted = desired("chat", replicas=4)
    before = state(recorded(wanted, "d-1"))
    starting = live("d-1", name="chat", replicas=1, health="pending")
    assert kinds(make(stack(wanted), before, seen(starting))) == {"chat": "none"}
    more = make(stack(desired("chat", replicas=5)), before, seen(starting))
    assert action(more, "chat").reason == "replicas 4 → 5"
    assert kinds(make(stack(wanted), before, seen(replace(starting, health="ready")))) == {"chat": "scale"}


# --- sensitive ------------------------------------------------------------------------------------------------------
TOKEN = Secret("s3cret-value", "${env.TOKEN}")


def everything(made: Plan) -> str:
    """All that a renderer could print of a plan."""
    return repr(replace(made, actions=tuple(replace(item, desired=None) for item in made.actions)))


def test_secrets_are_compared_by_digest_and_never_shown() -> None:
    """An unchanged secret is no difference; a changed one is, without either value."""
    applied = {"token": TOKEN}
    assert kinds(with_spec({"token": TOKEN}, applied, {})) == {"chat": "none"}
    made = with_spec({"token": Secret("another-value", "${env.TOKEN}")}, applied, {})
    (change,) = action(made, "chat").changes
    assert (change.path, change.before, change.after, change.sensitive) == ("token", None, None, True)
    assert action(made, "chat").reason == "token changes (sensitive)"
    assert "s3cret-value" not in everything(made)
    assert "another-value" not in everything(made)


def test_returned_secrets_are_compared_in_clear_and_not_shown() -> None:
    """A secret that the provider returns is compared, but neither the plan nor what a saved plan keeps shows it."""
    spec = {"config": {"env": {"A": TOKEN, "B": "x"}, "args": ["--n", Secret("v3ry-secret", "${var.s}")]}}
    same_ = {"config": {"env": {"A": "s3cret-value", "B": "x"}, "args": ["--n", "v3ry-secret"]}}
    assert kinds(with_spec(spec, spec, same_)) == {"chat": "none"}
    other = {"config": {"env": {"A": "old-s3cret", "B": "x"}, "args": ["v3ry-old", "--n"]}}
    made = with_spec(spec, spec, other)
    assert kinds(made) == {"chat": "replace"}
    assert all(change.sensitive for change in action(made, "chat").changes)
    for text in ("s3cret", "v3ry"):
        assert text not in everything(made)


def test_a_live_value_that_is_secret_by_its_name_is_not_shown() -> None:
    """What somebody put in by hand under a telling name is masked in the plan and in drift."""
    made = with_spec({"labels": {"a": "1"}}, {"labels": {"a": "1"}}, {"labels": {"a": "1", "api_key": "hand-made"}})
    assert kinds(made) == {"chat": "update"}
    assert "hand-made" not in everything(made)
    assert [row.sensitive for row in made.drift] == [True]


def test_a_value_that_becomes_sensitive_is_sealed_in_the_state() -> None:
    """The same value, now from the environment: a state change, so that it does not stay in clear."""
    made = with_spec({"labels": {"a": Secret("v", "${env.V}")}}, {"labels": {"a": "v"}}, {"labels": {"a": "v"}})
    assert kinds(made) == {"chat": "none"}
    assert [(change.kind, change.path) for change in made.state_changes] == [("record", "labels")]


def test_digests_depend_on_key_and_value_alone() -> None:
    """A digest is the same for equal JSON and differs by key."""
    assert digest(KEY, {"a": 1, "b": 2.0}) == digest(KEY, {"b": 2, "a": 1.0})
    assert digest(KEY, "x") != digest("cd" * 32, "x")
    assert seal({"a": [TOKEN, 1]}, KEY) == {"a": [{"$digest": digest(KEY, "s3cret-value")}, 1]}
    with pytest.raises(TypeError):
        seal([Unknown("${deployments.a.id}")], KEY)


# --- references -----------------------------------------------------------------------------------------------------
BASE = desired("base", gpu="h", rpm=5)
BASE_LIVE = live("b-1", name="base", gpu="h", rpm=5)
URL = "${deployments.base.endpoint}"


def top(**spec: Any) -> Any:
    return desired("top", references=(("base", "endpoint"), ("base", "id")), depends_on=("base",), **spec)


def test_unknown_before_a_deploy() -> None:
    """A computed attribute of what is new is known after apply, in the dependent's changes too."""
    made = make(stack(BASE, top(url=Unknown(URL))), None, seen())
    assert [item.address for item in made.actions] == ["base", "top"]
    (change,) = [change for change in action(made, "top").changes if change.path == "url"]
    assert (change.unknown, change.after) == (True, None)


def test_known_where_the_target_keeps_it() -> None:
    """Under none, scale and update a computed attribute keeps its live value: no difference."""
    wanted = top(url=Unknown(URL))
    before = state(recorded(BASE, "b-1"), recorded(top(url="https://b-1"), "t-1"))
    world = seen(BASE_LIVE, live("t-1", name="top", url="https://b-1"))
    assert kinds(make(stack(BASE, wanted), before, world)) == {"base": "none", "top": "none"}
    updated = make(stack(desired("base", gpu="h", rpm=6), wanted), before, world)
    assert kinds(updated) == {"base": "update", "top": "none"}


@pytest.mark.parametrize("given", [{"dormant": True, "health": "stopped"}, {"health": "failed"}], ids=str)
def test_the_id_of_what_is_only_started_again_is_known(given: dict[str, Any]) -> None:
    """Where the provider starts it again under its id, nothing that takes the id alone may change. The rest may."""
    wanted = top(hook=Unknown("${deployments.base.id}"))
    before = state(recorded(BASE, "b-1"), recorded(top(hook="b-1"), "t-1"))
    world = seen(replace(BASE_LIVE, **given), live("t-1", name="top", hook="b-1"))
    assert kinds(make(stack(BASE, wanted), before, world, types=RESTARTABLE)) == {"base": "deploy", "top": "none"}
    promised_by_none = make(stack(BASE, wanted), before, world)
    assert action(promised_by_none, "top").may
    endpoint = top(hook=Unknown(URL))
    assert action(make(stack(BASE, endpoint), before, world, types=RESTARTABLE), "top").may


@pytest.mark.parametrize("world", [(), (replace(BASE_LIVE, health="deleting"),)], ids=["gone", "on its way out"])
def test_the_id_of_what_comes_anew_is_not_known(world: tuple[Any, ...]) -> None:
    """What has gone, or goes first, gets another id."""
    wanted = top(hook=Unknown("${deployments.base.id}"))
    before = state(recorded(BASE, "b-1"), recorded(top(hook="b-1"), "t-1"))
    there = seen(*world, live("t-1", name="top", hook="b-1"), gone=[] if world else ["b-1"])
    made = make(stack(BASE, wanted), before, there, types=RESTARTABLE)
    assert kinds(made) == {"base": "deploy", "top": "replace"}


def test_changed_by_the_action() -> None:
    """A computed attribute that the schema lists as changed by the action is unknown under it."""
    wanted = replace(top(url=Unknown("${deployments.base.build}")), references=(("base", "build"),))
    before = state(recorded(BASE, "b-1"), recorded(top(url="b1"), "t-1"))
    world = seen(BASE_LIVE, live("t-1", name="top", url="b1"))
    found = action(make(stack(desired("base", gpu="h", rpm=6), wanted), before, world), "top")
    assert (found.action, found.may, found.reason) == ("update", True, "may change: ${deployments.base.build}")


def test_may_change_counts_as_the_strongest() -> None:
    """An immutable attribute that may change is planned as a replace, and counts as one."""
    before = state(recorded(BASE, "b-1"), recorded(top(hook="https://b-1"), "t-1"))
    world = seen(BASE_LIVE, live("t-1", name="top", hook="https://b-1"))
    made = make(stack(desired("base", gpu="other", rpm=5), top(hook=Unknown(URL, sensitive=False))), before, world)
    found = action(made, "top")
    assert (found.action, found.may, found.reason) == ("replace", True, "may change: ${deployments.base.endpoint}")
    assert found.changes[0].unknown
    assert found.changes[0].forces_replacement


def test_declared_attributes_are_known_even_of_what_is_new() -> None:
    """A reference to what the file itself says is resolved at once."""
    wanted = replace(top(url=Unknown("${deployments.base.gpu}-x")), references=(("base", "gpu"),))
    made = make(stack(BASE, wanted), None, seen())
    (change,) = [change for change in action(made, "top").changes if change.path == "url"]
    assert change.after == "h-x"


def test_a_null_of_what_is_still_starting_is_not_its_last_word() -> None:
    """While the target is on its way a null attribute is unknown, not null."""
    starting = replace(BASE_LIVE, health="pending", computed={"id": "b-1", "endpoint": None})
    before = state(recorded(BASE, "b-1"), recorded(top(url="https://b-1"), "t-1"))
    made = make(stack(BASE, top(url=Unknown(URL))), before, seen(starting, live("t-1", name="top", url="https://b-1")))
    assert (action(made, "top").action, action(made, "top").may) == ("update", True)


def test_secrets_beside_a_reference_are_looked_up() -> None:
    """A text with both a secret and a reference is resolved as one secret."""

    def secrets(reference: Reference) -> Json:
        assert reference.text == "${env.TOKEN}"
        return Secret("s3cret-value", "${env.TOKEN}")

    wanted = top(url=Unknown("https://u:${env.TOKEN}@${deployments.base.id}", sensitive=True))
    applied = top(url=Secret("https://u:s3cret-value@b-1", "…"))
    before = state(recorded(BASE, "b-1"), recorded(applied, "t-1"))
    world = seen(BASE_LIVE, live("t-1", name="top", url="https://u:s3cret-value@b-1"))
    made = make(stack(BASE, wanted), before, world, secrets=secrets)
    assert kinds(made) == {"base": "none", "top": "none"}
    assert "s3cret" not in everything(made)


def test_a_resolved_value_must_fit_the_schema() -> None:
    """What turns out wrong once it is known is an error of the plan."""
    wanted = replace(top(rpm=Unknown("${deployments.base.gpu}")), references=(("base", "gpu"),))
    with pytest.raises(PlanConflictError, match="rpm"):
        make(stack(BASE, wanted), None, seen())


def test_a_resolved_value_meets_the_providers_own_limits() -> None:
    """The provider's own check runs on resolved values too."""
    wanted = replace(top(rpm=Unknown("${deployments.base.rpm}")), references=(("base", "rpm"),))
    with pytest.raises(PlanConflictError, match="more than 1000"):
        make(stack(desired("base", rpm=1001), wanted), None, seen())


def test_outputs() -> None:
    """Outputs are state changes: with their value where it is known, else known after apply."""
    file = stack(BASE, outputs={"url": Unknown(URL), "kind": "x"})
    first = make(file, None, seen())
    assert [(c.path, c.after) for c in first.state_changes] == [("kind", "x"), ("url", "(known after apply)")]
    before = state(recorded(BASE, "b-1"), outputs={"url": "https://b-1", "kind": "x", "old": 1})
    later = make(file, before, seen(BASE_LIVE))
    assert [(c.kind, c.path, c.before, c.after) for c in later.state_changes] == [("outputs", "old", 1, None)]
    assert later.outputs == {"url": "https://b-1", "kind": "x"}


def test_compare_takes_apart_only_what_differs() -> None:
    """A plan of equal values never imports the diff library; the comparison is one of values."""
    compared = compare({"labels": {"a": "1"}}, live("d", name="x", labels={"a": "1"}), None, TOY_SCHEMA)
    assert (compared.changes, compared.strength) == ((), "none")
    assert json.dumps(compared.trusted) == "[]"
