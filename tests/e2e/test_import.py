"""What lives already comes under management: `import`, `import --generate`, `adopt`, for every provider type."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.cli import Project, Remote

PROVIDERS = {
    "neevcloud": "{org_id: org-1, project_id: prj-1}",
    "modelstudio": "{region: intl}",
    "nugen": "{}",
    "opensearch": '{endpoint: "https://localhost:9200"}',
}
SPECS = {
    "chat": ("neevcloud", "{catalog_id: cat, region: in-south-1, gpu_config_id: gpu, plan_id: plan-1, replicas: 2}"),
    "writer": ("modelstudio", "{model_name: qwen-plus, plan: ptu, ptu_capacity: {input_tpm: 10000, output_tpm: 1000}}"),
    "support": ("nugen", "{alignment_id: alignment-1}"),
    "by-id": ("nugen", "{model_id: aligned-model-2}"),
    "remote": (
        "opensearch",
        "{description: ours, connector: {parameters: {model: m}, credential: {key: k}, actions: [{action_type: predict,"
        " method: POST, url: 'https://api.openai.com/v1/chat/completions',"
        ' request_body: \'{"model": "$${parameters.model}"}\'}]}}',
    ),
    "embedder": (
        "opensearch",
        "{name: huggingface/sentence-transformers/all-MiniLM-L6-v2, function_name: text_embedding,"
        " model_format: TORCH_SCRIPT, version: 1.0.1}",
    ),
}
# what providers never return but a spec needs, by the attribute's name
UNTOLD = {"catalog_id": "cat", "plan_id": "plan-1", "version": "1.0.1", "credential": "{key: k}"}


def head(*providers: str) -> str:
    settings = "".join(f"  {name}: {PROVIDERS[name]}\n" for name in providers or PROVIDERS)
    return f"version: 1\nstack: demo\nproviders:\n{settings}"


def declared(more: str = "") -> str:
    return "deployments:\n" + "".join(
        f"  {address}: {{provider: {provider}, {more}spec: {spec}}}\n" for address, (provider, spec) in SPECS.items()
    )


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sandbox in which all of SPECS are live and none is in the state."""
    project = Project(tmp_path_factory.mktemp("lived"), {"RECONCILER_SANDBOX": "1"})
    project.write(head() + declared())
    project.run("apply", "--auto-approve").ended(0)
    project.run("state", "rm", *SPECS).ended(0)
    return project.folder


@pytest.fixture
def unmanaged(lived: Path, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    shutil.copytree(lived, folder)
    return Project(folder, {"RECONCILER_SANDBOX": "1"})


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("way", ["import", "adopt"])
def test_a_generated_file_validates_and_gives_an_empty_plan(unmanaged: Project, provider: str, way: str) -> None:
    """`import --generate` finds each one once; its YAML is valid as it is, and after an import, or an apply with
    `adopt: true`, there is nothing left to do."""
    unmanaged.write(head(provider))
    generated = unmanaged.run("import", "--generate", provider).ended(0).out
    assert generated.count("provider:") == sum(1 for of, _ in SPECS.values() if of == provider)
    if way == "adopt":
        generated = re.sub(r"^( +)provider:", r"\1adopt: true\n\1provider:", generated, flags=re.MULTILINE)
    unmanaged.write(head(provider) + generated)
    for variable in re.findall(r"^  (\w+): \{", generated.partition("deployments:")[0], re.MULTILINE):
        value = next(value for name, value in UNTOLD.items() if variable.endswith(name))
        unmanaged.env[f"RECONCILER_VAR_{variable}"] = value
    unmanaged.run("validate").ended(0)
    if way == "adopt":
        unmanaged.run("apply", "--auto-approve").ended(0)
    else:
        refused = unmanaged.run("plan").ended(1)
        commands = re.findall(r"reconciler --sandbox (import \S+ \S+),", refused.err)
        assert len(commands) == generated.count("provider:"), refused
        for command in commands:
            unmanaged.run(*command.replace("'", "").split()).ended(0)
    plan = unmanaged.run("plan", "--detailed-exitcode")
    assert plan.code == 0, plan
    assert unmanaged.run("import", "--generate", provider).ended(0).out.strip() == "deployments: {}"


def test_nugen_ids_in_both_spellings(unmanaged: Project) -> None:
    """An id copied from Nugen's console, with `-deployed` behind it, is the same model."""
    unmanaged.write(head() + declared())
    unmanaged.run("import", "support", "alignment-1-deployed").ended(0)
    assert unmanaged.run("state", "list").ended(0).out == "support\n"


def test_what_import_refuses(unmanaged: Project) -> None:
    """An address that is not declared, an id that is not there, another one than declared, one taken twice."""
    unmanaged.write(head() + declared())
    before = unmanaged.files()
    unmanaged.run("import", "nobody", "alignment-1").failed(64, "nobody")
    unmanaged.run("import", "support", "alignment-9").failed(1, "alignment-9", "live there")
    unmanaged.run("import", "by-id", "alignment-1").failed(1)
    assert unmanaged.files() == before
    unmanaged.run("import", "support", "alignment-1").ended(0)
    unmanaged.run("state", "mv", "support", "helpdesk").ended(0)
    unmanaged.run("import", "support", "alignment-1").failed(1, "helpdesk", "moved")
    unmanaged.run("import", "--generate", "neev").failed(64, "neevcloud")


def test_import_takes_no_other_scope_down(tmp_path: Path) -> None:
    """The provider points elsewhere by now: the next plan would deploy everything again there."""
    project = Project(tmp_path, {"RECONCILER_SANDBOX": "1"})
    spec = SPECS["chat"][1]
    body = f"  chat: {{provider: neevcloud, spec: {spec}}}\n"
    project.write(f"{head('neevcloud')}deployments:\n{body}")
    project.run("apply", "--auto-approve").ended(0)
    elsewhere = head("neevcloud").replace("prj-1", "prj-2")
    project.write(f"{elsewhere}deployments:\n  extra: {{provider: neevcloud, spec: {spec}}}\n".replace("demo", "other"))
    project.run("apply", "--auto-approve").ended(0)
    id_ = project.run("state", "show", "extra", "--format", "json").json["id"]
    project.write(f"{elsewhere}deployments:\n{body}  extra: {{provider: neevcloud, spec: {spec}}}\n")
    held = project.run("state", "pull").out
    project.run("import", "extra", id_).failed(1, "points to", "what the state holds there is in", "neevcloud.NAME")
    assert project.run("state", "pull").out == held


def test_import_knows_an_id_by_another_key_of_the_same_account(tmp_path: Path) -> None:
    """Two provider keys lead to one account: an id that one address holds is not taken by a second one."""
    project = Project(tmp_path, {"RECONCILER_SANDBOX": "1"})
    spec = SPECS["chat"][1]
    both = f"{head('neevcloud')}  neevcloud.two: {PROVIDERS['neevcloud']}\ndeployments:\n"
    project.write(f"{both}  chat: {{provider: neevcloud, spec: {spec}}}\n")
    project.run("apply", "--auto-approve").ended(0)
    id_ = project.run("state", "show", "chat", "--format", "json").json["id"]
    project.write(f"{both}  second: {{provider: neevcloud.two, spec: {spec[:-1]}, name: chat}}}}\n")
    project.run("import", "second", id_).failed(1, "managed already, as chat")


def test_what_is_live_and_not_ours_is_never_deployed_again(remote: Remote) -> None:
    """A plan over something live that is in no state names its id and both ways out; nothing is sent."""
    remote.apply()
    remote.run("state", "rm", "support").ended(0)
    for arguments in (("plan",), ("apply", "--auto-approve")):
        remote.run(*arguments).failed(1, "reconciler import", "adopt: true", "alignment-support")
    remote.run("import", "support", "alignment-support").ended(0)
    remote.run("plan", "--detailed-exitcode").ended(0)
