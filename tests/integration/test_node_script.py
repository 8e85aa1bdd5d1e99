"""What surrounds the real node, without one: its line at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT
from tests.support.real_node import ABOUT

TESTS = f"""\
import pytest

@pytest.mark.opensearch
@pytest.mark.parametrize("i", range(3))
def test_on_a_node(i, request):
    request.node.user_properties.append(({ABOUT!r}, "OpenSearch 0.0"))

def test_elsewhere():
    pass
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_line_of_the_node_is_printed_by_whoever_prints(tmp_path: Path, processes: str) -> None:
    """Versions, how many tests and how long, also where the tests ran in other processes than the one that prints."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = opensearch\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", processes, "."],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, text=True, capture_output=True,
        timeout=100, check=False,
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{ABOUT}: ")]
    assert line.startswith(f"{ABOUT}: OpenSearch 0.0; 3 tests in "), done.stdout + done.stderr
    assert "4 passed" in done.stdout
