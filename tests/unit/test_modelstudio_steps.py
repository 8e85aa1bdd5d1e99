"""What is done next with a Model Studio deployment, for every verb: a table of situations and steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.model import Json, Live
from reconciler.provider import Call, Done, Failed, Operation, Wait
from reconciler.providers.modelstudio import PROVIDER
from reconciler.providers.modelstudio_steps import LAG_LOOKS, wanted
from reconciler.providers.modelstudio_wire import normalize

SPEC: dict[str, Json] = {"model_name": "emo", "suffix": "sample01", "plan": "cu", "name": "chat", "capacity": 2}


def live(**fields: Any) -> Live:
    raw = {"deployed_model": "emo-35b3f106-sample01", "model_name": "emo", "plan": "cu", "status": "RUNNING"}
    return normalize({**raw, "capacity": 2, "ready_capacity": 2, **fields})


def op(verb: str = "deploy", **fields: Any) -> Operation:
    base = Operation(verb, "chat", "reconciler:x/chat/1", SPEC, id="emo-35b3f106-sample01")  # type: ignore[arg-type]
    return replace(base, **fields)


CREATE, CONFIRM = Call("create", creates=True), Call("confirm")


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        (op(id=None), CREATE),
        (op(id=None, live=live(status="DELETING")), CREATE),
        (op(live=None, looks=0), Wait),
        (op(live=None, looks=LAG_LOOKS), CONFIRM),
        (op(live=None, looks=LAG_LOOKS, memo={"gone": False}), CONFIRM),
        (op(live=None, memo={"gone": True}), Failed),
        (op(live=live(status="PENDING")), Wait),
        (op(live=live(status="OFFLINING")), Wait),
        (op(live=live(ready_capacity=1)), Wait),
        (op(live=live()), Done),
        (op(live=live(status="FAILED", fail_reason="no stock")), Failed),
        (op(live=live(status="STOPPED")), Failed),
        (op(live=live(status="DELETING")), Wait),
        (op(live=live(), desired={**SPEC, "overflow_strategy": "enable"}), Call("overflow")),
        (op(live=live(overflow_strategy="enable"), desired={**SPEC, "overflow_strategy": "enable"}), Done),
        (op(live=live(), desired={**SPEC, "overflow_strategy": "enable"}, memo={"overflow": True}), Done),
    ],
)
def test_a_deploy_step_by_step(operation: Operation, step: object) -> None:
    """Created once, waited for by the list, confirmed by one read where the list stays silent."""
    found = PROVIDER.next(operation)
    assert found == step if isinstance(step, Call) else type(found) is step


def test_a_vanished_deployment_is_not_kept_and_a_failed_one_is() -> None:
    """Gone by the provider's own 404: nothing to keep. FAILED: it exists, with the provider's reason."""
    gone = PROVIDER.next(op(live=None, memo={"gone": True}))
    failed = PROVIDER.next(op(live=live(status="FAILED", fail_reason="no stock")))
    assert isinstance(gone, Failed)
    assert not gone.exists
    assert isinstance(failed, Failed)
    assert failed.exists
    assert failed.reason == "no stock"


def scale(**fields: Any) -> Operation:
    return op("scale", desired={**SPEC, "capacity": 4}, changes=("capacity",), **fields)


def update(**fields: Any) -> Operation:
    return op("update", **{"desired": {**SPEC, "rpm_limit": 60}, "changes": ("rpm_limit",), **fields})


SCALED = {"memo": {"scale": True, "last": "scale"}}
BACK = {"memo": {"scale": True, "last": "confirm"}}


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        (scale(live=live()), Call("scale")),
        (scale(live=None), Call("scale")),
        (scale(live=live(status="UPDATING")), Wait),
        (scale(live=live(status="UPDATING", capacity=4), **SCALED), Wait),
        (scale(live=live(capacity=4, ready_capacity=2), **SCALED), Wait),
        (scale(live=live(capacity=4, ready_capacity=5), **SCALED), Wait),
        (scale(live=live(capacity=4, ready_capacity=4), **SCALED), Done),
        (scale(live=live(), looks=1, **SCALED), Wait),
        (scale(live=live(), looks=LAG_LOOKS, **SCALED), CONFIRM),
        (scale(live=live(), looks=0, **BACK), Failed),
        (scale(live=live(status="UPDATING", capacity=4), looks=0, **BACK), Wait),
        (scale(live=live(status="FAILED"), **SCALED), Failed),
        (scale(live=live(status="STOPPED", capacity=4), **SCALED), Failed),
        (scale(live=None, looks=LAG_LOOKS, **SCALED), CONFIRM),
        (scale(live=live(capacity=4, ready_capacity=4)), Done),
        (update(live=live(rpm_limit="30")), Call("update")),
        (update(live=live()), Call("update")),
        (update(live=live(status="PENDING", rpm_limit="60"), memo={"update": True}), Wait),
        (update(live=live(rpm_limit="60"), memo={"update": True}), Done),
        (update(live=live(), memo={"update": True}), Done),
        (update(live=live(), desired=SPEC), Failed),
    ],
)
def test_a_change_step_by_step(operation: Operation, step: object) -> None:
    """Sent at rest, awaited until all of it is ready; a list that trails behind is not mistaken for a refusal."""
    found = PROVIDER.next(operation)
    assert found == step if isinstance(step, Call) else type(found) is step


def test_an_update_that_also_scales_does_one_after_the_other() -> None:
    """The second is sent once the first shows and the deployment is at rest again."""
    both = op("update", desired={**SPEC, "capacity": 4, "rpm_limit": 60}, changes=("capacity", "rpm_limit"))
    assert PROVIDER.next(replace(both, live=live(rpm_limit="30"))) == Call("update")
    sent = replace(both, memo={"update": True, "last": "update"}, looks=1)
    assert isinstance(PROVIDER.next(replace(sent, live=live(rpm_limit="30"))), Wait)
    assert isinstance(PROVIDER.next(replace(sent, live=live(rpm_limit="60", status="PENDING"))), Wait)
    assert PROVIDER.next(replace(sent, live=live(rpm_limit="60"))) == Call("scale")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("rpm_limit", "set a high limit"),
        ("tpm_limit", "set a high limit"),
        ("capacity", "write the one that is to be"),
        ("overflow_strategy", "write `overflow_strategy: disable`"),
    ],
)
@pytest.mark.parametrize("seen", [None, live(rpm_limit=60), live(status="UPDATING")])
def test_what_no_call_removes_fails_before_anything_is_sent(path: str, advice: str, seen: Live | None) -> None:
    """Beside another change too: the record keeps it, so that the next plan tells of it again."""
    desired = {**SPEC, "tpm_limit": 9, "rpm_limit": 9, "overflow_strategy": "enable", path: None}
    other = "rpm_limit" if path != "rpm_limit" else "tpm_limit"
    found = PROVIDER.next(op("update", desired=desired, changes=(path, other), live=seen))
    assert isinstance(found, Failed)
    assert found.exists
    assert f"no call removes {path}: {advice}" in found.reason
    assert "--replace chat" in found.reason


def test_a_lora_capacity_is_left_out_without_a_word() -> None:
    """It never had an effect."""
    desired = {key: value for key, value in SPEC.items() if key != "capacity"} | {"plan": "lora"}
    found = PROVIDER.next(op("scale", desired=desired, changes=("capacity",), live=live(plan="lora")))
    assert isinstance(found, Done)


def reserve(want: dict[str, Json], *changes: str, **fields: Any) -> Operation:
    desired = {**SPEC, "plan": "ptu", "ptu_capacity": want}
    return op("scale", desired=desired, changes=tuple(f"ptu_capacity.{name}" for name in changes), **fields)


def reserved(thinking: int = 0, **fields: Any) -> Live:
    return live(plan="ptu", ptu_capacity={**TWO, "thinking_output_tpm": thinking}, **fields)


TWO: dict[str, Json] = {"input_tpm": 20, "output_tpm": 10}
THREE: dict[str, Json] = {**TWO, "thinking_output_tpm": 5}
MORE: dict[str, Json] = {**TWO, "input_tpm": 40}
THINKING = "thinking_output_tpm"


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        (reserve(THREE, THINKING, live=reserved()), Call("scale")),
        (reserve(THREE, THINKING, live=reserved(), looks=1, **SCALED), Wait),
        (reserve(THREE, THINKING, live=reserved(), **BACK), Failed),
        (reserve(THREE, THINKING, live=reserved(5), **SCALED), Done),
        (reserve(TWO, THINKING, live=reserved(5)), Call("scale")),
        (reserve(TWO, THINKING, live=reserved(5), **BACK), Failed),
        (reserve(TWO, THINKING, live=reserved(), **SCALED), Done),
        (reserve(TWO, THINKING, live=reserved()), Done),
        (reserve({**THREE, "input_tpm": 20}, "input_tpm", live=reserved(), **SCALED), Done),
        (reserve(TWO, "input_tpm", live=reserved(5), **SCALED), Done),
    ],
)
def test_a_reserved_figure_comes_and_goes(operation: Operation, step: object) -> None:
    """It is sent and must show; one that is not to change is not missed, one that nobody manages not in the way."""
    found = PROVIDER.next(operation)
    assert found == step if isinstance(step, Call) else type(found) is step


def test_all_figures_are_sent_and_an_unmanaged_one_stays() -> None:
    """The target is absolute: what is left out goes, so only what the plan removes is left out."""
    assert wanted(reserve(TWO, THINKING, live=reserved(5)), "scale") == {"ptu_capacity": TWO}
    assert wanted(reserve(THREE, THINKING, live=reserved()), "scale") == {"ptu_capacity": THREE}
    kept = wanted(reserve(MORE, "input_tpm", live=reserved(5)), "scale")
    assert kept == {"ptu_capacity": {**MORE, THINKING: 5}}


def undeploy(**fields: Any) -> Operation:
    return op("undeploy", desired={}, **fields)


DELETED = {"delete": True, "last": "delete"}


@pytest.mark.parametrize(
    ("operation", "step"),
    [
        (undeploy(live=live()), Call("delete")),
        (undeploy(live=None), Call("delete")),
        (undeploy(live=live(status="STOPPED")), Call("delete")),
        (undeploy(live=live(status="DELETING")), Wait),
        (undeploy(live=None, looks=1), CONFIRM),
        (undeploy(live=live(status="DELETING"), memo=DELETED), Wait),
        (undeploy(live=live(), memo=DELETED, looks=3), Wait),
        (undeploy(live=None, memo=DELETED, looks=0), Wait),
        (undeploy(live=None, memo=DELETED, looks=1), CONFIRM),
        (undeploy(live=None, memo={"delete": True, "last": "confirm"}, looks=1), Wait),
        (undeploy(live=None, memo={"delete": True, "last": "confirm"}, looks=LAG_LOOKS), CONFIRM),
        (undeploy(live=live(), memo={"delete": True, "gone": True}), Done),
        (undeploy(live=live(status="FAILED"), memo=DELETED, looks=LAG_LOOKS), Failed),
    ],
)
def test_an_undeploy_step_by_step(operation: Operation, step: object) -> None:
    """Gone is what one read by id says, never what a list lacks; what is on its way out already is not sent again."""
    found = PROVIDER.next(operation)
    assert found == step if isinstance(step, Call) else type(found) is step
