"""Probes at a real node: the default `_predict` fits a connector of a chat model, and an echoed secret stays hidden."""

from __future__ import annotations

from tests.support.real_node import REAL, SECRET, RealProject

pytestmark = REAL


def test_the_default_probe_is_answered_by_a_chat_model(real: RealProject) -> None:
    """`probe: {}` needs no body for a connector that takes messages: deployed, asked once, done, and settled."""
    real.declare({"chat": {"spec": real.own(), "probe": {}}})
    ran = real.run("--log-level", "debug", "apply", "--auto-approve").ended(0)
    kept = real.recorded()
    assert ran.err.count(f"POST /_plugins/_ml/models/{kept['id']}/_predict 200") == 1
    assert (kept["probe"], "pending" in kept) == ({"timeout": 120.0, "interval": 5.0}, False)
    real.settled()


def test_what_does_not_answer_as_expected_is_told_without_secrets(real: RealProject) -> None:
    """The service echoes the key of its caller: the error quotes the answer, the key is hidden; asked again, no model
    is registered twice."""
    probe = {"expect_status": 418, "timeout": "1s", "interval": "400ms"}
    real.declare({"chat": {"spec": real.own(), "probe": probe}})
    ran = real.run("--log-level", "debug", "apply", "--auto-approve").ended(3)
    told = " ".join(ran.out.split())
    assert "chat is ready but does not answer: POST /_plugins/_ml/models/" in told
    assert "gave 200 after" in told
    assert "expected 418" in told
    kept = real.recorded()
    assert kept["pending"]["verb"] == "deploy"
    assert "small Bearer (hidden) /v1/chat/completions" in kept["pending"]["cause"]
    assert SECRET not in ran.out + ran.err + "".join(str(data) for data in real.files().values())
    real.declare({"chat": {"spec": real.own(), "probe": {**probe, "expect_status": 200}}})
    real.apply()
    assert real.recorded()["id"] == kept["id"]
    assert len(real.models_named(real.named("chat"))) == 1
    real.settled()
