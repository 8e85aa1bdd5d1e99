"""A saved plan is carried out only on the world that it was made for: every reason against it is exit 4, and nothing
is changed. What moves elsewhere does not matter.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.by_hand import QUICK, Rehearsed

PLACE = "/aimodels/api/v1beta1/orgs/org-1/projects/prj-1/aimodels"
HEAD = """\
version: 1
stack: demo
variables: {password: {type: string, sensitive: true}}
providers:
  modelstudio: {region: cn}
  neevcloud: {org_id: org-1, project_id: prj-1}
  nugen: {}
deployments:
"""


def units(name: str, capacity: int = 1) -> str:
    spec = f"{{model_name: qwen, suffix: {name}, plan: mu, capacity: {capacity}, rpm_limit: 60}}"
    return f"  {name}: {{provider: modelstudio, spec: {spec}}}\n"


def bot(name: str, replicas: int) -> str:
    spec = "catalog_id: cat, region: in-south-1, gpu_config_id: gpu-1, gpu_count: 1, plan_id: plan-1"
    arguments = "[--upstream, '${deployments.quoted.id}', --token, '${env.TOKEN}', --password, '${var.password}']"
    more = f"replicas: {replicas}, config: {{extra_args: {arguments}}}"
    return f"  {name}: {{provider: neevcloud, spec: {{{spec}, {more}}}}}\n"


BEFORE = HEAD + units("chat") + units("side") + units("quoted") + units("leaver") + bot("robot", 1)
NOW = HEAD + units("chat", 3) + units("side") + units("quoted") + bot("robot", 2) + bot("fresh", 1)


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `BEFORE` is applied."""
    project = Rehearsed(tmp_path_factory.mktemp("applied"), ENV)
    project.write(BEFORE)
    project.run("plan").ended(0)
    project.quick()
    project.run("apply", "--auto-approve").ended(0)
    return project.folder


ENV = {"TOKEN": "t0ken", "RECONCILER_VAR_password": "pa55"}


@pytest.fixture
def planned(applied: Path, tmp_path: Path) -> Rehearsed:
    """The same with a saved plan for `NOW`: a scale, another that quotes, a deploy and an undeploy."""
    folder = tmp_path / "project"
    shutil.copytree(applied, folder)
    project = Rehearsed(folder, dict(ENV))
    project.write(NOW)
    project.run("plan", "--out", "plan.json").ended(0)
    actions = {one["address"]: one["action"] for one in json.loads((folder / "plan.json").read_text())["actions"]}
    assert actions == {
        "chat": "scale", "fresh": "deploy", "leaver": "undeploy", "quoted": "none", "robot": "scale", "side": "none",
    }  # fmt: skip
    return project


def path_of(project: Rehearsed, address: str, more: str = "") -> str:
    return f"/deployments/{project.recorded(address)['id']}{more}"


def remove(project: Rehearsed, address: str) -> None:
    """Deleted in the console, and gone."""
    project.by_hand("modelstudio", "DELETE", path_of(project, address))
    time.sleep(0.05)  # what the worlds of these tests take for it


def stale(project: Rehearsed, *words: str, **env: str) -> None:
    """Applying the plan is exit 4 with these words, and neither state nor any world is changed by it."""
    before = project.everything()
    project.run("apply", "plan.json", **env).failed(4, "plan.json is stale; nothing was changed", *words)
    assert project.everything() == before


# --- state, settings and secrets ------------------------------------------------------------------------------------
def test_the_state_has_moved_on(planned: Rehearsed) -> None:
    """Another apply in between."""
    planned.write(BEFORE.replace("capacity: 1", "capacity: 2", 1))
    planned.run("apply", "--auto-approve").ended(0)
    planned.write(NOW)
    stale(planned, "the state has moved on: the plan was made on serial 1, now it is 2")


def test_another_lineage(planned: Rehearsed) -> None:
    """A state of the same name that is another one."""
    state = json.loads(planned.state_file.read_text())
    planned.state_file.write_text(json.dumps({**state, "lineage": "33333333-2222-4333-8444-555555555555"}))
    stale(planned, "its lineage differs")


def test_the_state_is_not_there_any_more(planned: Rehearsed) -> None:
    """A plan that was made on a state is nothing without it."""
    planned.state_file.unlink()
    stale(planned, "serial 1 of a state that is not there any more")


def test_a_plan_made_before_there_was_a_state(tmp_path: Path) -> None:
    """Somebody else's first apply came in between."""
    project = Rehearsed(tmp_path, dict(ENV))
    project.write(BEFORE)
    project.run("plan", "--out", "plan.json").ended(0)
    project.quick()
    project.run("apply", "--auto-approve").ended(0)
    stale(project, "made before there was a state; now there is one (serial 1)")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{region: cn}", "{region: cn, workspace: llm-other}", "provider modelstudio pointed to"),
        ("project_id: prj-1", "project_id: prj-2", "provider neevcloud pointed to"),
        ("{region: cn}", "{region: cn, poll_interval: 3s}", "modelstudio have changed: poll_interval"),
    ],
)  # fmt: skip
def test_provider_settings_differ(planned: Rehearsed, old: str, new: str, words: str) -> None:
    """The plan was reviewed for one account; it is not carried out at another, nor otherwise."""
    planned.write(NOW.replace(old, new))
    stale(planned, words)


def test_a_provider_is_not_in_the_file_any_more(planned: Rehearsed) -> None:
    """Providers come from the file as it is now, and this one is gone."""
    planned.write(HEAD.replace("  modelstudio: {region: cn}\n", "") + bot("fresh", 1).replace("deployments.", "env."))
    stale(planned, "provider modelstudio is not in the file any more")


@pytest.mark.parametrize(
    ("name", "template"), [("TOKEN", "${env.TOKEN}"), ("RECONCILER_VAR_password", "${var.password}")]
)
def test_a_sensitive_value_differs(planned: Rehearsed, name: str, template: str) -> None:
    """The secret of the plan is not the one of the apply; neither value is told."""
    stale(planned, f"the value of {template} is not the one that was planned with", **{name: "0ther"})


def test_a_sensitive_value_is_missing(planned: Rehearsed) -> None:
    """Without the sandbox's placeholders there would be none; with them it is another one."""
    del planned.env["TOKEN"]
    stale(planned, "the value of ${env.TOKEN} is not the one that was planned with")


# --- live state -----------------------------------------------------------------------------------------------------
def test_a_deployment_has_gone(planned: Rehearsed) -> None:
    """What would be scaled is not there any more."""
    remove(planned, "chat")
    stale(planned, "chat has gone since")


def test_what_would_be_undeployed_has_gone(planned: Rehearsed) -> None:
    """Nothing is left to undeploy: somebody else did."""
    remove(planned, "leaver")
    stale(planned, "leaver has gone since")


def test_a_name_is_taken(planned: Rehearsed) -> None:
    """What would be deployed exists by now, made by somebody else."""
    body = {"name": "fresh", "catalog_id": "cat", "region": "in-south-1", "gpu_config_id": "gpu-1", "gpu_count": 1,
            "plan_id": "plan-1"}  # fmt: skip
    planned.by_hand("neevcloud", "POST", PLACE, body)
    stale(planned, "fresh, which fresh would take, is live now")


def test_a_managed_attribute_has_changed(planned: Rehearsed) -> None:
    """Also one that the plan does not touch: the reviewer saw another deployment."""
    planned.by_hand("modelstudio", "PUT", path_of(planned, "chat", "/update"), {"rpm_limit": 90})
    with planned.world("modelstudio") as world:  # over by now
        for held in world.table("deployments").values():
            held["versions"] = [{**version, "at": version["at"] - 60} for version in held["versions"]]
    stale(planned, "rpm_limit (60 → 90) of chat has changed since")


def test_somebody_scaled_it(planned: Rehearsed) -> None:
    """The figure that the plan starts from is another one."""
    planned.by_hand("neevcloud", "PUT", f"{PLACE}/{planned.recorded('robot')['id']}/scale", {"replicas": 5})
    stale(planned, "replicas (1 → 5) of robot has changed since")


@pytest.mark.parametrize(("status", "word"), [("FAILED", "FAILED"), ("UPDATING", "UPDATING"), ("DELETING", "DELETING")])
def test_another_kind_of_health(planned: Rehearsed, status: str, word: str) -> None:
    """Steady when it was planned; failed, in transition or on its way out now."""
    set_status(planned, "chat", status)
    stale(planned, "chat was ready, now its status is", word)


def set_status(project: Rehearsed, address: str, status: str) -> None:
    with project.world("modelstudio") as world:
        world.table("deployments")[project.recorded(address)["id"]]["versions"].append({"at": 0.0, "status": status})


def test_what_the_plan_quotes_has_gone(planned: Rehearsed) -> None:
    """An address whose attribute a changed one takes counts like a changed one."""
    remove(planned, "quoted")
    stale(planned, "quoted has gone since")


def test_all_reasons_are_told_at_once(planned: Rehearsed) -> None:
    """Nobody plans anew for one reason to meet the next."""
    remove(planned, "chat")
    remove(planned, "leaver")
    stale(planned, "chat has gone since", "leaver has gone since", "${env.TOKEN}", TOKEN="0ther")


# --- not stale ------------------------------------------------------------------------------------------------------
def vanish(project: Rehearsed) -> None:
    remove(project, "side")


def fail(project: Rehearsed) -> None:
    set_status(project, "side", "FAILED")


def strangers(project: Rehearsed) -> None:
    body = {"model_name": "qwen", "suffix": "theirs", "plan": "mu", "capacity": 1, "name": "theirs"}
    project.by_hand("modelstudio", "POST", "/deployments", body)


def rewritten(project: Rehearsed) -> None:
    project.write(NOW.replace("capacity: 3", "capacity: 9").replace("  nugen: {}\n", ""))


@pytest.mark.parametrize("elsewhere", [vanish, fail, strangers, rewritten])
def test_what_changed_elsewhere_does_not_matter(planned: Rehearsed, elsewhere: Callable[[Rehearsed], None]) -> None:
    """An address that the plan leaves alone, a deployment of others, the file's deployments: the plan is carried out
    as it was saved."""
    elsewhere(planned)
    planned.run("apply", "plan.json").ended(0)
    assert planned.recorded("chat")["spec"]["capacity"] == 3
    shown = planned.by_hand("modelstudio", "GET", path_of(planned, "chat"))["output"]
    assert (shown["capacity"], shown["status"]) == (3, "RUNNING")


def test_in_transition_then_and_as_desired_now_is_not_stale(applied: Path, tmp_path: Path) -> None:
    """What was on its way when the plan was made has arrived: as was to be expected."""
    folder = tmp_path / "project"
    shutil.copytree(applied, folder)
    project = Rehearsed(folder, dict(ENV))
    with project.world("modelstudio") as world:
        world.knobs.update(dict.fromkeys(QUICK, 3600.0), instant=False)
    project.by_hand("modelstudio", "PUT", path_of(project, "chat", "/update"), {"rpm_limit": 60})
    project.write(BEFORE.replace("capacity: 1", "capacity: 1", 1) + bot("fresh", 1).replace("quoted", "chat"))
    project.run("plan", "--out", "plan.json").ended(0)
    set_status(project, "chat", "RUNNING")
    project.run("apply", "plan.json").ended(0)
    assert project.recorded("fresh")["health"] == "ready"
