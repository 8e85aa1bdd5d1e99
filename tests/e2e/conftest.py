"""Places for command lines to run in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Project, Remote, Served


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder)


@pytest.fixture
def remote(tmp_path: Path, served: Served, request: pytest.FixtureRequest) -> Remote:
    """A file with two models at the served sandbox, not applied yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    suffix = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-60:].strip("-")
    return Remote(folder, served=served, suffix=suffix)
