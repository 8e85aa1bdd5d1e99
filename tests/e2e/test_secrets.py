"""No secret is ever written down or told: values are planted wherever one may come from, every command is run, and
every byte that it leaves or says is searched. What the simulators know is the provider's side.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.sandbox.faults import Fault
from reconciler.sandbox.opensearch import OpenSearch
from tests.support.by_hand import Rehearsed
from tests.support.cli import COMMAND, ROOT, Ran
from tests.support.hostile import HostileServer, Seen, answer

PLANTED = {
    "TOKEN": "planted-env-0f4a91c7",
    "CONNECTOR_KEY": "planted/connector+5d2e88b0=",
    "RECONCILER_VAR_from_env": "planted-variable-77aa1c3d",
    "NUGEN_API_KEY": "planted-nugen-3b9d0e62",
    "DASHSCOPE_API_KEY": "planted-dashscope-c41f7a05",
    "NEEVCLOUD_EMAIL": "planted@example.invalid",
    "NEEVCLOUD_PASSWORD": "planted-neevcloud-8e6b2d94",
    "OPENSEARCH_USERNAME": "planted",
    "OPENSEARCH_PASSWORD": "planted-opensearch-19c5f3e8",
}
BY_VAR, BY_FILE, LITERAL = "planted-by-var-a8d3e1f6", "planted-by-file-2c7b9f40", "planted-literal-6e0a5b82"
NOT_SECRET = ("planted", "planted@example.invalid")
ANOTHER = "planted-another-key-d0c4"
SECRETS = (*(value for value in PLANTED.values() if value not in NOT_SECRET), BY_VAR, BY_FILE, LITERAL, ANOTHER)
FILE = """\
version: 1
stack: demo
variables:
  by_var: {type: string, sensitive: true}
  by_file: {type: string, sensitive: true}
  from_env: {type: string, sensitive: true}
  replicas: {type: integer, default: 1}
providers:
  modelstudio: {region: cn}
  neevcloud: {org_id: org-1, project_id: prj-1}
  nugen: {}
  opensearch: {endpoint: "https://search.example:9200"}
deployments:
  chat:
    provider: neevcloud
    spec:
      {catalog_id: cat, region: in-south-1, gpu_config_id: gpu-1, gpu_count: 1, plan_id: plan-1,
       replicas: "${var.replicas}",
       config: {extra_args: [--hf-token, "${env.TOKEN}", --password, "${var.by_var}", "--api-key=${var.by_file}"]}}
  support: {provider: nugen, spec: {alignment_id: alignment-1}}
  writer: {provider: modelstudio, spec: {model_name: qwen, plan: mu, capacity: 1}}
  search:
    provider: opensearch
    spec:
      description: a model
      connector:
        name: chat
        parameters: {model: m, upstream: "${deployments.chat.id}"}
        credential: {key: "${env.CONNECTOR_KEY}", more: "Bearer ${var.from_env}"}
        actions:
          - {action_type: predict, method: POST, url: "https://service.example/v1", request_body: "{}",
             headers: {Authorization: "Bearer $${credential.key}", X-Api-Key: "${env.TOKEN}"}}
outputs: {chat: "${deployments.chat.endpoint_url}"}
"""
ARGUMENTS = ("--var", f"by_var={BY_VAR}", "--var-file", "values.yaml")


class Searched(Rehearsed):
    """Every command is run at the most talkative, and what it says and leaves is searched."""

    def command(self, *arguments: str, **env: str) -> Ran:
        ran = self.run("--log-level", "debug", *arguments, **env)
        self.search(" ".join(arguments), (ran.out + ran.err).encode())
        for path in sorted(self.folder.rglob("*")):
            ours = not path.is_relative_to(self.folder / "state" / "sandbox" / "data")
            if path.is_file() and ours and path.name not in ("reconciler.yaml", "values.yaml"):
                self.search(f"{' '.join(arguments)}: {path.name}", path.read_bytes())
        return ran

    def search(self, where: str, raw: bytes) -> None:
        for secret in SECRETS:
            for form in (secret, secret.replace("/", "\\/"), json.dumps(secret)[1:-1]):
                assert form.encode() not in raw, f"{secret} after {where}:\n{raw.decode(errors='replace')[:4000]}"


@pytest.fixture
def project(tmp_path: Path) -> Searched:
    folder = tmp_path / "project"
    folder.mkdir()
    project = Searched(folder, dict(PLANTED))
    project.write(FILE)
    project.write(f"by_file: {BY_FILE}\n", "values.yaml")
    return project


def test_a_whole_life(project: Searched) -> None:
    """Plan, review, apply, change, drift, move, import and destroy, in every format: nothing is found."""
    do = project.command
    do("validate", *ARGUMENTS).ended(0)
    do("plan", *ARGUMENTS).ended(0)
    project.quick()
    for form in ("text", "json", "markdown", "html"):
        do("plan", "--format", form, *ARGUMENTS).ended(0)
    do("plan", "--out", "plan.json", *ARGUMENTS).ended(0)
    for form in ("text", "json", "markdown", "html"):
        do("show", "plan.json", "--format", form).ended(0)
    do("apply", "plan.json", "--events", "events.jsonl", *ARGUMENTS).ended(0)
    project.write(FILE.replace("a model", "another model"))
    do("plan", "--out", "plan.json", *ARGUMENTS, CONNECTOR_KEY=ANOTHER).ended(0)
    do("apply", "plan.json", *ARGUMENTS, CONNECTOR_KEY=ANOTHER).ended(0)
    do("apply", "--auto-approve", "--var", "replicas=2", "--format", "json", *ARGUMENTS).ended(0)
    do("apply", "--auto-approve", *ARGUMENTS).ended(0)
    for arguments in (
        ("show",), ("show", "--format", "json"), ("state", "list"), ("state", "show"), ("state", "show", "chat"),
        ("state", "show", "--format", "json"), ("state", "pull"), ("output",), ("output", "chat"), ("lock", "status"),
        ("graph", *ARGUMENTS), ("import", "--generate", "neevcloud", *ARGUMENTS),
    ):  # fmt: skip
        do(*arguments).ended(0)
    for form in ("text", "json", "markdown", "html"):
        do("drift", "--format", form, "--metrics-file", "metrics.prom", *ARGUMENTS).ended(0)
    id_ = project.recorded("chat")["id"]
    do("state", "rm", "chat").ended(0)
    do("import", "--generate", "neevcloud", *ARGUMENTS).ended(0)
    do("plan", *ARGUMENTS).ended(1)
    do("import", "chat", id_, *ARGUMENTS).ended(0)
    do("state", "mv", "writer", "author").ended(0)
    do("destroy", "--auto-approve", *ARGUMENTS).ended(0)


def test_a_literal_secret_stays_in_the_file(project: Searched) -> None:
    """A value beside a flag that names a token is a secret though nobody said so; it can be applied, and no plan file
    holds it."""
    project.write(FILE.replace('"--api-key=${var.by_file}"', f"--api-token, {LITERAL}"))
    project.command("plan", *ARGUMENTS).ended(0)
    project.quick()
    for form in ("json", "markdown", "html"):
        project.command("plan", "--format", form, *ARGUMENTS).ended(0)
    assert "without a reference" in project.command("plan", "--out", "plan.json", *ARGUMENTS).err
    project.command("apply", "--auto-approve", *ARGUMENTS).ended(0)
    project.command("apply", "--auto-approve", "--var", "replicas=3", *ARGUMENTS).ended(0)
    project.command("drift", "--format", "json", *ARGUMENTS).ended(0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("region: in-south-1", 'region: "${env.TOKEN}"'),
        ("gpu_count: 1", 'gpu_count: "${env.TOKEN}"'),
        ("{catalog_id: cat", '{name: "${env.TOKEN}", catalog_id: cat'),
        ("{region: cn}", '{region: "${env.TOKEN}"}'),
        ("plan: mu", 'plan: "${var.by_var}"'),
        ("{alignment_id: alignment-1}", '{alignment_id: "${env.TOKEN}"}'),
        ("provider: nugen", 'provider: "${env.TOKEN}"'),
        ("description: a model", 'description: "${env.TOKEN}", rate_limiter: "${env.TOKEN}"'),
        ("  support: {", '  support: {for_each: ["${env.TOKEN}"], '),
        ("outputs: {", 'outputs: {leak: "${var.by_var}", '),
        ("by_var: {type: string,", "by_var: {type: string, pattern: '^nothing$',"),
        ("by_var: {type: string,", "by_var: {type: integer,"),
        ("by_file: {type: string,", "by_file: {enum: [a, b],"),
        ("from_env: {type: string,", "from_env: {type: array,"),
        ("extra_args: [", 'extra_args: [{a: "${env.TOKEN}"}, '),
        ("credential: {key:", 'credential: {key: ["${env.TOKEN}"], key2:'),
    ],
)
def test_an_error_about_a_secret_does_not_tell_it(project: Searched, old: str, new: str) -> None:
    """A secret in a place that refuses it, or of a form that is refused, is pointed to and not shown."""
    assert old in FILE
    project.write(FILE.replace(old, new))
    for command in ("validate", "plan"):
        assert project.command(command, *ARGUMENTS).code in (0, 1)


def test_broken_values_do_not_tell_what_they_hold(project: Searched) -> None:
    """Files and command lines that can't be read."""
    for text in (f"by_file: {BY_FILE}\n  x: [", f"by_file: '{BY_FILE}", f"- {BY_FILE}", BY_FILE, f"{{{BY_FILE}: }}: 1"):
        project.write(text, "values.yaml")
        assert project.command("plan", *ARGUMENTS).code == 1
    project.write("{}", "values.yaml")
    project.command("plan", "--var", f"other={BY_VAR}", *ARGUMENTS).ended(1)
    project.command("apply", "--auto-approve", "--nonsense", *ARGUMENTS).ended(64)


@pytest.mark.parametrize(
    "fault",
    ["status:400", "status:403", "status:500", "html", "truncate", "empty", "timeout", "redirect", "throttle:0"],
)
def test_failing_runs(project: Searched, fault: str) -> None:
    """Whatever a provider does to the requests that carry secrets, nobody hears of them."""
    project.write(re.sub(r"(modelstudio|neevcloud|nugen|opensearch): \{(?=.)", r"\1: {timeout: 0.2s, ", FILE, count=4))
    project.command("plan", *ARGUMENTS).ended(0)
    project.quick()
    for type_ in ("neevcloud", "opensearch", "modelstudio", "nugen"):
        with project.world(type_) as world:
            world.faults.extend(_faults(fault))
    project.command("apply", "--auto-approve", "--events", "events.jsonl", "--target", "support", *ARGUMENTS)
    project.command("apply", "--auto-approve", "--format", "json", *ARGUMENTS)


def _faults(kind: str) -> Iterator[Fault]:
    for match in ("POST .*aimodels$", "POST .*deployments$", "POST .*(_register|_create)$", "POST .*deploy-model"):
        yield Fault.parse({"match": match, "kind": kind, "times": 1})


SERVED = """\
version: 1
stack: demo
providers:
  opensearch: {{endpoint: "{url}/opensearch.secrets", poll_interval: 0.2s}}
deployments:
  search:
    provider: opensearch
    spec:
      connector:
        credential: {{key: "${{env.CONNECTOR_KEY}}"}}
        actions: [{{action_type: predict, method: POST, url: "https://service.example/v1",
                    headers: {{X-Api-Key: "${{env.TOKEN}}"}}}}]
"""


def test_the_served_sandbox_logs_no_secret(tmp_path: Path) -> None:
    """Neither side of a real connection tells what was sent over it: bodies, credentials, headers."""
    password = OpenSearch.credentials["password"]
    env = {**PLANTED, "OPENSEARCH_USERNAME": OpenSearch.credentials["username"], "OPENSEARCH_PASSWORD": password}
    project = Searched(tmp_path, env, sandbox=False)
    log = tmp_path / "served.log"
    command = [*COMMAND, "--log-level", "debug", "sandbox", "serve", "--speed", "40"]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=errors) as server,
    ):
        assert server.stdout is not None
        project.write(SERVED.format(url=server.stdout.readline().strip()))
        said = [project.command("apply", "--auto-approve").ended(0), project.command("destroy", "--auto-approve")]
        server.terminate()
        told = server.stdout.read()
    told += log.read_text()
    project.search("sandbox serve", told.encode())
    for text in (told, *(ran.err + ran.out for ran in said)):
        assert password not in text


ECHO = """\
version: 1
stack: demo
providers:
  neevcloud: {{endpoint: "{url}/aimodels", org_id: org-1, project_id: prj-1}}
  opensearch: {{endpoint: "{url}"}}
deployments:
  chat:
    provider: neevcloud
    spec:
      {{catalog_id: cat, region: in-south-1, gpu_config_id: gpu-1, gpu_count: 1, plan_id: plan-1,
       config: {{extra_args: [--hf-token, "${{env.TOKEN}}", --api-token, {literal}]}}}}
  search:
    provider: opensearch
    spec:
      connector:
        credential: {{key: "${{env.CONNECTOR_KEY}}"}}
        actions: [{{action_type: predict, method: POST, url: "https://service.example/v1"}}]
"""


def _echo(seen: Seen) -> bytes:
    """An empty place that throws every write back, with all that was in it."""
    if seen.path.endswith("_search"):
        return answer(200, {"hits": {"total": {"value": 0}, "hits": []}})
    if "profile" in seen.path:
        return answer(200, {"nodes": {}})
    if seen.method == "GET":
        return answer(200, {"items": [], "pagination": {"total_items": 0, "total_pages": 0}})
    if seen.path.endswith("model_groups/_register"):
        return answer(200, {"model_group_id": "group-1", "status": "CREATED"})
    text = f"can't take {seen.body.decode()} with {dict(seen.headers)}"
    return answer(400, {"code": "bad", "message": text, "error": {"type": "bad", "reason": text}, "status": 400})


def test_a_provider_that_throws_everything_back(tmp_path: Path) -> None:
    """A refusal that quotes the request, credentials and sensitive values included, is told without them."""
    project = Searched(tmp_path, {**PLANTED, "NEEVCLOUD_ACCESS_TOKEN": "planted-access-4b1d"}, sandbox=False)
    with HostileServer(_echo) as server:
        project.write(ECHO.format(url=server.url, literal=LITERAL))
        ran = project.command("apply", "--auto-approve", "--events", "events.jsonl").ended(3)
        assert "can't take" in ran.err + ran.out
        project.command("apply", "--auto-approve", "--format", "json").ended(3)
        project.command("state", "pull").ended(0)
        project.command("plan", "--format", "json").ended(0)
        project.command("drift", "--format", "json")
