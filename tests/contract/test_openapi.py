"""The simulators' faces, as their OpenAPI documents say: schemathesis asks them all it can think of, over HTTP.

The documents beside this file hold the facts that the providers' own give, in words of ours.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reconciler.sandbox.loopback import LoopbackServer
from reconciler.sandbox.mount import open_sandbox

FOLDER = Path(__file__).parent / "openapi"
EXAMPLES = "12"  # for each operation and phase: some seconds in all
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,ignored_auth"
)
TOKENS = {"neevcloud": "sandbox-access-token", "nugen": "sandbox-nugen-key"}
MOUNTS = {"neevcloud": "neevcloud/aimodels", "nugen": "nugen"}
TAKEN_FOR_GRANTED = {
    "neevcloud": {"specs": [], "settings": {"org_id": "org-1", "project_id": "prj-1"}},
    "nugen": {"specs": [{"alignment_id": f"alignment-{number}"} for number in (1, 2)]},
}


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(open_sandbox(speed=1000.0)) as running:
        yield running


@pytest.mark.parametrize("type_", sorted(TOKENS))
def test_the_simulator_keeps_to_its_document(server: LoopbackServer, tmp_path: Path, type_: str) -> None:
    """No request of any shape makes a 5xx, an undocumented status, or a body that is not as documented; what the
    document forbids is refused, and nothing is answered without a token."""
    httpx.post(
        f"{server.url}/_sandbox/{type_}/presuppose", json=TAKEN_FOR_GRANTED[type_], trust_env=False
    ).raise_for_status()
    ran = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", str(FOLDER / f"{type_}.json"),
            "--url", f"{server.url}/{MOUNTS[type_]}", "-H", f"Authorization: Bearer {TOKENS[type_]}",
            "--checks", CHECKS, "--max-examples", EXAMPLES, "--generation-deterministic",
            "--no-color", "--workers", "1", "--request-timeout", "5", "--warnings", "off",
        ],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "NO_PROXY": "*", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert int(re.search(r"(\d+) generated", ran.stdout)[1]) > 50  # type: ignore[index]


@pytest.mark.parametrize("type_", sorted(TOKENS))
def test_every_documented_path_is_the_simulators(server: LoopbackServer, type_: str) -> None:
    """A path that the simulator does not know would be a 404 to every question, and prove nothing."""
    for path, about in json.loads((FOLDER / f"{type_}.json").read_text())["paths"].items():
        asked = re.sub(r"\{.*?\}", "x", path)
        for method in ("get", "post", "put", "delete", "patch"):
            got = httpx.request(
                method, f"{server.url}/{MOUNTS[type_]}{asked}", trust_env=False,
                headers={"authorization": f"Bearer {TOKENS[type_]}"},
            )  # fmt: skip
            assert (got.status_code == 405) == (method not in about), f"{method} {asked}: {got.status_code}"
