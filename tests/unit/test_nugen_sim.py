"""The Nugen simulator refuses what the provider's pages say is refused, in its words."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from reconciler.model import Json
from reconciler.sandbox.base import Request, World
from reconciler.sandbox.nugen import KEY, Nugen


class Here:
    """The simulator on a clock of its own, with one model that is off."""

    def __init__(self, **knobs: Json) -> None:
        self.at = 1_750_000_000.0
        self.world = World("nugen", lambda: self.at)
        self.world.knobs.update(knobs)
        Nugen(self.world).add("alignment-abc456", alignment_id="alignment-abc456", status="UNDEPLOYED")

    def __call__(
        self, method: str, path: str, query: Mapping[str, str] | None = None, **headers: str
    ) -> tuple[int, Json]:
        sent = {"authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = Nugen(self.world).handle(Request(method, path, query or {}, {k: v for k, v in sent.items() if v}))
        raw, _ = answer.encoded()
        return answer.status, json.loads(raw)

    def item(self) -> Json:
        return self("GET", "/models/aligned")[1]["domain_aligned_models"][0]


DEPLOY, UNDEPLOY = "/models/deploy-model/alignment-abc456", "/models/undeploy-model/alignment-abc456"


def test_a_model_is_switched_on_and_off_as_documented() -> None:
    """DEPLOYING, DEPLOYED with endpoint and suffix, UNDEPLOYING, UNDEPLOYED without; answers are bare strings."""
    here = Here()
    assert here("POST", DEPLOY) == (200, "alignment-abc456")
    assert here.item()["deployment_status"] == "DEPLOYING"
    here.at += 10
    item = here.item()
    assert (item["id"], item["deployment_status"], item["status"]) == (
        "alignment-abc456-deployed",
        "DEPLOYED",
        "DEPLOYED",
    )
    assert item["endpoint"].endswith("/inference/completions/alignment-abc456-deployed")
    assert here("DELETE", f"{UNDEPLOY}-deployed") == (200, "alignment-abc456")
    assert here.item()["deployment_status"] == "UNDEPLOYING"
    here.at += 10
    item = here.item()
    assert (item["id"], item["deployment_status"], item["endpoint"]) == ("alignment-abc456", "UNDEPLOYED", "")


def test_an_item_has_every_documented_field() -> None:
    """The required ones of the OpenAPI schema, and the optional ones."""
    required = {
        "id", "name", "base_model", "alignment_project", "created_date", "status", "deployment_status", "endpoint",
        "creator", "usage_count", "performance_metrics", "downloadable",
    }  # fmt: skip
    assert required < Here().item().keys()


@pytest.mark.parametrize(
    ("status", "method", "path", "detail"),
    [
        ("UNDEPLOYED", "DELETE", UNDEPLOY, "Model cannot be UNDEPLOYED. Current status: UNDEPLOYED."),
        ("READY", "DELETE", UNDEPLOY, "Model cannot be UNDEPLOYED. Current status: READY."),
        ("DEPLOYING", "DELETE", UNDEPLOY, "Model cannot be UNDEPLOYED. Current status: DEPLOYING."),
        ("UNDEPLOYING", "DELETE", UNDEPLOY, "Model cannot be UNDEPLOYED. Current status: UNDEPLOYING."),
        ("DEPLOYED", "POST", DEPLOY, "Model cannot be redeployed. Current status: DEPLOYED"),
        ("DEPLOYING", "POST", DEPLOY, "Model cannot be redeployed. Current status: DEPLOYING"),
        ("UNDEPLOYING", "POST", DEPLOY, "Model cannot be redeployed. Current status: UNDEPLOYING"),
        ("PROCESSING", "POST", DEPLOY, "Model cannot be redeployed. Current status: PROCESSING"),
    ],
)
def test_the_wrong_state_is_a_400_that_names_it(status: str, method: str, path: str, detail: str) -> None:
    """Word for word as on the pages."""
    here = Here()
    here.world.table("models")["alignment-abc456"]["versions"] = [{"at": 0.0, "status": status}]
    assert here(method, path) == (400, {"detail": detail})


@pytest.mark.parametrize("status", ["READY", "UNDEPLOYED", "FAILED", "EVALUATED"])
def test_what_is_off_can_be_deployed(status: str) -> None:
    """Each of the four; an unfinished alignment only early."""
    here = Here()
    here.world.table("models")["alignment-abc456"]["versions"] = [{"at": 0.0, "status": status}]
    assert here("POST", DEPLOY)[0] == 200


def test_early_deploys_an_unfinished_alignment() -> None:
    """early must be a boolean; with it PROCESSING is no obstacle."""
    here = Here()
    here.world.table("models")["alignment-abc456"]["versions"] = [{"at": 0.0, "status": "PROCESSING"}]
    assert here("POST", DEPLOY, {"early": "perhaps"})[0] == 422
    assert here("POST", DEPLOY, {"early": "true"}, x_provider="acme")[0] == 200
    model = here.world.table("models")["alignment-abc456"]
    assert (model["early"], model["provider"]) == (True, "acme")


@pytest.mark.parametrize(
    ("header", "status", "detail"),
    [
        ("", 403, "Not authenticated"),
        ("Basic abc", 403, "Invalid authentication credentials"),
        ("Bearer other", 401, "Invalid API key"),
    ],
)
def test_keys_are_checked(header: str, status: int, detail: str) -> None:
    """A missing key is a 403, a wrong one a 401."""
    assert Here()("GET", "/models/aligned", authorization=header) == (status, {"detail": detail})


def test_an_empty_account_is_a_404() -> None:
    """Not an empty list."""
    here = Here()
    here.world.table("models").clear()
    assert here("GET", "/models/aligned") == (404, {"detail": "No aligned models found"})


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/models/unknown-path", "Not Found"),
        ("GET", "/models/alignment-abc456/deployment", "Not Found"),
        ("POST", "/models/aligned", "Method Not Allowed"),
        ("GET", DEPLOY, "Method Not Allowed"),
        ("POST", "/models/deploy-model/nobody", "Model not found"),
        ("DELETE", "/models/undeploy-model/nobody", "Model not found"),
        ("GET", f"{DEPLOY}/status", "No deploy task found"),
    ],
)
def test_each_404_has_its_words(method: str, path: str, detail: str) -> None:
    """FastAPI's for a route that does not exist, the API's own for a model."""
    status, body = Here(api_style="deploy-model")(method, path)
    assert status in (404, 405)
    assert body == {"detail": detail}


def test_a_task_tells_how_it_went() -> None:
    """PENDING, COMPLETED, and times that are those of the question."""
    here = Here()
    here("POST", DEPLOY)
    pending = here("GET", f"{DEPLOY}/status")[1]
    assert (pending["status"], pending["end_time"]) == ("PENDING", None)
    here.at += 10
    done = here("GET", f"{DEPLOY}/status")[1]
    assert (done["status"], done["result"]) == ("COMPLETED", {"deployment_status": "DEPLOYED"})
    assert done["start_time"] == done["end_time"] > pending["start_time"]


@pytest.mark.parametrize(("knob", "between"), [("revert_deploys", "DEPLOYING"), ("silent_reverts", "UNDEPLOYED")])
def test_a_revert_ends_at_ready(knob: str, between: str) -> None:
    """Seen on the way or not; the task alone says that it failed, in either form."""
    here = Here(**{knob: 1})
    here("POST", DEPLOY)
    assert here.item()["deployment_status"] == between
    here.at += 10
    assert here.item()["deployment_status"] == "READY"
    task = here("GET", f"{DEPLOY}/status")[1]
    assert task["status"] == "FAILED"
    assert task["result"]["error"] == "Redeployment failed and was reverted to READY status"
    newer = here("GET", "/models/alignment-abc456/deployment/status")[1]
    assert newer == {"status": "UNDEPLOYED", "error": task["result"]["error"]}


def test_the_newer_style_and_spelling() -> None:
    """Other paths, other names, pages."""
    here = Here(api_style="deployment", spelling="new", null_status=True, object_answers=True, suffix_ids=False)
    assert here("POST", DEPLOY) == (404, {"detail": "Not Found"})
    assert here("POST", "/models/alignment-abc456/deployment") == (200, {"model_id": "alignment-abc456"})
    assert here("GET", "/models/alignment-abc456/deployment/status")[1]["status"] == "DEPLOYING"
    here.at += 10
    (item,) = here("GET", "/models/aligned", {"limit": "100", "offset": "0"})[1]["domain_aligned_models"]
    assert (item["model_id"], item["status"], item["deployment_status"]) == ("alignment-abc456", "DEPLOYED", None)
    assert here("GET", "/models/aligned", {"limit": "100", "offset": "1"})[1]["domain_aligned_models"] == []
    assert here("GET", "/models/aligned", {"limit": "101"})[0] == 422
    assert here("DELETE", "/models/alignment-abc456/deployment")[0] == 200
    here.at += 10
    assert here("GET", "/models/alignment-abc456/deployment/status")[1] == {"status": "UNDEPLOYED", "error": None}


def test_models_named_in_a_file_are_presupposed_switched_off() -> None:
    """By either id, once; one that was there already is left alone."""
    here = Here()
    simulator = Nugen(here.world)
    specs: list[dict[str, Json]] = [
        {"alignment_id": "alignment-abc456"},
        {"alignment_id": "alignment-new"},
        {"model_id": "model-1-deployed"},
        {"alignment_id": "alignment-two", "model_id": "model-2"},
        {"early": True},
    ]
    assert len(simulator.presuppose(specs, {})) == 3
    assert simulator.presuppose(specs, {}) == []
    items = here("GET", "/models/aligned")[1]["domain_aligned_models"]
    assert {(item["id"], item["alignment_id"], item["deployment_status"]) for item in items} == {
        ("alignment-abc456", "alignment-abc456", "UNDEPLOYED"),
        ("alignment-new", "alignment-new", "READY"),
        ("model-1", None, "READY"),
        ("model-2", "alignment-two", "READY"),
    }
