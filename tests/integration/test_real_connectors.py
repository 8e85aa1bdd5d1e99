"""Which connector a model uses, its own or one of others: changed while it serves, and put right where it is none."""

from __future__ import annotations

from typing import Any

from tests.support.real_node import REAL, SECRET, RealProject, traffic, until

pytestmark = REAL


def switch(real: RealProject, spec: dict[str, Any]) -> dict[str, Any]:
    """Apply another connector to the model that serves; nobody who calls it notices. Its record."""
    id_ = real.recorded()["id"]
    deployed = real.model(id_)["last_deployed_time"]
    real.declare({"chat": spec})
    assert real.action()["action"] == "update"
    with traffic(real, id_) as statuses:
        real.apply()
    assert set(statuses) == {200}
    real.settled()
    record = real.model(id_)
    assert (real.recorded()["id"], real.serving(id_), record["last_deployed_time"]) == (id_, True, deployed)
    return record


def says(real: RealProject) -> str:
    """Which model the connector in use asks for."""
    status, text = real.predict(real.recorded()["id"])
    assert (status, text.split()[1:3]) == (200, ["Bearer", SECRET])
    return str(text.split()[0])


def test_a_connector_of_others_is_exchanged_while_it_serves(real: RealProject) -> None:
    """Another `connector_id` is in force at once, without an undeploy; neither connector is touched."""
    small = real.connector_by_hand(real.named("theirs"))
    large = real.connector_by_hand(real.named("theirs-too"), "large")
    real.declare({"chat": real.own(connector=None, connector_id=small)})
    real.apply()
    real.settled()
    assert says(real) == "small"
    assert switch(real, real.own(connector=None, connector_id=large))["connector_id"] == large
    assert says(real) == "large"
    assert [real.ml("GET", f"connectors/{id_}")[0] for id_ in (small, large)] == [200, 200]
    assert real.marked("connectors") == {}


def test_from_its_own_connector_to_one_of_others_and_back(real: RealProject) -> None:
    """The own connector is deleted once the model uses another; on the way back a new one is made. The one of others
    stays as it was."""
    theirs = real.connector_by_hand(real.named("theirs"), "large")
    before = real.ml("GET", f"connectors/{theirs}")
    real.declare({"chat": real.own()})
    real.apply()
    assert (says(real), len(real.marked("connectors"))) == ("small", 1)
    assert switch(real, real.own(connector=None, connector_id=theirs))["connector_id"] == theirs
    assert (says(real), real.marked("connectors")) == ("large", {})
    own = switch(real, real.own())["connector_id"]
    assert (says(real), set(real.marked("connectors"))) == ("small", {own})
    assert real.ml("GET", f"connectors/{theirs}") == before
    real.declare({})
    real.apply("--allow-undeploys", "1")
    assert real.marked("connectors") == {}
    assert real.ml("GET", f"connectors/{theirs}") == before


def test_a_failed_deploy_is_tried_again_under_the_same_id(real: RealProject) -> None:
    """By hand the model was given a connector that does not exist, so its next deploy failed: the plan says why it is
    deployed again, and the same model serves with one connector of ours; the node forgets the failed try."""
    real.declare({"chat": real.own()})
    real.apply()
    id_ = real.recorded()["id"]
    real.made("PUT", f"models/{id_}", {"connector_id": "nobody-made-this"})
    real.undeploy_by_hand(id_)
    task = real.made("POST", f"models/{id_}/_deploy", {})["task_id"]
    until("the deploy has failed", lambda: real.made("GET", f"tasks/{task}", None)["state"] == "FAILED")
    until("a plan sees it", lambda: "DEPLOY_FAILED" in real.action()["reason"])
    action = real.action()
    assert action["action"] == "deploy"
    assert "DEPLOY_FAILED" in action["reason"]
    real.apply()
    real.settled()
    assert (real.recorded()["id"], real.serving(id_), says(real)) == (id_, True, "small")
    assert list(real.models_named(real.named("chat"))) == [id_]
    assert set(real.marked("connectors")) == {real.model(id_)["connector_id"]}
