"""A file that uses everything, with some values replaced: always a Stack or a FileError, never a secret in either."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.load.desired import Inputs, build_stack, load_providers_only, read_header
from reconciler.diagnostics import FileError
from reconciler.edge.document import read_value
from reconciler.render.diagnostics import diagnostics_text
from tests.support.stacks import FakeType, document, fake_schema

EVERYTHING: dict[str, Any] = {
    "version": 1,
    "stack": "s",
    "state": {"backend": "local", "path": "x"},
    "variables": {
        "v": {"type": "integer", "default": 3, "minimum": 1},
        "m": {"type": "object", "default": {"a": {"n": 1}}},
        "o": {"default": "org"},
    },
    "providers": {
        "fake": {
            "region": "r1",
            "timeout": "5s",
            "prices": {"p": {"unit_price": 1, "currency": "USD"}},
            "credentials": {"api_key": "${env.K}"},
        },
        "fake.eu": {"org": "${var.o}"},
    },
    "defaults": {
        "fake": {
            "spec": {"model": "m", "config": {"depth": 1}},
            "lifecycle": {"prevent_undeploy": False},
            "timeouts": {"deploy": "5m"},
        }
    },
    "deployments": {
        "a": {
            "provider": "fake",
            "spec": {"replicas": "${var.v}", "api_key": "${env.K}", "config": {"extra_args": ["--token", "${env.K}"]}},
            "depends_on": ["b", "c"],
            "lifecycle": {"ignore_changes": ["config.extra_args"]},
            "timeouts": {"scale": 5},
        },
        "b": {
            "provider": "fake",
            "for_each": "${var.m}",
            "spec": {"model": "${each.key}", "replicas": "${each.value.n}"},
        },
        "c": {"provider": "fake.eu", "spec": {"model": '${deployments.b["a"].id} ${env.K}', "ttl": 5}, "adopt": True},
        "d": {"provider": "fake", "for_each": ["x", "y"], "spec": {"model": "${deployments.c.model}"}},
    },
    "moved": [{"from": "z", "to": "a"}],
    "removed": [{"address": "q", "action": "forget"}],
    "outputs": {"o": "${deployments.a.id}"},
    "limits": {"max_undeploys": "20%", "max_hourly_cost": {"USD": 5}},
}
PLAIN = [
    None,
    True,
    0,
    -1,
    1.5,
    2.0,
    "",
    "x",
    "fake",
    [],
    {},
    [1],
    ["a"],
    {"a": 1},
    {"a": {"b": None}},
    'a["x"]',
    10**30,
]
WRITTEN = [
    "${var.v}",
    "${var.m}",
    "x ${var.m}",
    "${env.K}",
    "x ${env.K}",
    "$${x}",
    "${",
    "${each.value.a}",
    "${parameters.x}",
]
WRITTEN += ["${deployments.a.id}", "${deployments.b.id}", "${deployments.d[each.key].id}"]
REPLACEMENTS = st.sampled_from([*PLAIN, *WRITTEN, ["${env.K}"], {"a": "${env.K}"}])


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a tree but the empty one."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace what stands at a path, unless an earlier replacement took the way there."""
    for key in path[:-1]:
        known = range(len(tree)) if isinstance(tree, list) else tree if isinstance(tree, dict) else ()
        if key not in known:
            return
        tree = tree[key]
    if isinstance(tree, dict) or (isinstance(tree, list) and path[-1] in range(len(tree))):
        tree[path[-1]] = copy.deepcopy(value)


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.sampled_from(list(paths(EVERYTHING))), REPLACEMENTS), max_size=3))
def test_replaced_values(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Whatever stands where, nothing but a FileError comes out, and no secret in a value or a message."""
    data = copy.deepcopy(EVERYTHING)
    for path, value in changes:
        put(data, path, value)
    loaded = document(json.dumps(data))
    given_ = Inputs({}, {"K": "HUSH-HUSH"}, read_value=read_value)
    known: dict[str, Any] = {"schemas": {"fake": fake_schema()}, "types": {"fake": FakeType()}, "inputs": given_}
    for load in (
        lambda: build_stack(loaded, **known),
        lambda: load_providers_only(loaded, **known),
        lambda: read_header(loaded),
    ):
        try:
            shown = repr(load())  # type: ignore[no-untyped-call]
        except FileError as error:
            shown = diagnostics_text(error.diagnostics, color=False) + repr(error.diagnostics)
        assert "HUSH-HUSH" not in shown


def test_nothing_replaced() -> None:
    """The file itself is right, so that the changes are what is tested."""
    known: dict[str, Any] = {"schemas": {"fake": fake_schema()}, "types": {"fake": FakeType()}}
    stack = build_stack(document(json.dumps(EVERYTHING)), **known, inputs=Inputs({}, {"K": "k"}))
    assert sorted(stack.deployments) == ["a", 'b["a"]', "c", 'd["x"]', 'd["y"]']
