"""Nodes of a real cluster: chosen ones, one that joins and leaves, one that crashes, one without the plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@pytest.fixture
def own(node: Cluster) -> Node:
    """The node that all share, where it is ours to restart and to join."""
    if not isinstance(node, Node):
        pytest.skip("the cluster under test is not ours to restart")
    return node


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


@pytest.mark.cluster
def test_a_second_node_joins_and_leaves(real: RealProject, own: Node, nodes: Callable[..., Node]) -> None:
    """A model on all nodes follows the cluster by itself, which is no change of ours; one on chosen nodes is moved to
    the new one and back, and is deployed again once its node has left."""
    first = own.node_ids()[own.name]
    second = nodes("node-2", joining=own, heap="384m")
    with custom_plans(own):
        real.declare({"everywhere": real.own("everywhere")})
        real.apply()
        everywhere = real.recorded("everywhere")["id"]
        try:
            second.start()
            other = own.node_ids()["node-2"]
            until("it spreads", lambda: real.holders(everywhere) == {first, other}, 40)
            until("its record says so", lambda: real.serving(everywhere))
            real.settled()
            real.declare({"everywhere": real.own("everywhere"), "pinned": real.own("pinned", node_ids=[first])})
            real.apply()
            pinned = real.recorded("pinned")["id"]
            assert real.holders(pinned) == {first}

            for nodes_ in ([first, other], [other]):
                real.declare({"everywhere": real.own("everywhere"), "pinned": real.own("pinned", node_ids=nodes_)})
                assert real.action("pinned")["action"] == "scale"
                real.apply()
                until("the others' records say so", lambda: real.serving(everywhere))
                real.settled()
                assert (real.holders(pinned), real.recorded("pinned")["id"]) == (set(nodes_), pinned)
                assert real.predict(pinned)[0] == 200
        finally:
            second.stop()
        until("it has left", lambda: list(own.node_ids().values()) == [first])
        until("the record follows", lambda: real.serving(everywhere), 40)
        assert real.action("everywhere")["action"] == "none"
        assert real.holders(pinned) == set()

        real.declare({"everywhere": real.own("everywhere"), "pinned": real.own("pinned", node_ids=[first])})
        real.apply()
        real.settled()
        assert real.holders(pinned) == {first}


@pytest.mark.cluster
def test_a_record_that_outlived_its_node_is_repaired(real: RealProject, own: Node) -> None:
    """After a crash and a restart the record says DEPLOYED though no node holds it: drift, and deployed again."""
    real.declare({"chat": real.own()})
    real.apply()
    id_ = real.recorded()["id"]
    own.kill()
    real.run("plan").failed(1, "opensearch")
    own.start()
    real.settings["endpoint"] = own.url  # a node that starts again has another port here
    real.declare({"chat": real.own()})
    assert real.holders(id_) == set()
    # The record stays DEPLOYED unless the cluster's own job comes first: then it is DEPLOY_FAILED, which is replaced.
    same = real.action("chat", "--accept-endpoint", "opensearch")["action"] == "deploy"
    real.apply("--accept-endpoint", "opensearch")
    real.settled()
    now = real.recorded()["id"]
    assert now == id_ or not same
    assert list(real.models_named(real.named("chat"))) == [now]
    assert real.serving(now)
    assert real.predict(now)[0] == 200


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
