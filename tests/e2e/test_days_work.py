"""The everyday commands on one stack: state, outputs, graph, show, sandbox, environments, starter files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.cli import Project, Remote, Served

FILE = """\
version: 1
stack: demo
variables:
  alignment: {type: string, default: alignment-1}
  replicas: {type: integer, default: 1}
providers:
  nugen: {}
  neevcloud: {org_id: org-1, project_id: prj-1, prices: {plan-1: {unit_price: 2.5, currency: USD}}}
deployments:
  chat:
    provider: neevcloud
    spec: {catalog_id: cat, region: in-south-1, gpu_config_id: gpu, plan_id: plan-1, replicas: "${var.replicas}"}
  support:
    provider: nugen
    for_each: {eu: "${var.alignment}", us: alignment-2}
    spec: {alignment_id: "${each.value}"}
    depends_on: [chat]
outputs:
  chat_url: ${deployments.chat.endpoint_url}
  support_id: ${deployments.support["eu"].id}
"""
ADDRESSES = ["chat", 'support["eu"]', 'support["us"]']


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project(tmp_path_factory.mktemp("template"), {"RECONCILER_SANDBOX": "1"})
    project.write(FILE)
    project.run("plan", "--out", "first.json").ended(0)
    project.run("apply", "first.json").ended(0)
    return project.folder


@pytest.fixture
def applied(template: Path, tmp_path: Path) -> Project:
    """FILE as it was applied in the sandbox, in a folder of the test's own."""
    shutil.copytree(template, tmp_path / "project")
    return Project(tmp_path / "project", {"RECONCILER_SANDBOX": "1"})


def test_init_never_writes_over_a_file(project: Project) -> None:
    """A starter file validates as it is, for one provider and for all; a second `init` leaves everything alone."""
    (project.folder / ".gitignore").write_text("mine")
    ran = project.run("init", "nugen").ended(0)
    assert "reconciler --sandbox plan" in ran.err
    assert (project.folder / ".gitignore").read_text().startswith("mine\n")
    project.run("validate").ended(0)
    text = (project.folder / "reconciler.yaml").read_text()
    assert "neevcloud" not in text
    project.run("init").failed(1, "exists already")
    assert (project.folder / "reconciler.yaml").read_text() == text
    (project.folder / "all").mkdir()
    project.run("-C", "all", "init").ended(0)
    assert "4 deployments" in project.run("-C", "all", "validate").ended(0).out
    assert "4 to deploy" in project.run("-C", "all", "--sandbox", "plan").ended(0).out


def test_show_needs_nothing_but_the_file(applied: Project, tmp_path: Path) -> None:
    """A saved plan is shown in every form without a stack, a state or credentials; without a plan the state is."""
    (tmp_path / "elsewhere").mkdir()
    alone = Project(tmp_path / "elsewhere")
    shutil.copy(applied.folder / "first.json", alone.folder)
    assert "3 to deploy" in alone.run("show", "first.json").ended(0).out
    assert alone.run("show", "first.json", "--format", "json").ended(0).json["summary"]["deploy"] == 3
    assert "SANDBOX" in alone.run("show", "first.json", "--format", "markdown").ended(0).out.upper()
    assert alone.run("show", "first.json", "--format", "html").ended(0).out.startswith("<!")
    alone.run("show").failed(1, "reconciler.yaml")
    shown = applied.run("show").ended(0)
    assert all(address in shown.out for address in ADDRESSES)
    assert "digest_key" not in applied.run("show", "--format", "json").ended(0).out
    applied.run("show", "--format", "html").failed(1, "html")


def test_state_commands(applied: Project) -> None:
    """list, show, mv, rm, pull and push do what they say, raise the serial, and touch no provider."""
    assert applied.run("state", "list").ended(0).out.splitlines() == ADDRESSES
    assert applied.run("state", "list", "support").ended(0).out.splitlines() == ADDRESSES[1:]
    applied.run("state", "list", "nobody*").failed(64, "nobody*")
    assert "alignment-2" in applied.run("state", "show", ADDRESSES[2]).ended(0).out
    assert applied.run("state", "show", "chat", "--format", "json").ended(0).json["provider"] == "neevcloud"
    applied.run("state", "show", "nobody").failed(1, "nobody")
    copy = applied.run("state", "pull").ended(0).out
    applied.write(copy, "copy.json")
    serial = json.loads(copy)["serial"]
    applied.run("state", "mv", "chat", "assistant").ended(0)
    applied.run("state", "mv", "chat", "other").failed(1, "chat")
    applied.run("state", "mv", "assistant", 'support["eu"]').failed(1, "support")
    assert json.loads(applied.run("state", "pull").out)["serial"] == serial + 1
    applied.run("state", "push", "copy.json").failed(1, "serial", "--force")
    applied.run("state", "push", "--force", "copy.json").ended(0)
    assert applied.run("state", "list").ended(0).out.splitlines() == ADDRESSES
    applied.run("state", "push", "--force", "-", given=copy).ended(0)
    applied.run("plan", "--detailed-exitcode").ended(0)
    applied.run("state", "rm", "nobody").failed(1, "nobody")
    ran = applied.run("state", "rm", "chat").ended(0)
    assert "nothing was undeployed" in ran.err


def test_a_damaged_state_is_put_back_from_its_backup(applied: Project) -> None:
    """What the page on recovery says: move the damaged file away, push the backup, plan."""
    applied.write(FILE.replace("alignment-2", "alignment-3"))
    applied.run("apply", "--auto-approve").ended(0)
    state = applied.folder / "state" / "sandbox" / "demo.state.json"
    state.write_text("{")
    applied.run("plan").failed(1, "demo.state.json")
    state.rename(applied.folder / "damaged.json")
    applied.run("state", "push", "--force", "state/sandbox/demo.backup.json").ended(0)
    assert applied.run("state", "list").ended(0).out.splitlines() == ADDRESSES


def test_mv_stack(applied: Project) -> None:
    """A renamed stack finds its state under the new name; the old name in the file is an error or an empty state."""
    applied.run("state", "mv-stack", "demo", "renamed").ended(0)
    applied.write(FILE.replace("stack: demo", "stack: renamed"))
    applied.run("plan", "--detailed-exitcode").ended(0)
    applied.run("state", "mv-stack", "demo", "third").failed(1, "demo")


def test_outputs(applied: Project) -> None:
    """All outputs, one alone without quotes, and as JSON; an unknown one is an error that names those recorded."""
    one = applied.run("output", "support_id").ended(0).out
    assert one == "alignment-1-deployed\n"
    assert applied.run("output").ended(0).out.splitlines()[1] == 'support_id = "alignment-1-deployed"'
    assert set(applied.run("output", "--format", "json").ended(0).json) == {"chat_url", "support_id"}
    assert applied.run("output", "support_id", "--format", "json").ended(0).json == "alignment-1-deployed"
    applied.run("output", "nobody").failed(1, "chat_url")


def test_graph(applied: Project) -> None:
    """Dependencies as dot and as mermaid, without network, credentials or a state."""
    applied.env.clear()
    dot = applied.run("graph").ended(0).out
    assert '"support[\\"eu\\"]" -> "chat"' in dot
    assert applied.run("graph", "--format", "mermaid").ended(0).out.startswith("flowchart")


def test_an_apply_of_nothing_writes_nothing(applied: Project) -> None:
    """Twice the same apply: the second says that nothing had to be changed, and the state stays byte for byte."""
    before = applied.files("state/sandbox")
    ran = applied.run("apply", "--auto-approve").ended(0)
    assert "nothing had to be changed" in ran.out
    assert "State serial" not in ran.out
    assert {k: v for k, v in applied.files("state/sandbox").items() if not k.startswith("data/")} == {
        k: v for k, v in before.items() if not k.startswith("data/")
    }


def test_sandbox_reset(applied: Project) -> None:
    """After a reset nothing of the rehearsal is left; a second one says so."""
    assert "forgot" in applied.run("sandbox", "reset").ended(0).err
    assert "nothing to forget" in applied.run("sandbox", "reset").ended(0).err
    assert "3 to deploy" in applied.run("plan").ended(0).out


def test_a_rehearsal_and_the_real_thing_stay_apart(remote: Remote) -> None:
    """The sandbox has a state of its own, and a plan made in it is refused outside."""
    remote.run("--sandbox", "plan", "--out", "p.json").ended(0)
    remote.run("apply", "p.json").failed(1, "sandbox plan", "reconciler --sandbox apply")
    remote.run("--sandbox", "apply", "p.json").ended(0)
    assert remote.run("state", "list").ended(0).out == ""
    assert "2 to deploy" in remote.run("plan").ended(0).out


def test_the_next_step_can_be_pasted(remote: Remote) -> None:
    """Commands that are proposed repeat the global options of this call, and name the saved plan in every form."""
    remote.folder.joinpath("reconciler.yaml").rename(remote.folder / "my file.yaml")
    for form in ("text", "markdown", "html"):
        ran = remote.run("-f", "my file.yaml", "plan", "--out", "my plan.json", "--format", form).ended(0)
        assert "-f 'my file.yaml' apply 'my plan.json'" in ran.out.replace("&#x27;", "'").replace("&#39;", "'")
    ran = remote.run("-f", "my file.yaml", "plan", "--out", "my plan.json", "--format", "json").ended(0)
    assert "reconciler -f 'my file.yaml' apply 'my plan.json'" in ran.err
    assert "-f 'my file.yaml' apply --target chat" in remote.run("-f", "my file.yaml", "plan", "--target", "chat").out


def test_names_in_the_plan(remote: Remote) -> None:
    """What is not live yet is called by its `name`, else by its address; never by an identity of ours."""
    actions = remote.run("plan", "--format", "json").ended(0).json["actions"]
    assert [action["name"] for action in actions] == ["chat", "alignment_support"]


def test_two_environments_by_variable_file(project: Project) -> None:
    """One file, two variable files, two state folders: each has its own replicas, state and plan."""
    project.env["RECONCILER_SANDBOX"] = "1"
    project.write(FILE)
    for name, replicas in (("staging", 1), ("production", 3)):
        project.write(f"replicas: {replicas}\n", f"{name}.yaml")
        project.write(FILE.replace("stack: demo", f"stack: {name}"), f"{name}/reconciler.yaml")
    for name, replicas in (("staging", 1), ("production", 3)):
        arguments = ("-C", name, "plan", "--var-file", f"../{name}.yaml", "--target", "chat")
        plan = project.run(*arguments, "--format", "json").ended(0).json
        assert plan["stack"] == name
        assert plan["hourly_cost"]["after"] == replicas * 2.5
    ran = project.run("-C", "staging", "plan", "--var-file", "../production.yaml", "--var", "replicas=2", "--target",
                      "chat", "--format", "json").ended(0)  # fmt: skip
    assert ran.json["hourly_cost"]["after"] == 5.0
    ran = project.run("-C", "staging", "plan", "--target", "chat", "--format", "json", RECONCILER_VAR_replicas="4")
    assert ran.ended(0).json["hourly_cost"]["after"] == 10.0


def test_a_stack_of_several_files(project: Project) -> None:
    """A folder is one stack; a key given in two of its files is an error that names both."""
    project.env["RECONCILER_SANDBOX"] = "1"
    head, _, rest = FILE.partition("deployments:")
    project.write(head, "stack/a.yaml")
    project.write("deployments:" + rest, "stack/b.yml")
    assert "3 deployments" in project.run("-f", "stack", "validate").ended(0).out
    project.write("outputs: {chat_url: x}\n", "stack/c.yaml")
    project.run("-f", "stack", "validate").failed(1, "b.yml", "c.yaml", "chat_url")


def test_serve_keeps_its_data(tmp_path: Path) -> None:
    """`sandbox serve --data DIR` finds what it knew after a restart; --host takes loopback addresses alone."""
    server = Served("--data", str(tmp_path / "world"))
    server.call("POST", "/_sandbox/nugen/presuppose", {"specs": [{"alignment_id": "alignment-1"}]})
    server.close()
    again = Served("--data", str(tmp_path / "world"))
    assert "alignment-1" in json.dumps(again.call("GET", "/_sandbox/nugen/world"))
    again.close()
