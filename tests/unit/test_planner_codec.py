"""Plans as JSON: the public document, the plan file, and files that nobody should trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from reconciler.core.planfile.plan_codec import drift_to_json, plan_from_file, plan_to_file, plan_to_json, same_actions
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.model import Lifecycle, RecordedProvider, Secret, Timeouts, Unknown
from reconciler.plan import Plan, Refusal
from tests.support.planning import KEY, Moved, config, desired, live, make, recorded, seen, stack, state

FOLDER = Path(__file__).resolve().parents[2] / "schemas"


def validator() -> Draft202012Validator:
    """A validator of plan documents, `execution` included."""
    schemas = {name: json.loads((FOLDER / name).read_text()) for name in
               ("plan.v1.schema.json", "plan-execution.v1.schema.json")}  # fmt: skip
    registry: Any = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in schemas.items()
    )
    return Draft202012Validator(schemas["plan.v1.schema.json"], registry=registry)


def rich() -> Plan:
    """A plan in which nearly everything occurs."""
    base = desired("base", gpu="new", plan_id="p", replicas=2)
    top = desired(
        'top["eu"]', url=Unknown("${deployments.base.endpoint}/x"), token=Secret("s3cret", "${env.TOKEN}"),
        labels={"$ref": "mine", "k": [Secret("t0ken", "Bearer ${var.t}"), 1.5, None, True]},
        hook=Unknown("${deployments.base.id}"),
        references=(("base", "endpoint"), ("base", "id")), depends_on=("base",),
        lifecycle=Lifecycle(prevent_undeploy=True, ignore_changes=("rpm",)), timeouts=Timeouts(deploy=60.0),
    )  # fmt: skip
    late = desired("late", adopt=True, rpm=5)
    file = stack(
        base, top, late, desired("same"), desired("new-name", name="old"), moved=(Moved("old", "new-name"),),
        outputs={"url": Unknown("${deployments.base.endpoint}"), "n": 1},
        providers={"toy": config("toy", prices={"p": {"unit_price": 0.1, "currency": "USD"}}, timeout="30s")},
    )  # fmt: skip
    before = state(
        recorded(desired("base", gpu="old", plan_id="p", replicas=3), "b-1"),
        recorded(replace(top, spec={"name": 'top["eu"]', "rpm": 1}), "t-1"),
        recorded(desired("same"), "s-1"), recorded(desired("gone"), "g-1"), recorded(desired("old"), "o-1"),
    )  # fmt: skip
    world = seen(
        live("b-1", name="base", gpu="old", replicas=3), live("t-1", name='top["eu"]', rpm=2), live("s-1", name="same"),
        live("l-1", name="late", rpm=4), live("o-1", name="old"), live("x-1", name="stranger", status="odd"),
        gone=("g-1",),
    )  # fmt: skip
    return make(file, before, world, allow_undeploys=3)


def test_the_documents_fit_their_schemas() -> None:
    """Plan, plan file and drift document validate, and are the same for the same plan."""
    made = rich()
    check = validator()
    for document in (plan_to_json(made), plan_to_file(made, KEY), plan_to_file(made, None), drift_to_json(made)):
        assert [error.message for error in check.iter_errors(document)] == []
        assert json.dumps(document) == json.dumps(json.loads(json.dumps(document)))
    odd = replace(
        made, unreadable=(Diagnostic("no answer", provider="toy"),), refused=(Refusal("r", "m"),), sandbox=True,
        notes=("n",), warnings=(Diagnostic("w", address="a", hint="h"),), costs=(*made.costs, *made.costs),
    )  # fmt: skip
    assert [error.message for error in check.iter_errors(plan_to_file(odd, KEY))] == []


def test_the_contracts_example() -> None:
    """A scale reads as the documented example does."""
    item = desired("chat", plan_id="p", replicas=4)
    file = stack(item, providers={"toy": config("toy", prices={"p": {"unit_price": 2.5, "currency": "USD"}})})
    before = state(recorded(replace(item, spec={**item.spec, "replicas": 2}), "dep-1"))
    document = plan_to_json(make(file, before, seen(live("dep-1", name="chat", replicas=1), live("d-9", name="old"))))
    assert document["actions"] == [
        {
            "address": "chat", "provider": "toy", "action": "scale", "id": "dep-1", "name": "chat",
            "reason": "replicas 1 → 4", "depends_on": [], "changes": [{"path": "replicas", "before": 1, "after": 4}],
            "hourly_cost": {"before": 2.5, "after": 10.0, "currency": "USD"},
        }
    ]  # fmt: skip
    assert document["drift"] == [{"address": "chat", "class": "changed", "path": "replicas", "expected": 2, "live": 1}]
    assert document["unmanaged"] == [{"provider": "toy", "id": "d-9", "name": "old", "status": "ready"}]
    assert document["hourly_cost"] == {"before": 2.5, "after": 10.0, "currency": "USD"}
    assert list(document) == [
        "format_version", "stack", "lineage", "serial", "summary", "actions", "state_changes", "drift", "unmanaged",
        "unreadable", "hourly_cost", "looked_at",
    ]  # fmt: skip


def test_unknown_prices_are_null_not_zero() -> None:
    """A total of nothing but unknown prices says null and counts."""
    document = plan_to_json(make(stack(desired("a")), None, seen()))
    assert document["hourly_cost"] == {
        "before": 0.0, "after": None, "currency": None, "unknown": {"before": 0, "after": 1},
    }  # fmt: skip


def secrets(text: str) -> Secret:
    return Secret({"env.TOKEN": "s3cret", "var.t": "x"}[text])


def essence(made: Plan) -> Plan:
    """A plan without what a file does not keep: places in the file, and the specs of what stays as it is."""
    touched = {change.address for change in made.state_changes}
    actions = tuple(
        replace(item, desired=replace(item.desired, spans={}) if item.desired else None)
        if item.action != "none" or item.address in touched
        else replace(item, desired=None)
        for item in made.actions
    )
    return replace(made, actions=actions, secret_digests={})


def test_round_trip() -> None:
    """A plan comes back from its file as it was, secrets and references included."""
    made = rich()
    text = json.dumps(plan_to_file(made, KEY))
    back = plan_from_file(json.loads(text), lambda t: secrets(t) if t == "env.TOKEN" else Secret("t0ken"))
    wanted = essence(made)
    assert [item.address for item in back.actions] == [item.address for item in wanted.actions]
    for one, other in zip(back.actions, wanted.actions, strict=True):
        if one.address != 'top["eu"]':
            assert one == other
    assert replace(back, actions=(), secret_digests={}) == replace(wanted, actions=())
    assert same_actions(back, made)
    top = next(item for item in back.actions if item.address == 'top["eu"]').desired
    assert top is not None
    assert top.spec["url"] == Unknown("${deployments.base.endpoint}/x")
    assert top.spec["token"] == Secret("s3cret", "${env.TOKEN}")
    assert top.spec["labels"]["$ref"] == "mine"
    assert top.spec["labels"]["k"] == [Secret("Bearer t0ken", "Bearer ${var.t}"), 1.5, None, True]


def test_a_plan_file_holds_no_secret() -> None:
    """Neither a secret nor the state's key is in it; digests are there only with a state."""
    made = rich()
    text = json.dumps(plan_to_file(made, KEY))
    for word in ("s3cret", "t0ken", KEY):
        assert word not in text
    assert set(plan_to_file(made, KEY)["execution"]["secrets"]) == {"${env.TOKEN}", "Bearer ${var.t}"}
    assert plan_to_file(made, None)["execution"]["secrets"] == {}


def test_a_literal_secret_cannot_be_saved() -> None:
    """A secret without a reference is refused, with its place and what to do, all of them at once."""
    made = make(stack(desired("chat", token=Secret("abc"), labels={"x": [Secret("def")]})), None, seen())
    with pytest.raises(FileError) as caught:
        plan_to_file(made, None)
    assert sorted(item.summary.split(": ")[1].split(" of ")[0] for item in caught.value.diagnostics) == [
        "labels.x[0]", "token",
    ]  # fmt: skip
    assert "${env.NAME}" in caught.value.diagnostics[0].hint
    assert "abc" not in str(caught.value)


def test_to_show_a_plan_no_secret_is_needed() -> None:
    """Without a lookup the plan can be read; with one that lacks values all of them are named."""
    document = plan_to_file(rich(), KEY)
    assert plan_to_json(plan_from_file(document)) == plan_to_json(rich())

    def missing(text: str) -> Any:
        raise FileError(Diagnostic(f"{text} is not set"))

    with pytest.raises(FileError) as caught:
        plan_from_file(document, missing)
    assert {item.summary for item in caught.value.diagnostics} == {"env.TOKEN is not set", "var.t is not set"}


def test_a_document_without_execution_can_be_shown() -> None:
    """What `plan --format json` printed can be shown again."""
    made = rich()
    assert plan_to_json(plan_from_file(plan_to_json(made))) == plan_to_json(made)


def test_the_same_actions() -> None:
    """Costs, drift and unchanged deployments may differ; an action, a value or a state change may not."""
    made = rich()
    assert same_actions(made, replace(made, costs=(), drift=(), unmanaged=(), serial=99))
    first, *rest = made.actions
    assert not same_actions(made, replace(made, actions=tuple(rest)))
    assert not same_actions(made, replace(made, state_changes=()))
    other = replace(first, changes=(replace(first.changes[0], after="?"), *first.changes[1:]))
    assert not same_actions(made, replace(made, actions=(other, *rest)))


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("stack"),
        lambda d: d.update(format_version="2.0"),
        lambda d: d.update(format_version=1),
        lambda d: d.update(serial="7"),
        lambda d: d.update(serial=True),
        lambda d: d.update(actions={}),
        lambda d: d.update(actions=[1]),
        lambda d: d["actions"][0].update(action="explode"),
        lambda d: d["actions"][0].update(depends_on=[1]),
        lambda d: d["actions"][0].update(changes=[{"path": "a..b["}]),
        lambda d: d["actions"][0].pop("provider"),
        lambda d: d["actions"].append(d["actions"][0]),
        lambda d: d["execution"].update(version=2),
        lambda d: d["execution"]["actions"].update(ghost={"expected": {"exists": True}}),
        lambda d: d["execution"].update(actions=[]),
        lambda d: d["execution"]["actions"]["base"].update(expected=None),
        lambda d: d["execution"]["actions"]["base"]["expected"].update(health="fine"),
        lambda d: d["execution"]["actions"]["base"]["desired"].update(spec=[]),
        lambda d: d["execution"]["actions"]["base"]["desired"].update(spec={"$ref": "env.X"}),
        lambda d: d["execution"]["actions"]["base"]["desired"].update(references=[["a"]]),
        lambda d: d["execution"]["actions"]["base"]["desired"]["spec"].update(x={"$ref": "env.X y"}),
        lambda d: d["execution"]["actions"]["base"]["desired"]["spec"].update(x={"$ref": 1}),
        lambda d: d["execution"]["actions"]["base"]["desired"]["spec"].update(x={"$template": "none"}),
        lambda d: d["execution"]["actions"]["base"]["desired"]["spec"].update(x={"$ref": "env.X", "$template": "y"}),
        lambda d: d["execution"]["actions"]["base"]["desired"]["spec"].update(x=deep(200)),
        lambda d: d["execution"]["actions"]["base"]["desired"]["spec"].update(x=float("nan")),
        lambda d: d["execution"]["actions"]["base"]["desired"]["timeouts"].update(deploy="long"),
        lambda d: d["execution"].update(providers={"toy": {"type": "toy"}}),
        lambda d: d["execution"].update(options={"target": "chat"}),
        lambda d: d["execution"].update(moved=[{"from": "a"}]),
        lambda d: d.update(hourly_cost="free"),
        lambda d: d.update(drift=[{"address": "a", "class": "odd"}]),
    ],
)
def test_a_damaged_file_is_an_error_and_never_a_traceback(damage: Callable[[dict[str, Any]], Any]) -> None:
    """Whatever is wrong with a plan file, it is said as an error of that file."""
    document = json.loads(json.dumps(plan_to_file(rich(), KEY)))
    damage(document)
    with pytest.raises(FileError):
        plan_from_file(document, lambda _: Secret("x"))


def test_providers_travel_for_comparison_alone() -> None:
    """The plan keeps the settings that it was made with, without credentials."""
    back = plan_from_file(plan_to_file(rich(), KEY))
    assert back.providers["toy"] == RecordedProvider("toy", "toy:home", {"timeout": "30s"})
