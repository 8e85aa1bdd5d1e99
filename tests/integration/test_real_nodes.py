"""Nodes of a real cluster: chosen ones, one that joins and leaves, one that crashes, one without the plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.integration.opensearch_node import Cluster, Node
from tests.support.real_node import REAL, RealProject, until
from tests.support.service import Service

pytestmark = REAL
CUSTOM = "plugins.ml_commons.allow_custom_deployment_plan"


@contextmanager
def custom_plans(cluster: Cluster) -> Iterator[None]:
    """The cluster lets a request choose nodes."""
    cluster.setting(CUSTOM, True)
    try:
        yield
    finally:
        cluster.setting(CUSTOM, None)


@pytest.fixture(scope="module")
def first(nodes: Callable[..., Node]) -> Iterator[Node]:
    """A node of our own, to crash and to be joined: the models of no other test are deployed anew with ours."""
    node = nodes("first")
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture
def alone(tmp_path: Path, first: Node, service: Service, request: pytest.FixtureRequest) -> Iterator[RealProject]:
    """A stack at that node."""
    project = RealProject(tmp_path, node=first, service=service, name=request.node.name)
    yield project
    project.clean()


def mended(real: RealProject, *arguments: str) -> None:
    """Apply. Where the plan found the cluster deploying by itself, the apply only waits;
    if the cluster's own try fails then, the run says so and the next one deploys."""
    ran = real.run("apply", "--auto-approve", *arguments)
    if ran.code == 3:
        assert "in transition (status DEPLOYING): apply waits for it" in ran.out, ran
        ran = real.run("apply", "--auto-approve")
    ran.ended(0)


def test_node_ids_are_refused_clearly_where_the_cluster_forbids_them(real: RealProject) -> None:
    """The error names the setting; nothing is deployed, and what was registered is used by the next apply."""
    (here,) = real.node.node_ids().values()
    real.declare({"chat": real.own(node_ids=[here])})
    ended = real.run("apply", "--auto-approve").ended(3)
    assert CUSTOM in ended.out
    assert len(real.models_named(real.named("chat"))) == 1
    real.declare({"chat": real.own()})
    real.apply()
    real.settled()
    (id_,) = real.models_named(real.named("chat"))
    assert real.serving(id_)


def test_a_served_model_is_scaled_only_where_allowed(real: RealProject) -> None:
    """Choosing nodes for a deployed model is a scale: refused without harm, done where the cluster allows it."""
    (here,) = real.node.node_ids().values()
    real.declare({"chat": real.own()})
    real.apply()
    id_ = real.recorded()["id"]
    real.declare({"chat": real.own(node_ids=[here])})
    assert real.action()["action"] == "scale"
    assert CUSTOM in real.run("apply", "--auto-approve").ended(3).out
    assert real.serving(id_)
    with custom_plans(real.node):
        real.apply()
        real.settled()
        assert (real.recorded()["id"], real.serving(id_)) == (id_, True)
        assert not real.model(id_).get("deploy_to_all_nodes")
        real.declare({"chat": real.own(node_ids=[here, "nobodyHasThisNodeId"])})
        assert "nobodyHasThisNodeId" in real.run("apply", "--auto-approve").ended(3).out
        assert real.serving(id_)
        real.declare({"chat": real.own()})
        real.apply()
        real.settled()
        assert real.model(id_)["deploy_to_all_nodes"] is True


def test_a_second_node_joins_and_leaves(alone: RealProject, first: Node, nodes: Callable[..., Node]) -> None:
    """A model on all nodes is on the new one too, by the cluster itself or else by the next apply; one on chosen nodes
    is moved to the new one and back to the first once that has left. Each keeps its id and serves."""
    ids: dict[str, str] = {}

    def declare(chosen: list[str] | None = None) -> None:
        pinned = {} if chosen is None else {"pinned": alone.own("pinned", node_ids=chosen)}
        alone.declare({"everywhere": alone.own("everywhere"), **pinned})

    def applied(**held: set[str]) -> None:
        """Applied, each model is on these nodes, answers, and is the one that it was; the next plan is empty."""
        mended(alone)
        for address, nodes_ in held.items():
            id_ = alone.recorded(address)["id"]
            until("its record says so", partial(alone.serving, id_))  # a sync-up that began before may still contradict
            assert (alone.holders(id_), ids.setdefault(address, id_)) == (nodes_, id_)
            assert alone.predict(id_)[0] == 200
        alone.settled()

    here = first.node_ids()[first.name]
    second = nodes("second", joining=first, heap="384m")
    with custom_plans(first):
        try:
            declare()
            applied(everywhere={here})
            second.start()
            there = first.node_ids()["second"]
            both = {here, there}
            until("the cluster knows it", partial(noticed, alone, ids["everywhere"], both), 60)
            applied(everywhere=both)
            for chosen in ([here], [here, there], [there]):
                declare(chosen)
                assert alone.action("pinned")["action"] == ("scale" if "pinned" in ids else "deploy")
                applied(everywhere=both, pinned=set(chosen))
        finally:
            second.stop()
        until("it has left", lambda: list(first.node_ids().values()) == [here])
        assert alone.holders(ids["pinned"]) == set()
        declare([here])
        applied(everywhere={here}, pinned={here})


def noticed(real: RealProject, id_: str, nodes: set[str]) -> bool:
    """Whether a model on all nodes is on these, or its record says that it should be. A node that joins is given it by
    the cluster, which may fail or not be tried at all."""
    return real.model(id_)["model_state"] == "PARTIALLY_DEPLOYED" or real.holders(id_) == nodes


def test_a_record_that_outlived_its_node_is_repaired(alone: RealProject, first: Node) -> None:
    """After a crash and a restart the record says DEPLOYED though no node holds it, or what the cluster made of it
    since: the next apply has the same model serve, and no other."""
    alone.declare({"chat": alone.own()})
    alone.apply()
    id_ = alone.recorded()["id"]
    first.kill()
    alone.run("plan").failed(1, "opensearch")
    first.start()
    alone.settings["endpoint"] = first.url  # a node that starts again has another port here
    alone.declare({"chat": alone.own()})
    mended(alone, "--accept-endpoint", "opensearch")
    alone.settled()
    assert alone.recorded()["id"] == id_
    assert list(alone.models_named(alone.named("chat"))) == [id_]
    assert alone.serving(id_)
    assert alone.predict(id_)[0] == 200


def test_a_cluster_without_the_plugin_is_told(
    tmp_path_factory: pytest.TempPathFactory, nodes: Callable[..., Node], service: Service
) -> None:
    """The error says that the plugin is missing, not that a request was wrong."""
    bare = nodes("bare", ml=False, heap="256m")
    try:
        bare.start()
        real = RealProject(tmp_path_factory.mktemp("bare"), node=bare, service=service, name="bare")
        real.declare({"chat": real.own()})
        for command in (("plan",), ("apply", "--auto-approve")):
            real.run(*command).failed(1, "no ML Commons plugin", "opensearch-ml")
    finally:
        bare.stop()
