"""How tests are spread over test processes."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Any test to any process, but all that use the real OpenSearch node to one: it is started once."""
    from xdist.scheduler import LoadScopeScheduling

    class OneNode(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "real node" if re.search(r"integration/test_real_\w+\.py", nodeid) else nodeid

    return OneNode(config, log) if config.getvalue("dist") == "load" else None
