"""What holds for every file, state and world: plans converge, order says nothing, strangers are safe, secrets stay."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reconciler.core.planfile.plan_codec import plan_from_file, plan_to_file, plan_to_json
from reconciler.core.state.state_codec import state_to_json
from reconciler.diagnostics import PlanConflictError
from reconciler.model import Lifecycle, Listing, Live, Moved, Refreshed, Secret, Stack, State, Unknown
from reconciler.plan import Plan
from tests.support.planning import KEY, World, config, desired, live, make, stack

NAMES = ("a", "b", "c", 'd["x"]', 'd["y"]', "e")
PLANTED = "pl4nted-s3cret"
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)

texts = st.sampled_from(("h100", "a100", "", "x y"))
secrets = st.integers(0, 2).map(lambda n: Secret(f"{PLANTED}-{n}", "${env.S}"))
keys = st.sampled_from(("k", "k.e", "$ref", "l"))
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from((0.5, 1.0)), texts, secrets),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "gpu": texts,
        "plan_id": st.sampled_from(("p", "q")),
        "replicas": st.integers(1, 3),
        "rpm": st.integers(1, 3),
        "config": st.dictionaries(st.sampled_from(("k", "l")), trees, max_size=2),
        "labels": st.dictionaries(st.sampled_from(("k", "l")), trees, max_size=2),
        "nodes": st.lists(st.sampled_from(("n1", "n2", "n3")), max_size=3),
        "token": secrets,
        "setting": st.fixed_dictionaries({}, optional={"ttl": st.integers(5, 6), "auto": st.booleans()}),
        "retain": st.booleans(),
        "comment": texts,
    },
)
ignored = st.sets(st.sampled_from(("rpm", "labels.k", "config")), max_size=2)
lifecycles = ignored.map(lambda paths: Lifecycle(ignore_changes=tuple(sorted(paths))))


@st.composite
def files(draw: st.DrawFn) -> Stack:
    """A file: some deployments, each may depend on and quote earlier ones."""
    items = []
    for address in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        earlier = [item.address for item in items]
        needs = tuple(sorted(draw(st.sets(st.sampled_from(earlier), max_size=2)))) if earlier else ()
        spec: dict[str, Any] = draw(specs)
        references = ()
        if needs and draw(st.booleans()):
            known = {name for name in ("gpu", "rpm") if items[earlier.index(needs[0])].spec.get(name)}
            path = draw(st.sampled_from(("id", "endpoint", "build", *sorted(known))))
            references = ((needs[0], path),)
            spec[draw(st.sampled_from(("url", "hook")))] = Unknown(f"u-${{deployments.{needs[0]}.{path}}}")
        provider = draw(st.sampled_from(("toy", "toy", "toy.b")))
        items.append(
            desired(address, provider, **spec, depends_on=needs, references=references, lifecycle=draw(lifecycles))
        )
    outputs = {"o": Unknown(f"${{deployments.{items[0].address}.endpoint}}")} if items and draw(st.booleans()) else {}
    prices = {"p": {"unit_price": 2.5, "currency": "USD"}}
    given_ = {"toy": config("toy", prices=prices), "toy.b": config("toy.b", endpoint="b")}
    return stack(*items, outputs=outputs, providers=given_)


def world() -> World:
    return World({"toy": {}, "toy.b": {}, "switch": {}})


def planned(file: Stack, before: State | None, there: World) -> Plan:
    """The plan with every guard lifted; conflicts (a name that moved away and came back) are not what is tested."""
    try:
        made = make(file, before, there.refreshed(before), allow_undeploys=99, allow_empty=("toy", "toy.b"))
    except PlanConflictError:
        assume(False)
        raise
    assert made.unreadable == ()
    assert made.refused == ()
    return made


@st.composite
def histories(draw: st.DrawFn) -> tuple[World, State, Stack]:
    """A world after an apply and some interference, its state, and the next file."""
    there = world()
    first = draw(files())
    before = there.apply(planned(first, None, there), None)
    for key in ("toy", "toy.b"):
        objects = there.objects[key]
        for id_ in list(objects):
            match draw(st.sampled_from(("leave", "leave", "drop", "change", "fail"))):
                case "drop":
                    del objects[id_]
                case "change":
                    found = objects[id_]
                    objects[id_] = replace(found, attributes={**found.attributes, "rpm": draw(st.integers(1, 9))})
                case "fail":
                    objects[id_] = replace(objects[id_], health="failed")
        if draw(st.booleans()):
            objects[f"x-{key}"] = live(f"x-{key}", name=f"x-{key}")
    second = draw(files())
    sources = sorted({*before.deployments} - {*second.deployments})
    targets = sorted({*second.deployments} - {*before.deployments})
    if sources and targets and draw(st.booleans()):
        second = replace(second, moved=(Moved(sources[0], targets[0]),))
    return there, before, second


@QUICK
@given(histories())
def test_the_plan_after_an_apply_is_empty(history: tuple[World, State, Stack]) -> None:
    """Whatever happened before: plan, apply, plan again, and there is nothing left to do or to write down."""
    there, before, file = history
    after = there.apply(planned(file, before, there), before)
    again = planned(file, after, there)
    assert [(item.address, item.action, item.reason) for item in again.actions if item.action != "none"] == []
    assert again.state_changes == ()
    assert again.drift == ()
    assert there.apply(again, after) is after


@QUICK
@given(histories(), st.randoms(use_true_random=False))
def test_order_says_nothing(history: tuple[World, State, Stack], random: Any) -> None:
    """Files, states and lists in any order give the same bytes."""
    there, before, file = history

    def shuffled(items: Any) -> dict[str, Any]:
        pairs = list(items.items())
        random.shuffle(pairs)
        return dict(pairs)

    def plan_of(file_: Stack, before_: State, seen: Refreshed) -> str:
        try:
            made = make(file_, before_, seen, allow_undeploys=99, allow_empty=("toy", "toy.b"))
        except PlanConflictError as error:
            return repr(error.diagnostics)
        return json.dumps(plan_to_json(made)) + json.dumps(plan_to_file(made, KEY))

    seen = there.refreshed(before)
    mixed = Refreshed({
        key: Listing(tuple(shuffled({item.id: item for item in listing.objects}).values()), listing.gone)
        for key, listing in shuffled(seen.listings).items()
    })  # fmt: skip
    other = replace(file, deployments=shuffled(file.deployments), providers=shuffled(file.providers))
    old = replace(before, deployments=shuffled(before.deployments))
    assert plan_of(file, before, seen) == plan_of(other, old, mixed)


@QUICK
@given(histories())
def test_strangers_are_never_touched(history: tuple[World, State, Stack]) -> None:
    """What is unmanaged before an apply is there, unchanged, afterwards."""
    there, before, file = history
    made = planned(file, before, there)
    strangers: dict[tuple[str, str], Live] = {
        (item.provider, item.id): there.objects[item.provider][item.id] for item in made.unmanaged
    }
    there.apply(made, before)
    assert strangers == {place: there.objects[place[0]].get(place[1]) for place in strangers}


@QUICK
@given(histories())
def test_a_saved_plan_says_the_same(history: tuple[World, State, Stack]) -> None:
    """Through a file and back a plan says the same; it holds no secret, and neither does the state."""
    there, before, file = history
    made = planned(file, before, there)
    text = json.dumps(plan_to_file(made, KEY))
    assert PLANTED not in text
    assert KEY not in text
    assert plan_to_json(plan_from_file(json.loads(text))) == plan_to_json(made)
    after = there.apply(made, before)
    assert PLANTED not in json.dumps(state_to_json(after))


@QUICK
@given(histories())
def test_destroy_leaves_only_strangers(history: tuple[World, State, Stack]) -> None:
    """After a destroy the state holds nothing, and nothing of ours is left."""
    there, before, file = history
    made = make(file, before, there.refreshed(before), destroy=True)
    ours = {(entry.provider, entry.id) for entry in before.deployments.values()}
    after = there.apply(made, before)
    assert dict(after.deployments) == {}
    assert not {(key, id_) for key, objects in there.objects.items() for id_ in objects} & ours
