"""The simulated cluster answers as the real one did; and, where there is a real one, it still answers so.

`opensearch-2.19.1.json` is a conversation with a real node. A cluster under test is named by its base URL in
RECONCILER_TEST_OPENSEARCH; it must allow connectors to 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.model import Json, ProviderConfig
from reconciler.provider import Done, Wire
from reconciler.providers.opensearch import PROVIDER
from tests.support.conversation import hold
from tests.support.drive import after, deploy_of, drive
from tests.support.opensearch import Cluster, connector

RECORDED = json.loads((Path(__file__).parent / "opensearch-2.19.1.json").read_text())["conversation"]
URL = os.environ.get("RECONCILER_TEST_OPENSEARCH", "")
needs_node = pytest.mark.skipif(not URL, reason="RECONCILER_TEST_OPENSEARCH names no cluster")


def expected() -> list[dict[str, Any]]:
    return [{name: step[name] for name in ("ask", "status", "answer")} for step in RECORDED]


def node(method: str, path: str, body: Json) -> tuple[int, Json]:
    options = {} if body is None else {"json": body}
    answer = httpx.request(method, f"{URL}/_plugins/_ml/{path}", **options)
    return answer.status_code, answer.json()


def test_the_simulator_says_what_the_node_said() -> None:
    """Statuses, reasons and fields of the whole conversation are the same."""
    cluster = Cluster(deploy_seconds=0.1, nodes=["one-node"])
    held = hold(RECORDED, cluster.raw, cluster.clock.tick)
    cluster.close()
    for said, wanted in zip(held, expected(), strict=True):
        assert said == wanted


@pytest.mark.opensearch
@needs_node
def test_the_node_still_says_so() -> None:
    """The recording is true of the cluster under test."""
    for said, wanted in zip(hold(RECORDED, node, time.sleep), expected(), strict=True):
        assert said == wanted


@pytest.mark.opensearch
@needs_node
def test_a_whole_life_on_a_node() -> None:
    """Deployed, changed while serving, undeployed, deployed again, removed: lists show it at once, nothing stays."""
    provider = PROVIDER.connect(ProviderConfig("opensearch", "opensearch", {"endpoint": URL}, URL), {}, Wire())
    action = {"action_type": "predict", "method": "POST", "url": "http://127.0.0.1:9/v1", "request_body": "{}"}
    spec: dict[str, Json] = {"name": "reconciler-life", "function_name": "remote", "description": "one"}
    spec["connector"] = connector(actions=[action])

    def tick() -> None:
        time.sleep(0.2)

    driven = drive(PROVIDER, provider, deploy_of("life", spec), tick=tick)
    first = driven.op.id
    changed = {**spec, "description": "two", "connector": connector(actions=[action], parameters={"n": 8})}
    for verb, wanted, paths in (
        ("update", changed, ["description", "connector.parameters.n"]),
        ("update", {**changed, "deploy_setting": {"model_ttl_minutes": 30}}, ["deploy_setting"]),
    ):
        driven = drive(PROVIDER, provider, after(PROVIDER, driven, verb, wanted, paths), tick=tick)
        assert isinstance(driven.end, Done), driven
        (live,) = [live for live in provider.list() if "name:reconciler-life" in live.identities]
        assert (live.id, live.health, live.attributes["description"]) == (first, "ready", "two")
        assert live.attributes["connector"]["parameters"] == {"n": 8}
    node("POST", f"models/{first}/_undeploy", None)
    driven = drive(PROVIDER, provider, after(PROVIDER, driven, "deploy", driven.op.desired), tick=tick)
    assert driven.op.id == first
    driven = drive(PROVIDER, provider, after(PROVIDER, driven, "undeploy", {}), tick=tick)
    assert driven.end == Done(None)
    assert [live for live in provider.list() if "name:reconciler-life" in live.identities] == []
    marked = {"query": {"match_phrase": {"description": "reconciler:11111111-2222-4333-8444-555555555555/life/"}}}
    for kind in ("connectors", "model_groups"):
        assert node("POST", f"{kind}/_search", marked)[1]["hits"]["hits"] == []
    provider.close()
