"""One real OpenSearch node for all tests that ask for it; tests/conftest.py tells at the end what it was.

A cluster under test that runs already (as of compose.yaml) is named by its base URL in RECONCILER_TEST_OPENSEARCH.
RECONCILER_REQUIRE_OPENSEARCH=1, as CI sets it, makes a failure of a node that can't be started here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.opensearch_node import Cluster, Node, why_not
from tests.support.real_node import ABOUT, RealProject
from tests.support.service import Service


def own_node(*arguments: Any, **options: Any) -> Node:
    """A node of our own that has not been started; skips (in CI: fails) where there can be none."""
    reason = why_not()
    if reason and os.environ.get("RECONCILER_REQUIRE_OPENSEARCH"):
        pytest.fail(f"a real OpenSearch node is required here: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"needs a real OpenSearch node: {reason}")
    return Node(*arguments, **options)


@pytest.fixture(scope="session")
def node() -> Iterator[Cluster]:
    url = os.environ.get("RECONCILER_TEST_OPENSEARCH", "")
    if url:
        given = Cluster(url)
        assert given.about
        yield given
        return
    own = own_node()
    try:
        own.start()
        assert own.about
        yield own
    finally:
        own.stop()


@pytest.fixture(scope="session")
def nodes() -> Callable[..., Node]:
    """Makes further nodes, which the test starts and stops."""
    return own_node


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """What connectors call: an OpenAI-compatible endpoint on loopback."""
    running = Service()
    yield running
    running.close()


@pytest.fixture
def real(tmp_path: Path, node: Cluster, service: Service, request: pytest.FixtureRequest) -> Iterator[RealProject]:
    """A folder for one stack at the real node; whatever it leaves there is removed."""
    project = RealProject(tmp_path, node=node, service=service, name=request.node.name)
    project.clean()  # of a run that was killed, where the cluster outlives the tests
    yield project
    project.clean()


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Note what the node was, once for each test: reports are all that a test process hands over."""
    running = getattr(item, "funcargs", {}).get("node")
    if isinstance(running, Cluster):
        item.user_properties.append((ABOUT, running.about))
