"""Nugen's quirks, one by one: two spellings, changing ids, bare strings, 404s of three meanings, what is done next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.model import Json, Live, Unknown
from reconciler.provider import (
    BadAnswerError,
    Call,
    Done,
    Failed,
    NotFoundError,
    Operation,
    ProviderError,
    RejectedError,
    Wait,
)
from reconciler.providers import nugen_wire as wire
from reconciler.providers.nugen import LONG_LAG, PROVIDER, SHORT_LAG

ITEM: dict[str, Json] = {
    "id": "alignment-xyz789-deployed",
    "alignment_id": "alignment-xyz789",
    "name": "customer_support_model",
    "base_model": "nugen-flash-instruct",
    "alignment_project": "Customer Support Alignment",
    "created_date": "2024-01-15T10:30:00Z",
    "status": "DEPLOYED",
    "deployment_status": "DEPLOYED",
    "endpoint": "https://api.nugen.in/api/v3/inference/completions/alignment-xyz789-deployed",
    "creator": "user@example.com",
    "usage_count": 150,
    "performance_metrics": {"accuracy": 0.92},
    "downloadable": True,
}


def live(status: str = "DEPLOYED", **fields: Any) -> Live:
    endpoint = ITEM["endpoint"] if status == "DEPLOYED" else ""
    return wire.normalize({**ITEM, "deployment_status": status, "endpoint": endpoint, **fields})


def op(verb: str = "deploy", **fields: Any) -> Operation:
    base = Operation(verb, "bot", "reconciler:x/bot/1", {"alignment_id": "alignment-xyz789"})  # type: ignore[arg-type]
    return replace(base, **fields)


# --- answers ------------------------------------------------------------------------------------------------------


def test_the_documented_item_is_read_whole() -> None:
    """The answer of the list page. Our id is the one that stays the same; the current one can be referenced."""
    found = wire.normalize(ITEM)
    assert (found.id, found.name, found.health, found.dormant) == (
        "alignment-xyz789",
        "customer_support_model",
        "ready",
        False,
    )
    assert found.attributes == {"alignment_id": "alignment-xyz789", "model_id": "alignment-xyz789"}
    assert found.computed == {
        "id": "alignment-xyz789-deployed",
        "name": "customer_support_model",
        "base_model": "nugen-flash-instruct",
        "endpoint": ITEM["endpoint"],
        "status": "DEPLOYED",
    }


def test_the_newer_spelling_says_the_same() -> None:
    """model_id, model_name and base_model_id are id, name and base_model."""
    newer = {
        "model_id": ITEM["id"],
        "model_name": ITEM["name"],
        "base_model_id": ITEM["base_model"],
        "created_at": ITEM["created_date"],
        **{key: ITEM[key] for key in ("alignment_id", "deployment_status", "endpoint")},
    }
    assert wire.normalize(newer) == wire.normalize(ITEM)


@pytest.mark.parametrize(
    ("deployment_status", "status", "endpoint", "health", "dormant"),
    [
        ("DEPLOYED", "READY", "u", "ready", False),
        ("deploying", "READY", "", "pending", False),
        ("UNDEPLOYING", "DEPLOYED", "u", "deleting", False),
        ("FAILED", "READY", "", "failed", False),
        ("READY", "DEPLOYED", "u", "stopped", True),
        ("UNDEPLOYED", "UNDEPLOYED", "", "stopped", True),
        ("PROCESSING", "PROCESSING", "", "stopped", True),
        (None, "EVALUATED", "u", "stopped", True),
        (None, "DEPLOYED", "u", "ready", False),
        (None, "DEPLOYING", "", "pending", False),
        (None, "EVALUATING", "", "stopped", True),
        ("WARMING_UP", "READY", "u", "unknown", False),
        (None, None, "", "stopped", True),
    ],
)
def test_the_effective_status_decides(
    deployment_status: str | None, status: str | None, endpoint: str, health: str, dormant: bool
) -> None:
    """deployment_status unless null, else status, in any case; an endpoint alone makes nothing deployed."""
    item = {**ITEM, "deployment_status": deployment_status, "status": status, "endpoint": endpoint}
    found = wire.normalize(item)
    assert (found.health, found.dormant) == (health, dormant)


@pytest.mark.parametrize(
    "spec",
    [
        {"alignment_id": "alignment-xyz789"},
        {"model_id": "aligned-model-01"},
        {"model_id": "aligned-model-01-deployed"},
        {"alignment_id": "alignment-xyz789", "model_id": "aligned-model-01-deployed"},
    ],
)
def test_a_model_is_known_by_either_id(spec: dict[str, Json]) -> None:
    """On or off, with or without the suffix, by alignment, by model, or by both."""
    for ident in ("aligned-model-01", "aligned-model-01-deployed"):
        assert PROVIDER.identity(spec) in live(id=ident).identities


@pytest.mark.parametrize(
    "spec", [{"alignment_id": "alignment-other"}, {"alignment_id": "alignment-xyz789", "model_id": "aligned-model-02"}]
)
def test_another_model_is_not_taken_for_it(spec: dict[str, Json]) -> None:
    """Where both ids are declared, both must fit."""
    assert PROVIDER.identity(spec) not in live(id="aligned-model-01").identities


def test_alignment_and_model_may_be_one_id() -> None:
    """As in the documented example of a model that is off."""
    assert PROVIDER.identity({"alignment_id": "a", "model_id": "a"}) in wire.identities_of("a", "a")
    assert PROVIDER.identity({"model_id": "a"}) in wire.identities_of("", "a")


def test_an_id_is_needed_and_may_be_unknown_yet() -> None:
    """Without one it is a problem of the file; with a reference there is no identity yet."""
    assert [problem.path for problem in PROVIDER.check({"early": True}, {})] == [""]
    assert PROVIDER.check({"model_id": Unknown("${deployments.x.id}")}, {}) == ()
    assert PROVIDER.identity({"model_id": Unknown("${deployments.x.id}")}) is None


def test_no_id_and_no_list_are_bad_answers() -> None:
    """Neither is ever read as "nothing there"."""
    with pytest.raises(BadAnswerError):
        wire.normalize({"name": "x"})
    answers: list[Json] = [{}, [], {"domain_aligned_models": None}, "alignment-xyz789", None]
    for data in answers:
        with pytest.raises(BadAnswerError):
            wire.items_of(data, "nugen")


@pytest.mark.parametrize(
    ("data", "ident"),
    [("alignment-1", "alignment-1"), ({"model_id": "alignment-1"}, "alignment-1"), (None, "sent"), ({}, "sent")],
)
def test_an_id_is_answered_bare_or_in_an_object(data: Json, ident: str) -> None:
    """The docs show a JSON string, the cookbook an object."""
    assert wire.answered_id(data, "sent") == ident


@pytest.mark.parametrize(
    ("data", "task"),
    [
        ({"status": "PENDING", "result": {}}, ("PENDING", "")),
        ({"status": "completed", "result": {"deployment_status": "DEPLOYED"}}, ("COMPLETED", "")),
        ({"status": "failed", "result": {"error": "reverted to READY"}}, ("FAILED", "reverted to READY")),
        ({"status": "FAILED", "result": None}, ("FAILED", "")),
        ({"status": "DEPLOYING", "error": None}, ("PENDING", "")),
        ({"status": "DEPLOYED", "error": None}, ("COMPLETED", "")),
        ({"status": "UNDEPLOYED", "error": "no capacity"}, ("FAILED", "no capacity")),
        ({"status": "UNDEPLOYED", "error": None}, ("NONE", "")),
        ({"status": "SOMETHING_NEW"}, ("PENDING", "")),
        (None, ("PENDING", "")),
    ],
)
def test_a_task_is_read_in_both_forms(data: Json, task: tuple[str, str]) -> None:
    """In any case; the newer form settles a failure at UNDEPLOYED with an error."""
    assert wire.task_of(data) == task


# --- errors -------------------------------------------------------------------------------------------------------


def error(kind: type[ProviderError], status: int, words: str) -> ProviderError:
    code, message = wire.explain(status, {"detail": words})
    return kind(f"nugen refuses X: {message} ({status})", provider="nugen", status=status, code=code)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Model cannot be UNDEPLOYED. Current status: UNDEPLOYED.", "UNDEPLOYED"),
        ("Model cannot be redeployed. Current status: UNDEPLOYING", "UNDEPLOYING"),
        ("Model cannot be redeployed. Current status: deployed", "DEPLOYED"),
        ("Something else", None),
    ],
)
def test_the_current_status_stands_in_the_text(words: str, status: str | None) -> None:
    """It ends the message of a 400, and of nothing else."""
    assert wire.current_status(error(RejectedError, 400, words)) == status
    assert wire.current_status(error(RejectedError, 409, words)) is None


def test_three_404s_are_told_apart() -> None:
    """No models, no such model, no such path: an empty list, an absence, a wrong setting."""
    empty = error(NotFoundError, 404, "No aligned models found")
    absent = error(NotFoundError, 404, "Model not found")
    path = error(NotFoundError, 404, "Not Found")
    verb = error(RejectedError, 405, "Method Not Allowed")
    assert [wire.is_empty_list(one) for one in (empty, absent, path, verb)] == [True, False, False, False]
    assert [one.code == wire.NO_PATH for one in (empty, absent, path, verb)] == [False, False, True, True]
    told = wire.wrong_path(path, "deploy-model")
    assert isinstance(told, RejectedError)
    assert "api_style: deployment" in told.diagnostics[0].hint


def test_a_validation_error_names_the_field() -> None:
    """FastAPI's list of violations becomes one line."""
    detail = [{"loc": ["query", "early"], "msg": "not a bool", "type": "bool"}, {"msg": "bad"}]
    assert wire.explain(422, {"detail": detail}) == (None, "query.early: not a bool; bad")


# --- what next ----------------------------------------------------------------------------------------------------

DEPLOY, ASK = Call("deploy", creates=True), Call("deploy status")
SENT = {"deploy": True}


def asked(state: str, times: int = 1, **fields: Json) -> dict[str, Json]:
    return {**SENT, "asked": state, "asks": times, **fields}


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        (op(live=None), DEPLOY),
        (op(live=live("READY")), DEPLOY),
        (op(live=live("EVALUATED"), id="alignment-xyz789"), DEPLOY),
        (op(live=live("FAILED"), id="alignment-xyz789"), DEPLOY),
        (op(live=live("UNDEPLOYING")), Wait),
        (op(memo={"busy": "UNDEPLOYING"}, live=live("READY"), looks=0), Wait),
        (op(memo={"busy": "UNDEPLOYING"}, live=live("READY"), looks=1), DEPLOY),
        (op(live=live("DEPLOYING"), id="alignment-xyz789"), Wait),
        (op(live=live(), id="alignment-xyz789"), Done),
        (op(live=live()), DEPLOY),
        (op(memo=SENT, live=live("DEPLOYING")), Wait),
        (op(memo=SENT, live=live()), Done),
        (op(memo=SENT, live=None, looks=1), Wait),
        (op(memo=SENT, live=None, looks=LONG_LAG), Failed),
        (op(memo=SENT, live=live("READY"), looks=0), Wait),
        (op(memo=SENT, live=live("READY"), looks=SHORT_LAG), ASK),
        (op(memo=SENT, live=live("FAILED"), looks=SHORT_LAG), ASK),
        (op(memo=asked("FAILED", error="reverted"), live=live("READY")), Failed),
        (op(memo=asked("PENDING"), live=live("READY"), looks=SHORT_LAG), Wait),
        (op(memo=asked("PENDING"), live=live("READY"), looks=LONG_LAG), ASK),
        (op(memo=asked("PENDING", 7), live=live("READY"), looks=LONG_LAG), ASK),
        (op(memo=asked("COMPLETED"), live=live("READY"), looks=1), Wait),
        (op(memo=asked("COMPLETED", 2), live=live("READY"), looks=LONG_LAG), Failed),
        (op(memo=asked("NONE", 2), live=live("READY"), looks=LONG_LAG), Failed),
        (op(memo=asked("COMPLETED"), live=live()), Done),
        (op(memo=asked("PENDING"), live=live("FAILED"), looks=LONG_LAG), Failed),
    ],
)
def test_a_deploy_step_by_step(operation: Operation, step: object) -> None:
    """Switched on once; if the list says off again, its task is asked, not at every look."""
    found = PROVIDER.next(operation)
    assert found == step if isinstance(step, Call) else type(found) is step


def test_a_silent_revert_is_told_in_the_providers_words() -> None:
    """The list alone looks as if nothing had been asked; the failure carries the task's error."""
    found = PROVIDER.next(op(memo=asked("FAILED", error="reverted to READY status"), live=live("READY")))
    assert isinstance(found, Failed)
    assert found.reason == "reverted to READY status"


OFF, TASK = Call("undeploy"), Call("undeploy status")
SWITCHED = {"undeploy": True}


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        (op("undeploy", live=live()), OFF),
        (op("undeploy", live=None), OFF),
        (op("undeploy", live=live("FAILED")), OFF),
        (op("undeploy", live=live("READY")), OFF),
        (op("undeploy", live=live("DEPLOYING")), OFF),
        (op("undeploy", live=live("DEPLOYING"), memo={"busy": "DEPLOYING"}, looks=1), Wait),
        (op("undeploy", live=live(), memo={"busy": "DEPLOYING"}, looks=0), Wait),
        (op("undeploy", live=live(), memo={"busy": "DEPLOYING"}, looks=1), OFF),
        (op("undeploy", live=live("UNDEPLOYING")), Wait),
        (op("undeploy", live=live(), memo={"undeploy": True, "off": True}), Done),
        (op("undeploy", live=live(), memo=SWITCHED), Wait),
        (op("undeploy", live=live("UNDEPLOYING"), memo=SWITCHED, looks=99), Wait),
        (op("undeploy", live=live("UNDEPLOYED"), memo=SWITCHED, looks=0), Wait),
        (op("undeploy", live=live("UNDEPLOYED"), memo=SWITCHED, looks=1), Done),
        (op("undeploy", live=None, memo=SWITCHED, looks=1), Wait),
        (op("undeploy", live=None, memo=SWITCHED, looks=SHORT_LAG), Done),
        (op("undeploy", live=live(), memo=SWITCHED, looks=LONG_LAG), TASK),
        (op("undeploy", live=live(), memo={**SWITCHED, "asked": "FAILED", "error": "in use"}), Failed),
    ],
)
def test_an_undeploy_step_by_step(operation: Operation, step: object) -> None:
    """Done when the list shows it off; one that stays on has its task asked."""
    found = PROVIDER.next(replace(operation, desired={}))
    assert found == step if isinstance(step, Call) else type(found) is step


def test_there_is_no_change_in_place() -> None:
    """An aligned model is on or off; a scale or update that nobody should plan fails without a request."""
    assert isinstance(PROVIDER.next(op("scale", live=live())), Failed)
    assert not PROVIDER.capabilities.scales
    assert not PROVIDER.capabilities.updates
