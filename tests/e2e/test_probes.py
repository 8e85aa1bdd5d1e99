"""Probes through the real program: a deployment is done once it answers, and dependents wait for that."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cli import CREDENTIALS, Ran, Remote

KEY = {"NEEVCLOUD_INFERENCE_KEY": "sk-nc-sandbox-inference-key"}


def probed(remote: Remote, probe: str = "{timeout: 20s, interval: 0.2s}") -> Remote:
    """`chat` has a probe; `support` depends on it."""
    remote.env = {**CREDENTIALS, **KEY}
    remote.write(remote.text().replace("  chat: {provider", f"  chat: {{probe: {probe}, provider"))
    return remote


def state(remote: Remote) -> dict[str, Any]:
    (text,) = [raw for name, raw in remote.files().items() if name == "demo.state.json"]
    found: dict[str, Any] = json.loads(text)["deployments"]
    return found


def inference(remote: Remote) -> int:
    """How many inference calls the sandbox has seen at this project's NeevCloud."""
    counts = remote.served.call("GET", "/_sandbox/requests")["counts"]
    return int(counts.get(f"{remote.neevcloud} POST", 0))


def apply(remote: Remote, *more: str) -> Ran:
    return remote.run("apply", "--auto-approve", *more)


def test_what_answers_late_is_done_late(remote: Remote) -> None:
    """Ready, then 500 for a while, then an answer: the apply succeeds, and only then goes on to what depends on it."""
    probed(remote).served.knobs(remote.neevcloud, probe_fails_for=40.0)  # a second on the sandbox's clock
    ran = apply(remote, "--format", "json").ended(0)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    order = [(line["event"], line.get("address")) for line in lines if line["event"] in ("started", "done")]
    assert order.index(("done", "chat")) < order.index(("started", "support"))
    assert any("not answering yet" in (line.get("status") or "") and "500" in line["status"] for line in lines)
    assert "probe" in state(remote)["chat"]
    assert "pending" not in state(remote)["chat"]
    assert remote.run("plan", "--detailed-exitcode").ended(0)


def test_what_never_answers_fails_and_is_probed_again(remote: Remote) -> None:
    """Exit 3 with last status, excerpt and latency; pending in the state; the next apply asks again and goes on."""
    probed(remote, "{timeout: 1s, interval: 0.2s}").served.knobs(remote.neevcloud, probe_fails_for=1e6)
    ran = apply(remote).ended(3)
    assert "chat is ready but does not answer: POST /chat/completions gave 500 after" in " ".join(ran.out.split())
    assert "the model is still loading" in ran.out
    assert "support is skipped" in " ".join(ran.out.split())
    kept = state(remote)["chat"]
    assert kept["pending"]["verb"] == "deploy"
    assert "gave 500" in kept["pending"]["cause"]
    assert "support" not in state(remote)
    plan = remote.run("plan", "--detailed-exitcode").ended(2)
    assert "apply probes it" in plan.out
    again = apply(remote).ended(3)
    assert "chat is ready but does not answer" in " ".join(again.out.split())
    remote.served.knobs(remote.neevcloud, probe_fails_for=0)
    apply(remote).ended(0)
    assert "pending" not in state(remote)["chat"]
    assert kept["id"] == state(remote)["chat"]["id"]
    assert remote.run("plan", "--detailed-exitcode").ended(0)


def test_a_saved_plan_carries_its_probe(remote: Remote) -> None:
    """`apply PLANFILE` probes as the plan says, though the file has changed since."""
    probed(remote)
    remote.run("plan", "--out", "p.json").ended(0)
    assert json.loads((remote.folder / "p.json").read_text())["execution"]["actions"]["chat"]["desired"]["probe"] == {
        "timeout": 20.0, "interval": 0.2,
    }  # fmt: skip
    remote.write(remote.text())
    before = inference(remote)
    remote.run("apply", "p.json").ended(0)
    assert inference(remote) - before == 2  # the create, and one probe
    assert state(remote)["chat"]["probe"] == {"timeout": 20.0, "interval": 0.2}


def test_a_missing_inference_key_is_told_before_anything_is_deployed(remote: Remote) -> None:
    """Nobody pays for a deployment that could never be asked; the variable is named."""
    probed(remote).env = dict(CREDENTIALS)
    apply(remote).failed(1, "chat can't be probed", "NEEVCLOUD_INFERENCE_KEY")
    assert remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")["data"].get("deployments", {}) == {}


def test_a_wrong_inference_key_never_shows(remote: Remote) -> None:
    """Its status is told, the key is not: neither on the terminal nor in any file."""
    secret = "sk-nc-wrong-4711-wrong"
    probed(remote, "{timeout: 0.5s, interval: 0.2s}").env = {**CREDENTIALS, "NEEVCLOUD_INFERENCE_KEY": secret}
    ran = remote.run("--log-level", "debug", "apply", "--auto-approve").ended(3)
    assert "gave 401" in ran.out
    assert secret not in ran.out + ran.err
    assert not any(secret.encode() in raw for raw in remote.files().values())


def test_a_probe_in_the_file_is_checked(remote: Remote) -> None:
    """What is wrong with a probe is an error of the file, with its line."""
    probed(remote, "{method: GET, body: {a: 1}}").run("validate").failed(1, "`body` goes with the method POST alone")
    probed(remote, "{interval: 0s}").run("validate").failed(1, "`interval` of a probe must be longer than nothing")
    probed(remote, "{path: chat}").run("validate").failed(1, "a path such as /chat/completions", "reconciler.yaml:")
    probed(remote, "{patience: 3}").run("validate").failed(1, "patience")
    probed(remote, '{body: {key: "${env.NUGEN_API_KEY}"}}').run("validate").failed(1, "`probe` is sensitive")
    probed(remote, '{path: "/x/${deployments.support.id}"}').run("validate").failed(1)


def test_the_sandbox_needs_no_key(remote: Remote) -> None:
    """`--sandbox` rehearses probes at every provider without credentials."""
    remote.env = {}
    remote.write(
        """\
version: 1
stack: all
providers:
  nugen: {}
  neevcloud: {org_id: o, project_id: p}
  modelstudio: {region: cn}
  opensearch: {endpoint: "https://localhost:9200"}
defaults:
  nugen: {probe: {}}
  neevcloud: {probe: {}}
  modelstudio: {probe: {}}
  opensearch: {probe: {}}
deployments:
  one: {provider: nugen, spec: {alignment_id: a}}
  two: {provider: neevcloud, spec: {catalog_id: c, region: r, gpu_config_id: g, plan_id: p}}
  three: {provider: modelstudio, spec: {model_name: qwen, plan: mu, capacity: 1, deploy_spec: MU1}}
  four: {provider: opensearch, spec: {model_id: m}}
  five: {provider: opensearch, probe: null, spec: {model_id: n}}
"""
    )
    remote.run("--sandbox", "apply", "--auto-approve").ended(0)
    shown = remote.run("--sandbox", "state", "show", "two").ended(0).out
    assert "probe" in shown
    assert "probe" not in remote.run("--sandbox", "state", "show", "five").ended(0).out
    assert remote.run("--sandbox", "plan", "--detailed-exitcode").ended(0)
