"""What others made at the same node: models that are registered already, groups of our names, hundreds of models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.real_node import REAL, RealProject

pytestmark = REAL


def test_a_registered_model_is_deployed_and_given_back(real: RealProject) -> None:
    """By `model_id`: deployed, changed in place, undeployed; never deleted, nor anything beside it."""
    id_, connector = real.by_hand(real.named("theirs"))
    real.declare({"chat": {"model_id": id_}})
    assert real.action()["action"] == "deploy"
    real.apply()
    real.settled()
    assert real.serving(id_)
    real.declare({"chat": {"model_id": id_, "description": "used by us"}})
    assert real.action()["action"] == "update"
    real.apply()
    real.settled()
    assert real.model(id_)["description"] == "used by us"
    real.declare({})
    real.apply("--allow-undeploys", "1")
    assert real.idle(id_)
    assert real.ml("GET", f"connectors/{connector}")[0] == 200


def test_a_model_that_nobody_registered_is_an_error_of_the_plan(real: RealProject) -> None:
    """An unknown `model_id` is told before anything is done."""
    real.declare({"chat": {"model_id": "nobody-registered-this"}})
    real.run("plan").failed(1, "nobody-registered-this")


def test_a_served_model_is_not_taken_over_silently(real: RealProject) -> None:
    """Deployed by others already: an error that names the id and both ways out; with `adopt` it is ours."""
    id_, _ = real.by_hand(real.named("theirs"))
    real.made("POST", f"models/{id_}/_deploy", {})
    real.declare({"chat": {"model_id": id_}})
    real.run("apply", "--auto-approve").failed(1, id_, "import", "adopt")
    real.declare({"chat": {"spec": {"model_id": id_}, "adopt": True}})
    assert real.action()["action"] == "adopt"
    real.apply()
    real.settled()


def test_a_group_of_our_name_that_is_not_ours_is_left_alone(real: RealProject) -> None:
    """Nothing is put into a foreign group: the apply says whose name it is and leaves nothing behind."""
    group = real.group_by_hand(real.named("chat"))
    real.declare({"chat": real.own(), "other": real.own("other")})
    ended = real.run("apply", "--auto-approve").ended(3)
    assert f"a model group named '{real.named('chat')}' exists already ({group}), and it is not ours" in ended.err
    assert real.serving(real.recorded("other")["id"]), "the rest is done"
    assert real.models_named(real.named("chat")) == {}
    assert real.ml("GET", f"model_groups/{group}")[1]["description"] == "by hand"
    assert len(real.marked("connectors")) == 1


@pytest.mark.parametrize("deployed", [False, True])
def test_a_model_of_our_name_that_is_not_ours_is_left_alone(real: RealProject, deployed: bool) -> None:
    """A model in a foreign group of the name, serving or not, is neither used nor changed nor doubled."""
    name = real.named("chat")
    id_, _ = real.by_hand(name, group=real.group_by_hand(name))
    if deployed:
        real.made("POST", f"models/{id_}/_deploy", {})
    real.declare({"chat": real.own()})
    if deployed:
        real.run("apply", "--auto-approve").failed(1, id_, "import", "adopt")
    else:
        assert "and it is not ours" in real.run("apply", "--auto-approve").ended(3).err
    assert list(real.models_named(name)) == [id_]
    assert real.model(id_)["model_state"] == ("DEPLOYED" if deployed else "REGISTERED")


def test_hundreds_of_models_are_all_seen(real: RealProject) -> None:
    """More models than a page holds: each is counted, ours is among them, and the plan stays empty."""
    real.declare({"chat": real.own()})
    real.apply()
    before = real.plan()["summary"]["unmanaged"]
    name = real.named("crowd")
    first, connector = real.by_hand(name, group=real.group_by_hand(name))
    body = {"name": name, "function_name": "remote", "connector_id": connector}

    def fill(group: str) -> None:  # two registrations at once in one group conflict
        for _ in range(105):
            real.made("POST", "models/_register", {**body, "model_group_id": group})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, [real.group_by_hand(f"{name}-{i}") for i in range(4)]))
    real.made("POST", f"models/{first}/_deploy", {})
    real.settled()
    # what is registered but not deployed is not live; the newest are on the third page
    listed = real.run("import", "--generate", "opensearch").ended(0).out
    assert first in listed
    assert real.plan()["summary"]["unmanaged"] == before + 1
    last = real.made("POST", "models/_register", {**body, "model_group_id": real.group_by_hand(f"{name}-5")})[
        "model_id"
    ]
    real.declare({"chat": real.own(), "last": {"model_id": last}})
    real.apply()
    real.settled()
    assert real.serving(last)
