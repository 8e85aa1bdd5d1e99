"""Order, circles and closures of dependencies."""

from __future__ import annotations

import pytest

from reconciler.core.values.graph import CycleError, circles, dependencies, dependents, levels, order, reverse

EDGES = {"app": ["db", "cache"], "db": ["net"], "cache": ["net"], "net": [], "lone": ["elsewhere"]}


def test_dependencies_come_first() -> None:
    """Every node stands behind all that it needs, ties by name; names that are no nodes are left out."""
    assert order(EDGES) == ("lone", "net", "cache", "db", "app")
    assert order(dict(reversed(EDGES.items()))) == order(EDGES)
    assert levels(EDGES) == (("lone", "net"), ("cache", "db"), ("app",))
    assert order({}) == ()


def test_closures() -> None:
    """What a node needs, and what needs it, directly or not, itself included."""
    assert dependencies(EDGES, ["db"]) == {"db", "net"}
    assert dependents(EDGES, ["net"]) == {"net", "db", "cache", "app"}
    assert dependents(EDGES, ["nobody"]) == frozenset()
    assert reverse(EDGES)["net"] == ("cache", "db")


def test_circles_are_shown() -> None:
    """Each knot gives one circle, the shortest from its smallest name, in the direction of need."""
    edges = {"c": ["a"], "a": ["b"], "b": ["c", "x"], "x": [], "s": ["s"], "z": ["y"], "y": ["z", "a"]}
    assert circles(edges) == (("a", "b", "c"), ("s",), ("y", "z"))
    with pytest.raises(CycleError, match="a → b → c → a") as caught:
        order(edges)
    assert caught.value.circles == circles(edges)


def test_long_chains_do_not_recurse() -> None:
    """Ten thousand deployments in a row are ordered, and a circle of them is found."""
    chain = {f"n{i:05}": [f"n{i + 1:05}"] for i in range(10_000)}
    assert order(chain)[0] == "n09999"
    chain["n09999"] = ["n00000"]
    assert len(circles(chain)[0]) == 10_000
