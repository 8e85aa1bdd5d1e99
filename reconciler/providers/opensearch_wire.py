"""ML Commons' wire format as pure functions: its answers in canonical form, and what their states mean.

Nothing here talks or decides. Facts were seen on OpenSearch 2.19.1 (and 3.4.0) unless a line says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.model import Health, Json, Live

PATH = "/_plugins/_ml"
PAGE_SIZE = 200
MARK = "reconciler:"

# Names of 2.4 to 2.7, which an index may still hold.
_SYNONYMS: Mapping[str, str] = {
    "UPLOADING": "REGISTERING",
    "UPLOADED": "REGISTERED",
    "LOADING": "DEPLOYING",
    "LOADED": "DEPLOYED",
    "PARTIALLY_LOADED": "PARTIALLY_DEPLOYED",
    "UNLOADED": "UNDEPLOYED",
    "LOAD_FAILED": "DEPLOY_FAILED",
}
IDLE = ("REGISTERED", "UNDEPLOYED", "TRAINED")
_SOURCE: Json = {"excludes": ["model_content", "content", "old_model_content"]}
_ACTION_FIELDS = ("method", "url", "headers", "request_body", "pre_process_function", "post_process_function")


# --- queries ------------------------------------------------------------------------------------------------------


def page_query(group: str | None = None, after: Json = None, *, by_id: bool = True) -> dict[str, Json]:
    """One page of all models (or of a group's), oldest first. Chunks of local models stand in the same index and are
    left out.

    `by_id` False: for clusters that do not sort by `_id` (`indices.id_field_data.enabled`).
    """
    query: dict[str, Json] = {"must_not": [{"exists": {"field": "chunk_number"}}]}
    if group is not None:
        query["filter"] = [{"term": {"model_group_id": group}}]
    body: dict[str, Json] = {
        "size": PAGE_SIZE,
        "query": {"bool": query},
        "sort": [{"created_time": "asc"}, {"_id": "asc"} if by_id else {"_seq_no": "asc"}],
        "_source": _SOURCE,
    }
    if after is not None:
        body["search_after"] = after
    return body


def ids_query(ids: Sequence[str]) -> dict[str, Json]:
    """The documents of these ids; the default size of a search is 10."""
    return {"size": max(1, len(ids)), "query": {"terms": {"_id": list(ids)}}, "_source": _SOURCE}


def phrase_query(mark: str) -> dict[str, Json]:
    """Groups or connectors whose description holds the mark's words in this order; the caller compares exactly."""
    return {"size": PAGE_SIZE, "query": {"match_phrase": {"description": mark}}}


def name_query(name: str) -> dict[str, Json]:
    """Groups of exactly this name (`name` itself is analysed; `name.keyword` ignores more than 256 characters)."""
    return {"size": PAGE_SIZE, "query": {"term": {"name.keyword": name}}}


# --- marks --------------------------------------------------------------------------------------------------------


def marked_text(text: Json, mark: str) -> str:
    """A description with our mark as its last line."""
    return f"{text}\n{mark}" if isinstance(text, str) and text else mark


def mark_of(text: Json) -> str:
    """The mark in a description, empty where there is none."""
    last = text.rpartition("\n")[2] if isinstance(text, str) else ""
    return last if last.startswith(MARK) else ""


def unmarked(text: Json) -> str | None:
    """A description without its mark; None where nothing is left."""
    if not isinstance(text, str):
        return None
    return (text.rpartition("\n")[0] if mark_of(text) else text) or None


def of_lineage(text: Json, mark: str) -> bool:
    """Whether the description carries a mark of the lineage that `mark` names (`reconciler:<lineage>/…`)."""
    return mark_of(text).startswith(mark.partition("/")[0] + "/")


def of_address(text: Json, mark: str) -> bool:
    """Whether the description carries a mark of the same lineage and address, of whatever intent."""
    return mark_of(text).rpartition("/")[0] == mark.rpartition("/")[0] != ""


# --- states -------------------------------------------------------------------------------------------------------


def state_of(source: Mapping[str, Json]) -> str:
    """`model_state` by its present name."""
    state = str(source.get("model_state") or "")
    return _SYNONYMS.get(state, state)


def judge(state: str, holders: Sequence[str]) -> tuple[Health, bool, str]:
    """Health, dormancy and a reason from the record's state and from the nodes that really hold the model.

    The record is written by requests and by a job each 10 s; what the nodes say about themselves is the truth.
    """
    held = "1 node holds it" if len(holders) == 1 else f"{len(holders)} nodes hold it"
    if state in IDLE:
        return ("degraded", False, f"its record says {state}, but {held} still") if holders else ("stopped", True, "")
    if state in ("DEPLOYED", "PARTIALLY_DEPLOYED"):
        if not holders:  # nodes were lost; the cluster may deploy it again by itself when one joins
            return "failed", False, f"its record says {state}, but no node holds it"
        return ("ready", False, "") if state == "DEPLOYED" else ("degraded", False, f"only {held}")
    if state in ("DEPLOYING", "REGISTERING"):
        return "pending", False, ""
    if state == "DEPLOY_FAILED":
        if holders:  # losers of deploys at the same instant may write this; the next sync-up puts it right
            return "updating", False, f"its record says DEPLOY_FAILED, but {held}"
        return "failed", False, "the last deploy failed"
    return "unknown", False, f"unknown model_state {state!r}"


def holders(profile: Json) -> dict[str, tuple[str, ...]]:
    """Model id to the ids of the nodes that hold it, from `profile/models`: only a node's own DEPLOYED counts.

    After a failed deploy a node goes on saying DEPLOYING, and nodes that only route list it without a state.
    """
    found: dict[str, list[str]] = {}
    nodes = profile.get("nodes") if isinstance(profile, dict) else None
    for node, said in (nodes or {}).items():
        for model, entry in (said.get("models") or {}).items():
            if str(entry.get("model_state", "")).upper() in ("DEPLOYED", "LOADED"):
                found.setdefault(model, []).append(node)
    return {model: tuple(sorted(nodes_)) for model, nodes_ in found.items()}


def task_error(error: Json) -> str:
    """A task's error for people. It is a JSON text `{"<node id>": "reason"}`, or plain text."""
    try:
        told = json.loads(error) if isinstance(error, str) else error
    except ValueError:
        return str(error)
    if isinstance(told, dict):
        reasons = sorted({str(reason) for reason in told.values()})
        return f"{'; '.join(reasons)} (on {len(told)} node{'s' if len(told) != 1 else ''})"
    return "" if told is None else str(error)


# --- models -------------------------------------------------------------------------------------------------------


def live_model(
    model_id: str,
    source: Mapping[str, Json],
    nodes: Sequence[str],
    *,
    group: Mapping[str, Json] | None = None,
    connector: Mapping[str, Json] | None = None,
    extra: Mapping[str, Json] | None = None,
) -> Live:
    """A model in canonical form; `group` and `connector` are their documents where they are known."""
    state = state_of(source)
    health, dormant, reason = judge(state, nodes)
    identities = [f"id:{model_id}"]
    if group and isinstance(group.get("name"), str):
        identities.append(f"name:{group['name']}")
    found = attributes(model_id, source, nodes, group, connector)
    known = {
        "id": model_id,
        "model_group_id": source.get("model_group_id"),
        "connector_id": source.get("connector_id"),
        "status": state,
        "worker_nodes": sorted(nodes),
    }
    return Live(
        id=model_id,
        identities=tuple(identities),
        name=str(source.get("name") or model_id),
        attributes=found,
        computed={name: value for name, value in known.items() if value is not None},
        status=state,
        health=health,
        dormant=dormant,
        reason=reason,
        extra={**declaration(found, own=bool(group and mark_of(group.get("description")))), **(extra or {})},
    )


def declaration(found: Mapping[str, Json], *, own: bool) -> dict[str, Json]:
    """What a file would say of a model that nobody manages: `declare` a spec, `missing` what the server never returns.

    A model in a group of ours was registered from a file; any other is named by its id, and is never deleted.
    """
    names = ["description", "rate_limiter", "node_ids"]
    names += ["name", "function_name", "model_format", "model_content_hash_value"] if own else ["model_id"]
    declared = {name: found[name] for name in names if found.get(name) is not None}
    if found.get("is_enabled") is False:
        declared["is_enabled"] = False
    setting = {name: value for name, value in found["deploy_setting"].items() if value not in (None, True)}
    if setting:
        declared["deploy_setting"] = setting
    if not own:
        return {"declare": declared, "missing": []}
    if found.get("connector_id"):
        declared["connector_id"] = found["connector_id"]
    return {"declare": declared, "missing": [] if found.get("function_name") == "remote" else ["version"]}


def attributes(
    model_id: str,
    source: Mapping[str, Json],
    nodes: Sequence[str],
    group: Mapping[str, Json] | None,
    connector: Mapping[str, Json] | None,
) -> dict[str, Json]:
    """The spec's attributes as the server returned them; null stands for what it says is not set.

    A model's number (`model_version`) is the server's own and no `version`; url and model_config do not come back
    as sent.
    """
    found: dict[str, Json] = {
        "model_id": model_id,
        "function_name": str(source.get("algorithm") or "").lower() or None,
        "description": unmarked(source.get("description")),
        "is_enabled": source.get("is_enabled") is not False,
        "rate_limiter": rate_limiter(source.get("rate_limiter")),
        "deploy_setting": deploy_setting(source.get("deploy_setting")),
        "node_ids": None if source.get("deploy_to_all_nodes") else sorted(nodes),
    }
    if group and isinstance(group.get("name"), str):
        found["name"] = group["name"]
    for name in ("connector_id", "model_format", "model_content_hash_value"):
        if source.get(name):
            found[name] = source[name]
    if connector is not None:
        found["connector"] = connector_attributes(connector)
    return found


def rate_limiter(raw: Json) -> Json:
    """`limit` comes back as text; an empty object is none."""
    if not isinstance(raw, dict) or not raw.get("limit"):
        return None
    return {"limit": number(raw["limit"]), "unit": raw.get("unit")}


def deploy_setting(raw: Json) -> dict[str, Json]:
    """Absent, null and any negative TTL are one thing: none. Auto-deploy is on unless it says false."""
    given: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    ttl = given.get("model_ttl_minutes")
    return {
        "model_ttl_minutes": int(ttl) if isinstance(ttl, int | float) and ttl >= 0 else None,
        "is_auto_deploy_enabled": given.get("is_auto_deploy_enabled") is not False,
    }


def number(raw: Json) -> Json:
    """A number that came back as text; what is none stays as it is."""
    try:
        value = float(raw)
    except (TypeError, ValueError):
        return raw
    return int(value) if value.is_integer() else value


# --- connectors ---------------------------------------------------------------------------------------------------


def connector_attributes(source: Mapping[str, Json]) -> dict[str, Json]:
    """A connector as the spec writes it: without our mark, action types in lower case, parameters typed again.

    `credential` never comes back and `version` comes back as text whatever was sent: both are left out.
    """
    found: dict[str, Json] = {
        "name": source.get("name"),
        "description": unmarked(source.get("description")),
        "protocol": source.get("protocol"),
        "parameters": {name: typed(value) for name, value in (source.get("parameters") or {}).items()},
        "actions": [_action(action) for action in source.get("actions") or []],
    }
    if source.get("client_config"):
        found["client_config"] = dict(source["client_config"])
    return found


def _action(raw: Mapping[str, Json]) -> dict[str, Json]:
    known = {name: raw[name] for name in _ACTION_FIELDS if raw.get(name) is not None}
    return {"action_type": str(raw.get("action_type") or "").lower(), **known}


def typed(text: Json) -> Json:
    """A parameter as it was before the server made text of it: `"7"` is 7, `"[1]"` is a list, `"gpt"` is itself.

    The server keeps 7 and "7" alike, so the adapter's `check` asks for the one that is read here.
    """
    if not isinstance(text, str):
        return text
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    return text if isinstance(value, str) else value


def _no_constant(name: str) -> Json:
    raise ValueError(name)


# --- errors -------------------------------------------------------------------------------------------------------


def explain(status: int, body: Json) -> tuple[str | None, str]:
    """(type, reason) of an error body: an object with root causes, or a plain string (no handler, wrong method)."""
    error = body.get("error") if isinstance(body, dict) else body
    if isinstance(error, dict):
        causes = error.get("root_cause")
        root = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], dict) else {}
        return root.get("type") or error.get("type"), str(
            error.get("reason") or root.get("reason") or f"status {status}"
        )
    return None, str(error) if error else f"status {status}"


# --- tasks --------------------------------------------------------------------------------------------------------


def with_task(live: Live, task: Mapping[str, Json] | None) -> Live:
    """A model with what its task says: `extra.task` its state, and the reason where it failed."""
    if task is None:
        return live
    error = task_error(task["error"]) if task.get("error") else ""
    return replace(live, reason=error or live.reason, extra={**live.extra, "task": task.get("state")})


def live_task(task_id: str, task: Mapping[str, Json]) -> Live:
    """A registration under way: no model yet, but its task (`extra.model` once there is one)."""
    state = str(task.get("state") or "")
    error = task_error(task["error"]) if task.get("error") else ""
    return Live(
        id="",
        identities=(),
        name=task_id,
        attributes={},
        computed={},
        status=state,
        health="failed" if state == "FAILED" else "pending",
        reason=error,
        extra={"task": state, "model": task.get("model_id")},
    )
