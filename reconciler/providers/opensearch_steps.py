"""What to do next with an operation on an ML Commons model: pure decisions from what was asked, answered and seen.

Nothing here talks. What an operation learns stands in its memo, each call's answer merged over the last:

`surveyed` a look at what stands already was taken · `model` the id once known · `seen` the model before we changed it ·
`gone` recorded ids that are not there any more · `leftovers`, `strays` models and connectors of ours to remove ·
`connector` made by this operation · `task` of a registration · `put` version of the record after our PUT ·
`deploy` how the deploy was answered · `fresh` the last live is a read by id, not a search that may trail behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.model import Json, Live
from reconciler.provider import Call, Done, Failed, Next, Operation, Wait

PATIENCE = 4  # looks that a search may trail behind before a read by id tells; it is refreshed each second
MOST_DEPLOYS = 3
MOST_CONFIRMS = 6
MOST_UNDEPLOYS = 3
MOST_SWEEPS = 3
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


# --- what an operation knows --------------------------------------------------------------------------------------


def made(op: Operation) -> dict[str, str]:
    """What stands beside the deployment because we made it: `group`, `model`, `connector`, `connector_next` (one made
    for an update that is not switched over yet), and `kept`: ids, by commas, of retained models found in the group when
    it was taken again. An empty text says that it is no longer there."""
    gone = op.memo.get("gone") or ()
    known = {**(op.prior.created if op.prior else {}), **op.created}
    return {name: id_ for name, id_ in known.items() if id_ and id_ not in gone}


def own_connectors(op: Operation) -> list[str]:
    """Ids of the connectors that we made for it, each once."""
    return list(dict.fromkeys(id_ for name, id_ in made(op).items() if name.startswith("connector")))


def registers(op: Operation) -> bool:
    """Whether the model is registered from here (and not named by `model_id`)."""
    return not op.desired.get("model_id")


def model_of(op: Operation) -> str | None:
    """The model's id as far as it is known."""
    found = op.memo.get("model") or op.id or (op.prior.id if op.prior else None) or op.desired.get("model_id")
    return found if isinstance(found, str) else None


def changes(op: Operation, name: str) -> bool:
    """Whether the plan changes the attribute `name` or something in it."""
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for path in op.changes)


def wanted_nodes(op: Operation) -> list[str] | None:
    """The nodes to deploy to; None: all that are eligible."""
    nodes = op.desired.get("node_ids")
    return sorted(nodes) if isinstance(nodes, list) and nodes else None


def put_body(op: Operation) -> dict[str, Json]:
    """What of the record has to change, as the body of a PUT.

    `deploy_setting` goes whole: a missing TTL would be written as none. Null is refused, so what the file no longer
    says goes back to what the server would have taken: no text, enabled, no TTL (-1), auto-deploy.
    """
    seen = op.memo.get("seen") or {}
    had: Mapping[str, Json] = seen.get("attributes") or {}
    body: dict[str, Json] = {}
    description = op.desired.get("description")
    if (description is not None or _managed(op, "description")) and not seen.get("described"):
        body["description"] = description or ""
    enabled = op.desired.get("is_enabled")
    if (enabled is not None or _managed(op, "is_enabled")) and (enabled is not False) != (
        had.get("is_enabled") is not False
    ):
        body["is_enabled"] = enabled is not False
    if op.desired.get("rate_limiter") is not None and op.desired["rate_limiter"] != had.get("rate_limiter"):
        body["rate_limiter"] = op.desired["rate_limiter"]
    setting = had.get("deploy_setting") or {}
    ttl, auto = wanted_ttl(op), _wanted_auto(op)
    if ttl != setting.get("model_ttl_minutes") or auto != (setting.get("is_auto_deploy_enabled") is not False):
        body["deploy_setting"] = {"model_ttl_minutes": -1 if ttl is None else ttl, "is_auto_deploy_enabled": auto}
    connector = op.memo.get("connector") or op.desired.get("connector_id")
    if connector and connector != had.get("connector_id"):
        body["connector_id"] = connector
    return body


def wanted_ttl(op: Operation) -> Json:
    """Minutes, or None for no TTL; one that the file never spoke of stays as it is."""
    return _setting(op, "model_ttl_minutes", None)


def _wanted_auto(op: Operation) -> bool:
    return _setting(op, "is_auto_deploy_enabled", True) is not False


def _setting(op: Operation, name: str, default: Json) -> Json:
    asked = (op.desired.get("deploy_setting") or {}).get(name)
    if asked is not None:
        return asked
    prior = (op.prior.spec.get("deploy_setting") or {}) if op.prior else {}
    if prior.get(name) is not None or "deploy_setting" in op.changes or changes(op, f"deploy_setting.{name}"):
        return default
    had = ((op.memo.get("seen") or {}).get("attributes") or {}).get("deploy_setting") or {}
    return had.get(name)


def _managed(op: Operation, name: str) -> bool:
    return changes(op, name) or bool(op.prior and op.prior.spec.get(name) is not None)


def _held(op: Operation) -> list[str]:
    return list((op.memo.get("seen") or {}).get("nodes") or ())


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
        if wanted_ttl(op) != had.get("model_ttl_minutes") and _held(op) and not memo.get("undeployed"):
            return Call("undeploy")  # a TTL is taken over only at the next deploy
        return Call("put")
    if not memo.get("deploy") and _needs_deploy(op):
        return Call("deploy", creates=True, args={"node_ids": _deploy_nodes(op)})
    waiting = _watch(op) if memo.get("deploy") or _held(op) else _settle(op)
    if waiting is not None:
        return waiting
    left = _too_many(op)
    if left:
        return Call("release", args={"node_ids": left})
    return _clean(op) or Done(op.live)


def _needs_deploy(op: Operation) -> bool:
    if op.memo.get("undeployed"):
        return True
    held, seen = set(_held(op)), op.memo.get("seen") or {}
    if op.verb == "deploy":
        return not held or seen.get("state") != "DEPLOYED" or not set(wanted_nodes(op) or ()) <= held
    if not changes(op, "node_ids"):
        return False
    nodes = wanted_nodes(op)
    return nodes is None or not set(nodes) <= held or bool(seen.get("all_nodes"))


def _deploy_nodes(op: Operation) -> list[str]:
    """Nodes for the deploy call; empty: the cluster's own plan. A call that leaves out a node that holds the model is
    refused, so those stay in until they are released."""
    nodes = wanted_nodes(op)
    if nodes is None:
        return []
    return sorted({*nodes, *(() if op.memo.get("undeployed") else _held(op))})


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
    """Whether the search shows our PUT already, so that the next plan will see it."""
    put, version = op.memo.get("put"), live.extra.get("version")
    return not isinstance(put, int) or not isinstance(version, int) or version >= put


def _settle(op: Operation) -> Next | None:
    """After a change of the record alone, of a model that is not deployed."""
    if op.memo.get("vanished"):
        return Failed("it has gone while we waited for it", exists=False)
    if op.memo.get("fresh") and op.looks == 0 and (not op.memo.get("put") or op.memo.get("confirms")):
        return None
    shown = op.looks > 0 and op.live is not None and _shown(op, op.live)
    return Call("confirm") if shown or op.looks >= PATIENCE else Wait("until the search shows the change")


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
    if live.extra.get("task") == "FAILED":
        return Failed(live.reason or "the deploy failed", live=live)
    if _enough(op, live) and live.health == "ready" and _shown(op, live):
        return Call("confirm")
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
    if task == "FAILED":
        return Failed(live.reason or "the deploy failed", live=live)
    if (task in ("CREATED", "RUNNING") and live.status not in IDLE) or live.health in ("pending", "unknown"):
        return Wait("until it is deployed", live.status)
    if live.health == "updating":  # DEPLOY_FAILED over a loaded model: the next sync-up puts it right
        return Wait("until the cluster has put its record right", live.status)
    if task == "COMPLETED_WITH_ERROR" or live.health == "ready":
        missing = sorted(set(wanted_nodes(op) or ()) - set(_worker_nodes(live)))
        why = f"{', '.join(missing)} not known to the cluster, or not eligible" if missing else "not on all nodes"
        return Wait("until all nodes hold it", live.status) if confirms < 2 else Failed(live.reason or why, live=live)
    if confirms < 2 and live.health != "failed":
        return Wait("until it is deployed", live.status)
    if _raced(op) and int(memo.get("deploys") or 0) < MOST_DEPLOYS:  # whoever won did not make it
        return Call("deploy", creates=True, args={"node_ids": _deploy_nodes(op)})
    if live.health == "degraded" and confirms < MOST_CONFIRMS:
        return Wait("until all nodes hold it", live.status)
    return Failed(
        live.reason or f"it is {live.status}: undeployed while we waited, by hand, by a TTL or by the cluster",
        live=live,
    )


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
            return (
                Call("undeploy")
                if int(memo.get("undeploys") or 0) < MOST_UNDEPLOYS
                else Failed("nodes still hold it", live=op.live)
            )
    if ours and not memo.get("deleted"):
        return Call("delete")
    if retain:
        return Done(None)
    if ("group" in own or own_connectors(op)) and not memo.get("swept"):
        if int(memo.get("sweeps") or 0) >= MOST_SWEEPS:
            return Failed(f"model group {own.get('group')} still holds models, or they come back")
        return Call("sweep")
    cleaning = _clean(op)
    if cleaning is not None:
        return cleaning
    return Call("delete_group") if "group" in own and "kept" not in own else Done(None)
