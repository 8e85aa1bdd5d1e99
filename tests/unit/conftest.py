"""Fixtures that several unit modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.drive import Driven
from tests.support.opensearch import Cluster, ready


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A simulated OpenSearch cluster whose searches trail behind its writes by a second."""
    cluster = Cluster(put_lag=1.0)
    yield cluster
    cluster.close()


@pytest.fixture
def chat(cluster: Cluster) -> Driven:
    """A remote model with a connector of its own, deployed."""
    return ready(cluster.up(cluster.own(description="hello")))
