"""Model Studio's wire format as pure functions: its answers in canonical form, its bodies, its errors.

Nothing here talks or decides. Facts come from the provider's pages on create, list, get, scale, update and delete of a
deployment; where they contradict each other the safe reading is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from reconciler.core.values.digest import is_sealed
from reconciler.model import Health, Json, Live, Secret, Unknown
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    NotFoundError,
    Problem,
    ProviderError,
    RejectedError,
    ThrottledError,
    UnavailableError,
)

PAGE_SIZE = 100  # the only size that both of the provider's pages on the list allow (1-200 and 1-100)
SUFFIX = re.compile(r"[a-z0-9]{1,8}")

ENDPOINTS: Mapping[str, str] = {
    "intl": "https://dashscope-intl.aliyuncs.com/api/v1",
    "cn": "https://dashscope.aliyuncs.com/api/v1",
    "cn-hongkong": "https://cn-hongkong.dashscope.aliyuncs.com/api/v1",
}

_HEALTH: Mapping[str, Health] = {
    "PENDING": "pending",
    "DEPLOYING": "pending",
    "STARTING": "pending",
    "WAIT_TO_DEPLOY": "pending",
    "WAIT_PRE_PAID_BILLING_TO_DEPLOYING": "pending",
    "UPDATING": "updating",
    "SCALING": "updating",
    "RECOVERING": "updating",
    "WAIT_PRE_PAID_BILLING_TO_SCALING": "updating",
    "RUNNING": "ready",
    "STOPPED": "stopped",
    "SUSPENDED": "stopped",
    "STOPPING": "deleting",
    "SUSPENDING": "deleting",
    "DELETING": "deleting",
    "FAILED": "failed",
}

_CREATE_FIELDS = (
    "model_name",
    "plan",
    "name",
    "capacity",
    "suffix",
    "deploy_spec",
    "billing_method",
    "charge_type",
    "ptu_capacity",
    "service_tier",
    "enable_thinking",
    "max_context_length",
    "rpm_limit",
    "tpm_limit",
    "prefill_capacity",
    "decode_capacity",
    "model_version",
)
_TEXTS = ("model_name", "name", "deploy_spec", "billing_method", "model_version", "overflow_strategy")
_NUMBERS = ("capacity", "rpm_limit", "tpm_limit", "max_context_length", "prefill_capacity", "decode_capacity")
_DIMENSIONS = ("input_tpm", "output_tpm", "thinking_output_tpm")


def normalize(raw: Json, provider: str = "modelstudio") -> Live:
    """One deployment object of an answer as a `Live`; fields that the answer lacks are absent.

    Raises BadAnswerError where it has no id: an object that can't be named can't be managed.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("deployed_model"), str) or not raw["deployed_model"]:
        raise BadAnswerError("a deployment without `deployed_model` in the answer", provider=provider, effect="unknown")
    ident: str = raw["deployed_model"]
    status = str(raw.get("status") or "UNKNOWN").strip().upper()
    attributes = _attributes(raw)
    model = str(attributes.get("model_name", ""))
    suffix = suffix_of(ident, model)
    if suffix is not None:
        attributes["suffix"] = suffix
    ready = whole_number(raw.get("ready_capacity"))
    return Live(
        id=ident,
        identities=(identity_of(model, suffix),) if suffix is not None else (),
        name=str(raw.get("name") or ident),
        attributes=attributes,
        computed=_computed(raw, ident, status, ready),
        status=status,
        health=health_of(status, attributes.get("capacity"), ready),
        reason=str(raw.get("fail_reason") or ""),
        extra={} if ready is None else {"ready_capacity": ready},
    )


def _attributes(raw: Mapping[str, Any]) -> dict[str, Json]:
    found: dict[str, Json] = {key: raw[key] for key in _TEXTS if isinstance(raw.get(key), str) and raw[key]}
    for key in _NUMBERS:
        number = whole_number(raw.get(key))  # one page types rpm_limit as a string
        if number is not None:
            found[key] = number
    if isinstance(raw.get("enable_thinking"), bool):
        found["enable_thinking"] = raw["enable_thinking"]
    plan = str(raw.get("plan") or "").lower()
    if plan:
        found["plan"] = "ptu" if plan.startswith("ptu_v") else plan
    for key, source in (("charge_type", "charge_type"), ("service_tier", "ptu_service_tier")):
        if isinstance(raw.get(source), str) and raw[source]:
            found[key] = raw[source].lower()
    if found.get("plan") in ("lora", "ptu"):
        found.pop("capacity", None)  # lora: required at create, without effect; ptu: it reserves by ptu_capacity
    dimensions = _ptu_capacity(raw.get("ptu_capacity"))
    if dimensions:
        found["ptu_capacity"] = dimensions
    return found


def _ptu_capacity(raw: Json) -> dict[str, int]:
    if not isinstance(raw, Mapping):
        return {}
    found = {}
    for key in _DIMENSIONS:
        number = whole_number(raw.get(key, raw.get(f"{key}_quota")))
        if number:  # an unreserved dimension may come back as 0
            found[key] = number
    return found


def _computed(raw: Mapping[str, Any], ident: str, status: str, ready: int | None) -> dict[str, Json]:
    computed: dict[str, Json] = {"id": ident, "status": status}
    for key in ("base_model", "workspace_id"):
        if isinstance(raw.get(key), str):
            computed[key] = raw[key]
    base = whole_number(raw.get("base_capacity"))
    if base is not None:
        computed["base_capacity"] = base
    if ready is not None:
        computed["ready_capacity"] = ready
    return computed


def health_of(status: str, capacity: Json, ready: int | None) -> Health:
    """Our word for the provider's: RUNNING with less ready than asked is degraded, an undocumented word unknown."""
    health = _HEALTH.get(status, "unknown")
    if health == "unknown" and status.startswith("WAIT_"):
        return "pending"
    if health == "ready" and isinstance(capacity, int) and ready is not None and ready < capacity:
        return "degraded"
    return health


def suffix_of(ident: str, model_name: str) -> str | None:
    """What follows the last dash of an id, where it can be a suffix at all; None otherwise.

    Ids are the server's (model, hash, suffix; or model and suffix alone): this recognises one, it never builds one.
    """
    if ident == model_name or "-" not in ident:
        return None
    tail = ident.removeprefix(f"{model_name}-").rsplit("-", 1)[-1]
    return tail if SUFFIX.fullmatch(tail) else None


def identity_of(model_name: str, suffix: str | None) -> str:
    """The identity string within a workspace: model name and suffix."""
    return f"{model_name}/{suffix}"


def whole_number(value: Json) -> int | None:
    """An integer, or a string or float that is one; None for anything else (a bool too)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}(\.0+)?\s*", value):
        return int(float(value)) if "." in value else int(value)
    return None


def create_body(desired: Mapping[str, Json]) -> dict[str, Json]:
    """The body of a create: the fields it knows, in the provider's names. lora wants a capacity that it ignores."""
    body = {key: desired[key] for key in _CREATE_FIELDS if desired.get(key) is not None}
    if body.get("plan") == "lora":
        body["capacity"] = 1
    return body


def differences(desired: Mapping[str, Json], live: Mapping[str, Json]) -> tuple[str, ...]:
    """Paths of what both sides say and say differently; empty when all returned attributes agree.

    A figure that one side lacks is 0 there: a reservation is stated as a whole, and its zeros may be left out.
    A digest in a sensitive value's place (an intent after a kill) says nothing here: the engine compares those.
    """
    differing = []
    for key in sorted(desired.keys() & live.keys()):
        want, have = desired[key], live[key]
        if is_sealed(want):
            continue
        if isinstance(want, Mapping) and isinstance(have, Mapping):
            differing += [
                f"{key}.{sub}"
                for sub in sorted(want.keys() | have.keys())
                if not is_sealed(want.get(sub)) and want.get(sub, 0) != have.get(sub, 0)
            ]
        elif want != have:
            differing.append(key)
    return tuple(differing)


def mixed_directions(desired: Mapping[str, Json], live: Mapping[str, Json]) -> bool:
    """Whether some ptu figure would grow while another shrinks, which the provider refuses; a missing one is 0."""
    steps = [desired.get(key, 0) - live.get(key, 0) for key in _DIMENSIONS]
    return any(step > 0 for step in steps) and any(step < 0 for step in steps)


def output(data: Json) -> Json:
    """What an envelope holds: `output`, in some answers `data`."""
    if not isinstance(data, Mapping):
        return None
    return data["output"] if data.get("output") is not None else data.get("data")


# --- limits that a schema can't say ------------------------------------------------------------------------------

_PTU_ONLY = ("ptu_capacity", "service_tier", "overflow_strategy")


def endpoint_of(settings: Mapping[str, Json]) -> str:
    """The base URL: `endpoint` where given, else the region's public one."""
    given = settings.get("endpoint")
    return str(given).rstrip("/") if given else ENDPOINTS[str(settings.get("region") or "intl")]


def inference_of(settings: Mapping[str, Json]) -> str:
    """Where deployments answer, in OpenAI's form: beside the API, on the same host (the provider's page on that form
    names it for Singapore, Beijing and Hong Kong; that a host of one's own has it there too is assumed)."""
    return endpoint_of(settings).removesuffix("/api/v1") + "/compatible-mode/v1"


def check_shape(plan: str, spec: Mapping[str, Json]) -> list[Problem]:
    """What a plan needs beside itself, and what it refuses."""
    problems = []
    if plan in ("mu", "cu") and not {"capacity", "prefill_capacity"} & spec.keys():
        problems.append(
            Problem("capacity", f"plan {plan} needs a capacity", "capacity: 1 (a multiple of base_capacity)")
        )
    if plan == "ptu" and "ptu_capacity" not in spec:
        problems.append(
            Problem("ptu_capacity", "plan ptu needs ptu_capacity", "ptu_capacity: {input_tpm: 10000, output_tpm: 1000}")
        )
    if plan == "ptu" and "capacity" in spec:
        problems.append(Problem("capacity", "plan ptu has no capacity", "its size is ptu_capacity"))
    capacity = spec.get("capacity")
    if plan == "lora" and not isinstance(capacity, Secret | Unknown) and capacity not in (None, 1):
        problems.append(
            Problem("capacity", "a lora deployment can't be scaled: it is billed per token", "leave it out")
        )
    if plan != "ptu":
        problems += [Problem(key, f"{key} belongs to plan ptu, not {plan}") for key in _PTU_ONLY if key in spec]
    if plan != "mu" and "billing_method" in spec:
        problems.append(Problem("billing_method", f"billing_method belongs to plan mu, not {plan}"))
    for key, other in (("prefill_capacity", "decode_capacity"), ("decode_capacity", "prefill_capacity")):
        if key in spec and other not in spec:
            problems.append(Problem(key, f"{key} needs {other} beside it"))
    return problems


def check_region(plan: str, settings: Mapping[str, Json]) -> list[Problem]:
    """Where a plan is offered; an explicit endpoint that is not a public one is left to the server."""
    if settings.get("endpoint"):
        gateway = (urlsplit(endpoint_of(settings)).hostname or "").endswith(".maas.aliyuncs.com")
        public = endpoint_of(settings) in ENDPOINTS.values()
        if plan != "dtu" or gateway or not public:
            return []
    region = str(settings.get("region") or "intl")
    if plan == "dtu":
        hint = "endpoint: https://<workspace>.cn-beijing.maas.aliyuncs.com/api/v1"
        return [Problem("plan", "plan dtu is served by the workspace gateway of Beijing only", hint)]
    if plan == "mu" and region != "cn":
        hint = "provider settings `region: cn`, or another plan (an explicit `endpoint` lifts this check)"
        return [Problem("plan", f"plan mu is offered in Beijing (region cn) only, not in {region}", hint)]
    return []


# --- errors -------------------------------------------------------------------------------------------------------


def error_in(status: int, data: Json) -> bool:
    """A 4xx or 5xx, or a 200 whose body carries an error code."""
    return status >= 400 or (isinstance(data, Mapping) and bool(data.get("code")))


def throttled(status: int, data: Json) -> bool:
    """A 429, or a throttling code at any status."""
    return status == 429 or str(isinstance(data, Mapping) and data.get("code")).startswith("Throttling")


def explain(status: int, data: Json) -> tuple[str | None, str]:
    """Code and message of an error body."""
    if not isinstance(data, Mapping):
        return None, f"status {status}"
    code = data.get("code")
    return (str(code) if code else None), str(data.get("message") or code or f"status {status}")


def request_id(headers: Mapping[str, str], data: Json) -> str | None:
    """The request's id: in the body, else in a header."""
    if isinstance(data, Mapping) and isinstance(data.get("request_id"), str):
        return str(data["request_id"])
    return headers.get("x-request-id") or headers.get("x-dashscope-request-id")


_BY_CODE: Iterable[tuple[re.Pattern[str], type[ProviderError]]] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"NotFound", NotFoundError),
        (r"InvalidApiKey|.*AccessDenied|BILLING_ACCOUNT_NOT_READY", AccessError),
        (r"Throttling.*", ThrottledError),
        (
            r"InternalError.*|RequestTimeOut|ModelUnavailable|ServiceUnavailable|BILLING_SERVICE_UNAVAILABLE",
            UnavailableError,
        ),
    )
)
WRONG_STATE = "UnsupportedOperation"
_HINTS: Mapping[str, str] = {
    f"DELETE {WRONG_STATE}": "it must be stopped first, and no API call stops it: stop it in the Model Studio"
    " console (Deployments), then run again",
    "PREPAID_UNSUBSCRIBE_REQUIRED": "a pre-paid deployment can't be ended before its term: unsubscribe in the console,"
    " or stop managing it (`removed: [{address: …, action: forget}]`)",
    "CAPACITY_INSTANCE_REQUIRED": "release its capacity instances in the Model Studio console first",
    "Conflict": "a deployment of this model with this suffix exists, or is still being deleted: plan again; then take"
    " it over (`reconciler import ADDRESS ID`, or `adopt: true`), or write another `suffix`",
    "InvalidApiKey": "a key belongs to one region: check DASHSCOPE_API_KEY against the provider's `region`",
    "WorkSpaceNotFound": "check the provider's `workspace`",
    "Arrearage": "the account is in arrears: settle it in the Alibaba Cloud console",
    "Throttling.AllocationQuota": "this is a quota, not a rate: ask for a larger one, or deploy less",
}


def translate(error: ProviderError, method: str) -> ProviderError:
    """The same error by what its code means to that HTTP method, with what to do next.

    A 200 with a code is sorted by the code; a 404 that is not the deployment's own (`NotFound`) is never "absent".
    """
    code = error.code or ""
    hint = _HINTS.get(code) or _HINTS.get(f"{method} {code}", "")
    kind: type[ProviderError] = type(error)
    effect = error.effect
    if error.status is not None and error.status < 400 and code:
        kind = next((kind for pattern, kind in _BY_CODE if pattern.fullmatch(code)), RejectedError)
        effect = "unknown" if kind is UnavailableError else "none"
    elif isinstance(error, NotFoundError) and code != "NotFound":
        kind, hint = RejectedError, hint or "the address does not answer as Model Studio does: check `endpoint`"
    if kind is type(error) and not hint:
        return error
    shown = error.diagnostics[0]
    return kind(
        shown.summary,
        provider=error.provider,
        effect=effect,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        detail=shown.detail,
        hint=hint or shown.hint,
        retry_after=error.retry_after,
    )
