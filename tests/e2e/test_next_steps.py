"""What is suggested can be pasted, and does what was asked; what contradicts itself is refused."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
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


def test_the_same_plan_is_refused_where_a_guard_refuses_it(applied: Project) -> None:
    """--same-as asks nobody, and lifts nothing: what was protected since the plan was saved stays."""
    declared, alone = FILE, FILE[: FILE.index("  help:")]
    applied.write(alone)
    applied.run("plan", "--out", "p.json").ended(0)
    protected = "lifecycle: {prevent_undeploy: true}, spec: {alignment_id"
    applied.write(declared.replace("spec: {alignment_id", protected))
    applied.run("apply", "--auto-approve").ended(0)
    applied.write(alone)
    applied.run("apply", "--same-as", "p.json").failed(1, "refused (prevent_undeploy)")
    assert "help" in applied.run("state", "list").out


def test_a_damaged_state_is_put_back_by_force(applied: Project) -> None:
    """The snapshot is no JSON, and the journal holds what a killed run did: pushing the backup is the way out."""
    applied.run("apply", "--auto-approve", "--var", "replicas=2").ended(0)
    (snapshot,) = applied.folder.glob("state/**/hints.state.json")
    backup = snapshot.with_name("hints.backup.json")
    snapshot.write_text("{")
    snapshot.with_name("hints.journal").write_text("no journal\nat all\n")
    applied.run("plan").failed(1, "hints.state.json")
    applied.run("state", "push", str(backup)).failed(1)
    applied.run("state", "push", "--force", str(backup)).ended(0)
    assert applied.run("state", "list").ended(0).out.split() == ["chat", "help"]


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


@pytest.mark.parametrize(("kind", "code"), [("KeyboardInterrupt", 130), ("entry.TerminatedError", 143)])
def test_a_signal_right_before_a_command_begins(kind: str, code: int) -> None:
    """Between the handlers and the command: its exit code, and no traceback."""
    line = f"from reconciler.cli import entry\ndef run(_):\n    raise {kind}\nentry.run = run\nentry.main()"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, "")
