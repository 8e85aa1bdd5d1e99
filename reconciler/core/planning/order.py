"""What runs after what: dependencies first for deploy, scale and update, dependents first for undeploy. Pure.

The plan is listed in this order, and the engine schedules by the same relation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.core.state.aside import successor
from reconciler.core.values.graph import CycleError, order
from reconciler.model import Recorded
from reconciler.plan import Action

_LEAVING = ("undeploy", "forget")


def run_after(actions: Iterable[Action], recorded: Mapping[str, Recorded]) -> dict[str, tuple[str, ...]]:
    """For each address of the plan the addresses that must be finished before it starts.

    `recorded` are the deployments of the state under their new addresses. What is undeployed waits for everything that
    depended on it when last applied, whether that leaves as well or is changed not to need it any more. What stands
    aside is what the dependents of its successor may still use.
    """
    table = {action.address: action for action in actions}
    dependents: dict[str, list[str]] = {}
    if any(action.action in _LEAVING for action in table.values()):
        for address, entry in recorded.items():
            if address in table:
                for name in entry.depends_on:
                    dependents.setdefault(name, []).append(address)
    after: dict[str, tuple[str, ...]] = {}
    for address, action in table.items():
        if action.action in _LEAVING:
            newer = successor(address)
            waits = {*dependents.get(address, ()), *(dependents.get(newer, ()) if newer is not None else ())}
            if newer in table and table[newer].action not in _LEAVING:
                waits.add(newer)
            after[address] = tuple(sorted(waits))
        else:
            after[address] = tuple(
                name for name in action.depends_on if name in table and table[name].action not in _LEAVING
            )
    return after


def topological(after: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Every address after those it waits for; among equals by name, so that the same input gives the same order.

    Records of different times may contradict each other: a circle is opened at its first name, never an error.
    """
    if not any(after.values()):
        return tuple(sorted(after))
    edges = dict(after)
    while True:
        try:
            return order(edges)
        except CycleError as error:
            for circle in error.circles:
                edges[circle[0]] = tuple(name for name in edges[circle[0]] if name not in circle)
