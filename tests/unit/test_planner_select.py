"""Targets and exclusions: which deployments a run is about, and whom it must ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.planning.select import providers_needed
from reconciler.diagnostics import UsageError
from reconciler.plan import PlanOptions
from tests.support.planning import Removed, desired, kinds, live, make, recorded, seen, stack, state

FILE = stack(
    desired("base"), desired("mid", "switch", model_id="m", depends_on=("base",)),
    desired('top["a"]', depends_on=("mid",)), desired('top["b"]'), desired("other"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"target": ("top",)}, ["base", "mid", 'top["a"]', 'top["b"]']),
        ({"target": ('top["a"]',)}, ["base", "mid", 'top["a"]']),
        ({"target": ("*e*",)}, ["base", "other"]),
        ({"target": ("?id",)}, ["base", "mid"]),
        ({"exclude": ("base",)}, ["other", 'top["b"]']),
        ({"exclude": ("top",)}, ["base", "mid", "other"]),
        ({"target": ("top",), "exclude": ("mid",)}, ["base", 'top["b"]']),
    ],
)
def test_targets_take_what_they_need_and_exclusions_what_needs_them(
    options: dict[str, tuple[str, ...]], chosen: list[str]
) -> None:
    """Only `*` and `?` are special, a key means its instances, exclusions win."""
    made = make(FILE, None, seen(switch=[live("m", name="m", identities=("m",), dormant=True)]), **options)
    assert sorted(item.address for item in made.actions) == chosen
    assert sorted([*made.skipped, *chosen]) == sorted(FILE.deployments)


def test_brackets_are_no_pattern() -> None:
    """A bracket in a pattern is a bracket."""
    with pytest.raises(UsageError) as caught:
        make(FILE, None, seen(), target=("to[p]", "nope"))
    assert [item.summary for item in caught.value.diagnostics] == [
        "--target to[p] matches no deployment", "--target nope matches no deployment",
    ]  # fmt: skip


def test_a_target_on_its_way_out_takes_what_was_built_on_it() -> None:
    """Undeploying a target undeploys its dependents first; excluding one keeps what it needs."""
    before = state(recorded(desired("a"), "1"), recorded(desired("b", depends_on=("a",)), "2"))
    world = seen(live("1", name="a"), live("2", name="b"))
    assert kinds(make(stack(), before, world, destroy=True, target=("a",))) == {"a": "undeploy", "b": "undeploy"}
    assert kinds(make(stack(), before, world, destroy=True, exclude=("b",))) == {}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, ("switch", "toy", "toy.old")),
        ({"target": ("base",)}, ("toy",)),
        ({"target": ("mid",)}, ("switch", "toy")),
        ({"exclude": ("mid",)}, ("toy", "toy.old")),
        ({"destroy": True}, ("toy.old",)),
    ],
)
def test_only_the_providers_of_what_is_left_are_contacted(options: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Without targets every provider that file or state names; with them those of what is left."""
    before = state(recorded(desired("left", "toy.old"), "9"))
    assert providers_needed(FILE, before, PlanOptions(**options)) == keys


def test_forgetting_needs_nobody() -> None:
    """A provider from which everything is only forgotten is not contacted for it."""
    before = state(recorded(desired("left", "toy.old"), "9"))
    file = replace(FILE, removed=(Removed("left", "forget"),))
    assert "toy.old" not in providers_needed(file, before, PlanOptions())


def test_what_is_removed_is_removed_with_its_instances() -> None:
    """`chat` means `chat["a"]` too, whose provider the file need not have any more; an entry of its own counts more."""
    old = [desired(f'chat["{key}"]', provider, name=key) for key, provider in (("a", "toy.old"), ("b", "toy"))]
    before = state(*(recorded(item, f"id-{item.spec['name']}") for item in old))
    file = stack(desired("new"), removed=(Removed("chat", "forget"), Removed('chat["b"]', "undeploy")))
    assert "toy.old" not in providers_needed(file, before, PlanOptions())
    made = make(file, before, seen(live("id-b", name="b")))
    assert kinds(made) == {'chat["a"]': "forget", 'chat["b"]': "undeploy", "new": "deploy"}
    assert made.unreadable == ()
