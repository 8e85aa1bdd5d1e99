"""A time to live at a real node: what is in force, what expiry looks like, and what brings a model back."""

from __future__ import annotations

import re
import time

from tests.support.real_node import REAL, RealProject, until

pytestmark = REAL
NOTE = "expired or undeployed by hand (TTL {} min; the server does not tell)"


def state(real: RealProject, address: str) -> str:
    return str(real.model(real.recorded(address)["id"])["model_state"])


def test_a_ttl_runs_out(real: RealProject) -> None:
    """A TTL of a minute, given at the deploy or by a change, is in force. Gone by it, a model is in sync with a note
    (on_demand, the default) or deployed again (always); one that its own TTL can't have undeployed was undeployed by
    hand. A predict brings an expired one back."""
    minute = {"model_ttl_minutes": 1}
    stack = {
        "idle": real.own("idle", deploy_setting=minute),
        "wanted": {"spec": real.own("wanted", deploy_setting=minute), "presence": "always"},
        "changed": real.own("changed", deploy_setting={"model_ttl_minutes": 30}),
        "stopped": real.own("stopped", deploy_setting={"model_ttl_minutes": 30}),
    }
    real.declare(stack)
    real.apply()
    stack["changed"] = real.own("changed", deploy_setting=minute)
    real.declare(stack)
    told = real.run("plan").ended(0).out
    assert "interrupts serving" in told
    real.apply()
    began = time.monotonic()
    real.settled()
    assert all(state(real, address) == "DEPLOYED" for address in stack)

    real.undeploy_by_hand(real.recorded("stopped")["id"])
    early = real.run("plan", "--detailed-exitcode")
    assert "stopped" in early.out
    assert "undeployed by hand" in early.out
    assert "expired" not in early.out

    until("the TTL", lambda: all(state(real, a) == "UNDEPLOYED" for a in ("idle", "wanted", "changed")), 90)
    assert time.monotonic() - began > 30
    plan = real.run("plan").ended(0).out
    assert len(re.findall(re.escape(NOTE.format(1)), plan)) >= 2, plan
    found = {one["address"]: one["action"] for one in real.plan()["actions"]}
    assert {address: found[address] for address in ("idle", "wanted", "changed")} == {
        "idle": "none", "wanted": "deploy", "changed": "none",
    }  # fmt: skip
    real.run("drift", "--target", "idle", "--target", "changed").ended(0)

    idle = real.recorded("idle")["id"]
    assert real.predict(idle)[0] == 200, "a predict deploys it again"
    until("it serves", lambda: real.serving(idle))
    real.apply()
    assert state(real, "wanted") == "DEPLOYED"
    assert state(real, "changed") == "UNDEPLOYED"


def test_a_new_ttl_interrupts_and_is_recorded(real: RealProject) -> None:
    """Setting, changing and removing a TTL undeploys and deploys the same model; the next plan is empty each time."""
    real.declare({"chat": real.own()})
    real.apply()
    id_ = real.recorded()["id"]
    last = real.model(id_)["last_deployed_time"]
    for setting, kept in (
        ({"model_ttl_minutes": 30}, 30),
        ({"model_ttl_minutes": 60, "is_auto_deploy_enabled": False}, 60),
        (None, -1),
    ):
        real.declare({"chat": real.own(deploy_setting=setting)})
        assert real.action()["action"] == "update"
        real.apply()
        real.settled()
        record = real.model(id_)
        assert record["deploy_setting"]["model_ttl_minutes"] == kept
        assert record["last_deployed_time"] > last
        assert real.serving(id_)
        last = record["last_deployed_time"]


def test_a_predict_deploys_what_was_undeployed(real: RealProject) -> None:
    """Traffic brings a model back that somebody undeployed, and then there is nothing to do; with auto-deploy off it
    stays away, and the plan deploys it."""
    real.declare({"chat": real.own(), "held": real.own("held", deploy_setting={"is_auto_deploy_enabled": False})})
    real.apply()
    ids = {address: real.recorded(address)["id"] for address in ("chat", "held")}
    for id_ in ids.values():
        real.undeploy_by_hand(id_)
    assert real.predict(ids["chat"])[0] == 200
    status, reason = real.predict(ids["held"])
    assert (status, reason.startswith("Auto deployment disabled")) == (400, True)
    until("it serves", lambda: real.serving(ids["chat"]))
    assert {one["address"]: one["action"] for one in real.plan()["actions"]} == {"chat": "none", "held": "deploy"}
