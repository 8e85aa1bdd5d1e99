"""What Model Studio refuses in a body, as documented, in its own words. Pure; the simulator raises what these raise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reconciler.model import Json

_PLANS = ("mu", "cu", "ptu", "lora", "dtu")
_DIMENSIONS = ("input_tpm", "output_tpm", "thinking_output_tpm")
_TYPES: Mapping[str, type] = {
    "model_name": str,
    "plan": str,
    "name": str,
    "capacity": int,
    "suffix": str,
    "deploy_spec": str,
    "billing_method": str,
    "charge_type": str,
    "ptu_capacity": dict,
    "service_tier": str,
    "pre_paid_info": dict,
    "enable_thinking": bool,
    "max_context_length": int,
    "rpm_limit": int,
    "tpm_limit": int,
    "prefill_capacity": int,
    "decode_capacity": int,
    "model_version": str,
}
_VALUES: Mapping[str, tuple[str, ...]] = {
    "plan": _PLANS,
    "billing_method": ("POST_PAY",),
    "charge_type": ("post_paid", "pre_paid"),
    "service_tier": ("ptu_fast", "ptu_default"),
}


class Refused(Exception):
    """An error answer: HTTP status, the provider's code, its message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def is_count(value: Json, multiple: int, most: int | None = 999) -> bool:
    """An integer from 0 to `most` and a multiple of `multiple`."""
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return value >= 0 and (most is None or value <= most) and value % multiple == 0


def capacity_error(value: Json, base: int) -> Refused:
    """The provider's words; it names the model's base capacity as the multiple."""
    text = (
        f"Invalid capacity ({value}), capacity must be larger than or equal to 0"
        f" and multiples of {base} and less than 1000!"
    )
    return Refused(400, "InvalidParameter", text)


def check_create(body: Mapping[str, Any], models: Mapping[str, Mapping[str, Json]]) -> None:
    """Raise Refused for what a create of these fields would be refused for."""
    for key, value in body.items():
        expected = _TYPES.get(key)
        if expected is None or not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise Refused(400, "InvalidParameter", f"Invalid parameter: {key}")
        if key in _VALUES and value not in _VALUES[key]:
            raise Refused(400, "InvalidParameter", f"Invalid {key}: one of {', '.join(_VALUES[key])}")
    for key in ("model_name", "plan"):
        if not body.get(key):
            raise Refused(400, "InvalidParameter", f"Missing parameter: {key}")
    plan, model = body["plan"], body["model_name"]
    if model not in models:
        raise Refused(404, "NotFound", f"Model: {model} not found!")
    if plan != "ptu" and not body.get("name"):
        raise Refused(400, "InvalidParameter", "Missing parameter: name")
    if "suffix" in body and not re.fullmatch(r"[a-z0-9]{1,8}", body["suffix"]):
        raise Refused(400, "InvalidParameter", "suffix: at most 8 lowercase letters and digits")
    _check_size(body, plan, int(models[model].get("base_capacity", 1)))


def _check_size(body: Mapping[str, Any], plan: str, base: int) -> None:
    if plan == "ptu":
        check_ptu(body.get("ptu_capacity"))
    elif "ptu_capacity" in body or "service_tier" in body:
        raise Refused(400, "InvalidParameter", f"ptu_capacity and service_tier belong to plan ptu, not {plan}")
    split = "prefill_capacity" in body and "decode_capacity" in body
    if (plan in ("mu", "cu", "lora") and not split) or "capacity" in body:
        if "capacity" not in body:
            raise Refused(400, "InvalidParameter", "Missing parameter: capacity")
        if not is_count(body["capacity"], base):
            raise capacity_error(body["capacity"], base)


def check_ptu(value: Json) -> None:
    """Raise Refused unless it reserves input and output; the platform has no default for them."""
    if not isinstance(value, dict) or not {"input_tpm", "output_tpm"} <= value.keys():
        raise Refused(400, "InvalidParameter", "Miss ptu capacity info")
    if set(value) - set(_DIMENSIONS) or not all(is_count(figure, 1, most=None) for figure in value.values()):
        raise Refused(400, "InvalidParameter", "Invalid ptu capacity info")
