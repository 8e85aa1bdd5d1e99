"""What an operation on an OpenSearch model does and in which order, what it leaves behind, what it never touches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from reconciler.provider import Conflict, Done, Failed, Operation, RejectedError, Wait
from reconciler.providers.opensearch import PROVIDER
from tests.support.drive import MARK, Driven, after, deploy_of
from tests.support.opensearch import Cluster, connector


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(put_lag=1.0)
    yield cluster
    cluster.close()


@pytest.fixture
def chat(cluster: Cluster) -> Driven:
    """A remote model with a connector of its own, deployed."""
    return ready(cluster.up(cluster.own(description="hello")))


def ready(driven: Driven) -> Driven:
    assert isinstance(driven.end, Done), driven
    assert driven.end.live is not None
    assert driven.end.live.health == "ready"
    return driven


def gone(driven: Driven) -> Driven:
    assert driven.end == Done(None), driven
    return driven


# --- deploying ----------------------------------------------------------------------------------------------------


def test_group_connector_and_model_are_made_one_after_the_other(cluster: Cluster) -> None:
    """Each creating request is a step of its own, and group and connector carry our mark."""
    driven = ready(cluster.up(cluster.own()))
    assert driven.sent == ["group", "connector", "register", "deploy", "confirm"]
    assert set(driven.op.created) == {"group", "connector", "model"}
    mark = MARK.format(address="chat")
    assert cluster.raw("GET", f"model_groups/{driven.op.created['group']}")[1]["description"] == mark
    assert cluster.raw("GET", f"connectors/{driven.op.created['connector']}")[1]["description"] == mark


def test_a_disabled_model_never_serves_a_moment(cluster: Cluster) -> None:
    """A registration ignores is_enabled, so it is put before the deploy."""
    driven = ready(cluster.up(cluster.own(is_enabled=False)))
    assert driven.sent.index("put") < driven.sent.index("deploy")
    assert driven.op.id is not None
    assert cluster.raw("POST", f"models/{driven.op.id}/_predict", {})[0] == 403


@pytest.mark.parametrize("path", ["model_groups/_register", "connectors/_create", "models/_register", "_deploy"])
@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "status:500", "html"])
def test_a_lost_answer_doubles_nothing(cluster: Cluster, path: str, kind: str) -> None:
    """Of each creating request: it is found again by its mark, its group or the nodes, or sent again."""
    cluster.fault(path, kind)
    ready(cluster.up(cluster.own()))
    assert cluster.counts() == (1, 1, 1)


def test_a_registration_that_lands_late_is_cleaned_up(cluster: Cluster, chat: Driven) -> None:
    """Any other model in our own group is left over from us: a later step undeploys and deletes it."""
    body = {"name": "chat", "function_name": "remote", "connector_id": chat.op.created["connector"]}
    late = cluster.raw("POST", "models/_register", {**body, "model_group_id": chat.op.created["group"]})[1]["model_id"]
    cluster.raw("POST", f"models/{late}/_deploy")
    cluster.clock.tick(5)
    driven = ready(cluster.change(chat, "update", cluster.own(description="new"), ["description"]))
    assert "remove_leftover" in driven.sent
    assert set(cluster.all("models")) == {chat.op.id}


def test_a_group_that_is_not_ours_is_never_taken(cluster: Cluster) -> None:
    """Neither one without a mark nor one of another lineage; the error names it."""
    for name, description in (("a", "made by hand"), ("b", "reconciler:22222222-0000/chat/1")):
        group, _ = cluster.foreign(name, description)
        with pytest.raises(RejectedError, match=group):
            cluster.up(cluster.own(name=name))
    assert len(cluster.all("models")) == 2


def test_a_lost_group_of_that_name_by_others_is_a_conflict(cluster: Cluster) -> None:
    """Found after a lost answer, but without our mark: nobody decides but a person."""
    group, _ = cluster.foreign("chat")
    cluster.fault("model_groups/_register", "cut_before")
    end = cluster.up(cluster.own()).end
    assert isinstance(end, Conflict)
    assert end.id == group


def test_a_model_deleted_by_hand_is_registered_again_in_its_group(cluster: Cluster, chat: Driven) -> None:
    """The group is used again; its old connector goes."""
    cluster.raw("POST", f"models/{chat.op.id}/_undeploy")
    cluster.raw("DELETE", f"models/{chat.op.id}")
    driven = ready(cluster.change(chat, "deploy", cluster.own(description="hello")))
    assert driven.op.id != chat.op.id
    assert driven.op.created["group"] == chat.op.created["group"]
    assert cluster.counts() == (1, 1, 1)


def test_a_model_undeployed_by_hand_is_deployed_again(cluster: Cluster, chat: Driven) -> None:
    """The same id; with a new connector, as nobody knows what credential the old one holds."""
    cluster.raw("POST", f"models/{chat.op.id}/_undeploy")
    driven = ready(cluster.change(chat, "deploy", cluster.own(description="hello")))
    assert driven.op.id == chat.op.id
    assert "register" not in driven.sent
    assert cluster.counts() == (1, 1, 1)


def test_a_connector_that_landed_late_is_found_by_its_mark(cluster: Cluster, chat: Driven) -> None:
    """No record knows it, but it holds a credential: the next deploy removes it; one in use stays."""
    mark = MARK.format(address="chat")
    whole = {**connector(), "name": "c", "version": 1, "protocol": "http", "description": mark}
    for _ in range(2):
        used = cluster.raw("POST", "connectors/_create", whole)[1]["connector_id"]
    cluster.raw("POST", "models/_register", {"name": "moved", "function_name": "remote", "connector_id": used})
    cluster.raw("POST", f"models/{chat.op.id}/_undeploy")
    driven = ready(cluster.change(chat, "deploy", cluster.own(description="hello")))
    assert isinstance(driven.end, Done)
    assert driven.end.live is not None
    assert set(cluster.all("connectors")) == {driven.end.live.computed["connector_id"], used}


def test_a_deploy_of_a_registered_model_makes_nothing(cluster: Cluster) -> None:
    """What is declared of it is put first; afterwards it is undeployed, and stays."""
    group, model = cluster.foreign("theirs")
    spec = cluster.complete({"model_id": model, "description": "ours now"}, "chat")
    driven = ready(cluster.up(spec))
    assert driven.sent == ["survey", "put", "deploy", "confirm"]
    assert driven.op.created == {}
    gone(cluster.undeploy(driven))
    assert set(cluster.all("models")) == {model}
    assert set(cluster.all("model_groups")) == {group}


def test_a_failed_deploy_says_what_its_task_says(cluster: Cluster) -> None:
    """The reason is nowhere else; the model stays in the state."""
    cluster.knob(fail_deploys=1)
    end = cluster.up(cluster.own()).end
    assert isinstance(end, Failed)
    assert "the service refused the connection" in end.reason
    assert end.exists


def test_what_failed_is_deployed_again_under_its_id(cluster: Cluster) -> None:
    """Nodes keep a failed try and refuse another until the model is undeployed; the id that callers use stays."""
    cluster.knob(fail_deploys=1)
    failed = cluster.up(cluster.own())
    assert cluster.raw("POST", f"models/{failed.op.id}/_deploy")[0] == 200
    cluster.clock.tick(5)
    assert cluster.raw("GET", f"models/{failed.op.id}")[1]["model_state"] == "DEPLOY_FAILED"
    driven = ready(cluster.change(failed, "deploy", cluster.own()))
    assert driven.sent == ["survey", "connector", "put", "undeploy", "deploy", "confirm", "remove_connector"]
    assert driven.op.id == failed.op.id
    assert cluster.counts() == (1, 1, 1)


def test_a_node_that_keeps_a_failed_try_is_made_to_forget_it(cluster: Cluster) -> None:
    """It failed on one node while the other serves: deploying alone would be refused there for ever."""
    cluster.knob(nodes=["sandboxNode2"], fail_deploys=1)
    failed = cluster.up(cluster.own())
    cluster.knob(nodes=["sandboxNode1", "sandboxNode2"])
    cluster.raw("POST", f"models/{failed.op.id}/_deploy")
    cluster.clock.tick(5)
    assert cluster.raw("GET", f"models/{failed.op.id}")[1]["model_state"] == "PARTIALLY_DEPLOYED"
    driven = ready(cluster.change(failed, "deploy", cluster.own()))
    assert driven.sent.count("undeploy") == 1
    assert driven.op.id == failed.op.id
    assert driven.end.live.computed["worker_nodes"] == ["sandboxNode1", "sandboxNode2"]  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [500, 409])
def test_a_deploy_that_lost_a_race_waits_for_the_winner(cluster: Cluster, status: int) -> None:
    """Somebody deploys the same model at the same instant: no error, and no second deploy."""
    _, model = cluster.foreign("theirs")
    cluster.knob(conflict_status=status)
    cluster.raw("POST", f"models/{model}/_deploy")
    driven = ready(cluster.up(cluster.complete({"model_id": model}, "chat")))
    assert driven.sent.count("deploy") <= 1


def test_a_cluster_without_its_key_yet_is_asked_again(cluster: Cluster) -> None:
    """500 `Fetching master key timed out` did nothing."""
    cluster.knob(master_key_failures=3)
    ready(cluster.up(cluster.own()))
    assert cluster.counts() == (1, 1, 1)


def test_what_others_are_deploying_is_waited_for(cluster: Cluster) -> None:
    """Nothing is sent meanwhile."""
    _, model = cluster.foreign("theirs")
    cluster.raw("POST", f"models/{model}/_deploy")
    live = cluster.provider.read(model)
    op = replace(deploy_of("chat", {"model_id": model}), live=live, id=model)
    assert isinstance(PROVIDER.next(op), Wait)


# --- local models -------------------------------------------------------------------------------------------------

LOCAL: dict[str, Any] = {"function_name": "text_embedding", "model_format": "ONNX", "version": "1"}


def test_a_local_model_is_registered_by_a_task(cluster: Cluster) -> None:
    """Its id is known only once the nodes have fetched it."""
    driven = ready(cluster.up(cluster.complete(dict(LOCAL), "chat")))
    assert driven.sent == ["group", "register", "registered", "deploy", "confirm"]
    gone(cluster.undeploy(driven))
    assert cluster.counts() == (0, 0, 0)


def test_a_registration_that_fails_says_why(cluster: Cluster) -> None:
    """There is no model then; the group stays known, so that the next run cleans it or uses it."""
    cluster.knob(fail_registers=1)
    driven = cluster.up(cluster.complete(dict(LOCAL), "chat"))
    assert isinstance(driven.end, Failed)
    assert "model content changed" in driven.end.reason
    assert set(driven.op.created) == {"group"}


# --- changing -----------------------------------------------------------------------------------------------------


def test_a_connector_is_changed_while_the_model_serves(cluster: Cluster, chat: Driven) -> None:
    """A new one is made and switched to, the old one deleted; the model is not undeployed."""
    spec = cluster.own(description="hello", connector=connector(parameters={"model": "other"}))
    driven = ready(cluster.change(chat, "update", spec, ["connector.parameters.model"]))
    assert driven.sent == ["survey", "connector", "put", "confirm", "remove_connector"]
    (left,) = cluster.all("connectors").values()
    assert left["parameters"] == {"model": "other"}
    gone(cluster.undeploy(driven))
    assert cluster.counts() == (0, 0, 0)


def test_a_switch_cut_short_leaves_no_connector_behind(cluster: Cluster, chat: Driven) -> None:
    """Killed between the new connector and the switch: the next update removes the unused one and makes its own."""
    spec = cluster.own(description="hello", connector=connector(parameters={"model": "other"}))
    op = after(cluster.type, chat, "update", spec, ["connector.parameters.model"])
    stop = iter(range(2))
    while next(stop, None) is not None:
        call = PROVIDER.next(op)
        reply = cluster.provider.send(op, call)  # type: ignore[arg-type]
        op = replace(op, created={**op.created, **reply.created}, memo={**op.memo, **reply.memo}, id=reply.id or op.id)
    assert len(cluster.all("connectors")) == 2
    killed = Driven(chat.end, replace(chat.op, created=op.created))
    ready(cluster.change(killed, "update", spec, ["connector.parameters.model"]))
    assert len(cluster.all("connectors")) == 1


def test_a_new_ttl_is_in_force_afterwards(cluster: Cluster, chat: Driven) -> None:
    """Undeployed, changed, deployed again; both fields of deploy_setting are sent."""
    spec = cluster.own(description="hello", deploy_setting={"model_ttl_minutes": 5, "is_auto_deploy_enabled": False})
    driven = ready(cluster.change(chat, "update", spec, ["deploy_setting"]))
    assert driven.sent == ["survey", "undeploy", "put", "deploy", "confirm"]
    cluster.clock.tick(400)
    assert [live.dormant for live in cluster.provider.list()] == [True]


def test_auto_deploy_changes_without_touching_the_ttl(cluster: Cluster) -> None:
    """The other field alone needs no interruption, and the TTL survives it."""
    spec = cluster.own(deploy_setting={"model_ttl_minutes": 5})
    first = ready(cluster.up(spec))
    spec = cluster.own(deploy_setting={"model_ttl_minutes": 5, "is_auto_deploy_enabled": False})
    driven = ready(cluster.change(first, "update", spec, ["deploy_setting.is_auto_deploy_enabled"]))
    assert "undeploy" not in driven.sent
    found = cluster.raw("GET", f"models/{driven.op.id}")[1]["deploy_setting"]
    assert found == {"model_ttl_minutes": 5, "is_auto_deploy_enabled": False}


def test_what_the_file_no_longer_says_is_taken_back(cluster: Cluster) -> None:
    """A TTL is removed with -1, a description with an empty text; null would be refused."""
    first = ready(cluster.up(cluster.own(description="hello", deploy_setting={"model_ttl_minutes": 5})))
    driven = ready(cluster.change(first, "update", cluster.own(), ["deploy_setting", "description"]))
    assert isinstance(driven.end, Done)
    assert driven.end.live is not None
    assert driven.end.live.attributes["deploy_setting"]["model_ttl_minutes"] is None
    assert driven.end.live.attributes["description"] is None


def test_a_rate_limiter_can_be_set_but_not_removed(cluster: Cluster, chat: Driven) -> None:
    """The server merges it and takes no null: that is told, and nothing is sent."""
    spec = cluster.own(description="hello", rate_limiter={"limit": 5, "unit": "MINUTES"})
    first = ready(cluster.change(chat, "update", spec, ["rate_limiter"]))
    assert first.op.live is not None
    end = cluster.change(first, "update", cluster.own(description="hello"), ["rate_limiter"]).end
    assert isinstance(end, Failed)
    assert "no call that removes" in end.reason


def test_an_update_is_done_when_a_list_shows_it(cluster: Cluster, chat: Driven) -> None:
    """A search trails behind a PUT; the next plan must not see the old value."""
    ready(cluster.change(chat, "update", cluster.own(description="new"), ["description"]))
    assert [live.attributes["description"] for live in cluster.provider.list()] == ["new"]


def test_an_update_of_an_expired_model_leaves_it_off(cluster: Cluster) -> None:
    """Its record changes; being off is in order for it."""
    first = ready(cluster.up(cluster.own(deploy_setting={"model_ttl_minutes": 1})))
    cluster.clock.tick(200)
    spec = cluster.own(deploy_setting={"model_ttl_minutes": 1}, description="new")
    driven = cluster.change(first, "update", spec, ["description"])
    assert isinstance(driven.end, Done)
    assert driven.end.live is not None
    assert driven.end.live.dormant
    assert driven.end.live.attributes["description"] == "new"


# --- nodes --------------------------------------------------------------------------------------------------------


def test_nodes_are_added_before_others_are_left(cluster: Cluster) -> None:
    """Moving to another node: it serves all the time; only nodes that hold it are named."""
    cluster.knob(custom_plan=True)
    first = ready(cluster.up(cluster.own(node_ids=["sandboxNode1"])))
    driven = ready(cluster.change(first, "scale", cluster.own(node_ids=["sandboxNode2"]), ["node_ids"]))
    assert driven.sent.index("deploy") < driven.sent.index("release")
    assert "undeploy" not in driven.sent
    (live,) = cluster.provider.list()
    assert live.attributes["node_ids"] == ["sandboxNode2"]


def test_a_node_that_is_not_there_is_named(cluster: Cluster, chat: Driven) -> None:
    """The server ignores it; waiting for it would never end."""
    cluster.knob(custom_plan=True)
    spec = cluster.own(description="hello", node_ids=["sandboxNode1", "node-9"])
    end = cluster.change(chat, "scale", spec, ["node_ids"]).end
    assert isinstance(end, Failed)
    assert "node-9" in end.reason


# --- undeploying --------------------------------------------------------------------------------------------------


def test_what_was_made_is_deleted_in_the_order_that_the_server_allows(cluster: Cluster, chat: Driven) -> None:
    """Undeployed, then model, connector, group; nothing is left."""
    driven = gone(cluster.undeploy(chat))
    assert driven.sent == ["undeploy", "delete", "sweep", "remove_connector", "delete_group"]
    assert cluster.counts() == (0, 0, 0)


def test_retained_is_undeployed_only_and_taken_up_again(cluster: Cluster) -> None:
    """With `retain` all of it stays; the same file uses it again, by our mark."""
    first = ready(cluster.up(cluster.own(retain=True)))
    gone(cluster.drive(_retained(cluster, first)))
    assert cluster.counts() == (1, 1, 1)
    again = ready(cluster.up(cluster.own(retain=True)))
    assert again.op.id == first.op.id
    assert cluster.counts() == (1, 1, 1)


def test_a_retained_model_outlives_another_one_of_its_name(cluster: Cluster) -> None:
    """Declared differently later: registered anew in the same group, the retained one is not touched by us again."""
    first = ready(cluster.up(cluster.own(retain=True)))
    gone(cluster.drive(_retained(cluster, first)))
    second = ready(cluster.up(cluster.complete(dict(LOCAL), "chat")))
    assert second.op.id != first.op.id
    gone(cluster.undeploy(second))
    assert set(cluster.all("models")) == {first.op.id}


def test_undeploying_needs_no_list(cluster: Cluster, chat: Driven) -> None:
    """A model that others deleted meanwhile is no obstacle: the rest is still removed."""
    cluster.raw("POST", f"models/{chat.op.id}/_undeploy")
    cluster.raw("DELETE", f"models/{chat.op.id}")
    gone(cluster.undeploy(chat))
    assert cluster.counts() == (0, 0, 0)


def test_a_connector_that_others_use_is_not_torn_away(cluster: Cluster, chat: Driven) -> None:
    """The server refuses it with their ids; the error says so, and the undeploy can go on later."""
    body = {"name": "theirs", "function_name": "remote", "connector_id": chat.op.created["connector"]}
    theirs = cluster.raw("POST", "models/_register", body)[1]["model_id"]
    with pytest.raises(RejectedError, match=theirs):
        cluster.undeploy(chat)
    cluster.raw("DELETE", f"models/{theirs}")
    gone(cluster.undeploy(chat))


def test_what_only_a_killed_run_began_is_removed(cluster: Cluster) -> None:
    """A group and a late connector without any model: found by the record and by our mark."""
    cluster.raw("POST", "model_groups/_register", {"name": "chat", "description": MARK.format(address="chat")})
    marked = {**connector(), "name": "c", "version": 1, "protocol": "http", "description": MARK.format(address="chat")}
    cluster.raw("POST", "connectors/_create", marked)
    (group,) = cluster.all("model_groups")
    began = Driven(Wait(""), Operation("deploy", "chat", "", cluster.own(), created={"group": group}))
    gone(cluster.undeploy(began))
    assert cluster.counts() == (0, 0, 0)


def _retained(cluster: Cluster, first: Driven) -> Operation:
    """The undeploy of a record that says `retain`."""
    op = after(cluster.type, first, "undeploy", {})
    assert op.prior is not None
    return replace(op, prior=replace(op.prior, retain=True))
