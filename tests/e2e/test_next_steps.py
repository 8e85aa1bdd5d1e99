"""What is suggested can be pasted, and does what was asked; what contradicts itself is refused."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from tests.support.cli import Project

FILE = """version: 1
stack: hints
variables:
  replicas: {type: integer, default: 1}
providers: {neevcloud: {org_id: org-1, project_id: prj-1}, nugen: {}}
deployments:
  chat:
    provider: neevcloud
    spec: {catalog_id: cat, region: in-south-1, gpu_config_id: gpu, plan_id: plan-1, replicas: "${var.replicas}"}
  help: {provider: nugen, spec: {alignment_id: alignment-1}}
"""


@pytest.fixture
def applied(tmp_path: Path) -> Project:
    project = Project(tmp_path, {"RECONCILER_SANDBOX": "1"})
    project.write(FILE)
    project.run("apply", "--auto-approve").ended(0)
    return project


@pytest.mark.parametrize(
    ("words", "doing", "planning"),
    [
        ("destroy --target help", "destroy --target help", "plan --destroy --target help"),
        ("apply --destroy --target help", "destroy --target help", "plan --destroy --target help"),
        (
            "apply --var replicas=3 --target chat --replace chat",
            "apply --var replicas=3 --target chat --replace chat",
            "plan --var replicas=3 --target chat --replace chat",
        ),
    ],
)
def test_where_nobody_can_be_asked_the_way_out_does_the_same(
    words: str, doing: str, planning: str, applied: Project
) -> None:
    """Both suggested commands keep the scope: a destroy of one deployment never becomes one of all."""
    err = applied.run(*words.split()).failed(1, "there is no terminal").err
    assert f"reconciler --sandbox {doing} --auto-approve\n" in err
    assert f"reconciler --sandbox {planning} --out plan.json\n" in err


def test_a_saved_plan_is_shown_with_the_command_that_applies_it(applied: Project) -> None:
    """In every format; not with one that would plan anew without the variables."""
    applied.run("plan", "--var", "replicas=3", "--out", "three.json").ended(0)
    for format_ in ("text", "markdown", "html"):
        assert "reconciler --sandbox apply three.json" in applied.run("show", "three.json", "--format", format_).out


def test_a_variable_beside_a_saved_plan_changes_nothing_and_it_is_said(applied: Project) -> None:
    """The plan has its values already."""
    applied.run("plan", "--var", "replicas=3", "--out", "three.json").ended(0)
    ran = applied.run("apply", "three.json", "--var", "replicas=7").ended(0)
    assert "note: --var replicas changes nothing" in ran.err
    assert applied.run("state", "show", "chat", "--format", "json").json["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("apply --destroy --refresh-only --auto-approve", "--destroy does not go with --refresh-only"),
        ("plan --replace chat --target help", "--replace chat: --target and --exclude leave that out"),
        ("plan --out=", "is empty"),
        ("drift --metrics-file=", "is empty"),
        ("apply --auto-approve --events=", "is empty"),
    ],
)
def test_what_contradicts_itself_is_refused(words: str, message: str, applied: Project) -> None:
    """As a wrong command line, before anything is done."""
    before = applied.run("state", "pull").out
    applied.run(*words.split()).failed(64, message)
    assert applied.run("state", "pull").out == before


@pytest.mark.parametrize("words", ["plan --out .", "drift --metrics-file .", "plan --out nowhere/plan.json"])
def test_a_file_that_cannot_be_written(words: str, applied: Project) -> None:
    """A folder, or nothing to put it in: an error that names it."""
    applied.run(*words.split()).failed(1, f"can't write {words.split()[-1]}")


def test_the_events_end_with_the_summary(applied: Project) -> None:
    """Also where there was nothing to do."""
    for replicas, done in ((2, 1), (2, 0)):
        applied.run("apply", "--auto-approve", "--var", f"replicas={replicas}", "--events", "e.jsonl").ended(0)
        lines = (applied.folder / "e.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])
        assert (last["event"], last["done"]) == ("summary", done)


def test_what_is_managed_is_counted(applied: Project) -> None:
    applied.run("drift", "--metrics-file", "m.prom").ended(0)
    assert re.search(r"^reconciler_managed\{.*\} 2$", (applied.folder / "m.prom").read_text(), re.MULTILINE)


def test_a_sandbox_that_cannot_be_served(applied: Project) -> None:
    """The port is taken, or its folder can't be made: one error, before it says that it serves."""
    (applied.folder / "file").touch()
    applied.run("sandbox", "serve", "--data", "file/x").failed(1, "can't be written")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        applied.run("sandbox", "serve", "--port", port).failed(1, "can't listen on")
