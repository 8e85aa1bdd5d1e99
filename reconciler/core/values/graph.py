"""The order of a graph of names: dependencies first, the same for the same graph, cycles shown as circles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

Edges = Mapping[str, Iterable[str]]  # node -> what it depends on


class CycleError(ValueError):
    """The graph has circles; `circles` holds one for each knot, each beginning with its smallest name."""

    def __init__(self, circles: tuple[tuple[str, ...], ...]) -> None:
        super().__init__("; ".join(" → ".join((*circle, circle[0])) for circle in circles))
        self.circles = circles


def order(edges: Edges) -> tuple[str, ...]:
    """All nodes, dependencies first; among those that are free the smallest name goes first.

    Dependencies that are no nodes themselves are left out. Raises CycleError.
    """
    waiting: dict[str, int] = {}
    dependents: dict[str, list[str]] = {}
    for node, targets in edges.items():
        wanted = {target for target in targets if target in edges}
        waiting[node] = len(wanted)
        for target in wanted:
            dependents.setdefault(target, []).append(node)
    free = [node for node, count in waiting.items() if not count]
    if len(free) == len(waiting):
        return tuple(sorted(free))
    heapify(free)
    done: list[str] = []
    while free:
        node = heappop(free)
        done.append(node)
        for dependent in dependents.get(node, ()):
            waiting[dependent] -= 1
            if not waiting[dependent]:
                heappush(free, dependent)
    if len(done) < len(waiting):
        raise CycleError(circles(edges))
    return tuple(done)


def levels(edges: Edges) -> tuple[tuple[str, ...], ...]:
    """Nodes in waves: everything in a wave depends on earlier waves only. Raises CycleError."""
    depth: dict[str, int] = {}
    for node in order(edges):
        depth[node] = 1 + max((depth[target] for target in edges[node] if target in depth), default=-1)
    waves: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for node in sorted(depth):
        waves[depth[node]].append(node)
    return tuple(tuple(wave) for wave in waves)


def dependencies(edges: Edges, roots: Iterable[str]) -> frozenset[str]:
    """The roots and all that they need, directly or not; names that are no nodes are left out."""
    return _closure({node: tuple(targets) for node, targets in edges.items()}, edges, roots)


def dependents(edges: Edges, roots: Iterable[str]) -> frozenset[str]:
    """The roots and all that needs them, directly or not; names that are no nodes are left out."""
    return _closure(reverse(edges), edges, roots)


def reverse(edges: Edges) -> dict[str, tuple[str, ...]]:
    """The graph with its arrows turned round; every node is a key."""
    turned: dict[str, list[str]] = {node: [] for node in edges}
    for node, targets in edges.items():
        for target in targets:
            if target in turned:
                turned[target].append(node)
    return {node: tuple(sorted(set(sources))) for node, sources in turned.items()}


def circles(edges: Edges) -> tuple[tuple[str, ...], ...]:
    """One circle for each knot (strongly connected part) of the graph, in dependency direction, sorted."""
    found = [_circle(knot, edges) for knot in _knots(edges)]
    return tuple(sorted(found))


def _closure(steps: Edges, nodes: Edges, roots: Iterable[str]) -> frozenset[str]:
    seen: set[str] = set()
    todo = [root for root in roots if root in nodes]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo.extend(target for target in steps.get(node, ()) if target in nodes)
    return frozenset(seen)


def _knots(edges: Edges) -> list[frozenset[str]]:
    """Strongly connected parts that hold a circle: reachable both ways from the smallest name of each."""
    back = reverse(edges)
    core = {node for node in edges if any(target in edges for target in edges[node])}
    knots: list[frozenset[str]] = []
    while core:
        node = min(core)
        inside = {name: [target for target in edges[name] if target in core] for name in core}
        outside = {name: [source for source in back[name] if source in core] for name in core}
        knot = _closure(inside, inside, [node]) & _closure(outside, outside, [node])
        if len(knot) > 1 or node in inside[node]:
            knots.append(knot)
        core -= knot
    return knots


def _circle(knot: frozenset[str], edges: Edges) -> tuple[str, ...]:
    """The shortest way from the smallest name of a knot back to itself."""
    start = min(knot)
    came_from: dict[str, str] = {}
    wave = [start]
    while wave:
        following: list[str] = []
        for node in wave:
            for target in sorted(set(edges[node]) & knot):
                if target == start:
                    path = [node]
                    while path[-1] != start:
                        path.append(came_from[path[-1]])
                    return tuple(reversed(path))
                if target not in came_from:
                    came_from[target] = node
                    following.append(target)
        wave = following
    return (start,)
