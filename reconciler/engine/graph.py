"""Which step of which action waits for which: a plan's actions as a graph of steps. Sends nothing, knows no time.

build: deploy, scale, update, adopt, wait          dependencies first: build(B) after build(A) where B needs A
tear:  undeploy                                    dependents first:   tear(A) after tear(B) and build(B)
replace = tear, then build                         create-first: build, then (after the dependents) tear
a replace that only may be needed                  tear too comes after the build of what it needs
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.core.state.aside import successor
from reconciler.model import HEALTH_KIND, Recorded, Verb
from reconciler.plan import Action, Plan

StepName = Literal["deploy", "scale", "update", "undeploy", "adopt", "wait"]


def is_on_its_way(action: Action) -> bool:
    """Whether an apply waits for a deployment that it does nothing to."""
    health = action.expected.health
    return action.action == "none" and action.expected.exists and health is not None and HEALTH_KIND[health] == "in"


def is_unfinished(action: Action, prior: Recorded | None) -> bool:
    """Whether nothing is left to plan for it, but an earlier run did not get to the end of what it began: a step after
    the last one that shows (a second connector to remove, an attribute that is not returned) may still be to do."""
    return action.action == "none" and action.expected.exists and prior is not None and prior.pending is not None


@dataclass(slots=True, eq=False)
class Node:
    """One step of one action. `waits_for` counts unfinished steps before it; `after` are the steps behind it."""

    action: Action
    index: int
    name: StepName
    provider: str
    waits_for: int = 0
    after: list[Node] = field(default_factory=list)

    @property
    def verb(self) -> Verb | None:
        """The operation it runs at the provider; None where it runs none of its own."""
        match self.name:
            case "deploy" | "scale" | "update" | "undeploy":
                return self.name
            case _:
                return None


def nodes(plan: Plan, state: Mapping[str, Recorded]) -> list[Node]:
    """The steps of all actions that do or wait for something, linked. `state` is by address, moves done.

    Order in the file and order in the state may contradict each other: in such a circle the soft edges give way, then
    the first step of the plan that is stuck goes ahead. Never an error, as in the plan's own order.
    """
    made = [node for index, action in enumerate(plan.actions) for node in _steps_of(index, action, state)]
    if plan.options.refresh_only:  # it asks no provider for anything, so it waits for nothing either
        return []
    for soft in (True, False):
        _link(made, state, soft=soft)
        stuck = _stuck(made)
        if not stuck:
            break
    while stuck:
        first = stuck[0]
        for node in made:
            node.after = [behind for behind in node.after if behind is not first]
        first.waits_for = 0
        stuck = _stuck(made)
    return made


def _steps_of(index: int, action: Action, state: Mapping[str, Recorded]) -> Iterable[Node]:
    match action.action:
        case "none":
            if is_on_its_way(action) or is_unfinished(action, state.get(action.address)):
                yield Node(action, index, "wait", action.provider)
        case "replace":
            prior = state.get(action.address)
            tear = Node(action, index, "undeploy", prior.provider if prior is not None else action.provider)
            build = Node(action, index, "deploy", action.provider)
            yield from (build, tear) if action.create_first else (tear, build)
        case "undeploy":
            prior = state.get(action.address)
            yield Node(action, index, "undeploy", prior.provider if prior is not None else action.provider)
        case "forget":
            pass  # only the state hears of it
        case name:
            yield Node(action, index, name, action.provider)


def _link(made: list[Node], state: Mapping[str, Recorded], *, soft: bool) -> None:
    """Set every edge anew. Soft ones are those that only make an order nicer: they give way in a circle."""
    for node in made:
        node.waits_for, node.after = 0, []
    build = {node.action.address: node for node in made if node.name != "undeploy"}
    tear = {node.action.address: node for node in made if node.name == "undeploy"}
    for address, node in build.items():
        for needed in node.action.depends_on:
            _edge(build.get(needed), node)
        own = tear.get(address)
        if own is not None and node.action.create_first:
            _edge(node, own)
        elif own is not None:
            _edge(own, node)
            if node.action.may:
                for needed in node.action.depends_on:
                    _edge(build.get(needed), own)
    old: dict[str, list[Node]] = {}  # what earlier create-first replaces left, which serves until nobody needs it
    for address, node in tear.items():
        newer = successor(address)
        if newer is not None:
            old.setdefault(newer, []).append(node)
            if soft:
                _edge(build.get(newer), node)
    for dependent in {**build, **tear}:
        needed_by_it = state[dependent].depends_on if dependent in state else ()
        for needed in needed_by_it:
            for node in (*((tear[needed],) if needed in tear else ()), *old.get(needed, ())):
                _tear_after(node, build.get(dependent), tear.get(dependent), soft=soft)


def _tear_after(node: Node, build: Node | None, tear: Node | None, *, soft: bool) -> None:
    """`node` goes away; `build` and `tear` are the steps of a deployment that was recorded as needing it."""
    returns = node.action.action == "replace" and not node.action.create_first
    if tear is not None:
        late = tear.action.action == "replace" and (tear.action.may or tear.action.create_first)
        if not late or (soft and not returns):
            _edge(tear, node)
    if build is not None and soft and not returns:
        _edge(build, node)


def _edge(first: Node | None, second: Node) -> None:
    if first is not None and first is not second:
        first.after.append(second)
        second.waits_for += 1


def _stuck(made: list[Node]) -> list[Node]:
    """Those that could never start."""
    counts = {node: node.waits_for for node in made}
    ready = [node for node in made if not counts[node]]
    while ready:
        for behind in ready.pop().after:
            counts[behind] -= 1
            if not counts[behind]:
                ready.append(behind)
    return [node for node in made if counts[node]]
