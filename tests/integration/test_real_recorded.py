"""The recorded conversations are true of the node, and the adapter gets through a whole life on it."""

from __future__ import annotations

import time

import pytest

from reconciler.model import Json, ProviderConfig
from reconciler.provider import Done, Wire
from reconciler.providers.opensearch import PROVIDER
from tests.integration.opensearch_node import Cluster
from tests.integration.opensearch_record import CONVERSATIONS, answers, asker, read
from tests.support.conversation import hold
from tests.support.drive import after, deploy_of, drive
from tests.support.opensearch import connector
from tests.support.real_node import REAL

pytestmark = REAL


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_node_still_says_so(name: str, node: Cluster) -> None:
    """The recording is true of the cluster under test."""
    for said, wanted in zip(hold(read(name), asker(node), time.sleep), answers(name), strict=True):
        assert said == wanted


def test_a_whole_life_on_a_node(node: Cluster) -> None:
    """Deployed, changed while serving, undeployed, deployed again, removed: lists show it at once, nothing stays."""
    provider = PROVIDER.connect(
        ProviderConfig("opensearch", "opensearch", {"endpoint": node.url}, node.url), {}, Wire()
    )
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
    asker(node)("POST", f"models/{first}/_undeploy", None)
    driven = drive(PROVIDER, provider, after(PROVIDER, driven, "deploy", driven.op.desired), tick=tick)
    assert driven.op.id == first
    driven = drive(PROVIDER, provider, after(PROVIDER, driven, "undeploy", {}), tick=tick)
    assert driven.end == Done(None)
    assert [live for live in provider.list() if "name:reconciler-life" in live.identities] == []
    ours = {"query": {"match_phrase": {"description": "reconciler:11111111-2222-4333-8444-555555555555/life/"}}}
    for kind in ("connectors", "model_groups"):
        assert asker(node)("POST", f"{kind}/_search", ours)[1]["hits"]["hits"] == []
    provider.close()
