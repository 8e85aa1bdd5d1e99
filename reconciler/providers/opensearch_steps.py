"""What to do next with an operation on an ML Commons model: pure decisions from what was asked, answered and seen.

Nothing here talks. What an operation knows and remembers stands in opensearch_memo.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model import Live
from reconciler.provider import Call, Done, Failed, Next, Operation, Wait
from reconciler.providers.opensearch_memo import (
    changes,
    held,
    made,
    model_of,
    own_connectors,
    put_body,
    registers,
    wanted_nodes,
    wanted_ttl,
)
from reconciler.providers.opensearch_wire import IDLE

PATIENCE = 4  # looks that a search may trail behind before a read by id tells
SETTLING = 8  # looks until a PUT is called done though no search shows it; an index is refreshed each second
MOST_DEPLOYS = 3
MOST_CONFIRMS = 6
MOST_UNDEPLOYS = 3
MOST_SWEEPS = 8
# A node that keeps a failed try refuses another until the model has been undeployed; no record tells of such nodes.
_SPENT = ("DEPLOY_FAILED", "DEPLOYED", "PARTIALLY_DEPLOYED")
_REFUSED = "Duplicate deploy model task"
_OVER = ("COMPLETED", "FAILED", "CANCELLED", "COMPLETED_WITH_ERROR", "EXPIRED", "UNREACHABLE")


def next_step(op: Operation) -> Next:
    """The next call, wait or end."""
    if op.verb == "undeploy":
        return _undeploy(op)
    waiting = _on_its_way(op)
    if waiting is not None:
        return waiting
    return _deploy(op) if op.verb == "deploy" else _change(op)


def _on_its_way(op: Operation) -> Next | None:
    """Before anything else: what somebody is deploying already is waited for, as a second deploy would race with it."""
    live = op.live
    if op.memo.get("surveyed") or op.memo.get("deploy") or live is None or live.dormant or not live.id:
        return None
    if live.health in ("pending", "updating"):
        return Wait("until it is deployed", live.status)
    if live.health == "failed" and op.looks:
        return Failed(live.reason or f"it is {live.status}", live=live)
    return None


# --- deploy -------------------------------------------------------------------------------------------------------


def _deploy(op: Operation) -> Next:
    memo = op.memo
    recorded = op.prior is not None and (op.prior.id is not None or any(op.prior.created.values()))
    if not memo.get("surveyed") and (not registers(op) or recorded or memo.get("taken")):
        return Call("survey")
    if not registers(op):
        if memo.get("vanished"):
            return Failed(f"no model {op.desired['model_id']} is registered", exists=False)
        return _converge(op)
    step = _register(op)
    return step if step is not None else _converge(op)


def _register(op: Operation) -> Next | None:
    """Group, connector, registration, one after the other as far as they are missing; None once the model is there."""
    memo, own = op.memo, made(op)
    if not memo.get("model") and "group" not in own:
        return Call("group", creates=True)
    cleaning = _clean(op)
    if cleaning is not None or memo.get("model"):
        return cleaning
    if memo.get("task"):
        return _registering(op)
    if op.desired.get("connector") and not memo.get("connector"):
        return Call("connector", creates=True)
    return Call("register", creates=True)


def _registering(op: Operation) -> Next:
    """A local model has no id until its registration is over: the nodes fetch it first."""
    live = op.live
    if live is None or op.looks == 0:
        return Wait("until it is registered")
    if live.extra.get("task") in _OVER:
        if op.memo.get("other"):
            return Call("survey")  # something else is declared by now: it is removed, and that is registered
        if live.extra.get("model"):
            return Call("registered")
        if op.looks > PATIENCE or live.extra.get("task") != "COMPLETED":
            return Failed(f"the registration failed: {live.reason or live.status}")
    return Wait("until it is registered", live.status)


def _clean(op: Operation) -> Call | None:
    """Remove what a killed run or a late answer left in our own group, then connectors that nothing of ours uses."""
    for id_ in op.memo.get("leftovers") or ():
        return Call("remove_leftover", args={"id": id_})
    for id_ in op.memo.get("strays") or ():
        return Call("remove_connector", args={"id": id_})
    return None


# --- update and scale ---------------------------------------------------------------------------------------------


def _change(op: Operation) -> Next:
    if not op.memo.get("surveyed"):
        return Call("survey")
    if op.memo.get("vanished"):
        return Failed("it has gone", exists=False)
    if changes(op, "rate_limiter") and not op.desired.get("rate_limiter"):
        return Failed(
            "ML Commons has no call that removes a rate limiter: set a high limit, or replace the model", live=op.live
        )
    return _clean_unless_settled(op) or _converge(op)


def _clean_unless_settled(op: Operation) -> Call | None:
    return None if op.memo.get("put") or op.memo.get("deploy") or op.memo.get("connector") else _clean(op)


def _new_connector(op: Operation) -> bool:
    """A connector in use can't be changed, and its PUT merges: a change makes a new one. A model that is deployed again
    gets a new one too, as nobody can tell whether the old one holds the credential that is asked for now."""
    if not op.desired.get("connector") or op.memo.get("connector"):
        return False
    return op.verb == "deploy" or changes(op, "connector")


def _converge(op: Operation) -> Next:
    """The model is registered: make its record, its nodes and then its surroundings as asked."""
    memo, seen = op.memo, op.memo.get("seen") or {}
    registering = seen.get("state") == "REGISTERING" and not memo.get("deploy")
    if registering and not (op.looks and op.live and op.live.status != "REGISTERING"):
        return Wait("until it is registered", "REGISTERING")
    if _new_connector(op):
        return Call("connector", creates=True)
    if not memo.get("put") and put_body(op):
        if memo.get("busy") and op.looks == 0:
            return Wait("until it is no longer deploying")
        had = (seen.get("attributes") or {}).get("deploy_setting") or {}
        if wanted_ttl(op) != had.get("model_ttl_minutes") and held(op) and not memo.get("undeployed"):
            # A TTL is taken over only at the next deploy, and a predict in between would be one.
            return Call("hold" if had.get("is_auto_deploy_enabled") is not False else "undeploy")
        return Call("put")
    if not memo.get("deploy") and _needs_deploy(op):
        if seen.get("state") in _SPENT and not held(op) and not memo.get("undeployed"):
            return Call("undeploy")
        return Call("deploy", creates=True, args={"node_ids": _deploy_nodes(op)})
    waiting = _watch(op) if memo.get("deploy") or held(op) else _settle(op)
    if waiting is not None:
        return waiting
    left = _too_many(op)
    if left:
        return Call("release", args={"node_ids": left})
    return _clean(op) or Done(op.live)


def _needs_deploy(op: Operation) -> bool:
    if op.memo.get("undeployed"):
        return True
    holding, seen = set(held(op)), op.memo.get("seen") or {}
    if op.verb == "deploy":
        return not holding or seen.get("state") != "DEPLOYED" or not set(wanted_nodes(op) or ()) <= holding
    if not changes(op, "node_ids"):
        return False
    nodes = wanted_nodes(op)
    return nodes is None or not set(nodes) <= holding or bool(seen.get("all_nodes"))


def _deploy_nodes(op: Operation) -> list[str]:
    """Nodes for the deploy call; empty: the cluster's own plan. A call that leaves out a node that holds the model is
    refused, so those stay in until they are released."""
    nodes = wanted_nodes(op)
    if nodes is None:
        return []
    return sorted({*nodes, *(() if op.memo.get("undeployed") else held(op))})


def _too_many(op: Operation) -> list[str]:
    nodes, live = wanted_nodes(op), op.live
    if nodes is None or live is None or not (op.verb == "deploy" or changes(op, "node_ids")):
        return []
    return sorted(set(_worker_nodes(live)) - set(nodes))


# --- waiting ------------------------------------------------------------------------------------------------------


def _worker_nodes(live: Live) -> Sequence[str]:
    nodes = live.computed.get("worker_nodes")
    return nodes if isinstance(nodes, list) else ()


def _enough(op: Operation, live: Live) -> bool:
    nodes = set(_worker_nodes(live))
    return bool(nodes) and set(wanted_nodes(op) or ()) <= nodes


def _shown(op: Operation, live: Live) -> bool:
    """Whether the search shows our PUT and our choice of nodes already, so that the next plan will see them."""
    put, version = op.memo.get("put"), live.extra.get("version")
    chosen = wanted_nodes(op) is not None
    if (
        op.memo.get("deploy")
        and (chosen or changes(op, "node_ids"))
        and chosen == (live.attributes.get("node_ids") is None)
    ):
        return False
    return not isinstance(put, int) or not isinstance(version, int) or version >= put


def _settle(op: Operation) -> Next | None:
    """After a change of the record alone, of a model that is not deployed."""
    if op.memo.get("vanished"):
        return Failed("it has gone while we waited for it", exists=False)
    if op.memo.get("fresh") and op.looks == 0 and (not op.memo.get("put") or op.memo.get("confirms")):
        return None
    shown = op.looks > 0 and op.live is not None and _shown(op, op.live)
    return Call("confirm") if shown or op.looks >= SETTLING else Wait("until the search shows the change")


def _watch(op: Operation) -> Next | None:
    """Until nodes hold it and its record says so; None once a read by id has shown that. The task tells of failures."""
    live = op.live
    if op.memo.get("vanished"):
        return Failed("it has gone while we waited for it", exists=False)
    if op.memo.get("fresh") and op.looks == 0 and live is not None:
        changed = op.memo.get("put") or op.memo.get("deploy")
        if not changed or op.memo.get("confirms"):
            return _verdict(op, live)
    if op.looks == 0:
        return Wait("until it is deployed")
    if live is None:
        return Call("confirm") if op.looks >= PATIENCE else Wait("until the search shows it")
    refused = _refused(live)
    if live.extra.get("task") == "FAILED" and not refused:
        return Failed(live.reason or "the deploy failed", live=live)
    if refused and not op.memo.get("confirms"):
        return Call("confirm")
    if _enough(op, live) and live.health == "ready" and _shown(op, live):
        return Call("confirm")
    if not _shown(op, live) and op.looks < SETTLING:
        return Wait("until the search shows the change", live.status)
    working = live.extra.get("task") in ("CREATED", "RUNNING") and live.status not in IDLE
    if op.looks >= PATIENCE and (_enough(op, live) or not working):
        return Call("confirm")
    return Wait("until it is deployed", live.status)


def _verdict(op: Operation, live: Live) -> Next | None:
    """Judge a fresh read: as wanted (None), failed, to be deployed once more, or to be waited for."""
    memo, task = op.memo, live.extra.get("task")
    confirms = int(memo.get("confirms") or 0)
    if live.health == "ready" and _enough(op, live):
        return None
    refused = _refused(live)
    if task == "FAILED" and not refused:
        return Failed(live.reason or "the deploy failed", live=live)
    if (task in ("CREATED", "RUNNING") and live.status not in IDLE) or live.health in ("pending", "unknown"):
        return Wait("until it is deployed", live.status)
    if live.health == "updating":  # DEPLOY_FAILED over a loaded model: the next sync-up puts it right
        return Wait("until the cluster has put its record right", live.status)
    if refused and not memo.get("undeployed"):
        return Call("undeploy")
    if task == "COMPLETED_WITH_ERROR" or live.health == "ready":
        missing = sorted(set(wanted_nodes(op) or ()) - set(_worker_nodes(live)))
        why = f"{', '.join(missing)} not known to the cluster, or not eligible" if missing else "not on all nodes"
        return Wait("until all nodes hold it", live.status) if confirms < 2 else Failed(live.reason or why, live=live)
    if confirms < 2 and live.status != "DEPLOY_FAILED":
        return Wait("until it is deployed", live.status)
    if _raced(op) and int(memo.get("deploys") or 0) < MOST_DEPLOYS:  # whoever won did not make it
        return Call("deploy", creates=True, args={"node_ids": _deploy_nodes(op)})
    if live.health == "degraded" and confirms < MOST_CONFIRMS:
        return Wait("until all nodes hold it", live.status)
    return Failed(
        live.reason or f"it is {live.status}: undeployed while we waited, by hand, by a TTL or by the cluster",
        live=live,
    )


def _refused(live: Live) -> bool:
    """Whether nodes refused the deploy: somebody else's is under way there, or they keep a try that failed."""
    return live.extra.get("task") in ("FAILED", "COMPLETED_WITH_ERROR") and _REFUSED in live.reason


def _raced(op: Operation) -> bool:
    deploy = op.memo.get("deploy")
    return isinstance(deploy, dict) and bool(deploy.get("raced"))


# --- undeploy -----------------------------------------------------------------------------------------------------


def _undeploy(op: Operation) -> Next:
    """Undeploy; then, where we registered it: delete model, what is left over in our group, connectors, group."""
    memo, own = op.memo, made(op)
    retain = op.prior.retain if op.prior else bool(op.desired.get("retain"))
    model = model_of(op)
    if model is not None and not memo.get("undeployed"):
        if int(memo.get("undeploys") or 0) >= MOST_UNDEPLOYS:
            return Failed("it is deployed again each time: a predict does that unless is_auto_deploy_enabled is false")
        return Call("undeploy")
    ours = model is not None and own.get("model") == model and not retain
    if model is not None and not ours and not memo.get("vanished") and not memo.get("deleted"):
        if not memo.get("fresh"):
            return Call("confirm")
        if op.live is not None and _worker_nodes(op.live):
            many = int(memo.get("undeploys") or 0) >= MOST_UNDEPLOYS
            return Failed("nodes still hold it", live=op.live) if many else Call("undeploy")
    if ours and not memo.get("deleted"):
        return Call("delete")
    if retain:
        return Done(None)
    if memo.get("blocked") and op.looks == 0:
        return Wait("until nothing uses its surroundings any more")
    if ("group" in own or own_connectors(op)) and not memo.get("swept"):
        if int(memo.get("sweeps") or 0) >= MOST_SWEEPS:
            return Failed(f"model group {own.get('group')} still holds models, or they come back")
        return Call("sweep")
    cleaning = _clean(op)
    if cleaning is not None:
        return cleaning
    return Call("delete_group") if "group" in own and "kept" not in own else Done(None)
