"""OpenSearch ML Commons, simulated: one cluster with the plugin, without the native code that would run local models.

Routes, statuses, bodies and refusals are those seen on OpenSearch 2.19.1 with ML Commons 2.19.1.0. It knows nothing of
the adapter. Registering and deploying stand in opensearch_models.py, documents and searches in opensearch_index.py.

Knobs beside the common ones (`lag`, `shuffle`, `deploy_seconds`, `fail_deploys`, `never_ready`, `instant`): `put_lag`
(seconds until a search shows a PUT or the end of a deploy; about 1 on 2.19.1), `nodes` (ids of the live nodes),
`custom_plan` (node_ids allowed), `security` (credentials needed), `no_plugin`, `master_key_failures` (so many creates
and deploys answer 500 first), `conflict_status` (of simultaneous deploys: 500 or 409), `id_sort` (false: sorting by
_id is off), `forbidden` (ids of models that may not be seen), `fail_registers`, `register_seconds`, `sync_seconds`,
`auto_deploy` (false: a predict does not deploy), `probe_fails_for` (inference.py).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from reconciler.model import Json
from reconciler.sandbox.base import Request, Response, Simulator, World
from reconciler.sandbox.opensearch_index import Index, Refused
from reconciler.sandbox.opensearch_models import Models

_ML = "/_plugins/_ml/"
_PARAMETERS = ("pretty", "human", "error_trace", "filter_path")
_KINDS = {"models": "index", "model_groups": "groups", "connectors": "connectors", "tasks": "tasks"}
_ACTIONS = ("PREDICT", "EXECUTE", "BATCH_PREDICT", "CANCEL_BATCH_PREDICT", "BATCH_PREDICT_STATUS")
_CLIENT_CONFIG = {
    "max_connection": 30,
    "connection_timeout": 30000,
    "read_timeout": 30000,
    "retry_backoff_millis": 200,
    "retry_timeout_seconds": 30,
    "max_retry_times": 0,
    "retry_backoff_policy": "constant",
}


class OpenSearch(Simulator):
    """One cluster."""

    type: ClassVar[str] = "opensearch"
    credentials: ClassVar[Mapping[str, str]] = {"username": "sandbox", "password": "sandbox-opensearch-password"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._models = Models(world)

    def handle(self, request: Request) -> Response:
        """Answer one request as the cluster does."""
        try:
            if not self._may(request):
                header = {"www-authenticate": 'Basic realm="OpenSearch Security"', "content-type": "text/plain"}
                return Response(401, "Unauthorized", header)
            return self._route(request)
        except Refused as refused:
            inner = {"type": refused.kind, "reason": refused.reason}
            outer = {"type": "status_exception", "reason": refused.outer} if refused.outer else inner
            return Response(refused.status, {"error": {"root_cause": [inner], **outer}, "status": refused.status})

    def _may(self, request: Request) -> bool:
        """A cluster without the security plugin asks for nothing; what is sent must be right all the same."""
        header = request.headers.get("authorization")
        if header is None:
            return not self.world.knob("security", False)
        user, password = self.credentials["username"], self.credentials["password"]
        return header == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    # --- what a file takes for granted --------------------------------------------------------------------------------
    def presuppose(self, specs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[str]:  # noqa: ARG002 - the base's signature
        """Registered models, connectors and nodes that the specs name; what a spec needs the cluster to allow."""
        made: list[str] = []
        for spec in specs:
            connector, model = spec.get("connector_id"), spec.get("model_id")
            if isinstance(connector, str) and not self._models.connectors.known(connector):
                self.add_connector(connector)
                made.append(f"connector {connector}")
            if isinstance(model, str) and not self._models.index.known(model):
                self.add_model(model)
                made.append(f"registered model {model}")
            if isinstance(spec.get("url"), str) and not self.world.data.get("by_url"):
                self.world.data["by_url"] = True
                made.append("a cluster that takes models by url")
            made += self._presuppose_nodes(spec.get("node_ids"))
        return made

    def _presuppose_nodes(self, nodes: Json) -> list[str]:
        wanted = [node for node in nodes if isinstance(node, str)] if isinstance(nodes, list) else []
        missing = [node for node in dict.fromkeys(wanted) if node not in self._models.nodes()]
        made = [f"node {node}" for node in missing]
        if wanted and not self.world.data.get("custom_plan"):
            self.world.data["custom_plan"] = True
            made.append("a cluster that allows custom deployment plans")
        self.world.data["nodes"] = [*self._models.nodes(), *missing]
        return made

    def add_connector(self, id_: str) -> None:
        """Put a connector into the world, as if somebody had made it."""
        now = int(self.world.now() * 1000)
        action = {"action_type": "PREDICT", "method": "POST", "url": "https://service.invalid/v1", "request_body": "{}"}
        about = {"name": id_, "version": "1", "protocol": "http", "parameters": {}, "actions": [action]}
        self._models.connectors.add(id_, {**about, "created_time": now, "last_updated_time": now})

    def add_model(self, id_: str, **values: Json) -> None:
        """Put a registered remote model into the world, in a group of its name."""
        now, connector = int(self.world.now() * 1000), self.world.new_id("", 20)
        self.add_connector(connector)
        about = {"name": id_, "algorithm": "REMOTE", "model_state": "REGISTERED", "model_version": "1"}
        group = self._models.add_group(id_, None)
        self._models.groups.change(group, {"latest_version": 1}, late=False)
        place = {"connector_id": connector, "model_group_id": group}
        times = {"created_time": now, "last_updated_time": now, "is_hidden": False}
        self._models.index.add(id_, {**about, **place, **times, **values})

    # --- routing ------------------------------------------------------------------------------------------------------
    def _route(self, request: Request) -> Response:
        if request.path == "/":
            return Response(200, {"name": "sandbox", "cluster_name": "sandbox", "version": {"number": "2.19.1"}})
        if request.path == "/_cat/plugins":
            rows = [{"name": "sandbox", "component": "opensearch-ml", "version": "2.19.1.0"}]
            return Response(200, [] if self.world.knob("no_plugin", False) else rows)
        parts = request.path.removeprefix(_ML).split("/") if request.path.startswith(_ML) else []
        methods = None if self.world.knob("no_plugin", False) else self._methods(parts, request)
        if methods is None:
            text = f"no handler found for uri [{request.path}] and method [{request.method}]"
            return Response(400, {"error": text})
        if request.method not in methods:
            allowed = ", ".join(methods)
            text = f"Incorrect HTTP method for uri [{request.path}] and method [{request.method}], allowed: [{allowed}]"
            return Response(405, {"error": text, "status": 405})
        self._check_parameters(request, parts)
        return Response(200, methods[request.method]())

    def _methods(self, parts: list[str], request: Request) -> Mapping[str, Callable[[], Json]] | None:
        """What may be asked of a path, by method; None for a path that nobody handles."""
        models = self._models
        match parts:
            case ["models" | "model_groups" | "connectors" | "tasks" as kind, "_search"]:
                return dict.fromkeys(("GET", "POST"), lambda: self._search(kind, request))
            case ["models", "_register"]:
                return {"POST": lambda: self._register(request)}
            case ["models", "_undeploy"]:
                return {"POST": lambda: self._undeploy_some(_body(request))}
            case ["models", id_, "_deploy"]:
                return {"POST": lambda: self._with_key(lambda: models.deploy(id_, _body(request, needed=False)))}
            case ["models", id_, "_undeploy"]:
                return {"POST": lambda: models.undeploy([id_])}
            case ["models", id_, "_predict"]:
                return {"POST": lambda: models.predict(id_, _body(request))}
            case ["models", id_] if not id_.startswith("_"):
                put = lambda: models.put(id_, _body(request))  # noqa: E731 - the body is read for a PUT alone
                return {"DELETE": lambda: models.delete(id_), "PUT": put, "GET": lambda: models.get(id_)}
            case ["connectors", "_create"]:
                return {"POST": lambda: self._with_key(lambda: self._create_connector(_body(request)))}
            case ["connectors", id_]:
                put = lambda: self._put_connector(id_, _body(request))  # noqa: E731 - the body is read for a PUT alone
                get, delete = (lambda: self._get("connector", id_)), (lambda: self._delete_connector(id_))
                return {"DELETE": delete, "PUT": put, "GET": get}
            case ["model_groups", "_register"]:
                return {"POST": lambda: self._register_group(_body(request))}
            case ["model_groups", id_]:
                put = lambda: self._put_group(id_, _body(request))  # noqa: E731 - the body is read for a PUT alone
                get, delete = (lambda: self._get("model group", id_)), (lambda: self._delete_group(id_))
                return {"DELETE": delete, "PUT": put, "GET": get}
            case ["tasks", id_]:
                return {"GET": lambda: self._get("task", id_), "DELETE": lambda: self._gone(models.tasks, id_)}
            case ["profile"] | ["profile", "models"]:
                return {"GET": lambda: models.profile(None)}
            case ["profile", "models", id_]:
                return {"GET": lambda: models.profile(id_)}
        return None

    def _check_parameters(self, request: Request, parts: list[str]) -> None:
        known = (*_PARAMETERS, "deploy") if parts == ["models", "_register"] else _PARAMETERS
        unknown = next((name for name in request.query if name not in known), None)
        if unknown is not None:
            reason = f"request [{request.path}] contains unrecognized parameter: [{unknown}]"
            raise Refused(400, "illegal_argument_exception", reason)

    def _with_key(self, act: Callable[[], Json]) -> Json:
        """In the first seconds of a cluster there is no key to encrypt with."""
        left = int(self.world.knob("master_key_failures", 0))
        if left:
            self.world.knobs["master_key_failures"] = left - 1
            raise Refused(500, "m_l_exception", "Fetching master key timed out.")
        return act()

    # --- documents ----------------------------------------------------------------------------------------------------
    def _search(self, kind: str, request: Request) -> Json:
        if not request.body:
            raise Refused(400, "parse_exception", "request body or source parameter is required")
        index: Index = getattr(self._models, _KINDS[kind])
        return index.search(_body(request), hidden=self.world.knob("forbidden", []) if kind == "models" else ())

    def _get(self, kind: str, id_: str) -> Json:
        indexes = {"connector": self._models.connectors, "model group": self._models.groups, "task": self._models.tasks}
        found = indexes[kind].get(id_)
        if found is None:
            words = (
                "Failed to find task" if kind == "task" else f"Failed to find {kind} with the provided {kind} id: {id_}"
            )
            raise Refused(404, "status_exception", words)
        return found

    def _gone(self, index: Index, id_: str) -> Json:
        """Deleting what is not there is answered with 200 all the same."""
        result = "deleted" if index.delete(id_) else "not_found"
        return {"_index": index.name, "_id": id_, "result": result, "forced_refresh": True}

    def _register(self, request: Request) -> Json:
        answer = self._models.register(_body(request))
        if request.query.get("deploy") == "true" and "model_id" in answer:
            self._models.deploy(answer["model_id"], {})
        return answer

    def _undeploy_some(self, body: Mapping[str, Json]) -> Json:
        ids, nodes = body.get("model_ids"), body.get("node_ids")
        if nodes and not (self.world.data.get("custom_plan") or self.world.knob("custom_plan", False)):
            raise Refused(400, "illegal_argument_exception", "Don't allow custom deployment plan")
        if not ids:
            raise Refused(400, "illegal_argument_exception", "Must set specific model ids to undeploy")
        return self._models.undeploy(ids, nodes or None)

    # --- groups -------------------------------------------------------------------------------------------------------
    def _register_group(self, body: Mapping[str, Json]) -> Json:
        name = body.get("name")
        if not isinstance(name, str):
            raise Refused(500, "null_pointer_exception", "model group name must not be null")
        same = [id_ for id_, found in self._models.groups.items() if found["name"] == name]
        if same:
            reason = f"The name you provided is already being used by a model group with ID: {same[0]}."
            raise Refused(400, "illegal_argument_exception", reason)
        access = next(
            (field for field in ("access_mode", "backend_roles", "add_all_backend_roles") if field in body), None
        )
        if access:
            reason = (
                "You cannot specify model access control parameters because the Security plugin or model access "
                "control is disabled on your cluster."
            )
            raise Refused(400, "illegal_argument_exception", reason)
        return {"model_group_id": self._models.add_group(name, body.get("description")), "status": "CREATED"}

    def _put_group(self, id_: str, body: Mapping[str, Json]) -> Json:
        self._get("model group", id_)
        self._models.groups.change(id_, {name: body[name] for name in ("name", "description") if name in body})
        return {"status": "Updated"}

    def _delete_group(self, id_: str) -> Json:
        if self._models.uses("model_group_id", id_):
            reason = "Cannot delete the model group when it has associated model versions"
            raise Refused(409, "status_exception", reason)
        return self._gone(self._models.groups, id_)

    # --- connectors ---------------------------------------------------------------------------------------------------
    def _create_connector(self, body: Mapping[str, Json]) -> Json:
        id_, now = self.world.new_id("", 20), int(self.world.now() * 1000)
        self._models.connectors.add(id_, {**_connector(body), "created_time": now, "last_updated_time": now})
        return {"connector_id": id_}

    def _put_connector(self, id_: str, body: Mapping[str, Json]) -> Json:
        """Refused while a model that uses it is deployed; parameters are merged, not replaced."""
        found = self._get("connector", id_)
        models = self._models
        used = [model for model in models.uses("connector_id", id_) if models.holders(model)]
        if used:
            reason = (
                f"{len(used)} models are still using this connector, please undeploy the models first: {_listed(used)}"
            )
            raise Refused(400, "status_exception", reason)
        asked = {name: value for name, value in body.items() if name != "credential"}
        asked["parameters"] = {**found.get("parameters", {}), **_texts(body.get("parameters") or {})}
        if "actions" in asked:
            asked["actions"] = [_action(action) for action in asked["actions"]]
        models.connectors.change(id_, asked)
        return {"_index": models.connectors.name, "_id": id_, "result": "updated"}

    def _delete_connector(self, id_: str) -> Json:
        used = self._models.uses("connector_id", id_)
        if used:
            reason = f"{len(used)} models are still using this connector, please delete or update the models first: "
            reason += _listed(used)
            raise Refused(409, "status_exception", reason)
        return self._gone(self._models.connectors, id_)


SIMULATOR = OpenSearch


def _body(request: Request, *, needed: bool = True) -> dict[str, Any]:
    if not request.body:
        if needed:
            raise Refused(400, "parse_exception", "request body is required")
        return {}
    try:
        found = request.json()
    except ValueError:
        raise Refused(400, "parsing_exception", "Failed to parse the body") from None
    if not isinstance(found, dict):
        raise Refused(400, "parsing_exception", "Failed to parse object: expecting token of type [START_OBJECT]")
    return found


def _listed(ids: Sequence[str]) -> str:
    return f"[{', '.join(ids)}]"


def _connector(body: Mapping[str, Json]) -> dict[str, Json]:
    """A connector as it is kept and returned: without its credential, all parameters and headers as text."""
    for name in ("name", "version", "protocol"):
        if body.get(name) is None:
            raise Refused(400, "illegal_argument_exception", f"Connector {name} is null")
    if body["protocol"] not in ("http", "aws_sigv4"):
        raise Refused(400, "illegal_argument_exception", f"Can't find class for type {body['protocol']}")
    if not body.get("credential"):
        raise Refused(400, "illegal_argument_exception", "Connector credential is null or empty list")
    if not body.get("actions"):
        raise Refused(400, "illegal_argument_exception", "No actions configured for this connector")
    kept = {name: body[name] for name in ("name", "description", "protocol") if body.get(name) is not None}
    kept |= {"version": str(body["version"]), "parameters": _texts(body.get("parameters") or {})}
    kept["actions"] = [_action(action) for action in body["actions"]]
    if body.get("client_config") is not None:
        kept["client_config"] = {**_CLIENT_CONFIG, **body["client_config"]}
    return kept


def _texts(values: Mapping[str, Json]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in values.items()
    }


def _action(raw: Mapping[str, Json]) -> dict[str, Json]:
    kind = str(raw.get("action_type") or "").upper()
    if kind not in _ACTIONS:
        reason = f"No enum constant org.opensearch.ml.common.connector.ConnectorAction.ActionType.{kind}"
        raise Refused(400, "illegal_argument_exception", reason)
    for name in ("method", "url"):
        if raw.get(name) is None:
            raise Refused(400, "illegal_argument_exception", f"{name} can't be null")
    if not re.match(r"https?://", str(raw["url"])):
        reason = f"Connector URL is not matching the trusted connector endpoint regex, URL is: {raw['url']}"
        raise Refused(400, "illegal_argument_exception", reason)
    known = ("method", "url", "request_body", "pre_process_function", "post_process_function")
    kept: dict[str, Json] = {"action_type": kind, **{name: raw[name] for name in known if raw.get(name) is not None}}
    return {**kept, "headers": _texts(raw["headers"])} if raw.get("headers") else kept
