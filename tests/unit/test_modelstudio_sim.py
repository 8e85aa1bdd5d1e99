"""The Model Studio simulator refuses what the provider's pages say is refused, in its words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.model import Json
from reconciler.sandbox.base import Request, World
from reconciler.sandbox.modelstudio import KEY, SIMULATOR

BODY: dict[str, Json] = {"model_name": "emo", "plan": "mu", "name": "chat", "capacity": 2, "suffix": "sample01"}
PTU: dict[str, Json] = {"model_name": "emo", "plan": "ptu", "ptu_capacity": {"input_tpm": 10, "output_tpm": 10}}


class Here:
    """The simulator on a clock of its own."""

    def __init__(self, **knobs: Json) -> None:
        self.at = 1_750_000_000.0
        self.world = World("modelstudio", lambda: self.at)
        self.world.knobs.update(knobs)
        SIMULATOR(self.world).presuppose([{"model_name": "emo"}], {})

    def __call__(
        self, method: str, path: str, body: Json = None, query: Mapping[str, str] | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        sent = {"authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        raw = b"" if body is None else json.dumps(body).encode()
        answer = SIMULATOR(self.world).handle(Request(method, path, query or {}, sent, raw))
        return answer.status, answer.body

    def create(self, **fields: Json) -> str:
        status, body = self("POST", "/deployments", {**BODY, **fields})
        assert status == 200, body
        self.at += 10
        return str(body["output"]["deployed_model"])


def outcome(answer: tuple[int, dict[str, Any]]) -> tuple[int, str | None]:
    return answer[0], answer[1].get("code")


def test_a_deployment_lives_as_documented() -> None:
    """PENDING with nothing ready, RUNNING, UPDATING with the old ready, RUNNING, DELETING, 404."""
    here = Here()
    _, body = here("POST", "/deployments", BODY)
    made = body["output"]
    ident = made["deployed_model"]
    assert (made["status"], made["capacity"], made["ready_capacity"]) == ("PENDING", 2, 0)
    assert ident.startswith("emo-")
    assert ident.endswith("-sample01")
    assert len(ident.split("-")[1]) == 8
    here.at += 10
    assert here("GET", f"/deployments/{ident}")[1]["output"]["status"] == "RUNNING"
    scaled = here("PUT", f"/deployments/{ident}/scale", {"capacity": 4})[1]["output"]
    assert (scaled["status"], scaled["capacity"], scaled["ready_capacity"]) == ("UPDATING", 4, 2)
    here.at += 10
    updated = here("PUT", f"/deployments/{ident}/update", {"rpm_limit": 60})[1]["output"]
    assert (updated["status"], updated["rpm_limit"], updated["ready_capacity"]) == ("PENDING", "60", 4)
    here.at += 10
    assert here("DELETE", f"/deployments/{ident}")[1]["output"]["status"] == "DELETING"
    assert here("DELETE", f"/deployments/{ident}")[0] == 200
    here.at += 10
    status, gone = here("GET", f"/deployments/{ident}")
    assert (status, gone["code"], gone["message"]) == (404, "NotFound", f"Model: {ident} not found!")
    assert here("GET", "/deployments")[1]["output"]["deployments"] == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model_name": "nobody"}, (404, "NotFound")),
        ({"model_name": None}, (400, "InvalidParameter")),
        ({"plan": "gpu"}, (400, "InvalidParameter")),
        ({"capacity": 1000}, (400, "InvalidParameter")),
        ({"capacity": -1}, (400, "InvalidParameter")),
        ({"capacity": 1.5}, (400, "InvalidParameter")),
        ({"capacity": "2"}, (400, "InvalidParameter")),
        ({"capacity": True}, (400, "InvalidParameter")),
        ({"suffix": "ninechars"}, (400, "InvalidParameter")),
        ({"suffix": "Upper"}, (400, "InvalidParameter")),
        ({"billing_method": "PRE_PAY"}, (400, "InvalidParameter")),
        ({"service_tier": "ptu_fast"}, (400, "InvalidParameter")),
        ({"ptu_capacity": {"input_tpm": 1, "output_tpm": 1}}, (400, "InvalidParameter")),
        ({"overflow_strategy": "enable"}, (400, "InvalidParameter")),
        ({"brand_new": 1}, (400, "InvalidParameter")),
    ],
)
def test_a_wrong_create_is_refused(fields: dict[str, Json], expected: tuple[int, str]) -> None:
    """Unknown models are 404 NotFound, everything else InvalidParameter; nothing comes into being."""
    here = Here()
    assert outcome(here("POST", "/deployments", {**BODY, **fields})) == expected
    assert here("GET", "/deployments")[1]["output"]["total"] == 0


@pytest.mark.parametrize("missing", ["model_name", "plan", "name", "capacity"])
def test_what_is_required_is_required(missing: str) -> None:
    """Model, plan, display name and capacity for a mu plan."""
    body = {key: value for key, value in BODY.items() if key != missing}
    assert outcome(Here()("POST", "/deployments", body)) == (400, "InvalidParameter")


def test_reserved_throughput_has_no_default_figures() -> None:
    """The platform refuses their absence whatever the docs state; a name is not needed."""
    here = Here()
    status, body = here("POST", "/deployments", {"model_name": "emo", "plan": "ptu"})
    assert (status, body["message"]) == (400, "Miss ptu capacity info")
    _, body = here("POST", "/deployments", PTU)
    assert body["output"]["plan"] == "ptu_v2"
    assert body["output"]["ptu_capacity"] == {"input_tpm_quota": 10, "output_tpm_quota": 10}


def test_capacity_is_a_multiple_of_the_models_base() -> None:
    """In the provider's own sentence."""
    here = Here()
    here.world.table("models")["emo"]["base_capacity"] = 4
    _, body = here("POST", "/deployments", {**BODY, "capacity": 6})
    assert body["message"] == (
        "Invalid capacity (6), capacity must be larger than or equal to 0 and multiples of 4 and less than 1000!"
    )
    assert here("POST", "/deployments", {**BODY, "capacity": 8})[0] == 200


@pytest.mark.parametrize("suffix", ["sample01", None])
def test_a_taken_suffix_is_a_conflict_until_it_is_gone(suffix: str | None) -> None:
    """Also without one, and also while DELETING; another workspace is another place."""
    here = Here()
    body = {key: value for key, value in {**BODY, "suffix": suffix}.items() if value is not None}
    ident = here("POST", "/deployments", body)[1]["output"]["deployed_model"]
    assert outcome(here("POST", "/deployments", body)) == (409, "Conflict")
    assert here("POST", "/deployments", body, x_dashscope_workspace="llm-other")[0] == 200
    here.at += 10
    here("DELETE", f"/deployments/{ident}")
    assert outcome(here("POST", "/deployments", body)) == (409, "Conflict")
    here.at += 10
    assert here("POST", "/deployments", body)[0] == 200


def test_a_forgotten_page_size_shows_ten() -> None:
    """The default is small on purpose; more than 100 is refused."""
    here = Here()
    for number in range(12):
        here.create(suffix=f"s{number}")
    answer = here("GET", "/deployments")[1]["output"]
    assert (len(answer["deployments"]), answer["total"]) == (10, 12)
    assert len(here("GET", "/deployments", query={"page_size": "100"})[1]["output"]["deployments"]) == 12
    for query in ({"page_size": "101"}, {"page_size": "0"}, {"page_no": "0"}, {"page_no": "x"}):
        assert outcome(here("GET", "/deployments", query=query)) == (400, "InvalidParameter")


def test_keys_and_workspaces_are_checked() -> None:
    """401 InvalidApiKey without or with a wrong key, 404 WorkSpaceNotFound for an impossible workspace."""
    here = Here()
    assert outcome(here("GET", "/deployments", authorization="Bearer sk-other")) == (401, "InvalidApiKey")
    assert outcome(here("GET", "/deployments", authorization="")) == (401, "InvalidApiKey")
    assert outcome(here("GET", "/deployments", x_dashscope_workspace="-no")) == (404, "WorkSpaceNotFound")


def test_another_workspace_does_not_see_it() -> None:
    """Neither in the list nor by id."""
    here = Here()
    ident = here.create()
    assert here("GET", "/deployments", x_dashscope_workspace="llm-other")[1]["output"]["total"] == 0
    assert here("GET", f"/deployments/{ident}", x_dashscope_workspace="llm-other")[0] == 404


@pytest.mark.parametrize(
    ("fields", "call", "body", "code"),
    [
        ({}, "scale", {}, "InvalidParameter"),
        ({}, "scale", {"capacity": 1, "name": "x"}, "InvalidParameter"),
        ({}, "scale", {"capacity": 1000}, "InvalidParameter"),
        ({}, "scale", {"ptu_capacity": {"input_tpm": 1, "output_tpm": 1}}, "InvalidParameter"),
        ({"plan": "lora"}, "scale", {"capacity": 1}, "UnsupportedOperation"),
        (PTU, "scale", {"capacity": 1}, "InvalidParameter"),
        (PTU, "scale", {"ptu_capacity": {"input_tpm": 20, "output_tpm": 5}}, "InvalidParameter"),
        ({}, "update", {}, "InvalidParameter"),
        ({}, "update", {"rpm_limit": 1, "capacity": 2}, "InvalidParameter"),
        ({}, "update", {"rpm_limit": "60"}, "InvalidParameter"),
        ({"plan": "lora"}, "update", {"rpm_limit": 1}, "InvalidParameter"),
        ({}, "updateOverflowStrategy", {"overflow_strategy": "enable"}, "InvalidParameter"),
        (PTU, "updateOverflowStrategy", {"overflow_strategy": "on"}, "InvalidParameter"),
    ],
)
def test_a_wrong_change_is_refused(fields: dict[str, Json], call: str, body: dict[str, Json], code: str) -> None:
    """Wrong fields, wrong plans, mixed directions; the deployment stays as it was."""
    here = Here()
    ident = here.create(**fields) if fields is not PTU else _ptu(here)
    before = here("GET", f"/deployments/{ident}")[1]["output"]
    assert outcome(here("PUT", f"/deployments/{ident}/{call}", body)) == (400, code)
    assert here("GET", f"/deployments/{ident}")[1]["output"] == before


def _ptu(here: Here) -> str:
    ident = str(here("POST", "/deployments", PTU)[1]["output"]["deployed_model"])
    here.at += 10
    return ident


def test_nothing_is_changed_while_it_is_changing() -> None:
    """Scale and update are refused until the last one is through."""
    here = Here()
    ident = here.create()
    here("PUT", f"/deployments/{ident}/scale", {"capacity": 4})
    for call, body in (("scale", {"capacity": 6}), ("update", {"rpm_limit": 5})):
        assert outcome(here("PUT", f"/deployments/{ident}/{call}", body)) == (400, "UnsupportedOperation")


def test_reserved_throughput_scales_in_one_direction() -> None:
    """SCALING with the new figures, then RUNNING; both spellings of the overflow path are known."""
    here = Here()
    ident = _ptu(here)
    wanted = {"ptu_capacity": {"input_tpm": 20, "output_tpm": 10}}
    assert here("PUT", f"/deployments/{ident}/scale", wanted)[1]["output"]["status"] == "SCALING"
    here.at += 10
    assert here("GET", f"/deployments/{ident}")[1]["output"]["status"] == "RUNNING"
    for path in ("updateOverflowStrategy", "update-overflowstrategy"):
        answer = here("PUT", f"/deployments/{ident}/{path}", {"overflow_strategy": "enable"})
        assert answer[1]["output"]["overflow_strategy"] == "enable"


def test_some_deletes_are_refused() -> None:
    """A RUNNING mu deployment where the server wants it stopped; a pre-paid one always."""
    here = Here(mu_needs_stop=True)
    ident = here.create()
    assert outcome(here("DELETE", f"/deployments/{ident}")) == (400, "UnsupportedOperation")
    here.world.knobs["stopped"] = [ident]
    assert here("GET", f"/deployments/{ident}")[1]["output"]["status"] == "STOPPED"
    assert here("DELETE", f"/deployments/{ident}")[0] == 200
    paid = here.create(suffix="paid", charge_type="pre_paid")
    assert outcome(here("DELETE", f"/deployments/{paid}")) == (400, "PREPAID_UNSUBSCRIBE_REQUIRED")


def test_the_knobs_of_the_sheet() -> None:
    """429 Throttling, a 200 with a code, a create that took effect and answers 500, a deploy that fails."""
    here = Here(throttle=1, create_500=1, fail_deploys=["bad"])
    assert outcome(here("GET", "/deployments")) == (429, "Throttling.RateQuota")
    assert outcome(here("POST", "/deployments", BODY)) == (500, "InternalError")
    assert here("GET", "/deployments")[1]["output"]["total"] == 1
    here.world.knobs["code_in_200"] = 1
    assert outcome(here("GET", "/deployments")) == (200, "InternalError")
    failed = here("GET", f"/deployments/{here.create(suffix='bad')}")[1]["output"]
    assert (failed["status"], failed["fail_reason"]) == ("FAILED", "no resources left for this model")


def test_a_list_may_trail_behind_writes() -> None:
    """With a lag the list shows the past, reads by id the present."""
    here = Here(lag=30.0)
    ident = here.create()
    assert here("GET", "/deployments")[1]["output"]["total"] == 0
    assert here("GET", f"/deployments/{ident}")[0] == 200
    here.at += 30
    here("DELETE", f"/deployments/{ident}")
    here.at += 10
    assert here("GET", "/deployments")[1]["output"]["total"] == 1
    assert here("GET", f"/deployments/{ident}")[0] == 404


def test_deployable_models_are_listed() -> None:
    """What is presupposed becomes known once, and says so once."""
    here = Here()
    assert here("GET", "/deployments/models")[1]["output"]["models"] == [{"model_name": "emo", "base_capacity": 1}]
    simulator = SIMULATOR(here.world)
    assert len(simulator.presuppose([{"model_name": "emo"}, {"model_name": "new"}, {}], {})) == 1
    assert simulator.presuppose([{"model_name": "new"}], {}) == []


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/deployments/x"), ("GET", "/other"), ("PUT", "/deployments/x/renewal")]
)
def test_other_paths_are_not_there(method: str, path: str) -> None:
    """With a code of their own: it says nothing about a deployment."""
    assert outcome(Here()(method, path)) == (404, "InvalidURL")


def test_a_body_must_be_a_json_object() -> None:
    """Anything else is InvalidParameter."""
    here = Here()
    assert outcome(here("POST", "/deployments", ["x"])) == (400, "InvalidParameter")
    assert outcome(here("POST", "/deployments")) == (400, "InvalidParameter")
