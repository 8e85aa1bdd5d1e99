"""OpenSearch ML Commons: models deployed to the nodes of a cluster, registered already or registered from here.

The pure side and the connection; how the wire looks, what to do next and each call are in the modules beside this one.
Facts were seen on OpenSearch 2.19.1 with the official plugin; undeploy is as documented on
https://docs.opensearch.org/latest/ml-commons-plugin/api/model-apis/undeploy-model/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from reconciler.core.schemas.probe import request_of
from reconciler.core.values.duration import seconds
from reconciler.edge.client import Client, Dialect
from reconciler.model import Json, Live, Probe, ProviderConfig, Secret, Unknown
from reconciler.provider import (
    AccessError,
    Call,
    Capabilities,
    Conflict,
    Next,
    Operation,
    Probed,
    Problem,
    Provider,
    Reply,
    Wire,
)
from reconciler.providers import opensearch_memo as memory
from reconciler.providers import opensearch_steps as steps
from reconciler.providers import opensearch_wire as wire_format
from reconciler.providers.opensearch_api import Api
from reconciler.providers.opensearch_bodies import predict_body
from reconciler.providers.opensearch_calls import Calls

_MASTER_KEY = "Fetching master key timed out"
_MOST_REREADS = 50
_INSTANCE = re.compile(r'(?P<base>[^\[]+)\["(?P<key>.*)"\]\Z', re.DOTALL)
_OWN = (
    "function_name",
    "connector",
    "connector_id",
    "model_format",
    "url",
    "model_content_hash_value",
    "model_config",
    "version",
)
_LOCAL = ("model_format", "url", "model_content_hash_value", "model_config", "version")


class OpenSearchType:
    """What is true of every cluster."""

    type = "opensearch"
    capabilities = Capabilities(
        page_size=wire_format.PAGE_SIZE,
        scales=True,
        updates=True,
        restartable=True,
        create_first=False,
        read_by_id=True,
        min_poll_interval=0.2,
        max_concurrency=8,
        found_by="mark",
        probes=True,
    )

    def scope(self, settings: Mapping[str, Json]) -> str:
        """The cluster's address, without user or trailing slash."""
        return _endpoint(settings)

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        """`id:<model id>`, or `name:<model group>` for models registered from here."""
        for attribute, prefix in (("model_id", "id"), ("name", "name")):
            value = spec.get(attribute)
            if value is not None:
                return f"{prefix}:{value}" if isinstance(value, str) else None
        return None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:  # noqa: ARG002 - the port's signature
        """Name (the address; `key-eachkey` of an instance) and kind of a model that is registered from here."""
        if spec.get("model_id") is not None:
            return {}
        instance = _INSTANCE.match(address)
        name = f"{instance['base']}-{instance['key']}" if instance else address
        made = {"name": name, "function_name": "remote"}
        return {attribute: value for attribute, value in made.items() if spec.get(attribute) is None}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:  # noqa: ARG002 - the port's signature
        """What goes together: a registered model has nothing of a registration, a remote one nothing of a local one."""
        if spec.get("model_id") is not None:
            told = [name for name in ("name", *_OWN) if spec.get(name) is not None]
            why = "a model that is registered already (model_id) has its own"
            return [Problem(name, f"{name} is not allowed: {why}", "take out this or model_id") for name in told]
        kind = spec.get("function_name") or "remote"
        problems = _check_remote(spec) if kind == "remote" else _check_local(spec, kind)
        return [*problems, *_check_parameters(spec.get("connector"))]

    def next(self, op: Operation) -> Next:
        """What to do next with this operation."""
        return steps.next_step(op)

    def connect(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> Provider:
        """A connection, with basic authentication where there are credentials. Raises AccessError for half of them."""
        user, password = credentials.get("username") or "", credentials.get("password") or ""
        if bool(user) != bool(password):
            missing = "OPENSEARCH_PASSWORD" if user else "OPENSEARCH_USERNAME"
            raise AccessError(
                f"{config.key}: one half of the credentials is missing",
                provider=config.key,
                hint=f"set {missing} too, or neither where the cluster has no security plugin",
            )
        return Connection(config, user, password, wire)


PROVIDER = OpenSearchType()


def _endpoint(settings: Mapping[str, Json]) -> str:
    text = str(settings.get("endpoint") or "").rstrip("/")
    parts = urlsplit(text)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _check_remote(spec: Mapping[str, Json]) -> list[Problem]:
    problems = [Problem(name, f"{name} is for local models; this one is remote") for name in _LOCAL if name in spec]
    if "version" in spec:
        at = next(index for index, problem in enumerate(problems) if problem.path == "version")
        problems[at] = Problem("version", "version is refused for remote models: the server numbers them")
    given = [name for name in ("connector", "connector_id") if spec.get(name) is not None]
    if len(given) == 2:
        problems.append(Problem("connector_id", "connector and connector_id exclude each other"))
    if not given:
        problems.append(Problem("", "a remote model needs connector (its own) or connector_id (one that exists)"))
    return problems


def _check_local(spec: Mapping[str, Json], kind: Json) -> list[Problem]:
    told = [name for name in ("connector", "connector_id") if spec.get(name) is not None]
    problems = [Problem(name, f"{name} is for remote models; this one is {kind}") for name in told]
    if spec.get("model_format") is None:
        problems.append(Problem("", f"a {kind} model needs model_format"))
    if spec.get("url") is not None:
        needed = [name for name in ("model_content_hash_value", "model_config") if spec.get(name) is None]
        problems += [Problem("url", f"a model from a url needs {name}") for name in needed if name != "model_config"]
    elif spec.get("version") is None:
        problems.append(Problem("", "a pretrained model (one without url) needs version"))
    return problems


def _check_parameters(connector: Json) -> list[Problem]:
    """The server keeps parameters as text and does not tell 7 from "7": only the one that is read back converges."""
    parameters = connector.get("parameters") if isinstance(connector, Mapping) else None
    if not isinstance(parameters, Mapping):
        return []
    problems = []
    for name, value in parameters.items():
        if isinstance(value, Secret | Unknown) or not isinstance(value, str):
            continue
        if wire_format.typed(value) is not value:
            key = f'["{name}"]' if "." in name or "[" in name else f".{name}"
            message = f"the server keeps this text and the value {value} alike"
            problems.append(Problem(f"connector.parameters{key}", message, f"write {value} without quotes"))
    return problems


def _throttled(status: int, body: Json) -> bool:
    """429; and a new cluster that has no encryption key yet, for about two sync-up intervals: nothing was done."""
    return status == 429 or (status == 500 and _MASTER_KEY in wire_format.explain(status, body)[1])


class Connection:
    """Requests to one cluster. May be used from several threads at once."""

    def __init__(self, config: ProviderConfig, user: str, password: str, wire: Wire) -> None:
        settings = config.settings
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        timeout, rate, concurrency = (settings.get(n) for n in ("timeout", "requests_per_second", "max_concurrency"))
        client = Client(
            provider=config.key,
            base_url=_endpoint(settings),
            dialect=Dialect(explain=wire_format.explain, throttled=_throttled),
            wire=wire,
            authorize={"authorization": f"Basic {token}"} if user else {},
            timeout=seconds(timeout) if timeout is not None else 30.0,
            max_concurrency=int(concurrency) if concurrency is not None else PROVIDER.capabilities.max_concurrency,
            requests_per_second=float(rate) if rate is not None else None,
            ca_cert=str(settings["ca_cert"]) if settings.get("ca_cert") else None,
            secrets=(password, token) if user else (),
        )
        self._client = client
        self._api = Api(client, config.key)
        self._calls = Calls(self._api)

    def list(self) -> Sequence[Live]:
        """All models, with the groups and connectors they are in, and what the nodes really hold."""
        sources = {str(hit["_id"]): hit.get("_source") or {} for hit in self._api.all_models()}
        nodes = self._api.holders()
        self._reread(sources, nodes)
        groups = self._beside("model_groups", sources, "model_group_id")
        connectors = self._beside("connectors", sources, "connector_id")
        return [
            wire_format.live_model(
                id_,
                source,
                nodes.get(id_, ()),
                group=groups.get(str(source.get("model_group_id"))),
                connector=connectors.get(str(source.get("connector_id"))),
            )
            for id_, source in sources.items()
        ]

    def _reread(self, sources: dict[str, Mapping[str, Json]], nodes: Mapping[str, Sequence[str]]) -> None:
        """A search shows the end of a deploy up to a second late: a model that nodes hold, but whose record does not
        say so, is read again. There are a handful of these at most, just deployed by somebody else."""
        behind = [id_ for id_ in sources if nodes.get(id_) and wire_format.state_of(sources[id_]) != "DEPLOYED"]
        for id_ in behind[:_MOST_REREADS]:
            sources[id_] = self._api.get("models", id_) or sources[id_]

    def _beside(
        self, kind: str, sources: Mapping[str, Mapping[str, Json]], field: str
    ) -> dict[str, Mapping[str, Json]]:
        ids = [source[field] for source in sources.values() if isinstance(source.get(field), str)]
        return {id_: hit.get("_source") or {} for id_, hit in self._api.by_id(kind, ids).items()}

    def read(self, id: str) -> Live | None:  # noqa: A002 - the port's name
        """One model as it is this moment; None only for the server's own 404."""
        return self._api.live(id)

    def send(self, op: Operation, call: Call) -> Reply:
        """Carry out the call that `call` names."""
        return self._calls.send(op, call)

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:
        """What a creating call made whose answer was lost: by mark, by group, by what the nodes hold."""
        return self._calls.find(op, call)

    def look(self, waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        """One search of the tasks, one of the records, one profile, for all waiters."""
        models = {op.address: model for op in waiting if (model := memory.model_of(op)) and not _registering(op)}
        tasks = {op.address: task for op in waiting if (task := _task(op))}
        task_hits = self._api.by_id("tasks", list(tasks.values())) if tasks else {}
        hits = self._api.by_id("models", list(models.values())) if models else {}
        nodes = self._api.holders() if models else {}
        found: dict[str, Live | None] = {}
        for op in waiting:
            task_hit = task_hits.get(tasks.get(op.address, ""))
            task = task_hit.get("_source") if task_hit else None
            hit = hits.get(models.get(op.address, ""))
            if op.address not in models:
                found[op.address] = wire_format.live_task(tasks[op.address], task) if task else None
            elif hit is None:
                found[op.address] = None
            else:
                model = models[op.address]
                live = wire_format.live_model(model, hit.get("_source") or {}, nodes.get(model, ()))
                live = replace(live, extra={"version": hit.get("_version")})
                found[op.address] = wire_format.with_task(live, task)
        return {address: live and self._api.cleaned(live) for address, live in found.items()}

    def probe_problem(self) -> None:
        """None: whoever may deploy is taken to be allowed to predict; the answer tells."""

    def probe(self, op: Operation, probe: Probe) -> Probed:
        """One `_predict`: a use of the model, which pushes a TTL on."""
        model, kind = (op.live.id, op.live.attributes.get("function_name")) if op.live else (op.id or "", None)
        path = f"{wire_format.PATH}/models/{{id}}/_predict"
        asked = request_of(probe, path=path, body=predict_body(str(kind or "remote")), id_=model)
        return self._client.ask(asked.method, asked.path, asked.body)

    def close(self) -> None:
        """Give up the connections."""
        self._api.close()


def _registering(op: Operation) -> bool:
    return bool(op.memo.get("task")) and not op.memo.get("model")


def _task(op: Operation) -> str | None:
    """The task that a waiter waits for: of its deploy, or of its registration."""
    deploy = op.memo.get("deploy")
    task = deploy.get("task") if isinstance(deploy, dict) else op.memo.get("task") if _registering(op) else None
    return task if isinstance(task, str) else None
