"""kill -9 around each creating call against a real node, and answers and requests that come late."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.opensearch_node import Cluster
from tests.support.crash import Commands, Ended
from tests.support.front import Front
from tests.support.real_node import REAL, RealProject, until
from tests.support.service import Service

pytestmark = REAL
PATHS = {
    "group": "POST .*/model_groups/_register$",
    "connector": "POST .*/connectors/_create$",
    "register": "POST .*/models/_register$",
    "deploy": "POST .*/_deploy$",
}
CREATING = tuple(PATHS)


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    running = Commands()
    yield running
    running.close()


@pytest.fixture
def front(node: Cluster) -> Iterator[Front]:
    standing = Front(node.url)
    yield standing
    standing.close()


@pytest.fixture
def behind(
    tmp_path: Path, node: Cluster, service: Service, front: Front, request: pytest.FixtureRequest
) -> Iterator[RealProject]:
    """A stack whose requests go by way of `front`."""
    project = RealProject(tmp_path, node=node, service=service, name=request.node.name)
    project.settings = {"endpoint": front.url, "timeout": 2}
    yield project
    project.clean()


def whole(real: RealProject, theirs: str = "") -> None:
    """One model, serving, in one group with one connector (its own, or `theirs`), all of ours recorded; and nothing to
    do."""
    real.settled()
    kept = real.recorded()
    assert list(real.models_named(real.named("chat"))) == [kept["id"]]
    assert set(real.marked("model_groups")) == {kept["created"]["group"]}
    ours = {id_ for name, id_ in kept["created"].items() if name.startswith("connector") and id_}
    assert set(real.marked("connectors")) == ours
    assert {real.model(kept["id"])["connector_id"]} == ({theirs} if theirs else ours)
    assert real.serving(kept["id"])


def numbered(points: tuple[str, ...]) -> list[tuple[str, int]]:
    """The points around creating calls, each with how many of the same name came before it."""
    found = []
    for index, point in enumerate(points):
        if not point.startswith("torn") and ("intent:" in point or "closed:" in point):
            found.append((point, points[:index].count(point)))
    return found


def test_one_more_apply_mends_every_kill(real: RealProject, commands: Commands) -> None:
    """Killed before and after each journal entry around group, connector, register and deploy: the next apply finishes,
    nothing is there twice and nothing is lost."""
    real.settings["timeout"] = 1  # also what a second look at an uncertain call waits for
    real.declare({"chat": real.own()})

    def begin(target: tuple[str, int] | None) -> Ended:
        real.clean()
        shutil.rmtree(real.folder / "state", ignore_errors=True)
        return commands.run(real.folder, "apply", "--auto-approve", points=True, target=target)

    told = begin(None)
    assert told.code == 0, told
    whole(real)
    died = []
    for target in numbered(told.points):
        ended = begin(target)
        if not ended.killed:  # a look that came later than before
            continue
        died.append(target[0])
        again = commands.run(real.folder, "apply", "--auto-approve")
        assert again.code == 0, f"killed {target}: {again}"
        whole(real)
    for step in CREATING:
        assert [point for point in died if point.startswith("after") and f"intent:{step}" in point], (step, died)


@pytest.mark.parametrize("step", CREATING)
def test_killed_while_the_request_is_under_way(behind: RealProject, front: Front, step: str) -> None:
    """The request reached the node, the answer reached nobody: the next apply finds what it made."""
    behind.declare({"chat": behind.own()})
    front.rule(PATHS[step], "swallow")
    process = behind.start("apply", "--auto-approve")
    until("the request has come", lambda: front.met(PATHS[step]) > 0)
    process.kill()
    process.communicate()
    front.calm()
    behind.apply()
    whole(behind)


def test_a_lost_answer_is_found_within_the_same_run(behind: RealProject, front: Front) -> None:
    """Each creating call in turn is done without an answer; one apply gets to the end, with nothing doubled."""
    behind.declare({"chat": behind.own()})
    for path in PATHS.values():
        front.rule(path, "cut")
    behind.apply()
    whole(behind)


def test_a_register_that_lands_late_is_removed(behind: RealProject, front: Front) -> None:
    """A registration that was held up on its way arrives after the next run has made its own: the stray model is
    removed at the next change or undeploy of ours, and never served."""
    behind.declare({"chat": behind.own()})
    front.rule(PATHS["register"], "hold")
    process = behind.start("apply", "--auto-approve")
    until("the request has come", lambda: front.met(PATHS["register"]) > 0)
    process.kill()
    process.communicate()
    front.calm()
    behind.apply()
    kept = behind.recorded()
    front.release()
    until("it is answered", lambda: bool(front.late))
    assert front.late == [404], "its connector is gone, so it makes nothing"
    whole(behind)

    def land() -> None:
        """As if its connector still stood."""
        body = {"name": behind.named("chat"), "function_name": "remote", "model_group_id": kept["created"]["group"]}
        connector = behind.model(kept["id"])["connector_id"]
        behind.made("POST", "models/_register", {**body, "connector_id": connector})
        assert len(behind.models_named(behind.named("chat"))) == 2

    land()
    behind.declare({"chat": behind.own(description="changed")})
    behind.apply()
    whole(behind)
    assert behind.recorded()["id"] == kept["id"]
    land()
    behind.declare({})
    behind.apply("--allow-undeploys", "1")
    assert behind.models_named(behind.named("chat")) == {}
    assert (behind.marked("model_groups"), behind.marked("connectors")) == ({}, {})


@pytest.mark.parametrize("lands", ["during the next run", "after the next run"])
@pytest.mark.parametrize("then", ["change", "undeploy"])
def test_a_register_that_lands_late_with_a_connector_of_others(
    behind: RealProject, front: Front, lands: str, then: str
) -> None:
    """That connector stands still, so the late registration does make a second model in our group: it is never served,
    and goes with the next change or undeploy at the latest."""
    theirs = behind.connector_by_hand(behind.named("theirs"))
    spec = behind.own(connector=None, connector_id=theirs)
    behind.declare({"chat": spec})
    front.rule(PATHS["register"], "hold")
    process = behind.start("apply", "--auto-approve")
    until("the request has come", lambda: front.met(PATHS["register"]) > 0)
    process.kill()
    process.communicate()
    front.calm()
    if lands == "during the next run":
        front.rule(PATHS["deploy"], "hold")
        process = behind.start("apply", "--auto-approve")
        until("the next run deploys", lambda: front.met(PATHS["deploy"]) > 0)
        front.release()
        told = process.communicate()
        assert process.returncode == 0, told
    else:
        behind.apply()
        front.release()
    until("all of it is answered", lambda: len(front.late) == 1 + ("during" in lands))
    assert set(front.late) == {200}, "what it needs is there, so it makes a model"
    kept = behind.recorded()
    models = behind.models_named(behind.named("chat"))
    assert kept["id"] in models
    assert not any(behind.holders(id_) for id_ in models if id_ != kept["id"])
    if lands == "after the next run":
        assert len(models) == 2

    if then == "change":
        behind.declare({"chat": {**spec, "description": "changed"}})
        behind.apply()
        whole(behind, theirs)
        assert behind.recorded()["id"] == kept["id"]
    else:
        behind.declare({})
        behind.apply("--allow-undeploys", "1")
        assert behind.models_named(behind.named("chat")) == {}
        assert (behind.marked("model_groups"), behind.marked("connectors")) == ({}, {})
    assert behind.ml("GET", f"connectors/{theirs}")[0] == 200
