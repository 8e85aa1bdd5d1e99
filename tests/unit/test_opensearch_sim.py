"""The simulated cluster refuses and answers as OpenSearch 2.19.1 was seen to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.opensearch import Cluster, connector

WHOLE = {**connector(), "name": "c", "version": 1, "protocol": "http"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def model(cluster: Cluster) -> str:
    return cluster.foreign("theirs")[1]


def reason(answer: dict[str, dict[str, str]]) -> str:
    return answer["error"]["reason"]


def state(cluster: Cluster, model: str) -> str:
    return str(cluster.raw("GET", f"models/{model}")[1]["model_state"])


# --- connectors and groups ----------------------------------------------------------------------------------------


def test_a_connector_comes_back_as_text_and_without_its_credential(cluster: Cluster) -> None:
    """Numbers turn to text, action types to upper case, the version to text; the credential is never returned."""
    _, made = cluster.raw("POST", "connectors/_create", WHOLE)
    _, found = cluster.raw("GET", f"connectors/{made['connector_id']}")
    assert found["parameters"] == {"model": "test-model", "max_tokens": "7"}
    assert found["version"] == "1"
    assert found["actions"][0]["action_type"] == "PREDICT"
    assert "credential" not in found


@pytest.mark.parametrize("lacking", ["name", "version", "protocol", "credential", "actions"])
def test_an_incomplete_connector_is_refused(cluster: Cluster, lacking: str) -> None:
    """Each of these is needed."""
    assert cluster.raw("POST", "connectors/_create", {**WHOLE, lacking: None})[0] == 400


def test_a_connector_in_use_is_neither_changed_nor_deleted(cluster: Cluster, model: str) -> None:
    """Deleting is 409 while a model names it, changing 400 while such a model is deployed; a change merges."""
    used = cluster.raw("GET", f"models/{model}")[1]["connector_id"]
    assert cluster.raw("DELETE", f"connectors/{used}")[0] == 409
    assert cluster.raw("PUT", f"connectors/{used}", {"parameters": {"more": 1}})[0] == 200
    assert cluster.raw("GET", f"connectors/{used}")[1]["parameters"]["model"] == "test-model"
    cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(5)
    assert cluster.raw("PUT", f"connectors/{used}", {"parameters": {}})[0] == 400


def test_group_names_are_unique_and_groups_with_versions_stay(cluster: Cluster, model: str) -> None:
    """The refusal names the id in its text; deleting what is not there is 200 not_found."""
    status, answer = cluster.raw("POST", "model_groups/_register", {"name": "theirs"})
    group = cluster.raw("GET", f"models/{model}")[1]["model_group_id"]
    assert (status, group in reason(answer)) == (400, True)
    assert cluster.raw("DELETE", f"model_groups/{group}")[0] == 409
    assert cluster.raw("DELETE", "model_groups/nobody")[1]["result"] == "not_found"
    assert cluster.raw("DELETE", "models/nobody")[0] == 404


# --- models -------------------------------------------------------------------------------------------------------


def test_a_model_is_deployed_and_undeployed(cluster: Cluster, model: str) -> None:
    """REGISTERED, DEPLOYING, DEPLOYED with nodes that hold it, UNDEPLOYED in lower case; the profile empties."""
    assert state(cluster, model) == "REGISTERED"
    assert cluster.raw("POST", f"models/{model}/_deploy")[1]["status"] == "COMPLETED"
    assert state(cluster, model) == "DEPLOYING"
    cluster.clock.tick(5)
    assert state(cluster, model) == "DEPLOYED"
    assert len(cluster.raw("GET", f"profile/models/{model}")[1]["nodes"]) == 2
    assert cluster.raw("DELETE", f"models/{model}")[0] == 400
    _, answer = cluster.raw("POST", f"models/{model}/_undeploy")
    assert {word for node in answer.values() for word in node["stats"].values()} == {"undeployed"}
    assert state(cluster, model) == "UNDEPLOYED"
    assert cluster.raw("GET", "profile/models")[1] == {}
    assert cluster.raw("DELETE", f"models/{model}")[1]["result"] == "deleted"


def test_a_failed_deploy_tells_why_in_its_task_alone(cluster: Cluster, model: str) -> None:
    """The record says DEPLOY_FAILED, the nodes go on saying DEPLOYING."""
    cluster.knob(fail_deploys=1)
    _, answer = cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(5)
    assert state(cluster, model) == "DEPLOY_FAILED"
    assert cluster.raw("GET", f"tasks/{answer['task_id']}")[1]["state"] == "FAILED"
    said = cluster.raw("GET", f"profile/models/{model}")[1]["nodes"]["sandboxNode1"]["models"][model]
    assert said["model_state"] == "DEPLOYING"


def test_a_failed_deploy_over_a_loaded_model_is_put_right_by_the_next_sync_up(cluster: Cluster, model: str) -> None:
    """The record says DEPLOY_FAILED although nodes hold it, then DEPLOYED again: an apply waits for that."""
    cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(5)
    cluster.knob(fail_deploys=1, sync_seconds=4.0)
    cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(3)
    assert state(cluster, model) == "DEPLOY_FAILED"
    cluster.clock.tick(10)
    assert state(cluster, model) == "DEPLOYED"
    assert len(cluster.raw("GET", f"profile/models/{model}")[1]["nodes"]) == 2


def test_a_missing_ttl_in_a_put_is_written_as_none(cluster: Cluster, model: str) -> None:
    """PUT of one field of deploy_setting erases the TTL; null is refused."""
    cluster.raw("PUT", f"models/{model}", {"deploy_setting": {"model_ttl_minutes": 30}})
    cluster.raw("PUT", f"models/{model}", {"deploy_setting": {"is_auto_deploy_enabled": False}})
    found = cluster.raw("GET", f"models/{model}")[1]["deploy_setting"]
    assert found == {"model_ttl_minutes": -1, "is_auto_deploy_enabled": False}
    assert cluster.raw("PUT", f"models/{model}", {"rate_limiter": None})[0] == 400


def test_a_ttl_is_in_force_from_the_next_deploy_on(cluster: Cluster, model: str) -> None:
    """A PUT on a deployed model changes only the record; a use pushes the expiry on; it ends UNDEPLOYED."""
    cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(5)
    cluster.raw("PUT", f"models/{model}", {"deploy_setting": {"model_ttl_minutes": 1}})
    cluster.clock.tick(300)
    assert state(cluster, model) == "DEPLOYED"
    cluster.raw("POST", f"models/{model}/_undeploy")
    cluster.raw("POST", f"models/{model}/_deploy")
    cluster.clock.tick(40)
    assert cluster.raw("POST", f"models/{model}/_predict", {"parameters": {}})[0] == 200
    cluster.clock.tick(40)
    assert state(cluster, model) == "DEPLOYED"
    cluster.clock.tick(40)
    assert state(cluster, model) == "UNDEPLOYED"


def test_a_predict_deploys_what_is_not_deployed(cluster: Cluster, model: str) -> None:
    """Unless the model or the cluster forbids it."""
    predict = ("POST", f"models/{model}/_predict", {"parameters": {}})
    cluster.raw("PUT", f"models/{model}", {"deploy_setting": {"is_auto_deploy_enabled": False}})
    assert cluster.raw(*predict)[0] == 400
    cluster.raw("PUT", f"models/{model}", {"deploy_setting": {"is_auto_deploy_enabled": True}})
    cluster.knob(auto_deploy=False)
    assert cluster.raw(*predict)[0] == 400
    cluster.knob(auto_deploy=True)
    assert cluster.raw(*predict)[0] == 200
    cluster.clock.tick(5)
    assert state(cluster, model) == "DEPLOYED"


def test_a_registration_ignores_is_enabled_and_numbers_versions(cluster: Cluster, model: str) -> None:
    """A second model of the group is version 2; is_enabled false is not taken."""
    found = cluster.raw("GET", f"models/{model}")[1]
    body = {"name": "theirs", "function_name": "REMOTE", "is_enabled": False, "version": "9"}
    body |= {"connector_id": found["connector_id"], "model_group_id": found["model_group_id"]}
    second = cluster.raw("POST", "models/_register", body)[1]["model_id"]
    again = cluster.raw("GET", f"models/{second}")[1]
    assert (again["model_version"], "is_enabled" in again) == ("2", False)


def test_nodes_can_be_named_only_where_the_cluster_allows_it(cluster: Cluster, model: str) -> None:
    """Off: refused. On: unknown nodes alone are refused, and stale ones make the record lie."""
    body = {"node_ids": ["sandboxNode1", "gone"]}
    assert "custom deployment plan" in reason(cluster.raw("POST", f"models/{model}/_deploy", body)[1])
    cluster.knob(custom_plan=True)
    assert "no eligible node" in reason(cluster.raw("POST", f"models/{model}/_deploy", {"node_ids": ["gone"]})[1])
    assert cluster.raw("POST", f"models/{model}/_deploy", body)[0] == 200
    cluster.clock.tick(5)
    assert "Undeploy from old" in reason(
        cluster.raw("POST", f"models/{model}/_deploy", {"node_ids": ["sandboxNode2"]})[1]
    )
    assert cluster.raw("POST", "models/_undeploy", {"model_ids": [model], "node_ids": ["gone"]})[1] == {}
    assert state(cluster, model) == "UNDEPLOYED"
    assert cluster.raw("GET", f"profile/models/{model}")[1]["nodes"]


def test_a_local_model_gets_its_id_from_the_task(cluster: Cluster) -> None:
    """No id in the answer; its chunks stand in the same index."""
    body = {"name": "m", "function_name": "text_embedding", "model_format": "ONNX", "version": "1"}
    _, answer = cluster.raw("POST", "models/_register", body)
    assert "model_id" not in answer
    cluster.clock.tick(5)
    id_ = cluster.raw("GET", f"tasks/{answer['task_id']}")[1]["model_id"]
    assert set(cluster.all("models")) == {id_, f"{id_}_0"}
    assert cluster.raw("POST", "models/_register", {**body, "url": "https://x.invalid/m.zip"})[0] == 400


# --- searching ----------------------------------------------------------------------------------------------------


def test_searches_page_by_what_they_sort_by(cluster: Cluster) -> None:
    """Ten by default; search_after goes on behind the last sort values, ties told apart by id."""
    for number in range(12):
        cluster.foreign(f"model-{number}")
    assert len(cluster.raw("POST", "models/_search", {"query": {"match_all": {}}})[1]["hits"]["hits"]) == 10
    body = {"size": 5, "sort": [{"created_time": "asc"}, {"_id": "asc"}]}
    seen: list[str] = []
    while True:
        hits = cluster.raw("POST", "models/_search", body)[1]["hits"]["hits"]
        if not hits:
            break
        seen += [hit["_id"] for hit in hits]
        body["search_after"] = hits[-1]["sort"]
    assert len(seen) == len(set(seen)) == 12


def test_what_a_search_refuses(cluster: Cluster, model: str) -> None:
    """A body is needed, windows end at 10 000, text can't be sorted by, unknown words are refused."""
    assert cluster.raw("POST", "models/_search")[0] == 400
    assert cluster.raw("POST", "models/_search", {"size": 10_001})[0] == 500
    assert cluster.raw("POST", "models/_search", {"sort": ["name"]})[0] == 500
    assert cluster.raw("POST", "models/_search", {"query": {"bogus": {}}})[0] == 400
    assert cluster.raw("POST", "models/_search", {"bogus": 1})[0] == 400
    assert "unrecognized parameter: [x]" in reason(cluster.raw("GET", f"models/{model}?x=1")[1])


def test_text_is_analysed_and_keywords_are_exact(cluster: Cluster) -> None:
    """match_phrase finds a mark by its words in order; name finds words, name.keyword the whole name."""
    cluster.raw("POST", "model_groups/_register", {"name": "chat-eu", "description": "reconciler:ab-1/a b/x"})

    def found(query: dict[str, dict[str, str]]) -> int:
        return len(cluster.raw("POST", "model_groups/_search", {"query": query})[1]["hits"]["hits"])

    assert found({"match_phrase": {"description": "reconciler:ab-1/a b/x"}}) == 1
    assert found({"match_phrase": {"description": "reconciler:ab-1/b a/x"}}) == 0
    assert found({"term": {"name.keyword": "chat-eu"}}) == 1
    assert found({"term": {"name": "chat-eu"}}) == 0
    assert found({"term": {"name": "chat"}}) == 1


def test_a_put_shows_in_searches_late_and_in_reads_at_once(cluster: Cluster, model: str) -> None:
    """As on 2.19.1, for about a second; a delete shows at once."""
    cluster.knob(put_lag=1.0)
    cluster.raw("PUT", f"models/{model}", {"description": "new"})
    assert cluster.raw("GET", f"models/{model}")[1]["description"] == "new"
    assert "description" not in cluster.all("models")[model]
    cluster.clock.tick(1)
    assert cluster.all("models")[model]["description"] == "new"
    cluster.raw("DELETE", f"models/{model}")
    assert not cluster.all("models")


# --- the cluster --------------------------------------------------------------------------------------------------


def test_a_cluster_without_the_plugin_has_no_handler(cluster: Cluster) -> None:
    """400, not 404, and `error` is a text; a wrong method is 405."""
    assert cluster.raw("PATCH", "models/x")[0] == 405
    cluster.knob(no_plugin=True)
    status, answer = cluster.raw("GET", "models/x")
    assert (status, answer["error"][:10]) == (400, "no handler")


def test_a_new_cluster_has_no_key_yet(cluster: Cluster) -> None:
    """Creating a connector answers 500 until the key is there."""
    cluster.knob(master_key_failures=1)
    assert cluster.raw("POST", "connectors/_create", WHOLE)[0] == 500
    assert cluster.raw("POST", "connectors/_create", WHOLE)[0] == 200


def test_two_deploys_at_the_same_instant_conflict(cluster: Cluster, model: str) -> None:
    """500 on 2.19.1, 409 on 3.4.0."""
    cluster.raw("POST", f"models/{model}/_deploy")
    assert cluster.raw("POST", f"models/{model}/_deploy")[0] == 500
    cluster.knob(conflict_status=409)
    assert cluster.raw("POST", f"models/{model}/_deploy")[0] == 409


def test_what_a_file_takes_for_granted_is_made_once(cluster: Cluster) -> None:
    """Models, connectors and nodes named by specs; what was deleted on purpose does not come back."""
    specs = [
        {"model_id": "m-1"},
        {"connector_id": "c-1", "url": "https://x.invalid/m.zip"},
        {"model_id": "m-1", "node_ids": ["n-1"]},
    ]
    with cluster.world() as world:
        made = cluster.case.simulator(world).presuppose(specs, {})
    assert made == [
        "registered model m-1",
        "connector c-1",
        "a cluster that takes models by url",
        "node n-1",
        "a cluster that allows custom deployment plans",
    ]
    cluster.raw("DELETE", "models/m-1")
    with cluster.world() as world:
        assert cluster.case.simulator(world).presuppose(specs, {}) == []
    assert cluster.raw("GET", "models/m-1")[0] == 404
