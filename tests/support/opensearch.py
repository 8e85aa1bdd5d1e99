"""A simulated cluster with an adapter on it, and what tests of OpenSearch say again and again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from reconciler.model import Json
from reconciler.provider import Done
from reconciler.sandbox.in_process import SandboxTransport
from tests.contract.case import Bench, ContractCase
from tests.support.drive import Driven, after, deploy_of

SECRET = "a-secret-of-the-connector"
MARK = "reconciler:11111111-2222-4333-8444-555555555555/"
CASE = ContractCase(
    type="opensearch",
    spec=lambda i: {"model_id": f"registered-{i}"},
    create=r"_deploy$",
    list_=r"models/_search$",
)


def connector(**values: Json) -> dict[str, Json]:
    """An inline connector as a file has it, references of ML Commons already unescaped."""
    return {
        "parameters": {"model": "test-model", "max_tokens": 7},
        "credential": {"key": SECRET},
        "actions": [
            {
                "action_type": "predict",
                "method": "POST",
                "url": "https://service.invalid/v1/chat",
                "headers": {"Authorization": "Bearer ${credential.key}"},
                "request_body": '{"model": "${parameters.model}"}',
            }
        ],
        **values,
    }


class Cluster(Bench):
    """The bench with one deployment, `chat`, of whatever spec."""

    def __init__(self, **knobs: Json) -> None:
        super().__init__(CASE)
        self.knob(**knobs)
        self._http = httpx.Client(
            transport=SandboxTransport(self.sandbox), base_url="http://sandbox.invalid/opensearch"
        )

    def take_urls(self) -> None:
        """The cluster may fetch models by URL."""
        with self.world() as world:
            world.data["by_url"] = True

    def own(self, **values: Json) -> dict[str, Json]:
        """The complete spec of a model that is registered from here."""
        return self.complete({"connector": connector(), **values}, "chat")

    def up(self, spec: Mapping[str, Json], **options: Any) -> Driven:
        """Deploy `chat` as something that no state knows."""
        return self.drive(deploy_of("chat", spec), **options)

    def change(
        self, before: Driven, verb: str, spec: Mapping[str, Json], paths: Sequence[str] = (), **options: Any
    ) -> Driven:
        """Deploy again, update or scale what `before` left."""
        return self.drive(after(self.type, before, verb, spec, paths), **options)

    def raw(self, method: str, path: str, body: Json = None) -> tuple[int, Any]:
        """One request of an operator, past the adapter."""
        content = None if body is None else json.dumps(body)
        answer = self._http.request(method, f"/_plugins/_ml/{path}", content=content)
        return answer.status_code, json.loads(answer.text) if answer.text[:1] in "{[" else answer.text

    def all(self, kind: str) -> dict[str, Any]:
        """All documents of `models`, `model_groups` or `connectors`, by id."""
        _, found = self.raw("POST", f"{kind}/_search", {"size": 1000})
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def counts(self) -> tuple[int, int, int]:
        """How many models, groups and connectors there are."""
        return len(self.all("models")), len(self.all("model_groups")), len(self.all("connectors"))

    def asked(self, match: str) -> list[str]:
        """The requests so far that meet the expression, as `METHOD path`."""
        lines = [f"{method} {path}" for _, method, path in self.sandbox.requests.recent]
        return [line for line in lines if re.search(match, line)]

    def foreign(self, name: str, description: str | None = None) -> tuple[str, str]:
        """A model that others registered, in a group of its name: (group id, model id)."""
        _, group = self.raw("POST", "model_groups/_register", {"name": name, "description": description or "theirs"})
        _, made = self.raw("POST", "connectors/_create", {**connector(), "name": "c", "version": 1, "protocol": "http"})
        body = {"name": name, "function_name": "remote", "connector_id": made["connector_id"], **_in(group)}
        _, model = self.raw("POST", "models/_register", body)
        return group["model_group_id"], model["model_id"]


def _in(group: Mapping[str, Json]) -> dict[str, Json]:
    return {"model_group_id": group["model_group_id"]}


def ready(driven: Driven) -> Driven:
    assert isinstance(driven.end, Done), driven
    assert driven.end.live is not None
    assert driven.end.live.health == "ready"
    return driven


def gone(driven: Driven) -> Driven:
    assert driven.end == Done(None), driven
    return driven
