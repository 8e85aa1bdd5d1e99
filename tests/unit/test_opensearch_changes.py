"""How an OpenSearch model is changed, moved between nodes and undeployed: in which order, and what is left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.provider import Call, Done, Failed, Operation, RejectedError, Wait
from reconciler.providers.opensearch import PROVIDER
from tests.support.drive import MARK, Driven, after
from tests.support.opensearch import Cluster, connector, gone, ready

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


def test_a_connector_that_others_use_too_hides_no_later_one(cluster: Cluster, chat: Driven) -> None:
    """The first can't be removed while they use it; those made after it are known all the same, and removed."""
    first = chat.op.created["connector"]
    cluster.raw("POST", "models/_register", {"name": "theirs", "function_name": "remote", "connector_id": first})
    driven = chat
    for model in ("second", "third"):
        spec = cluster.own(description="hello", connector=connector(parameters={"model": model}))
        driven = ready(cluster.change(driven, "update", spec, ["connector.parameters.model"]))
    assert driven.end.live is not None  # type: ignore[union-attr]
    assert set(cluster.all("connectors")) == {first, driven.end.live.computed["connector_id"]}  # type: ignore[union-attr]


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
    assert driven.sent == ["survey", "hold", "undeploy", "put", "deploy", "confirm"]
    cluster.clock.tick(400)
    assert [live.dormant for live in cluster.provider.list()] == [True]


def test_a_new_ttl_is_in_force_also_under_traffic(cluster: Cluster, chat: Driven) -> None:
    """A predict deploys what is undeployed, and so with the TTL of before, between any two of our requests: not while
    the TTL is changed."""
    spec = cluster.own(description="hello", deploy_setting={"model_ttl_minutes": 5})
    op = after(cluster.type, chat, "update", spec, ["deploy_setting"])

    def predict(_op: object) -> None:
        cluster.raw("POST", f"models/{chat.op.id}/_predict", {"parameters": {}})

    driven = ready(cluster.drive(op, before_send=predict))
    found = cluster.raw("GET", f"models/{driven.op.id}")[1]["deploy_setting"]
    assert found == {"model_ttl_minutes": 5, "is_auto_deploy_enabled": True}
    cluster.clock.tick(400)
    assert [live.dormant for live in cluster.provider.list()] == [True]


@pytest.mark.parametrize("reverted", [False, True])
@pytest.mark.parametrize("killed_after", ["hold", "undeploy", "put", "deploy"])
def test_a_new_ttl_leaves_auto_deploy_as_it_was(
    cluster: Cluster, chat: Driven, killed_after: str, reverted: bool
) -> None:
    """It is off for a moment, which no file ever asked for: also after a kill, and if the file is taken back then."""
    spec = cluster.own(description="hello", deploy_setting={"model_ttl_minutes": 5})
    op = after(cluster.type, chat, "update", spec, ["deploy_setting.model_ttl_minutes"])
    driven = chat
    while True:
        call = PROVIDER.next(op)
        if not isinstance(call, Call):
            cluster.clock.tick(2)
            op = replace(op, live=cluster.provider.look([op])["chat"], looks=op.looks + 1)
            continue
        reply = cluster.provider.send(op, call)
        memo, created = {**op.memo, **reply.memo}, {**op.created, **reply.created}
        op = replace(op, id=reply.id or op.id, memo=memo, created=created, live=reply.live or op.live, looks=0)
        if call.step == killed_after:
            driven = Driven(chat.end, replace(chat.op, created={name: id_ for name, id_ in created.items() if id_}))
            break
    cluster.clock.tick(5)
    wanted = cluster.own(description="hello") if reverted else spec
    changes = ["deploy_setting.model_ttl_minutes"]
    ready(cluster.change(driven, "update" if killed_after == "hold" else "deploy", wanted, changes))
    assert cluster.raw("GET", f"models/{chat.op.id}")[1]["deploy_setting"]["is_auto_deploy_enabled"] is not False


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


def test_a_scale_whose_deploy_never_arrived_is_sent_again(cluster: Cluster) -> None:
    """The node that held it before says nothing of the request: the new one does."""
    cluster.knob(custom_plan=True)
    first = ready(cluster.up(cluster.own(node_ids=["sandboxNode1"])))
    cluster.fault("_deploy", "cut_before")
    both = ["sandboxNode1", "sandboxNode2"]
    driven = ready(cluster.change(first, "scale", cluster.own(node_ids=both), ["node_ids"]))
    assert driven.sent.count("deploy") == 2
    (live,) = cluster.provider.list()
    assert live.attributes["node_ids"] == both


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
    second = ready(
        cluster.up(
            cluster.complete({"function_name": "text_embedding", "model_format": "ONNX", "version": "1"}, "chat")
        )
    )
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
