"""Nugen's quirks, one by one: two spellings, changing ids, bare strings, silent reverts, 404s of three meanings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from reconciler.model import Json, Live, ProviderConfig, Unknown
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    Call,
    Done,
    Failed,
    NotFoundError,
    Operation,
    ProviderError,
    RejectedError,
    Reply,
    UnavailableError,
    Wait,
    Wire,
)
from reconciler.providers import nugen_wire as wire
from reconciler.providers.nugen import LONG_LAG, PROVIDER, SHORT_LAG
from reconciler.sandbox.nugen import Nugen as Simulated
from tests.contract.case import Bench, ContractCase

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
    for data in ({}, [], {"domain_aligned_models": None}, "alignment-xyz789", None):
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


# --- on the wire --------------------------------------------------------------------------------------------------


def never(i: int) -> dict[str, Json]:
    return {"alignment_id": f"alignment-{i}"}


CASE = ContractCase(type="nugen", spec=never, create="POST", list_="GET", knobs={"api_style": "deploy-model"})


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(CASE)
    made.presuppose(1)
    yield made
    made.close()


def test_an_account_without_models_has_an_empty_list() -> None:
    """404 `No aligned models found` is no error."""
    bench = Bench(CASE)
    assert bench.provider.list() == ()
    bench.close()


def test_a_missing_key_is_a_403_that_says_so() -> None:
    """Not "lacks a right": no key arrived."""
    denied = httpx.MockTransport(lambda _: httpx.Response(403, json={"detail": "Not authenticated"}))
    config = ProviderConfig("nugen", "nugen", {}, "scope")
    provider = PROVIDER.connect(config, {"api_key": "some-key"}, Wire(transport=denied))
    with pytest.raises(AccessError) as caught:
        provider.list()
    assert "no API key reached" in caught.value.diagnostics[0].hint


def test_a_wrong_path_style_is_never_gone(bench: Bench) -> None:
    """A server of the other style: deploy and undeploy name the setting, and nothing counts as undeployed."""
    first = bench.deploy()
    bench.knob(api_style="deployment")
    with pytest.raises(RejectedError, match="api_style deploy-model"):
        bench.undeploy(first)
    with pytest.raises(RejectedError, match="api_style deploy-model"):
        bench.deploy()


def test_deploy_inputs_go_where_they_belong(bench: Bench) -> None:
    """inference_provider is the header X-Provider, early a query parameter."""
    spec = {"alignment_id": "alignment-0", "inference_provider": "acme", "early": True}
    bench.drive(Operation("deploy", "bot", "m", spec))
    with bench.world() as world:
        (model,) = world.table("models").values()
    assert (model["provider"], model["early"]) == ("acme", True)


@pytest.mark.parametrize("spelling", ["current", "alignment", "bare"])
def test_an_undeploy_finds_the_id_that_the_path_takes(bench: Bench, spelling: str) -> None:
    """The list's id first; on `Model not found` the alignment's, then the bare one."""
    with bench.world() as world:
        world.table("models").clear()
        Simulated(world).add("aligned-model-7", alignment_id="alignment-0")
    driven = bench.deploy()
    bench.knob(path_ids=spelling)
    assert isinstance(bench.undeploy(driven).end, Done)
    assert bench.serving() == []


def test_an_undeploy_of_an_unknown_model_is_done(bench: Bench) -> None:
    """`Model not found` under every spelling: gone."""
    driven = bench.deploy()
    with bench.world() as world:
        world.table("models").clear()
    assert isinstance(bench.undeploy(driven).end, Done)


@pytest.mark.parametrize("status", ["READY", "UNDEPLOYED", "EVALUATED", "FAILED", "PROCESSING"])
def test_nothing_to_switch_off_is_done(bench: Bench, status: str) -> None:
    """A 400 whose status is none of on: the undeploy half of a replace goes on."""
    driven = bench.deploy()
    with bench.world() as world:
        next(iter(world.table("models").values()))["versions"].append({"at": 0.0, "status": status})
    assert isinstance(bench.undeploy(driven).end, Done)


def test_a_deploy_waits_for_an_undeploy_that_the_list_hides(bench: Bench) -> None:
    """400 … UNDEPLOYING: wait, then deploy again."""
    first = bench.deploy()
    bench.knob(undeploy_seconds=6.0, lag=3.0)
    bench.provider.send(replace(first.op, verb="undeploy"), Call("undeploy"))
    stale = replace(first.op, verb="deploy", live=live("READY"), memo={}, id=None)
    driven = bench.drive(stale)
    assert isinstance(driven.end, Done)
    assert driven.sent.count("deploy") > 1


def test_a_model_that_somebody_else_switched_on_is_not_taken(bench: Bench) -> None:
    """400 … DEPLOYED on the first try: the way to take it over is told."""
    bench.deploy()
    stale = Operation("deploy", "bot", "m", bench.spec(0), live=live("READY", id="alignment-0"))
    with pytest.raises(RejectedError, match="somebody else") as caught:
        bench.provider.send(stale, DEPLOY)
    assert "adopt: true" in caught.value.diagnostics[0].hint


def test_after_a_lost_answer_the_same_words_mean_that_it_worked(bench: Bench) -> None:
    """400 … DEPLOYING on the repeat, while the list still hides it: ours."""
    bench.fault("POST", "cut_after")
    operation = Operation("deploy", "bot", "m", bench.spec(0), live=live("READY", id="alignment-0"))
    with pytest.raises(UnavailableError) as caught:
        bench.provider.send(operation, DEPLOY)
    assert caught.value.effect == "unknown"
    reply = bench.provider.send(operation, DEPLOY)
    assert isinstance(reply, Reply)
    assert reply.memo == {"deploy": True}


@pytest.mark.parametrize("knob", ["revert_deploys", "silent_reverts", "fail_deploys"])
@pytest.mark.parametrize("style", ["deploy-model", "deployment"])
def test_a_deploy_that_goes_back_fails_with_one_question(bench: Bench, style: str, knob: str) -> None:
    """Reverted to READY, seen or unseen in the list, or FAILED: an error, after asking the task once."""
    bench.knob(**{knob: 1, "api_style": style, "lower_tasks": True})
    driven = bench.deploy(provider=bench.connect(api_style=style))
    assert isinstance(driven.end, Failed)
    assert driven.end.reason in ("Redeployment failed and was reverted to READY status", "no capacity for this model")
    assert bench.requests("GET .*status$") == 1
    assert bench.requests("POST") == 1


def test_an_undeploy_that_fails_is_told(bench: Bench) -> None:
    """Back to DEPLOYED after the call: the task's error, and the model is still there."""
    driven = bench.deploy()
    bench.knob(fail_undeploys=1)
    found = bench.undeploy(driven)
    assert isinstance(found.end, Failed)
    assert found.end.reason == "the model is in use"
    assert len(bench.serving()) == 1


def test_both_answers_of_a_deploy_are_read(bench: Bench) -> None:
    """A bare string or an object, the id in the state is the same."""
    first = bench.deploy()
    bench.undeploy(first)
    bench.knob(object_answers=True)
    assert bench.deploy().op.id == first.op.id == "alignment-0"


def test_newer_lists_are_read_to_their_end() -> None:
    """Pages of unknown size, no count: the end is a page that brings nothing new."""
    bench = Bench(ContractCase(type="nugen", spec=never, create="POST", list_="GET", knobs={"most_per_page": 7}))
    bench.presuppose(24)
    provider = bench.connect(api_style="deployment")
    assert len(provider.list()) == 24
    bench.knob(most_per_page=1000)
    before = bench.requests("GET")
    assert len(provider.list()) == 24
    assert bench.requests("GET") - before == 2
    bench.close()


def test_a_model_listed_twice_counts_once_as_on() -> None:
    """With and without the suffix in one list: one model, and the entry that is on speaks for it."""
    bench = Bench(CASE)
    bench.presuppose(1)
    bench.meddle = lambda data: {
        "domain_aligned_models": [ITEM, {**ITEM, "id": "alignment-xyz789", "deployment_status": "READY"}]
    }
    (found,) = bench.provider.list()
    assert found.health == "ready"
    bench.close()


def test_a_read_takes_any_spelling(bench: Bench) -> None:
    """What a person copies from the provider's own list is found as well."""
    bench.deploy()
    for ident in ("alignment-0", "alignment-0-deployed"):
        found = bench.provider.read(ident)
        assert found is not None
        assert found.computed["id"] == "alignment-0-deployed"
    assert bench.provider.read("alignment-1") is None
