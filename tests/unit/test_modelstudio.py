"""Model Studio's quirks, one by one: what its answers mean, what is done next, what its errors ask for."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.model import Json, Live, Secret, Unknown
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    NotFoundError,
    ProviderError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)
from reconciler.providers import modelstudio_wire as wire
from reconciler.providers.modelstudio import PROVIDER

SEED: dict[str, Json] = {
    "deployed_model": "emo-35b3f106-sample01",
    "gmt_create": "2025-06-17T11:00:38",
    "gmt_modified": "2025-06-17T11:42:02",
    "status": "DELETING",
    "model_name": "emo",
    "base_model": "emo",
    "base_capacity": 1,
    "capacity": 2,
    "ready_capacity": 1,
    "workspace_id": "llm-v71tlv3***",
    "charge_type": "post_paid",
    "creator": "175805416***",
    "modifier": "175805416***",
}
SPEC: dict[str, Json] = {"model_name": "emo", "suffix": "sample01", "plan": "cu", "name": "chat", "capacity": 2}


def live(**fields: Any) -> Live:
    return wire.normalize({**SEED, "status": "RUNNING", "ready_capacity": 2, "plan": "cu", **fields})


# --- answers ------------------------------------------------------------------------------------------------------


def test_the_documented_object_is_read_whole() -> None:
    """The answer of the delete page: identity, numbers and health as they stand there; times without zone unread."""
    found = wire.normalize(SEED)
    assert found.id == found.name == "emo-35b3f106-sample01"
    assert found.identities == ("emo/sample01",)
    assert found.identities == (PROVIDER.identity(SPEC),)
    assert found.health == "deleting"
    assert found.attributes == {"model_name": "emo", "suffix": "sample01", "capacity": 2, "charge_type": "post_paid"}
    assert found.computed == {
        "id": "emo-35b3f106-sample01",
        "status": "DELETING",
        "base_model": "emo",
        "base_capacity": 1,
        "ready_capacity": 1,
        "workspace_id": "llm-v71tlv3***",
    }


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("PENDING", "pending"),
        ("DEPLOYING", "pending"),
        ("STARTING", "pending"),
        ("WAIT_TO_DEPLOY", "pending"),
        ("WAIT_PRE_PAID_BILLING_TO_DEPLOYING", "pending"),
        ("WAIT_PRE_PAID_BILLING_TO_SCALING", "updating"),
        ("WAIT_FOR_SOMETHING_NEW", "pending"),
        ("UPDATING", "updating"),
        ("SCALING", "updating"),
        ("RECOVERING", "updating"),
        ("running", "ready"),
        ("STOPPED", "stopped"),
        ("SUSPENDED", "stopped"),
        ("STOPPING", "deleting"),
        ("SUSPENDING", "deleting"),
        ("DELETING", "deleting"),
        ("FAILED", "failed"),
        ("OFFLINING", "unknown"),
        (None, "unknown"),
    ],
)
def test_every_status_has_a_health(status: str | None, health: str) -> None:
    """Documented words map to ours; any other counts as on its way, shown as it is."""
    assert live(status=status).health == health


@pytest.mark.parametrize(
    ("capacity", "ready", "plan", "health"),
    [
        (2, 2, "mu", "ready"),
        (2, 1, "mu", "degraded"),
        (2, 3, "mu", "ready"),
        (2, None, "mu", "ready"),
        (1, 0, "lora", "ready"),
        (1, 0, "ptu_v2", "ready"),
    ],
)
def test_running_is_ready_only_with_all_units(capacity: int, ready: int | None, plan: str, health: str) -> None:
    """RUNNING with less ready than asked serves too little; plans without units have nothing to compare."""
    assert live(capacity=capacity, ready_capacity=ready, plan=plan).health == health


@pytest.mark.parametrize(
    ("ident", "model", "suffix"),
    [
        ("emo-35b3f106-sample01", "emo", "sample01"),
        ("qwen-plus-202305099980-fac9-sample", "qwen-plus", "sample"),
        ("qwen3.7-plus-2026-05-26-031strng", "qwen3.7-plus-2026-05-26", "031strng"),
        ("qwen3-8b-5ecb5f068d79", "qwen3-8b", None),
        ("qwen-plus", "qwen-plus", None),
        ("opaque", "qwen-plus", None),
        ("emo-35b3f106-Sample", "emo", None),
    ],
)
def test_a_suffix_is_recognised_at_the_end_of_an_id(ident: str, model: str, suffix: str | None) -> None:
    """In all shapes of ids that were seen; what can't be a suffix is none."""
    assert wire.suffix_of(ident, model) == suffix


def test_reserved_throughput_is_read_in_both_spellings() -> None:
    """`ptu_v2` is ptu, `…_quota` figures are the figures, a capacity beside them says nothing."""
    new = live(plan="ptu_v2", ptu_capacity={"input_tpm_quota": "10000", "output_tpm_quota": 1000}, capacity=0)
    old = live(plan="ptu", ptu_capacity={"input_tpm": 10000, "output_tpm": 1000, "thinking_output_tpm": 0})
    assert new.attributes["ptu_capacity"] == old.attributes["ptu_capacity"] == {"input_tpm": 10000, "output_tpm": 1000}
    assert new.attributes["plan"] == "ptu"
    assert "capacity" not in new.attributes


def test_a_lora_capacity_is_no_attribute() -> None:
    """It is required at the create, without effect, and must never show as a difference."""
    assert "capacity" not in live(plan="lora", capacity=3).attributes


def test_numbers_may_come_as_strings() -> None:
    """One page types rpm_limit as a string; a bool is no number."""
    found = live(rpm_limit="60", tpm_limit=1000.0, max_context_length=True).attributes
    assert (found["rpm_limit"], found["tpm_limit"]) == (60, 1000)
    assert "max_context_length" not in found


def test_what_is_not_returned_is_absent() -> None:
    """A display name or plan that an answer lacks is no difference: it is not there at all."""
    assert not {"name", "plan", "rpm_limit", "deploy_spec"} & wire.normalize(SEED).attributes.keys()


def test_an_object_without_an_id_is_a_bad_answer() -> None:
    """It can't be managed, so it is an error and not a deployment called None."""
    with pytest.raises(BadAnswerError):
        wire.normalize({"status": "RUNNING"})


@pytest.mark.parametrize("key", ["output", "data"])
def test_both_envelopes_are_read(key: str) -> None:
    """Some answers carry `data` in place of `output`."""
    assert wire.output({"request_id": "r", key: {"total": 1}}) == {"total": 1}


# --- what is sent -------------------------------------------------------------------------------------------------


def test_a_lora_create_sends_the_capacity_it_wants() -> None:
    """lora requires a capacity that it ignores; an update-only attribute is not a field of the create."""
    body = wire.create_body({**SPEC, "plan": "lora", "capacity": None, "overflow_strategy": "enable"})
    assert body == {"model_name": "emo", "plan": "lora", "name": "chat", "capacity": 1, "suffix": "sample01"}


def test_the_derived_suffix_is_stable_and_valid() -> None:
    """8 lowercase letters and digits from stack, address and generation; a written one stands."""
    one = PROVIDER.derive({}, "bots", "chat", 0)["suffix"]
    assert one == PROVIDER.derive({}, "bots", "chat", 0)["suffix"]
    assert wire.SUFFIX.fullmatch(one)
    assert len(one) == 8
    others = {
        PROVIDER.derive({}, *key)["suffix"] for key in (("bots", "chat", 1), ("bots", "chat2", 0), ("x", "chat", 0))
    }
    assert one not in others
    assert len(others) == 3
    assert PROVIDER.derive({"suffix": "mine"}, "bots", "chat", 0) == {}


def test_an_identity_needs_both_parts() -> None:
    """While model or suffix can't be known, there is none."""
    assert PROVIDER.identity({"model_name": Unknown("${deployments.x.id}"), "suffix": "a"}) is None
    assert PROVIDER.identity({"model_name": "emo"}) is None


def test_the_scope_is_endpoint_and_workspace() -> None:
    """Another region or workspace is another place; intl is the default region."""
    assert PROVIDER.scope({}).startswith("https://dashscope-intl.aliyuncs.com/api/v1")
    scopes = {PROVIDER.scope(s) for s in ({}, {"region": "cn"}, {"region": "cn-hongkong"}, {"workspace": "llm-1"})}
    assert len(scopes) == 4
    assert PROVIDER.scope({"endpoint": "http://here/api/v1/"}) == "http://here/api/v1 workspace (of the key)"


# --- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "settings", "path"),
    [
        ({"plan": "mu", "capacity": 1}, {"region": "intl"}, "plan"),
        ({"plan": "mu", "capacity": 1}, {}, "plan"),
        ({"plan": "mu", "capacity": 1}, {"region": "cn-hongkong"}, "plan"),
        ({"plan": "mu", "capacity": 1}, {"region": "cn"}, None),
        ({"plan": "mu", "capacity": 1}, {"endpoint": "https://ws.ap-southeast-1.maas.aliyuncs.com/api/v1"}, None),
        ({"plan": "dtu"}, {"region": "cn"}, "plan"),
        ({"plan": "dtu"}, {"endpoint": "https://ws.cn-beijing.maas.aliyuncs.com/api/v1"}, None),
        ({"plan": "mu"}, {"region": "cn"}, "capacity"),
        ({"plan": "mu", "prefill_capacity": 1, "decode_capacity": 1}, {"region": "cn"}, None),
        ({"plan": "mu", "capacity": 1, "prefill_capacity": 1}, {"region": "cn"}, "prefill_capacity"),
        ({"plan": "cu"}, {}, "capacity"),
        ({"plan": "ptu"}, {}, "ptu_capacity"),
        ({"plan": "ptu", "ptu_capacity": {"input_tpm": 1, "output_tpm": 1}, "capacity": 1}, {}, "capacity"),
        ({"plan": "ptu", "ptu_capacity": Unknown("${deployments.x.y}")}, {}, None),
        ({"plan": "lora", "capacity": 2}, {}, "capacity"),
        ({"plan": "lora", "capacity": 1}, {}, None),
        ({"plan": "lora", "capacity": Secret(2)}, {}, None),
        ({"plan": "lora", "service_tier": "ptu_fast"}, {}, "service_tier"),
        ({"plan": "cu", "capacity": 1, "billing_method": "POST_PAY"}, {}, "billing_method"),
        ({"plan": Unknown("${deployments.x.y}")}, {}, None),
    ],
)
def test_limits_that_a_schema_cannot_say(spec: dict[str, Json], settings: dict[str, Json], path: str | None) -> None:
    """Plans need and refuse attributes, and are not offered everywhere; an explicit endpoint is left to its server."""
    problems = PROVIDER.check(spec, settings)
    assert [problem.path for problem in problems] == ([path] if path else [])


# --- errors -------------------------------------------------------------------------------------------------------


def refused(kind: type[ProviderError], status: int, code: str | None, **fields: Any) -> ProviderError:
    return kind(f"modelstudio refuses: ({status} {code})", provider="modelstudio", status=status, code=code, **fields)


@pytest.mark.parametrize(
    ("code", "kind", "effect"),
    [
        ("NotFound", NotFoundError, "none"),
        ("InvalidApiKey", AccessError, "none"),
        ("Model.AccessDenied", AccessError, "none"),
        ("Throttling.RateQuota", ThrottledError, "none"),
        ("InternalError", UnavailableError, "unknown"),
        ("InvalidParameter", RejectedError, "none"),
        ("SomethingNew", RejectedError, "none"),
    ],
)
def test_an_error_inside_a_200_is_sorted_by_its_code(code: str, kind: type[ProviderError], effect: str) -> None:
    """A 200 that carries a code is an error of that kind, with a truthful effect."""
    assert wire.error_in(200, {"code": code, "message": "m"})
    found = wire.translate(refused(RejectedError, 200, code), "POST")
    assert type(found) is kind
    assert found.effect == effect


def test_a_200_without_a_code_is_no_error() -> None:
    """Some answers carry an empty code beside their output."""
    assert not wire.error_in(200, {"output": {}, "code": ""})
    assert not wire.error_in(200, [])


def test_only_the_deployments_own_404_means_absent() -> None:
    """A workspace or path that is not there says nothing about the deployment."""
    assert isinstance(wire.translate(refused(NotFoundError, 404, "NotFound"), "GET"), NotFoundError)
    for code in ("WorkSpaceNotFound", "InvalidURL", None):
        found = wire.translate(refused(NotFoundError, 404, code), "GET")
        assert type(found) is RejectedError
        assert found.diagnostics[0].hint


@pytest.mark.parametrize(
    ("status", "code", "throttled"),
    [
        (429, None, True),
        (429, "Throttling.AllocationQuota", True),
        (400, "Throttling.BurstRate", True),
        (400, "InvalidParameter", False),
        (500, "InternalError", False),
    ],
)
def test_throttling_is_told_by_status_or_code(status: int, code: str | None, throttled: bool) -> None:
    """All four codes of the family mean: nothing was done, later."""
    assert wire.throttled(status, {"code": code} if code else None) is throttled


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("DELETE", "UnsupportedOperation", "stop it in the Model Studio console"),
        ("DELETE", "PREPAID_UNSUBSCRIBE_REQUIRED", "pre-paid"),
        ("POST", "Conflict", "reconciler import"),
        ("GET", "InvalidApiKey", "region"),
        ("POST", "Throttling.AllocationQuota", "quota"),
        ("POST", "Arrearage", "arrears"),
    ],
)
def test_errors_say_what_to_do_next(method: str, code: str, words: str) -> None:
    """Codes that a person has to act on carry the way out, and keep what the provider said."""
    found = wire.translate(refused(RejectedError, 400, code, request_id="r-1"), method)
    assert words in found.diagnostics[0].hint
    assert found.request_id == "r-1"
    assert found.code == code


def test_the_hint_for_a_delete_is_not_given_for_a_scale() -> None:
    """The same code on another call has another cause."""
    assert wire.translate(refused(RejectedError, 400, "UnsupportedOperation"), "PUT").diagnostics[0].hint == ""


def test_reserved_figures_must_move_together() -> None:
    """One up and one down is refused before anything is sent; one unchanged is fine, a missing one is 0."""
    have = {"input_tpm": 10, "output_tpm": 10}
    assert wire.mixed_directions({"input_tpm": 20, "output_tpm": 5}, have)
    assert not wire.mixed_directions({"input_tpm": 20, "output_tpm": 10}, have)
    assert not wire.mixed_directions({"input_tpm": 20, "output_tpm": 10, "thinking_output_tpm": 9}, have)
    assert wire.mixed_directions({"input_tpm": 5, "output_tpm": 5, "thinking_output_tpm": 9}, have)
    assert wire.mixed_directions(have, {"input_tpm": 5, "output_tpm": 5, "thinking_output_tpm": 9})


def test_a_figure_that_one_side_lacks_is_zero() -> None:
    """One more, or one less, is a difference; a zero that is left out is none."""
    two = {"ptu_capacity": {"input_tpm": 10, "output_tpm": 10}}
    three = {"ptu_capacity": {**two["ptu_capacity"], "thinking_output_tpm": 5}}
    none = {"ptu_capacity": {**two["ptu_capacity"], "thinking_output_tpm": 0}}
    assert wire.differences(three, two) == wire.differences(two, three) == ("ptu_capacity.thinking_output_tpm",)
    assert wire.differences(none, two) == wire.differences(two, none) == ()
