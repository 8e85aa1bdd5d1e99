"""What an operation on an ML Commons model knows: what we made, what it is to become. Pure; decides no step.

What it learns stands in its memo, each call's answer merged over the last:

`surveyed` a look at what stands already was taken · `model` the id once known · `seen` the model before we changed it ·
`gone` recorded ids that are not there any more · `leftovers`, `strays` models and connectors of ours to remove ·
`connector` made by this operation · `task` of a registration · `put` version of the record after our PUT ·
`deploy` how the deploy was answered · `fresh` the last live is a read by id, not a search that may trail behind.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model import Json
from reconciler.provider import Operation
from reconciler.providers import opensearch_wire as wire_format


def made(op: Operation) -> dict[str, str]:
    """What stands beside the deployment because we made it: `group`, `model`, `connector`, `connector_next` (one made
    for an update that is not switched over yet; with a number where older ones could not be removed), `task` (of a
    registration that is not over), `held` (auto-deploy, which a TTL change switched off for a moment), and `kept`: ids,
    by commas, of models in the group that stay: retained ones, or others'. An empty text: it is no longer there."""
    gone = op.memo.get("gone") or ()
    known = {**(op.prior.created if op.prior else {}), **op.created}
    return {name: id_ for name, id_ in known.items() if id_ and id_ not in gone}


def own_connectors(op: Operation) -> list[str]:
    """Ids of the connectors that we made for it, each once."""
    return list(dict.fromkeys(id_ for name, id_ in made(op).items() if name.startswith("connector")))


def registers(op: Operation) -> bool:
    """Whether the model is registered from here (and not named by `model_id`)."""
    return not op.desired.get("model_id")


def is_marked(op: Operation) -> bool:
    """Whether the model's own description carries our mark: no connector of its own tells that it is ours."""
    return registers(op) and not op.desired.get("connector")


def is_pretrained(op: Operation) -> bool:
    """Whether the cluster fetches what it registers by name alone: it writes a description of its own then (2.19
    source, ModelHelper.downloadPrebuiltModelConfig)."""
    return is_marked(op) and not op.desired.get("url") and not op.desired.get("connector_id")


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
        body["description"] = wire_format.marked_text(description, op.mark) if is_marked(op) else description or ""
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
    asked = (op.desired.get("deploy_setting") or {}).get("is_auto_deploy_enabled")
    if asked is None and "held" in made(op):
        return True
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


def held(op: Operation) -> list[str]:
    return list((op.memo.get("seen") or {}).get("nodes") or ())
