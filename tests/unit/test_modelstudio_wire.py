"""Model Studio on the wire: paging, lost creates, conflicts, refusals, headers, against its simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from reconciler.model import Json, ProviderConfig
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    Call,
    Conflict,
    Done,
    Failed,
    NotFoundError,
    Operation,
    RejectedError,
    Reply,
    UnavailableError,
    Wire,
)
from reconciler.providers.modelstudio import PROVIDER
from tests.contract.case import Bench, ContractCase
from tests.support.drive import after

CREATE = Call("create", creates=True)


def _spec(i: int) -> dict[str, Json]:
    return {"model_name": f"qwen-{i}", "plan": "cu", "capacity": 2}


CASE = ContractCase(type="modelstudio", spec=_spec, create="POST", list_="GET /deployments$")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(CASE)
    made.presuppose(3)
    yield made
    made.close()


def deploy_op(bench: Bench, **fields: Json) -> Operation:
    return Operation("deploy", "case-0", "mark", {**bench.spec(0), **fields})


def test_a_create_that_worked_and_answered_500_is_found(bench: Bench) -> None:
    """The effect of a 500 to a create is unknown; model and suffix find it, and there is one."""
    bench.knob(create_500=1)
    driven = bench.deploy()
    assert isinstance(driven.end, Done)
    assert driven.sent.count("create") == 1
    assert len(bench.serving()) == 1


def test_an_error_inside_a_200_is_an_error(bench: Bench) -> None:
    """For a list as for a create, whose effect is then unknown."""
    bench.knob(code_in_200=10)
    with pytest.raises(UnavailableError):
        bench.provider.list()
    with pytest.raises(UnavailableError) as caught:
        bench.provider.send(deploy_op(bench), CREATE)
    assert caught.value.effect == "unknown"


def test_a_provider_throttling_code_is_waited_out(bench: Bench) -> None:
    """429 Throttling.RateQuota without Retry-After: later, and it works."""
    bench.knob(throttle=2)
    assert bench.provider.list() == ()
    assert len(bench.waits) == 2


def test_a_conflict_is_refused_with_the_way_out(bench: Bench) -> None:
    """A 409 on the first create of a run is somebody else's deployment."""
    bench.deploy()
    with pytest.raises(RejectedError) as caught:
        bench.provider.send(deploy_op(bench), CREATE)
    assert caught.value.code == "Conflict"
    assert "adopt: true" in caught.value.diagnostics[0].hint


def test_a_conflict_after_a_lost_answer_is_looked_up(bench: Bench) -> None:
    """The first create got through, its list trails behind, the second meets 409: one deployment, and it is ours."""
    bench.knob(lag=4.0)
    bench.fault("POST", "cut_after")
    driven = bench.deploy()
    assert isinstance(driven.end, Done), driven
    assert driven.sent.count("create") == 2
    bench.knob(lag=0)
    assert len(bench.serving()) == 1


def test_a_find_needs_all_returned_attributes_to_agree(bench: Bench) -> None:
    """Same model and suffix with another capacity is a conflict that names what differs; DELETING is nothing."""
    driven = bench.deploy()
    ours = bench.provider.find(deploy_op(bench), CREATE)
    assert isinstance(ours, Reply)
    assert bench.provider.find(replace(deploy_op(bench), removed=ours.id), CREATE) is None  # a list lags
    other = bench.provider.find(deploy_op(bench, capacity=4), CREATE)
    assert isinstance(ours, Reply)
    assert ours.id == driven.op.id
    assert isinstance(other, Conflict)
    assert other.id == driven.op.id
    assert "capacity" in other.message
    assert bench.provider.find(deploy_op(bench, suffix="another"), CREATE) is None
    bench.provider.send(driven.op, Call("delete"))
    assert bench.provider.find(deploy_op(bench), CREATE) is None


PTU: dict[str, Json] = {"plan": "ptu", "capacity": None, "ptu_capacity": {"input_tpm": 10, "output_tpm": 10}}


def test_a_find_compares_what_a_create_sends(bench: Bench) -> None:
    """The overflow strategy is set by a later call: a deployment that still has another one is ours."""
    driven = bench.drive(deploy_op(bench, overflow_strategy="disable", **PTU))
    found = bench.provider.find(deploy_op(bench, overflow_strategy="enable", **PTU), CREATE)
    assert isinstance(found, Reply)
    assert found.id == driven.op.id


@pytest.mark.parametrize("sealed", [{"$digest": "x"}, {"input_tpm": {"$digest": "x"}, "output_tpm": 10}])
def test_a_digest_makes_no_conflict(bench: Bench, sealed: Json) -> None:
    """After a kill an intent holds digests where secrets stood; whether those agree the engine finds out."""
    bench.drive(deploy_op(bench, **PTU))
    spec = {**PTU, "name": {"$digest": "x"}, "ptu_capacity": sealed}
    assert isinstance(bench.provider.find(deploy_op(bench, **spec), CREATE), Reply)


def test_two_that_fit_are_a_conflict(bench: Bench) -> None:
    """Ids that end alike can't be told apart: a person decides."""
    driven = bench.deploy()
    with bench.world() as world:
        table = world.table("deployments")
        twin = f"{driven.op.id}".replace("qwen-0-", "qwen-0-x")
        table[twin] = {**table[driven.op.id], "id": twin}
    found = bench.provider.find(deploy_op(bench), CREATE)
    assert isinstance(found, Conflict)
    assert twin in found.message


def test_the_id_is_the_servers(bench: Bench) -> None:
    """Whatever its shape: it is read from the answer."""
    bench.knob(short_ids=True)
    driven = bench.deploy()
    assert driven.op.id == f"qwen-0-{bench.spec(0)['suffix']}"


def test_a_refused_delete_says_what_to_do(bench: Bench) -> None:
    """UnsupportedOperation: stop it in the console; stopped there, it is deleted."""
    bench.knob(mu_needs_stop=True)
    driven = bench.drive(deploy_op(bench, plan="mu"))
    with pytest.raises(RejectedError) as caught:
        bench.undeploy(driven)
    assert "stop it in the Model Studio console" in caught.value.diagnostics[0].hint
    bench.knob(stopped=[driven.op.id])
    assert isinstance(bench.undeploy(driven).end, Done)


def test_a_scale_that_nobody_can_do_is_an_error(bench: Bench) -> None:
    """UnsupportedOperation at rest is final; while a change is under way it is looked at afterwards."""
    driven = bench.drive(deploy_op(bench, plan="lora"))
    wanted = {**driven.op.desired, "capacity": 4}
    with pytest.raises(RejectedError) as caught:
        bench.provider.send(replace(driven.op, desired=wanted, changes=("capacity",)), Call("scale"))
    assert caught.value.code == "UnsupportedOperation"


def test_mixed_figures_are_refused_before_anything_is_sent(bench: Bench) -> None:
    """The provider would refuse them; the error says how to get there."""
    first = bench.drive(deploy_op(bench, plan="ptu", capacity=None, ptu_capacity={"input_tpm": 10, "output_tpm": 10}))
    before = bench.requests()
    wanted = {**first.op.desired, "ptu_capacity": {"input_tpm": 20, "output_tpm": 5}}
    with pytest.raises(RejectedError, match="one figure"):
        bench.drive(after(bench.type, first, "scale", wanted, ["ptu_capacity.input_tpm", "ptu_capacity.output_tpm"]))
    assert bench.requests() == before


@pytest.mark.parametrize("known", ["updateOverflowStrategy", "update-overflowstrategy"])
def test_either_spelling_of_the_overflow_path_works(bench: Bench, known: str) -> None:
    """The server knows one of them."""
    bench.knob(overflow_path=known)
    ptu = {"capacity": None, "ptu_capacity": {"input_tpm": 10, "output_tpm": 10}}
    driven = bench.drive(deploy_op(bench, plan="ptu", overflow_strategy="enable", **ptu))
    assert isinstance(driven.end, Done)
    assert bench.serving()[0].attributes["overflow_strategy"] == "enable"


def test_an_overflow_path_that_nobody_knows_is_an_error(bench: Bench) -> None:
    """Not endless tries, and not "gone"."""
    bench.knob(overflow_path="neither")
    ptu = {"capacity": None, "ptu_capacity": {"input_tpm": 10, "output_tpm": 10}}
    with pytest.raises(RejectedError):
        bench.drive(deploy_op(bench, plan="ptu", overflow_strategy="enable", **ptu))


def test_a_list_that_lacks_it_is_settled_by_one_read(bench: Bench) -> None:
    """An hour's lag: the deployment counts as there, and no read is made at each look."""
    bench.knob(lag=3600.0)
    driven = bench.deploy(looks=30)
    assert not isinstance(driven.end, Failed)
    assert bench.requests("GET /deployments/.+") <= 6
    assert len(bench.provider.list()) == 0


def test_a_deployment_deleted_while_we_wait_is_reported_as_gone(bench: Bench) -> None:
    """Its own 404 ends the wait; nothing is kept in the state."""
    bench.knob(never_ready=True)
    started = bench.deploy(looks=2)
    with bench.world() as world:
        world.table("deployments").clear()
    driven = bench.drive(started.op)
    assert isinstance(driven.end, Failed)
    assert not driven.end.exists


def test_another_404_is_not_gone(bench: Bench) -> None:
    """A workspace that is not there is an error of the read, never an absence."""
    driven = bench.deploy()
    lost = bench.connect(workspace="-impossible")
    with pytest.raises(RejectedError):
        lost.read(driven.op.id or "")
    with pytest.raises(RejectedError):
        lost.send(driven.op, Call("delete"))


def test_lists_under_data_are_read(bench: Bench) -> None:
    """The other envelope."""
    bench.deploy()
    bench.knob(data_envelope=True)
    assert len(bench.serving()) == 1


@pytest.mark.parametrize("change", [{"deployments": None}, {"total": 10**9}])
def test_a_list_without_sense_is_a_bad_answer(bench: Bench, change: dict[str, Json]) -> None:
    """No objects where they belong, or a count that nobody can have: never an empty list, never a million requests."""
    bench.meddle = lambda data: {**data, "output": {**data["output"], **change}}
    with pytest.raises(BadAnswerError):
        bench.provider.list()


def test_a_list_that_stays_short_is_an_error(bench: Bench) -> None:
    """It counts one and shows none, however often it is read: a list in part would make a deployment look gone."""
    bench.deploy()
    bench.meddle = lambda data: {**data, "output": {**data["output"], "deployments": []}}
    with pytest.raises(BadAnswerError, match="counts 1 deployments but lists 0"):
        bench.provider.list()


def test_a_list_that_was_short_once_is_read_again(bench: Bench) -> None:
    """What one page lacked the next reading shows."""
    driven = bench.deploy()
    short = [{"deployments": []}]
    bench.meddle = lambda data: {**data, "output": {**data["output"], **(short.pop() if short else {})}}
    assert [live.id for live in bench.provider.list()] == [driven.op.id]


def test_a_list_that_does_not_count_is_read_to_its_end(bench: Bench) -> None:
    """Without a total, an empty page is the end."""
    bench.presuppose(130)
    bench.knob(instant=True)
    for i in range(130):
        bench.deploy(i)
    bench.meddle = lambda data: {
        **data,
        "output": {key: value for key, value in data["output"].items() if key != "total"},
    }
    assert len(bench.provider.list()) == 130


def _answering(seen: list[httpx.Request]) -> Wire:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"output": {"total": 0, "deployments": []}})

    return Wire(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "https://dashscope-intl.aliyuncs.com/api/v1/deployments"),
        ({"region": "cn"}, "https://dashscope.aliyuncs.com/api/v1/deployments"),
        ({"region": "cn-hongkong"}, "https://cn-hongkong.dashscope.aliyuncs.com/api/v1/deployments"),
        ({"region": "cn", "endpoint": "https://ws.cn-beijing.maas.aliyuncs.com/api/v1/"},
         "https://ws.cn-beijing.maas.aliyuncs.com/api/v1/deployments"),
    ],
)  # fmt: skip
def test_each_region_has_its_endpoint(settings: dict[str, Any], url: str) -> None:
    """And an explicit endpoint wins; pages of 100 are asked for, the workspace and the key go in headers."""
    seen: list[httpx.Request] = []
    config = ProviderConfig("modelstudio", "modelstudio", {**settings, "workspace": "llm-1"}, "")
    PROVIDER.connect(config, {"api_key": " sk-key-1 "}, _answering(seen)).list()
    (request,) = seen
    assert str(request.url) == f"{url}?page_no=1&page_size=100"
    assert request.headers["x-dashscope-workspace"] == "llm-1"
    assert request.headers["authorization"] == "Bearer sk-key-1"


def test_no_workspace_no_header() -> None:
    """The key's own workspace is meant."""
    seen: list[httpx.Request] = []
    PROVIDER.connect(ProviderConfig("m", "modelstudio", {}, ""), {"api_key": "sk-key-1"}, _answering(seen)).list()
    assert "x-dashscope-workspace" not in seen[0].headers


def test_a_blank_key_is_no_key() -> None:
    """It is refused before anything is sent, by the name of its variable."""
    with pytest.raises(AccessError) as caught:
        PROVIDER.connect(ProviderConfig("m", "modelstudio", {}, ""), {"api_key": " "}, Wire())
    assert "DASHSCOPE_API_KEY" in caught.value.diagnostics[0].hint


def test_an_unknown_model_is_the_providers_404(bench: Bench) -> None:
    """At a create NotFound means the model; the request certainly did nothing."""
    with pytest.raises(NotFoundError, match="nobody") as caught:
        bench.provider.send(deploy_op(bench, model_name="nobody"), CREATE)
    assert caught.value.effect == "none"
    assert caught.value.request_id
