"""How tests are spread over test processes, and the line that says which real node they ran on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.real_node import ABOUT

# The suites' assertions explain themselves as those of test files do.
pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.suite_faults", "tests.support.drive")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Any test to any process, but all that use the real OpenSearch node to one: it is started once."""
    from xdist.scheduler import LoadScopeScheduling

    class OneNode(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "real node" if re.search(r"integration/test_real_\w+\.py", nodeid) else nodeid

    return OneNode(config, log) if config.getvalue("dist") == "load" else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Told here, not beside the node's fixture: where several processes test, the one that prints loads only this."""
    known: dict[str, None] = {}
    seconds, tests = 0.0, set()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if "opensearch" not in getattr(report, "keywords", {}) or not hasattr(report, "duration"):
                continue
            seconds += report.duration
            tests.add(report.nodeid)
            known |= dict.fromkeys(value for name, value in report.user_properties if name == ABOUT)
    if known:
        terminalreporter.write_line(f"{ABOUT}: {'; '.join(known)}; {len(tests)} tests in {seconds:.0f} s")
