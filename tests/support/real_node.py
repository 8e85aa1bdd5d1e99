"""Stacks at a real OpenSearch node: the real command line on one side, the node's own answers on the other."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Project, Ran
from tests.support.service import Service

if TYPE_CHECKING:
    from tests.integration.opensearch_node import Cluster

ABOUT = "real OpenSearch node"  # the property of a test's report that says which one it ran on
# For modules named test_real_*: tests/conftest.py gives all of them to one test process, which has the node.
REAL = [pytest.mark.opensearch, pytest.mark.timeout(300)]
ML = "/_plugins/_ml"
SECRET = "a-secret-of-the-service"


def connector(service: Service, *, model: str = "small", path: str = "", escape: str = "$") -> dict[str, Any]:
    """An inline connector to the service, as a file has it. `escape` "": as the server takes it."""
    body = f'{{"model": "{escape}${{parameters.model}}", "messages": {escape}${{parameters.messages}}}}'
    action = {
        "action_type": "predict",
        "method": "POST",
        "url": f"{service.url}/chat/completions{path}",
        "headers": {"Authorization": f"Bearer {escape}${{credential.key}}"},
        "request_body": body,
    }
    credential = "${env.SERVICE_KEY}" if escape else SECRET
    return {"parameters": {"model": model}, "credential": {"key": credential}, "actions": [action]}


class RealProject(Project):
    """One stack, named after its test; `prefix` goes before each model's name."""

    def __init__(self, folder: Path, *, node: Cluster, service: Service, name: str) -> None:
        super().__init__(folder, {"SERVICE_KEY": SECRET})
        self.node, self.service = node, service
        self.stack = re.sub(r"[^a-z0-9]+", "-", name.lower()).removeprefix("test-").strip("-")[:60].strip("-")
        self.settings: dict[str, Any] = {"endpoint": node.url}

    # --- the file -------------------------------------------------------------------------------------------------
    def named(self, name: str) -> str:
        return f"{self.stack}-{name}"

    def own(self, name: str = "chat", **values: Any) -> dict[str, Any]:
        """The spec of a model that is registered from here; None takes a value out."""
        spec = {"name": self.named(name), "connector": connector(self.service), **values}
        return {key: value for key, value in spec.items() if value is not None}

    def declare(self, deployments: Mapping[str, Any], **more: Any) -> None:
        """Write the file; a deployment is its spec, or (with `spec` in it) all that stands below its address."""
        whole = {
            address: {"provider": "opensearch", **(one if "spec" in one else {"spec": one})}
            for address, one in deployments.items()
        }
        providers = {"opensearch": self.settings}
        document = {"version": 1, "stack": self.stack, "providers": providers, "deployments": whole, **more}
        self.write(json.dumps(document, indent=1))

    # --- the command line -----------------------------------------------------------------------------------------
    def apply(self, *arguments: str) -> Ran:
        return self.run("apply", "--auto-approve", *arguments).ended(0)

    def plan(self, *arguments: str) -> Any:
        """The plan as JSON."""
        return self.run("plan", "--format", "json", *arguments).ended(0).json

    def action(self, address: str = "chat", *arguments: str) -> dict[str, Any]:
        """What the plan would do with an address."""
        (found,) = (one for one in self.plan(*arguments)["actions"] if one["address"] == address)
        return found  # type: ignore[no-any-return]

    def settled(self) -> None:
        """The plan is empty."""
        self.run("plan", "--detailed-exitcode").ended(0)

    def recorded(self, address: str = "chat") -> dict[str, Any]:
        """What the state says of an address."""
        state = json.loads((self.folder / "state" / f"{self.stack}.state.json").read_text())
        return state["deployments"][address]  # type: ignore[no-any-return]

    def lineage(self) -> str:
        state = json.loads((self.folder / "state" / f"{self.stack}.state.json").read_text())
        return str(state["lineage"])

    # --- the node -------------------------------------------------------------------------------------------------
    def ml(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.node.ask(method, f"{ML}/{path}", body)

    def made(self, method: str, path: str, body: Any) -> Any:
        status, told = self.ml(method, path, body)
        assert status == 200, told
        return told

    def model(self, id_: str) -> dict[str, Any]:
        """The record of a model, as it is this moment."""
        return self.made("GET", f"models/{id_}", None)  # type: ignore[no-any-return]

    def holders(self, id_: str) -> set[str]:
        """Ids of the nodes that say that they hold it."""
        _, told = self.ml("GET", f"profile/models/{id_}")
        models = {node: about.get("models", {}) for node, about in told.get("nodes", {}).items()}
        return {node for node, held in models.items() if held.get(id_, {}).get("model_state") == "DEPLOYED"}

    def serving(self, id_: str) -> bool:
        return self.model(id_)["model_state"] == "DEPLOYED" and bool(self.holders(id_))

    def idle(self, id_: str) -> bool:
        """Registered, and on no node. An undeploy in the middle of a sync-up may read DEPLOY_FAILED from then on."""
        return self.model(id_)["model_state"] in ("UNDEPLOYED", "DEPLOY_FAILED") and not self.holders(id_)

    def predict(self, id_: str) -> tuple[int, Any]:
        """A predict, with the service's text where it was answered, else the reason."""
        body = {"parameters": {"messages": [{"role": "user", "content": "hello"}]}}
        status, told = self.ml("POST", f"models/{id_}/_predict", body)
        if status != 200:
            return status, told["error"]["reason"]
        data = told["inference_results"][0]["output"][0]["dataAsMap"]
        return status, data["choices"][0]["message"]["content"]

    def marked(self, kind: str) -> dict[str, str]:
        """Groups or connectors (`model_groups`, `connectors`) with this stack's mark, by id: their descriptions."""
        found = self.made("POST", f"{kind}/_search", {"size": 1000, "query": {"match_all": {}}})
        told = {hit["_id"]: str(hit["_source"].get("description")) for hit in found["hits"]["hits"]}
        return {id_: text for id_, text in told.items() if f"reconciler:{self.lineage()}/" in text}

    def models_named(self, name: str) -> dict[str, dict[str, Any]]:
        """All models in the groups of exactly this name, or named so, by id."""
        query = {"term": {"name.keyword": name}}
        groups = self.made("POST", "model_groups/_search", {"size": 100, "query": query})["hits"]["hits"]
        inside = {"terms": {"model_group_id": [hit["_id"] for hit in groups]}}
        either = {"bool": {"should": [query, inside]}}
        found = self.made("POST", "models/_search", {"size": 1000, "query": either})["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in found}

    def by_hand(self, name: str, *, group: str | None = None, **values: Any) -> tuple[str, str]:
        """Register a model as somebody else would; (its id, its connector's)."""
        connector_id = self.connector_by_hand(name)
        body = {"name": name, "function_name": "remote", "connector_id": connector_id, **values}
        if group is not None:
            body["model_group_id"] = group
        return self.made("POST", "models/_register", body)["model_id"], connector_id

    def connector_by_hand(self, name: str, model: str = "small") -> str:
        about = {"name": name, "version": 1, "protocol": "http", "description": "by hand"}
        made = self.made("POST", "connectors/_create", {**about, **connector(self.service, model=model, escape="")})
        return str(made["connector_id"])

    def group_by_hand(self, name: str, description: str = "by hand") -> str:
        return str(
            self.made("POST", "model_groups/_register", {"name": name, "description": description})["model_group_id"]
        )

    def undeploy_by_hand(self, id_: str) -> None:
        self.made("POST", f"models/{id_}/_undeploy", None)

    def delete_by_hand(self, id_: str) -> None:
        self.undeploy_by_hand(id_)
        self.made("DELETE", f"models/{id_}", None)

    def clean(self) -> None:
        """Remove every model, group and connector whose name begins with this stack's."""
        starts = {"size": 1000, "query": {"prefix": {"name.keyword": self.stack}}}
        for kind in ("models", "connectors", "model_groups"):
            _, found = self.ml("POST", f"{kind}/_search", starts)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(partial(self._remove, kind), found["hits"]["hits"]))

    def _remove(self, kind: str, hit: Mapping[str, Any]) -> None:
        status, _ = self.ml("DELETE", f"{kind}/{hit['_id']}")
        if kind == "models" and status == 400:  # it is deployed; a search may not show that yet
            self.ml("POST", f"models/{hit['_id']}/_undeploy")
            self.ml("DELETE", f"models/{hit['_id']}")


def until(what: str, holds: Callable[[], bool], seconds: float = 15.0) -> float:
    """Wait until something holds; how many seconds that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def traffic(real: RealProject, id_: str) -> Iterator[list[int]]:
    """Predicts without a pause, and their statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            statuses.append(real.predict(id_)[0])

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()
