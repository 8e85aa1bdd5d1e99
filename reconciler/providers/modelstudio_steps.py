"""What to do next with a Model Studio deployment: pure rules over what was asked, is live and was answered."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model import Json, Live
from reconciler.provider import Call, Done, Failed, Next, Operation, Wait
from reconciler.providers import modelstudio_wire as wire_format

LAG_LOOKS = 5  # looks in which a list may trail behind before one read by id decides
_STEPS: Mapping[str, tuple[str, ...]] = {
    "update": ("rpm_limit", "tpm_limit"),
    "overflow": ("overflow_strategy",),
    "scale": ("capacity", "ptu_capacity"),
}
_INSTEAD: Mapping[str, str] = {
    "rpm_limit": "set a high limit",
    "tpm_limit": "set a high limit",
    "overflow_strategy": "write `overflow_strategy: disable`, or `enable`, whichever is to be",
    "capacity": "write the one that is to be",
    "ptu_capacity": "write the one that is to be",
}


def next_step(op: Operation) -> Next:
    """What to do next with this operation."""
    if op.verb == "deploy":
        return _next_deploy(op)
    if op.verb == "undeploy":
        return _next_undeploy(op)
    return _next_change(op)


def _next_deploy(op: Operation) -> Next:
    if op.id is None:
        return Call("create", creates=True)
    live = op.live
    if live is None:
        return _missing(op)
    if live.health == "failed":
        return Failed(live.reason or f"status is {live.status}", live=live)
    if live.health == "stopped":
        return Failed(f"it is {live.status}, and no API call starts it: start it in the console", live=live)
    if live.health != "ready":
        return Wait("until it is ready", live.status)
    if "overflow" not in op.memo and _pending(op, live, "overflow"):
        return Call("overflow")  # not a field of the create
    return Done(live)


def _next_change(op: Operation) -> Next:
    """Scale and update: absolute targets, sent one after the other while the deployment is at rest."""
    live = op.live
    removed = _removed(op)
    if removed:  # before anything is sent: so the record keeps them, and the next plan tells of them again
        told = "; ".join(f"no call removes {path}: {_INSTEAD[path]}" for path in removed)
        return Failed(f"{told}; or replace the deployment (--replace {op.address})", live=live)
    if live is None:
        first = next((step for step in _STEPS if wanted(op, step) and step not in op.memo), None)
        return Call(first) if first and not op.looks else _missing(op)
    if live.health == "failed":
        return Failed(live.reason or f"status is {live.status}", live=live)
    if live.health in ("pending", "updating", "deleting", "unknown"):
        return Wait("until it has settled", live.status)
    for step in _STEPS:
        if _pending(op, live, step):
            return _behind(op, live, step) if step in op.memo else Call(step)
    if live.health == "stopped":
        return Failed(f"it is {live.status}, and no API call starts it: start it in the console", live=live)
    return Done(live) if _all_ready(live) else Wait("until its whole capacity is ready", live.status)


def _removed(op: Operation) -> list[str]:
    """What the file no longer says though the provider can only be told another value; a lora capacity says nothing."""
    idle = "capacity" if op.desired.get("plan") == "lora" else ""
    paths = [path for step in _STEPS.values() for path in step if path != idle]
    return [path for path in paths if path in op.changes and op.desired.get(path) is None]


def _next_undeploy(op: Operation) -> Next:
    live = op.live
    if op.memo.get("gone"):
        return Done(None)
    if live is not None and live.health == "deleting":
        return Wait("until it is gone", live.status)  # on its way already, by us or by hand
    if "delete" not in op.memo:
        return Call("confirm") if live is None and op.looks else Call("delete")
    if live is None:
        patience = LAG_LOOKS if op.memo.get("last") == "confirm" else 1
        return Call("confirm") if op.looks >= patience else Wait("until it is gone")
    if live.health == "failed" and op.looks >= LAG_LOOKS:
        return Failed(live.reason or f"status is {live.status} after the delete", live=live)
    return Wait("until it is gone", live.status)


def _missing(op: Operation) -> Next:
    """The list lacks it: it trails behind, or the deployment vanished; one read by id tells, not a read a poll."""
    if op.memo.get("gone"):
        return Failed("it has gone while we waited for it", exists=False)
    return Call("confirm") if op.looks >= LAG_LOOKS else Wait("until the list shows it")


def _behind(op: Operation, live: Live, step: str) -> Next:
    """At rest, but not as asked: a list that trails behind, or a server that went back; one read by id tells."""
    if op.memo.get("last") == "confirm" and op.looks == 0:
        paths = ", ".join(wire_format.differences(wanted(op, step), shown(op, live)))
        return Failed(f"it settled as {live.status} without the change of {paths}", live=live)
    return Call("confirm") if op.looks >= LAG_LOOKS else Wait("until the change shows", live.status)


def wanted(op: Operation, step: str) -> dict[str, Json]:
    """What a step of this operation is to set (a deploy names no changes: all that is declared).

    The figures of ptu_capacity are sent as a whole, an absolute target: those that nobody manages stay as they are.
    """
    found = {path: op.desired[path] for path in _STEPS[step] if op.desired.get(path) is not None and _meant(op, path)}
    want = found.get("ptu_capacity")
    if isinstance(want, Mapping):
        kept = {key: figure for key, figure in _figures(op.live).items() if not _meant(op, f"ptu_capacity.{key}")}
        found["ptu_capacity"] = {**kept, **want}
    return found


def shown(op: Operation, live: Live) -> Mapping[str, Json]:
    """The live attributes; a figure of ptu_capacity that is not returned and not to change counts as in place."""
    want, have = op.desired.get("ptu_capacity"), _figures(live)
    if not isinstance(want, Mapping) or not have:
        return live.attributes
    silent = {key: figure for key, figure in want.items() if not _meant(op, f"ptu_capacity.{key}")}
    return {**live.attributes, "ptu_capacity": {**silent, **have}}


def _figures(live: Live | None) -> Mapping[str, Json]:
    found = live.attributes.get("ptu_capacity") if live is not None else None
    return found if isinstance(found, Mapping) else {}


def _meant(op: Operation, path: str) -> bool:
    """Whether the operation is to change something at, in or around that path."""
    return not op.changes or any(
        f"{name}.".startswith(f"{path}.") or f"{path}.".startswith(f"{name}.") for name in op.changes
    )


def _pending(op: Operation, live: Live, step: str) -> bool:
    """Whether live lacks something of a step; what the provider does not return counts as in place once sent."""
    asked, have = wanted(op, step), shown(op, live)
    if wire_format.differences(asked, have):
        return True
    return step not in op.memo and any(path not in have for path in asked)


def _all_ready(live: Live) -> bool:
    """A change is over when what serves equals what was asked; a plan without units has nothing to compare."""
    capacity, ready = live.attributes.get("capacity"), live.computed.get("ready_capacity")
    return live.health == "ready" and (capacity is None or ready is None or ready == capacity)
