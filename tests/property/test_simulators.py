"""Whatever a simulator is asked, it answers: no request of any shape ends in an exception or a 5xx."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.edge.schemas import provider_types
from reconciler.sandbox.base import Request
from reconciler.sandbox.host import Sandbox
from reconciler.sandbox.store import SandboxStore
from tests.support.trampled import NASTY, paths, put

AUTHORIZATION = {
    "nugen": "Bearer sandbox-nugen-key",
    "neevcloud": "Bearer sandbox-access-token",
    "modelstudio": "Bearer sk-sandbox-modelstudio",
    "opensearch": "Basic " + base64.b64encode(b"sandbox:sandbox-opensearch-password").decode(),
}
PLACES: dict[str, list[str]] = {
    "nugen": [
        "/models/aligned",
        "/models/deploy-model/{id}",
        "/models/undeploy-model/{id}",
        "/models/{id}/deployment/status",
    ],
    "neevcloud": [
        "/tenant/api/v1/auth/login",
        *("/aimodels/api/v1beta1/orgs/o/projects/p/aimodels" + rest for rest in ("", "/{id}", "/{id}/scale")),
    ],
    "modelstudio": ["/deployments", *("/deployments/" + rest for rest in ("{id}", "{id}/scale", "{id}/update"))],
    "opensearch": [
        f"/_plugins/_ml/{rest}"
        for rest in (
            *(f"{kind}/_search" for kind in ("models", "model_groups", "connectors", "tasks")),
            *(f"{kind}/{{id}}" for kind in ("models", "model_groups", "connectors", "tasks")),
            *(f"models/{{id}}/{verb}" for verb in ("_deploy", "_undeploy", "_predict")),
            *("models/_register", "model_groups/_register", "connectors/_create", "profile/models"),
        )
    ],
}
BODIES: list[Any] = [
    {"email": "sandbox@example.invalid", "password": "sandbox-password"},
    {"name": "chat", "catalog_id": "c", "region": "r", "gpu_config_id": "g", "gpu_count": 1, "plan_id": "p",
     "config": {"max_model_len": 5, "extra_args": ["--x"]}},
    {"replicas": 2},
    {"model_name": "qwen-plus", "suffix": "abc", "plan": "lora", "capacity": 1, "name": "n", "rpm_limit": 1,
     "ptu_capacity": {"input_tpm": 1, "output_tpm": 1}, "deploy_spec": "MU1", "charge_type": "post_paid"},
    {"name": "m", "function_name": "remote", "model_group_id": "g", "description": "d", "connector_id": "c",
     "connector": {"name": "c", "protocol": "http", "parameters": {"model": "x"}, "actions": [{"url": "https://x"}]},
     "deploy_setting": {"model_ttl_minutes": 1}, "rate_limiter": {"limit": "1", "unit": "MINUTES"}, "is_enabled": True},
    {"query": {"bool": {"must": [{"term": {"name.keyword": "m"}}, {"match": {"a": "b"}}]}}, "size": 10, "from": 0,
     "sort": [{"a": "asc"}], "search_after": ["x"], "_source": {"excludes": ["content"]}},
    {"node_ids": ["n"]},
]  # fmt: skip
TAKEN = {"model_id": "m", "alignment_id": "m", "catalog_id": "c", "plan_id": "p", "model_name": "qwen-plus"}
QUERIES = st.dictionaries(
    st.sampled_from(["page", "limit", "offset", "early", "page_no", "page_size", "size", "status", "deploy", "x"]),
    st.sampled_from(["1", "0", "-1", "true", "", "99999999999999999999", "²", "x", "1e9", "\x00", "100"]),
    max_size=3,
)


def test_every_simulator_is_asked() -> None:
    """A new provider type belongs in this test, and its token is taken: else each answer would be the same 401."""
    assert set(PLACES) == set(provider_types())
    sandbox = Sandbox(SandboxStore(None))
    for type_, places in PLACES.items():
        headers = {"authorization": AUTHORIZATION[type_], "content-type": "application/json"}
        answers = [sandbox.exchange(Request("GET", f"/{type_}{place}", headers=headers)) for place in places]
        assert not [answer for answer in answers if isinstance(answer, str) or answer.status in (401, 403)]


@pytest.mark.parametrize("type_", sorted(PLACES))
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_request_is_answered(type_: str, data: st.DataObject) -> None:
    """A handful of requests, one after the other, with bodies in which anything stands anywhere."""
    sandbox = Sandbox(SandboxStore(None), sleep=lambda _: None)
    with sandbox.store.world(type_) as world:
        sandbox.simulator(type_)(world).presuppose([TAKEN], {"org_id": "o", "project_id": "p"})
    for _ in range(data.draw(st.integers(1, 5))):
        with sandbox.store.world(type_) as world:
            known = sorted({str(key) for table in world.data.values() if isinstance(table, dict) for key in table})
        place = data.draw(st.sampled_from(PLACES[type_])).replace("{id}", data.draw(st.sampled_from([*known, "x"])))
        body = json.loads(json.dumps(data.draw(st.sampled_from(BODIES))))
        if data.draw(st.booleans()):
            put(body, data.draw(st.sampled_from(list(paths(body)))), data.draw(st.sampled_from(NASTY)))
        raw = data.draw(st.just(json.dumps(body).encode()) | st.binary(max_size=9) | st.sampled_from([b"null", b"[1]"]))
        answer = sandbox.exchange(
            Request(
                data.draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "QUERY"])),
                f"/{type_}{place}",
                data.draw(QUERIES),
                {
                    "authorization": data.draw(
                        st.sampled_from([AUTHORIZATION[type_]] * 4 + ["", "Bearer", "Basic \xff"])
                    ),
                    "content-type": "application/json",
                },
                raw,
            )
        )
        assert not isinstance(answer, str)
        # the real OpenSearch answers some malformed requests by a 500 with an error of its own, and so does ours
        assert answer.status < 500 or (type_ == "opensearch" and "_exception" in str(answer.body)), answer
        answer.encoded()
