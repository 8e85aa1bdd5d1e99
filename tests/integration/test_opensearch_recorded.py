"""The simulated cluster answers as the real one did (and test_real_recorded.py: the real one still answers so).

`opensearch-2.19.1*.json` are conversations with a real node; `python -m tests.integration.opensearch_record` holds them
anew.
"""

from __future__ import annotations

import pytest

from tests.integration.opensearch_record import CONVERSATIONS, answers, read
from tests.support.conversation import hold
from tests.support.opensearch import Cluster


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_simulator_says_what_the_node_said(name: str) -> None:
    """Statuses, reasons and fields of the whole conversation are the same."""
    cluster = Cluster(deploy_seconds=0.1, put_lag=1.0, nodes=["one-node"])
    held = hold(read(name), cluster.raw, cluster.clock.tick)
    cluster.close()
    for said, wanted in zip(held, answers(name), strict=True):
        assert said == wanted
