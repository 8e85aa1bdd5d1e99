"""The life of a model at a real node, by the command line: each promise is checked by the node's own answers."""

from __future__ import annotations

from typing import Any

from tests.support.real_node import REAL, SECRET, RealProject, connector, traffic

pytestmark = REAL


def test_deployed_it_answers_and_undeployed_nothing_stays(real: RealProject) -> None:
    """Group, connector and model are made and marked, a predict is answered, the second plan is empty, and what is no
    longer declared leaves nothing behind."""
    real.declare({"chat": real.own(description="Answers.")}, outputs={"id": "${deployments.chat.id}"})
    real.apply()
    real.settled()
    kept = real.recorded()
    assert real.serving(kept["id"])
    assert real.run("output", "id").ended(0).out.strip() == kept["id"]
    assert real.predict(kept["id"]) == (200, f"small Bearer {SECRET} /v1/chat/completions")
    groups, connectors = real.marked("model_groups"), real.marked("connectors")
    assert (set(groups), set(connectors)) == ({kept["created"]["group"]}, {kept["created"]["connector"]})
    assert all(
        text.startswith(f"reconciler:{real.lineage()}/chat/") for text in [*groups.values(), *connectors.values()]
    )
    assert SECRET not in "".join(str(data) for data in real.files().values())

    real.declare({})
    assert real.action("chat", "--allow-undeploys", "1")["action"] == "undeploy"
    real.apply("--allow-undeploys", "1")
    real.settled()
    assert real.ml("GET", f"models/{kept['id']}")[0] == 404
    assert (real.marked("model_groups"), real.marked("connectors")) == ({}, {})


def test_each_attribute_changes_in_place_while_it_serves(real: RealProject) -> None:
    """Description, switch, limiter, settings and connector change on the same id without an undeploy; the plan after
    each is empty, and callers notice only what was asked for."""
    spec = real.own(description="one")
    real.declare({"chat": spec})
    real.apply()
    id_, first = real.recorded()["id"], real.recorded()["created"]["connector"]
    deployed = real.model(id_)["last_deployed_time"]

    def change(**values: Any) -> dict[str, Any]:
        spec.update(values)
        real.declare({"chat": spec})
        assert real.action()["action"] == "update"
        with traffic(real, id_) as statuses:
            real.apply()
        assert set(statuses) <= {200, *({403} if spec.get("is_enabled") is False else ())}, statuses
        real.settled()
        record = real.model(id_)
        assert (record["last_deployed_time"], real.serving(id_)) == (deployed, True)
        return record

    assert change(description="two")["description"] == "two"
    assert change(rate_limiter={"limit": 100000, "unit": "MINUTES"})["rate_limiter"] == {
        "limit": "100000",
        "unit": "MINUTES",
    }
    changed = change(deploy_setting={"is_auto_deploy_enabled": False})
    assert changed["deploy_setting"]["is_auto_deploy_enabled"] is False
    assert change(is_enabled=False)["is_enabled"] is False
    assert real.predict(id_) == (403, "Model is disabled.")
    spec["is_enabled"] = True
    real.declare({"chat": spec})
    real.apply()
    changed = change(connector=connector(real.service, model="large", path="?v=2"))
    assert changed["connector_id"] != first
    assert real.predict(id_) == (200, f"large Bearer {SECRET} /v1/chat/completions?v=2")
    assert set(real.marked("connectors")) == {changed["connector_id"]}, "the old connector is deleted"
    changed = change(description=None) if spec.pop("description") else {}
    assert not changed.get("description")


def test_a_rotated_secret_reaches_the_node(real: RealProject) -> None:
    """A credential never comes back from the node; its change is seen all the same and takes effect in place."""
    real.declare({"chat": real.own()})
    real.apply()
    id_ = real.recorded()["id"]
    real.env["SERVICE_KEY"] = "the-next-secret"
    assert real.action()["action"] == "update"
    real.apply()
    real.settled()
    assert real.predict(id_) == (200, "small Bearer the-next-secret /v1/chat/completions")


def test_undeployed_by_hand_it_is_deployed_again(real: RealProject) -> None:
    """The same model is deployed again, nothing is registered anew."""
    real.declare({"chat": real.own()})
    real.apply()
    id_ = real.recorded()["id"]
    real.undeploy_by_hand(id_)
    assert real.run("drift").ended(2)
    assert real.action()["action"] == "deploy"
    real.apply()
    real.settled()
    assert real.serving(id_)
    assert list(real.models_named(real.named("chat"))) == [id_]


def test_deleted_behind_our_back_it_comes_back_in_its_group(real: RealProject) -> None:
    """The group is used again, the connector is new, the old one is gone."""
    real.declare({"chat": real.own()})
    real.apply()
    before = real.recorded()
    real.delete_by_hand(before["id"])
    assert real.action()["action"] == "deploy"
    real.apply()
    real.settled()
    now = real.recorded()
    assert now["id"] != before["id"]
    assert now["created"]["group"] == before["created"]["group"]
    assert (real.serving(now["id"]), list(real.models_named(real.named("chat")))) == (True, [now["id"]])
    assert set(real.marked("connectors")) == {now["created"]["connector"]}


def test_all_deleted_behind_our_back_it_comes_back(real: RealProject) -> None:
    """Model, connector and group were deleted by hand: all three are made again."""
    real.declare({"chat": real.own()})
    real.apply()
    before = real.recorded()
    real.delete_by_hand(before["id"])
    for kind, id_ in (("connectors", before["created"]["connector"]), ("model_groups", before["created"]["group"])):
        real.made("DELETE", f"{kind}/{id_}", None)
    real.apply()
    real.settled()
    now = real.recorded()
    assert real.serving(now["id"])
    assert not set(now["created"].values()) & set(before["created"].values())


def test_replace_registers_anew(real: RealProject) -> None:
    """`--replace` gives another model; of the old one nothing stays."""
    real.declare({"chat": real.own()})
    real.apply()
    before = real.recorded()
    assert real.action("chat", "--replace", "chat")["action"] == "replace"
    real.apply("--replace", "chat", "--allow-undeploys", "1")
    real.settled()
    now = real.recorded()
    assert now["id"] != before["id"]
    assert list(real.models_named(real.named("chat"))) == [now["id"]]
    assert real.serving(now["id"])
    assert real.ml("GET", f"models/{before['id']}")[0] == 404


def test_retained_it_stays_registered(real: RealProject) -> None:
    """With `retain` an undeploy keeps model, connector and group; declared again, the same model serves."""
    real.declare({"chat": real.own(retain=True)})
    real.apply()
    id_ = real.recorded()["id"]
    real.declare({})
    real.apply("--allow-undeploys", "1")
    assert real.idle(id_)
    real.declare({"chat": real.own(retain=True)})
    real.apply()
    real.settled()
    assert (real.recorded()["id"], real.serving(id_)) == (id_, True)


def test_destroy_leaves_nothing(real: RealProject) -> None:
    """All of a stack goes, dependents first."""
    chat = {"spec": real.own(), "depends_on": ["base"]}
    real.declare({"chat": chat, "base": real.own("base")})
    real.apply()
    real.run("destroy", "--auto-approve").ended(0)
    assert (real.marked("model_groups"), real.marked("connectors")) == ({}, {})
    assert real.models_named(real.named("chat")) == real.models_named(real.named("base")) == {}
