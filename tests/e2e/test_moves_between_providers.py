"""A deployment that is declared at another provider than before: the old one goes, and is never forgotten."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from tests.support.cli import Project

PROVIDERS = """version: 1
stack: demo
providers:
  neevcloud: {org_id: org-1, project_id: prj-1}
  neevcloud.second: {org_id: org-1, project_id: prj-2}
  neevcloud.third: {org_id: org-1, project_id: prj-3}
  modelstudio: {region: cn}
  opensearch: {endpoint: "https://localhost:9200"}
"""
GPU = "{catalog_id: cat, region: in-south-1, gpu_config_id: gpu, plan_id: plan-1, name: chat}"
SPECS = {
    "neevcloud": GPU,
    "neevcloud.second": GPU,
    "neevcloud.third": GPU,
    "modelstudio": "{model_name: qwen-plus, plan: mu, capacity: 2}",
    "opensearch": "{connector: {credential: {key: k}, actions: [{action_type: predict, method: POST,"
    " url: 'https://api.openai.com/v1/chat/completions', request_body: '{}'}]}}",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, {"RECONCILER_SANDBOX": "1"})


def declare(project: Project, **at: str) -> None:
    """Deployments by address and provider, all to be replaced create-first."""
    body = "".join(
        f"  {address}: {{provider: {provider}, lifecycle: {{create_before_undeploy: true}}, spec: {SPECS[provider]}}}\n"
        for address, provider in at.items()
    )
    project.write(f"{PROVIDERS}deployments:\n{body}")


def settled(project: Project, provider: str, *left: str) -> None:
    """The state holds `chat` alone, there is nothing to do, and nothing is live at the providers that it has left."""
    assert project.run("state", "list").ended(0).out.split() == ["chat"]
    assert project.run("state", "show", "chat", "--format", "json").json["provider"] == provider
    assert project.run("plan", "--format", "json").ended(0).json["summary"]["none"] == 1
    for key in left:
        assert project.run("import", "--generate", key).ended(0).out.strip() == "deployments: {}"


@pytest.mark.parametrize(("old", "new"), [*permutations(["neevcloud", "modelstudio", "opensearch"], 2)])
def test_the_old_one_goes_once_the_new_one_serves(old: str, new: str, project: Project) -> None:
    """Also where the new one is made in several steps, and has no id after the first."""
    declare(project, chat=old)
    project.run("apply", "--auto-approve").ended(0)
    declare(project, chat=new)
    project.run("apply", "--auto-approve").ended(0)
    settled(project, new, old)


def test_a_second_move_forgets_neither(project: Project) -> None:
    """The first left its old one aside (its undeploy failed, say), and the second puts one aside as well."""
    declare(project, chat="neevcloud.second", first="neevcloud")
    project.run("apply", "--auto-approve").ended(0)
    project.run("state", "mv", "first", 'chat["replaced-0"]').ended(0)
    declare(project, chat="neevcloud.third")
    project.run("apply", "--auto-approve", "--allow-undeploys", "9").ended(0)
    settled(project, "neevcloud.third", "neevcloud", "neevcloud.second")
