"""What an operation on an OpenSearch model does and in which order, what it leaves behind, what it never touches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.values.digest import DIGEST_KEY
from reconciler.provider import Call, Conflict, Done, Failed, RejectedError, Reply, Wait
from reconciler.providers.opensearch import PROVIDER
from reconciler.providers.opensearch_bodies import register_body
from tests.support.drive import MARK, Driven, deploy_of
from tests.support.opensearch import Cluster, connector, gone, ready

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


def test_a_model_of_others_in_our_group_is_never_touched(cluster: Cluster, chat: Driven) -> None:
    """Somebody registers one of our name without a group, so the server puts it into ours: it serves on through every
    step of ours, and the group stays with it."""
    _, made = cluster.raw("POST", "connectors/_create", {**connector(), "name": "c", "version": 1, "protocol": "http"})
    body = {"name": "chat", "function_name": "remote", "connector_id": made["connector_id"]}
    theirs = cluster.raw("POST", "models/_register", body)[1]["model_id"]
    cluster.raw("POST", f"models/{theirs}/_deploy")
    cluster.clock.tick(5)
    assert cluster.raw("GET", f"models/{theirs}")[1]["model_group_id"] == chat.op.created["group"]
    driven = ready(cluster.change(chat, "update", cluster.own(description="new"), ["description"]))
    cluster.raw("POST", f"models/{chat.op.id}/_undeploy")
    driven = ready(cluster.change(driven, "deploy", cluster.own(description="new")))
    gone(cluster.undeploy(driven))
    assert set(cluster.all("models")) == {theirs}
    assert cluster.raw("GET", f"models/{theirs}")[1]["model_state"] == "DEPLOYED"
    assert set(cluster.all("model_groups")) == {chat.op.created["group"]}


def test_a_lost_registration_is_the_one_behind_its_own_connector(cluster: Cluster, chat: Driven) -> None:
    """An older one of ours that landed late stands in the group too, behind another connector: not taken for it."""
    older = chat.op.created["connector"]
    body = {"name": "chat", "function_name": "remote", "connector_id": older}
    cluster.raw("POST", f"models/{chat.op.id}/_undeploy")
    cluster.raw("DELETE", f"models/{chat.op.id}")
    late = cluster.raw("POST", "models/_register", {**body, "model_group_id": chat.op.created["group"]})[1]["model_id"]
    op = replace(chat.op, verb="deploy", memo={"connector": "new", "surveyed": True})
    assert cluster.provider.find(op, Call("register", creates=True)) is None
    found = cluster.provider.find(replace(op, memo={"connector": older}), Call("register", creates=True))
    assert isinstance(found, Reply)
    assert found.id == late


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


def test_what_was_deleted_a_moment_ago_is_not_found_again(cluster: Cluster, chat: Driven) -> None:
    """A search shows a deleted group, connector or model a little longer; it is not what a lost request made."""
    cluster.clock.tick(60)
    gone(cluster.undeploy(chat))
    cluster.knob(lag=30.0)
    assert chat.op.created.keys() == {"group", "connector", "model"}
    assert cluster.counts() == (1, 1, 1)  # by the search
    op = replace(chat.op, verb="deploy", memo={"connector": chat.op.created["connector"]})
    for step in ("group", "connector", "register"):
        assert cluster.provider.find(op, Call(step, creates=True)) is None


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
FETCHED: dict[str, Any] = {
    **LOCAL, "url": "https://models.invalid/a.zip", "model_content_hash_value": "c0ffee00" * 8,
    "model_config": {"model_type": "bert", "embedding_dimension": 384, "framework_type": "sentence_transformers"},
}  # fmt: skip


def test_a_local_model_is_registered_by_a_task(cluster: Cluster) -> None:
    """Its id is known only once the nodes have fetched it."""
    driven = ready(cluster.up(cluster.complete(dict(LOCAL), "chat")))
    assert driven.sent == ["group", "register", "registered", "deploy", "confirm"]
    gone(cluster.undeploy(driven))
    assert cluster.counts() == (0, 0, 0)


def test_a_registration_that_fails_says_why(cluster: Cluster) -> None:
    """There is no model then; the group stays known, and the next run uses it and registers anew."""
    cluster.knob(fail_registers=1)
    spec = cluster.complete(dict(LOCAL), "chat")
    driven = cluster.up(spec)
    assert isinstance(driven.end, Failed)
    assert "model content changed" in driven.end.reason
    again = ready(cluster.change(driven, "deploy", spec))
    assert again.op.created["group"] == driven.op.created["group"]
    assert not again.op.created["task"]


@pytest.mark.parametrize("later", [0.0, 60.0])
def test_a_local_registration_outlives_the_run_that_began_it(cluster: Cluster, later: float) -> None:
    """Killed while the nodes fetch it: the next run goes on with that registration, over or not, and makes no other."""
    cluster.knob(register_seconds=30.0)
    spec = cluster.complete(dict(LOCAL), "chat")
    killed = cluster.up(spec, looks=1)
    assert isinstance(killed.end, Wait)
    cluster.clock.tick(later)
    driven = ready(cluster.change(killed, "deploy", spec))
    assert "register" not in driven.sent
    assert cluster.counts()[:2] == (2, 1)  # the model and its chunk
    assert len(cluster.asked("models/_register$")) == 1


@pytest.mark.parametrize("later", [0.0, 60.0])
@pytest.mark.parametrize("change", [{"version": "2"}, {"model_format": "TORCH_SCRIPT"}])
def test_a_registration_of_what_is_declared_no_more_is_not_taken(
    cluster: Cluster, later: float, change: dict[str, Any]
) -> None:
    """The file has changed since the run that began it was killed: that model is removed once it is there, and what
    is declared now is registered."""
    cluster.knob(register_seconds=8.0)
    killed = cluster.up(cluster.complete(dict(LOCAL), "chat"), looks=1)
    cluster.clock.tick(later)
    driven = ready(cluster.change(killed, "deploy", cluster.complete({**LOCAL, **change}, "chat")))
    assert driven.sent.count("register") == 1
    assert "remove_leftover" in driven.sent
    assert cluster.counts()[:2] == (2, 1)  # the model and its chunk
    assert len(cluster.asked("models/_register$")) == 2


# --- what in our group is ours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["local", "behind a shared connector", "behind a secret one"])
def test_a_model_of_others_as_declared_is_never_touched(cluster: Cluster, kind: str) -> None:
    """Somebody's other version of the same pretrained model, or another model behind the same connector, joins our
    group by its name and serves: neither an update nor an undeploy of ours touches it, and the group stays for it."""
    _, made = cluster.raw("POST", "connectors/_create", {**connector(), "name": "c", "version": 1, "protocol": "http"})
    own = dict(LOCAL) if kind == "local" else {"connector_id": made["connector_id"]}
    first = ready(cluster.up(cluster.complete({**own, "description": "hello"}, "chat")))
    body = {**own, "name": "chat", "function_name": own.get("function_name", "remote"), "description": "theirs"}
    theirs = _registered(cluster, {**body, "version": "2"})
    cluster.raw("POST", f"models/{theirs}/_deploy")
    cluster.clock.tick(5)
    if kind == "behind a secret one":
        sealed = {**first.op.desired, "connector_id": {DIGEST_KEY: "hmac-sha256:0"}}
        first = Driven(first.end, replace(first.op, desired=sealed))
    new = cluster.complete({**own, "description": "new"}, "chat")
    driven = ready(cluster.change(first, "update", new, ["description"]))
    if kind == "behind a secret one":
        driven = Driven(driven.end, replace(driven.op, desired=sealed))
    gone(cluster.undeploy(driven))
    assert {id_ for id_ in cluster.all("models") if not id_.endswith("_0")} == {theirs}
    assert cluster.raw("GET", f"models/{theirs}")[1]["model_state"] == "DEPLOYED"
    assert set(cluster.all("model_groups")) == {first.op.created["group"]}


@pytest.mark.parametrize("own", ["local", "behind a shared connector"])
@pytest.mark.parametrize("deployed", [True, False])
def test_a_late_registration_of_ours_is_known_by_its_mark(cluster: Cluster, own: str, deployed: bool) -> None:
    """No connector of ours tells of it: such a registration carries our mark in the model's description, which no plan
    sees."""
    cluster.take_urls()
    _, made = cluster.raw("POST", "connectors/_create", {**connector(), "name": "c", "version": 1, "protocol": "http"})
    spec = cluster.complete(dict(FETCHED) if own == "local" else {"connector_id": made["connector_id"]}, "chat")
    first = ready(cluster.up({**spec, "description": "hello"}))
    assert first.op.live is not None
    assert first.op.live.attributes["description"] == "hello"
    late = _registered(cluster, register_body(replace(first.op, mark=MARK.format(address="chat"))))
    if deployed:
        cluster.raw("POST", f"models/{late}/_deploy")
    cluster.clock.tick(5)
    ready(cluster.change(first, "update", {**spec, "description": "new"}, ["description"]))
    assert {id_ for id_ in cluster.all("models") if not id_.endswith("_0")} == {first.op.id}


PRETRAINED = {
    "name": "huggingface/sentence-transformers/all-MiniLM-L6-v2", "function_name": "text_embedding",
    "model_format": "TORCH_SCRIPT", "version": "1.0.1",
}  # fmt: skip


def test_a_lost_registration_of_a_pretrained_model_is_found(cluster: Cluster) -> None:
    """The cluster writes its description itself, so no mark stands there; ours is put in afterwards if one is asked."""
    cluster.fault("models/_register", "cut_after")
    driven = ready(cluster.up(cluster.complete({**PRETRAINED, "description": "ours"}, "chat")))
    assert len(cluster.asked("models/_register$")) == 1
    assert driven.op.live is not None
    assert driven.op.live.attributes["description"] == "ours"
    gone(cluster.undeploy(driven))
    assert cluster.counts() == (0, 0, 0)


@pytest.mark.parametrize("asked", ["local", "shared", "sealed"])
def test_a_lost_registration_is_not_taken_for_somebodys(cluster: Cluster, asked: str) -> None:
    """It is found by its own mark; a model of others that is as declared is not it."""
    cluster.take_urls()
    _, made = cluster.raw("POST", "connectors/_create", {**connector(), "name": "c", "version": 1, "protocol": "http"})
    spec = cluster.complete(dict(FETCHED) if asked == "local" else {"connector_id": made["connector_id"]}, "chat")
    mark = MARK.format(address="chat")
    group = cluster.raw("POST", "model_groups/_register", {"name": "chat", "description": mark})[1]["model_group_id"]
    op = replace(deploy_of("chat", spec), created={"group": group})
    body = register_body(op)
    _registered(cluster, {**body, "description": "theirs"})
    if asked == "sealed":
        op = replace(op, desired={**spec, "connector_id": {DIGEST_KEY: "hmac-sha256:0"}})
    assert cluster.provider.find(op, Call("register", creates=True)) is None
    ours = _registered(cluster, body)
    found = cluster.provider.find(op, Call("register", creates=True))
    assert isinstance(found, Reply)
    assert (found.id, found.memo["leftovers"]) == (ours, [])


def test_a_retained_model_is_not_taken_for_somebodys(cluster: Cluster) -> None:
    """The state is lost, and the newest model in the group, which is as declared, is not ours."""
    cluster.take_urls()
    spec = cluster.complete({**FETCHED, "retain": True}, "chat")
    first = ready(cluster.up(spec))
    _registered(cluster, {**FETCHED, "name": "chat"})
    assert ready(cluster.up(spec)).op.id == first.op.id


def test_a_retained_pretrained_model_is_taken_again(cluster: Cluster) -> None:
    """Undeployed and kept, it is not fetched a second time; one of others that serves is not it."""
    spec = cluster.complete({**PRETRAINED, "retain": True}, "chat")
    first = ready(cluster.up(spec))
    cluster.raw("POST", f"models/{first.op.id}/_undeploy")
    theirs = _registered(cluster, PRETRAINED)
    cluster.raw("POST", f"models/{theirs}/_deploy")
    cluster.clock.tick(5)
    assert ready(cluster.up(spec)).op.id == first.op.id


def _registered(cluster: Cluster, body: dict[str, Any]) -> str:
    """Register past the adapter; the new model's id."""
    before = set(cluster.all("models"))
    cluster.raw("POST", "models/_register", body)
    cluster.clock.tick(5)
    return next(id_ for id_ in cluster.all("models") if id_ not in before and not id_.endswith("_0"))
