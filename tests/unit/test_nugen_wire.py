"""Nugen on the wire: ids that change, answers that were lost, silent reverts, paths of two styles, on its simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from reconciler.model import Json, Live, ProviderConfig
from reconciler.provider import (
    AccessError,
    Call,
    Done,
    Failed,
    Operation,
    RejectedError,
    Reply,
    UnavailableError,
    Wire,
)
from reconciler.providers.nugen import PROVIDER
from reconciler.providers.nugen_wire import normalize
from reconciler.sandbox.nugen import Nugen as Simulated
from tests.contract.case import Bench, ContractCase

DEPLOY = Call("deploy", creates=True)
ITEM: dict[str, Json] = {
    "id": "alignment-0",
    "alignment_id": "alignment-0",
    "status": "READY",
    "deployment_status": "READY",
}
OFF: Live = normalize(ITEM)  # what a list showed before somebody switched it on


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


def test_the_undocumented_undeploy_says_so(bench: Bench) -> None:
    """Where the newer style's guess does not exist, the error tells that it was one."""
    bench.knob(api_style="deployment")
    provider = bench.connect(api_style="deployment")
    driven = bench.deploy(provider=provider)
    bench.knob(api_style="deploy-model")
    with pytest.raises(RejectedError) as caught:
        bench.undeploy(driven, provider=provider)
    assert "documented nowhere" in caught.value.diagnostics[0].hint


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
    stale = replace(first.op, verb="deploy", live=OFF, memo={}, id=None)
    driven = bench.drive(stale)
    assert isinstance(driven.end, Done)
    assert driven.sent.count("deploy") > 1


def test_a_model_that_somebody_else_switched_on_is_not_taken(bench: Bench) -> None:
    """400 … DEPLOYED on the first try: the way to take it over is told."""
    bench.deploy()
    stale = Operation("deploy", "bot", "m", bench.spec(0), live=OFF)
    with pytest.raises(RejectedError, match="somebody else") as caught:
        bench.provider.send(stale, DEPLOY)
    assert "adopt: true" in caught.value.diagnostics[0].hint


def test_after_a_lost_answer_the_same_words_mean_that_it_worked(bench: Bench) -> None:
    """400 … DEPLOYING on the repeat, while the list still hides it: ours."""
    bench.fault("POST", "cut_after")
    operation = Operation("deploy", "bot", "m", bench.spec(0), live=OFF)
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
        "domain_aligned_models": [{**ITEM, "id": "alignment-0-deployed", "deployment_status": "DEPLOYED"}, ITEM]
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
