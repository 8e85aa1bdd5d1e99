"""OpenSearch's wire in canonical form: states against what nodes hold, connectors, marks, limits, errors and access."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.model import Json, Secret, Unknown
from reconciler.provider import AccessError, ProviderError, RejectedError, UnavailableError
from reconciler.providers import opensearch_wire as wire
from reconciler.providers.opensearch import PROVIDER
from reconciler.sandbox.opensearch import SIMULATOR
from tests.support.opensearch import SECRET, Cluster, connector

DEPLOYED: dict[str, Json] = {
    "name": "chat",
    "model_group_id": "g",
    "algorithm": "REMOTE",
    "model_version": "1",
    "model_state": "DEPLOYED",
    "deploy_to_all_nodes": True,
    "connector_id": "c",
    "rate_limiter": {"limit": "4", "unit": "MINUTES"},
    "deploy_setting": {"model_ttl_minutes": -1},
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


# --- states -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "nodes", "health", "dormant"),
    [
        ("REGISTERED", [], "stopped", True),
        ("UNDEPLOYED", [], "stopped", True),
        ("UNDEPLOYED", ["n"], "degraded", False),
        ("DEPLOYED", ["n"], "ready", False),
        ("DEPLOYED", [], "failed", False),
        ("PARTIALLY_DEPLOYED", ["n"], "degraded", False),
        ("DEPLOYING", [], "pending", False),
        ("DEPLOY_FAILED", [], "failed", False),
        ("DEPLOY_FAILED", ["n"], "updating", False),
        ("LOADED", ["n"], "ready", False),
        ("UNLOADED", [], "stopped", True),
        ("NEWS", [], "unknown", False),
    ],
)
def test_what_the_nodes_hold_outweighs_the_record(state: str, nodes: list[str], health: str, dormant: bool) -> None:
    """A record alone serves nothing, and a model that nodes hold is not off; old names mean the same."""
    live = wire.live_model("m", {**DEPLOYED, "model_state": state}, nodes)
    assert (live.health, live.dormant) == (health, dormant)


def test_only_a_nodes_own_word_counts_as_holding() -> None:
    """Nodes that only route say nothing, those where a deploy failed say DEPLOYING."""
    profile = {
        "nodes": {
            "b": {"models": {"m": {"model_state": "DEPLOYED"}}},
            "a": {"models": {"m": {"model_state": "DEPLOYED"}, "n": {"model_state": "DEPLOYING"}}},
            "c": {"models": {"m": {}, "n": {"worker_nodes": ["a"]}}},
        }
    }
    assert wire.holders(profile) == {"m": ("a", "b")}
    assert wire.holders({}) == {}


def test_no_ttl_has_many_spellings() -> None:
    """Absent, null, -1 and -5 are none; auto-deploy is on unless it says false."""
    for raw in (None, {}, {"model_ttl_minutes": -1}, {"model_ttl_minutes": -5}, {"model_ttl_minutes": None}):
        assert wire.deploy_setting(raw) == {"model_ttl_minutes": None, "is_auto_deploy_enabled": True}
    assert wire.deploy_setting({"model_ttl_minutes": 5, "is_auto_deploy_enabled": False})["model_ttl_minutes"] == 5


def test_a_model_is_recognised_by_id_and_by_the_name_of_its_group() -> None:
    """Never by its own name, which need not be unique."""
    live = wire.live_model("m", {**DEPLOYED, "name": "display"}, ["n"], group={"name": "chat"})
    assert live.identities == ("id:m", "name:chat")
    assert PROVIDER.identity({"name": "chat"}) == "name:chat"
    assert PROVIDER.identity({"model_id": "m"}) == "id:m"
    assert PROVIDER.identity({"model_id": Unknown("${deployments.x.id}")}) is None


def test_a_tasks_error_is_text_with_json_in_it() -> None:
    """The reason of a failed deploy stands nowhere else."""
    assert wire.task_error('{"n1": "no route", "n2": "no route"}') == "no route (on 2 nodes)"
    assert wire.task_error("plain words") == "plain words"


def test_import_takes_others_models_by_id_and_ours_by_name() -> None:
    """What a file would say of an unmanaged model; nulls and the server's defaults stay out of it."""
    theirs = wire.live_model("m", DEPLOYED, ["n"], group={"name": "chat"})
    assert theirs.extra["declare"] == {"model_id": "m", "rate_limiter": {"limit": 4, "unit": "MINUTES"}}
    ours = wire.live_model("m", DEPLOYED, ["n"], group={"name": "chat", "description": "reconciler:x/chat/1"})
    assert ours.extra["declare"]["name"] == "chat"
    assert PROVIDER.check(ours.extra["declare"], {}) == []


# --- connectors and marks -----------------------------------------------------------------------------------------


def test_a_connector_reads_as_it_was_written() -> None:
    """Upper-case action types, numbers turned to text and our mark in the description make no difference."""
    answer = {
        "name": "c",
        "version": "1",
        "description": "mine\nreconciler:l/chat/1",
        "protocol": "http",
        "parameters": {"n": "7", "t": "0.5", "list": '["a",1]', "model": "gpt", "flag": "true"},
        "actions": [{"action_type": "PREDICT", "method": "POST", "url": "https://x", "headers": {"A": "b"}}],
    }
    assert wire.connector_attributes(answer) == {
        "name": "c",
        "description": "mine",
        "protocol": "http",
        "parameters": {"n": 7, "t": 0.5, "list": ["a", 1], "model": "gpt", "flag": True},
        "actions": [{"action_type": "predict", "method": "POST", "url": "https://x", "headers": {"A": "b"}}],
    }


def test_a_mark_is_compared_exactly() -> None:
    """Lineage and address count as wholes, whatever is in a key of for_each; without a mark nothing is ours."""
    mark = 'reconciler:l-1/chat["a/b c"]/i-1'
    assert wire.mark_of(wire.marked_text("some words", mark)) == mark
    assert wire.of_lineage(mark, "reconciler:l-1/other/i-9")
    assert not wire.of_lineage(mark, "reconciler:l-10/other/i-9")
    assert wire.of_address(mark, 'reconciler:l-1/chat["a/b c"]/i-2')
    assert not wire.of_address(mark, "reconciler:l-1/chat/i-2")
    assert not wire.of_lineage("reconciled by hand", mark)
    assert not wire.of_lineage(None, mark)


# --- limits -------------------------------------------------------------------------------------------------------


def problems(**spec: Json) -> list[str]:
    return [problem.path for problem in PROVIDER.check(spec, {})]


def test_what_goes_together() -> None:
    """A registered model brings its own; a remote one needs exactly one connector; a local one none."""
    assert problems(model_id="m", description="d") == []
    assert problems(model_id="m", name="x", connector_id="c") == ["name", "connector_id"]
    assert problems(name="x", connector_id="c") == []
    assert problems(name="x") == [""]
    assert problems(name="x", connector_id="c", connector=connector()) == ["connector_id"]
    assert problems(name="x", connector_id="c", version="1", url="u") == ["url", "version"]
    assert problems(name="x", function_name="text_embedding", model_format="ONNX", version="1") == []
    assert problems(name="x", function_name="text_embedding", connector_id="c") == ["connector_id", "", ""]
    assert problems(name="x", function_name="sparse_encoding", model_format="ONNX", url="u") == ["url"]


def test_a_parameter_that_would_not_read_back_is_refused() -> None:
    """The server does not tell 7 from "7"; secrets and references are left alone."""
    given: dict[str, Any] = {"n": "7", "m": "gpt-4", "k": 7, "s": Secret("7"), "u": Unknown("${deployments.a.id}")}
    assert problems(name="x", connector=connector(parameters=given)) == ["connector.parameters.n"]


def test_a_model_is_named_like_its_address() -> None:
    """An instance is named key-eachkey; a registered model gets no name."""
    assert PROVIDER.derive({}, "s", "chat", 0) == {"name": "chat", "function_name": "remote"}
    assert PROVIDER.derive({"name": "n"}, "s", 'chat["eu"]', 0) == {"function_name": "remote"}
    assert PROVIDER.derive({}, "s", 'chat["eu"]', 0)["name"] == "chat-eu"
    assert PROVIDER.derive({"model_id": "m"}, "s", "chat", 0) == {}


def test_the_scope_is_the_cluster() -> None:
    """Without a trailing slash, and never with a user in it."""
    assert PROVIDER.scope({"endpoint": "https://u:p@h:9200/"}) == "https://h:9200"


# --- errors -------------------------------------------------------------------------------------------------------


def test_a_cluster_without_the_plugin_says_so(cluster: Cluster) -> None:
    """Its 400 `no handler found` is told as what it means, and never as an empty list."""
    cluster.knob(no_plugin=True)
    with pytest.raises(RejectedError, match="no ML Commons plugin"):
        cluster.provider.list()


def test_an_empty_cluster_is_an_empty_list(cluster: Cluster) -> None:
    """Searches of a new cluster find nothing, which is no error."""
    assert list(cluster.provider.list()) == []


def test_a_search_of_a_part_is_no_list(cluster: Cluster) -> None:
    """Shards that failed, or a search that timed out, would make deployments look gone."""
    for broken in ({"timed_out": True}, {"_shards": {"total": 2, "failed": 1}}):
        cluster.meddle = lambda data, broken=broken: {**data, **broken} if "hits" in data else data
        with pytest.raises(UnavailableError, match="only a part"):
            cluster.provider.list()


def test_what_may_not_be_seen_is_not_absent(cluster: Cluster) -> None:
    """With access control a model is left out of searches silently; reading it is an error of access."""
    _, model = cluster.foreign("theirs")
    cluster.knob(forbidden=[model])
    assert list(cluster.provider.list()) == []
    with pytest.raises(AccessError):
        cluster.provider.read(model)


def test_sorting_by_id_may_be_switched_off(cluster: Cluster) -> None:
    """The pages are then told apart otherwise."""
    cluster.foreign("theirs")
    cluster.knob(id_sort=False)
    assert [live.name for live in cluster.provider.list()] == ["theirs"]


def test_chunks_of_local_models_are_no_models(cluster: Cluster) -> None:
    """They stand in the same index."""
    body = {"name": "m", "function_name": "text_embedding", "model_format": "ONNX", "version": "1"}
    cluster.raw("POST", "models/_register", body)
    cluster.clock.tick(5)
    assert len(cluster.all("models")) == 2
    assert [live.name for live in cluster.provider.list()] == ["m"]


def test_a_deploy_by_others_is_not_seen_late(cluster: Cluster) -> None:
    """A search shows its end a second late; what nodes hold already is read again by its id."""
    _, model = cluster.foreign("theirs")
    cluster.knob(put_lag=10.0)
    cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(5)
    assert cluster.all("models")[model]["model_state"] == "REGISTERED"
    assert [live.health for live in cluster.provider.list()] == ["ready"]


def test_credentials_are_optional_but_whole(cluster: Cluster) -> None:
    """A cluster without the security plugin needs none; half of them is a mistake that names the other half."""
    assert list(cluster.connect({}).list()) == []
    with pytest.raises(AccessError) as caught:
        cluster.connect({"username": "admin"})
    assert "OPENSEARCH_PASSWORD" in caught.value.diagnostics[0].hint


def test_wrong_credentials_are_refused_at_once_and_told_nowhere(cluster: Cluster) -> None:
    """401 is text, not JSON; neither the error nor the log holds the password."""
    cluster.knob(security=True)
    assert list(cluster.connect().list()) == []
    for given in ({}, {**SIMULATOR.credentials, "password": "wrong-password"}):
        with pytest.raises(AccessError) as caught:
            cluster.connect(given).list()
        assert "wrong-password" not in repr(caught.value.diagnostics) + "".join(cluster.log)


def test_a_refusal_says_what_the_cluster_has_to_allow(cluster: Cluster) -> None:
    """node_ids on a cluster that does not allow them: nothing was done, and the setting is named."""
    with pytest.raises(RejectedError) as caught:
        cluster.up(cluster.own(node_ids=["sandboxNode1"]))
    assert "allow_custom_deployment_plan" in caught.value.diagnostics[0].hint
    assert caught.value.effect == "none"


def test_a_connector_that_is_not_there_is_no_lost_create(cluster: Cluster) -> None:
    """404 and the 500 of an unknown group did nothing: they are refusals, and not looked up."""
    with pytest.raises(ProviderError) as caught:
        cluster.up(cluster.complete({"connector_id": "nobody"}, "chat"))
    assert (caught.value.effect, "nobody" in caught.value.message) == ("none", True)


def test_a_connectors_secret_stays_in_its_request(cluster: Cluster) -> None:
    """Not in what is remembered of the operation, and not in the log."""
    driven = cluster.up(cluster.own())
    assert SECRET not in repr((driven.op.memo, driven.op.created, driven.op.live)) + "".join(cluster.log)
