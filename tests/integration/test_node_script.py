"""What surrounds the real node, without one: its line at the end, the compose file, and why there can't be one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration import opensearch_node
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


def test_the_compose_file_has_the_settings_of_the_node() -> None:
    """Both clusters are set alike, so a test that passes on one means the same on the other."""
    text = (ROOT / "tests" / "integration" / "compose.yaml").read_text()
    told = yaml.safe_load(text)["services"]["opensearch"]["environment"]
    prefix = "plugins.ml_commons."
    settings = {name.removeprefix(prefix): value for name, value in told.items() if name.startswith(prefix)}
    assert settings == opensearch_node.ML_SETTINGS
    assert json.loads(settings["trusted_connector_endpoints_regex"])


@pytest.mark.parametrize(
    ("version", "reason"),
    [(None, "Java 11 to 23 is missing; found: none"), ("25", "Java 11 to 23 is missing; found: {java} (25)"),
     ("17", "mvn (Maven) is missing")],
)  # fmt: skip
def test_the_reason_names_what_is_missing(
    version: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Java, one that can't run it, or no Maven: whoever reads the reason of a skip knows what to install."""
    monkeypatch.setattr(opensearch_node, "JAVAS", tmp_path / "none")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    program = tmp_path / "java" / "bin" / "java"
    if version:
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}.0.1\"' >&2\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
    assert opensearch_node.why_not() == reason.format(java=program)
    assert opensearch_node.main(["--check"]) == 1
