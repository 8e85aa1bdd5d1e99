"""What is sent to ML Commons for a declared model, and what is remembered of one that stands: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, count

from reconciler.model import Json, Live
from reconciler.provider import Operation, Reply
from reconciler.providers import opensearch_memo as memory
from reconciler.providers import opensearch_wire as wire_format

_REGISTER_FIELDS = (
    "name",
    "function_name",
    "description",
    "model_format",
    "url",
    "model_content_hash_value",
    "model_config",
    "version",
    "rate_limiter",
)


def description(hit: Mapping[str, Json]) -> Json:
    return (hit.get("_source") or {}).get("description")


def kept(own: Mapping[str, str]) -> list[str]:
    return own["kept"].split(",") if "kept" in own else []


def slot(op: Operation) -> str:
    """Under which name a new connector is written down: beside the one in use until the model is switched over, and
    those that could not be removed yet because models of others use them."""
    names = chain(("connector", "connector_next"), (f"connector_next_{number}" for number in count(2)))
    return next(name for name in names if name not in memory.made(op))


def connector_body(op: Operation) -> dict[str, Json]:
    asked: Mapping[str, Json] = op.desired["connector"]
    body = {name: value for name, value in asked.items() if value is not None}
    body["name"] = asked.get("name") or op.desired.get("name") or op.address
    body["version"] = str(asked.get("version") or "1")
    body["protocol"] = asked.get("protocol") or "http"
    body["description"] = wire_format.marked_text(asked.get("description"), op.mark)
    return body


def register_body(op: Operation) -> dict[str, Json]:
    body = {name: op.desired[name] for name in _REGISTER_FIELDS if op.desired.get(name) is not None}
    body.setdefault("function_name", "remote")
    if memory.is_marked(op):
        body["description"] = wire_format.marked_text(body.get("description"), op.mark)
    body["model_group_id"] = memory.made(op)["group"]
    connector = op.memo.get("connector") or op.desired.get("connector_id")
    if connector:
        body["connector_id"] = connector
    setting = op.desired.get("deploy_setting")
    if setting:
        ttl, auto = setting.get("model_ttl_minutes"), setting.get("is_auto_deploy_enabled")
        body["deploy_setting"] = {
            "model_ttl_minutes": -1 if ttl is None else ttl,
            "is_auto_deploy_enabled": auto is not False,
        }
    return body


def registered(op: Operation, model: str) -> Reply:
    """A fresh model: as declared, but for `is_enabled`, which a registration ignores, and what a pretrained one is
    called."""
    described = not (memory.is_pretrained(op) and op.desired.get("description"))
    setting = op.desired.get("deploy_setting") or {}
    had = {
        "is_enabled": True,
        "rate_limiter": op.desired.get("rate_limiter"),
        "deploy_setting": wire_format.deploy_setting(setting),
        "connector_id": op.memo.get("connector") or op.desired.get("connector_id"),
    }
    seen = {"state": "REGISTERED", "nodes": [], "all_nodes": True, "described": described, "attributes": had}
    return Reply(id=model, created={"model": model}, memo={"model": model, "seen": seen})


def seen_of(op: Operation, live: Live) -> dict[str, Json]:
    """What the next steps need to know of a model that stands. Its description stays out: it may be sensitive."""
    names = ("is_enabled", "rate_limiter", "deploy_setting", "connector_id")
    return {
        "state": live.status,
        "nodes": live.computed["worker_nodes"],
        "all_nodes": live.attributes.get("node_ids") is None,
        "described": (op.desired.get("description") or None) == live.attributes.get("description"),
        "attributes": {name: live.attributes.get(name) for name in names},
    }


def agrees(op: Operation, live: Live) -> bool:
    """Whether a registered model is the declared one in what can't be changed.

    What the server does not return (where it was fetched from, its configuration) is compared with the record.
    """
    prior = op.prior.spec if op.prior else {}
    return fits(op.desired, live) and all(
        prior.get(name) in (None, op.desired.get(name)) for name in ("url", "model_config", "version")
    )


def same_content(op: Operation) -> bool:
    """Whether what an earlier run began to register is what is declared now."""
    if op.prior is None:
        return False
    names = ("name", "function_name", "model_format", "model_content_hash_value", "url", "model_config", "version")
    return all(op.prior.spec.get(name) == op.desired.get(name) for name in names)


def fits(spec: Mapping[str, Json], live: Live) -> bool:
    """Whether nothing that the server returned of a model's own kind and content is other than in the spec."""
    for name in ("function_name", "model_format", "model_content_hash_value"):
        asked, found = spec.get(name), live.attributes.get(name)
        if isinstance(asked, str) and isinstance(found, str) and asked.lower() != found.lower():
            return False
    return True


def predict_body(kind: str) -> dict[str, Json]:
    """The smallest `_predict` of a kind of model (`function_name`): a text for a local one; for a remote one the
    parameters that connectors of chat, completion and embedding models name. A connector takes those that its own
    `request_body` has a place for; one that needs others is probed with a `body` of the file."""
    if kind == "remote":
        messages = [{"role": "user", "content": "ping"}]
        return {"parameters": {"messages": messages, "prompt": "ping", "inputs": "ping", "input": ["ping"]}}
    if kind == "text_similarity":
        return {"query_text": "ping", "text_docs": ["ping"]}
    if kind == "question_answering":
        return {"question": "ping", "context": "ping"}
    return {"text_docs": ["ping"]}
