"""Nugen's wire format as pure functions: its two spellings in canonical form, its task answers, its error texts.

Nothing here talks or decides. Facts come from the documented list and undeploy calls, and from outputs of the official
cookbook; two generations of field names are read side by side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from reconciler.model import Health, Json, Live
from reconciler.provider import AccessError, BadAnswerError, ProviderError, RejectedError

BASE_URL = "https://api.nugen.in/api/v3"
SUFFIX = "-deployed"  # an id may gain it while the model is on
NONE_THERE = "No aligned models found"  # with 404: the list is empty
OFF = frozenset({"READY", "UNDEPLOYED", "EVALUATED", "PROCESSING"})

Task = Literal["PENDING", "COMPLETED", "FAILED", "NONE"]
_HEALTH: Mapping[str, Health] = {
    "DEPLOYED": "ready",
    "DEPLOYING": "pending",
    "UNDEPLOYING": "deleting",
    "FAILED": "failed",
}
_TASK: Mapping[str, Task] = {
    "PENDING": "PENDING",
    "PROCESSING": "PENDING",
    "DEPLOYING": "PENDING",
    "UNDEPLOYING": "PENDING",
    "COMPLETED": "COMPLETED",
    "DEPLOYED": "COMPLETED",
    "FAILED": "FAILED",
}
_STATUS_IN_TEXT = re.compile(r"Current status:\s*([A-Za-z_]+)")
_NO_ROUTE = ("Not Found", "Method Not Allowed")  # FastAPI's own texts; the API's 404 says `Model not found`
NO_PATH = "no such path"  # our code for those


def bare(model_id: str) -> str:
    """A model id without one trailing `-deployed`."""
    return model_id.removesuffix(SUFFIX)


def normalize(raw: Json, provider: str = "nugen") -> Live:
    """One item of the list as a `Live`, in either spelling; dormant where the model is switched off.

    `Live.id` is the id without `-deployed`, which stays the same while the model is switched on and off; the current
    one, which paths and inference take, is `computed["id"]`. Raises BadAnswerError where it has no id.
    """
    ident = _text(raw, "id", "model_id")
    if not ident:
        raise BadAnswerError("an aligned model without `id` in the answer", provider=provider)
    status = effective_status(raw)
    endpoint = _text(raw, "endpoint")
    alignment = _text(raw, "alignment_id")
    attributes: dict[str, Json] = {"model_id": bare(ident)}
    if alignment:
        attributes["alignment_id"] = alignment
    name = _text(raw, "name", "model_name") or ident
    computed = {"id": ident, "name": name, "status": status, "endpoint": endpoint}
    base_model = _text(raw, "base_model", "base_model_id")
    if base_model:
        computed["base_model"] = base_model
    known = status in _HEALTH
    return Live(
        id=bare(ident),
        identities=identities_of(alignment, bare(ident)),
        name=name,
        attributes=attributes,
        computed=computed,
        status=status,
        # A word of neither list belongs to the alignment (EVALUATING …) unless something answers there.
        health=_HEALTH[status] if known else ("stopped" if status in OFF or not endpoint else "unknown"),
        dormant=not known and (status in OFF or not endpoint),
        reason=_text(raw, "error"),
    )


def identities_of(alignment_id: str, model_id: str) -> tuple[str, ...]:
    """The strings by which a declared model may know it: the alignment, the bare id, both together."""
    if not alignment_id or alignment_id == model_id:
        return (model_id,) if not alignment_id else (model_id, f"{model_id} {model_id}")
    return (alignment_id, model_id, f"{alignment_id} {model_id}")


def effective_status(raw: Json) -> str:
    """`deployment_status` where it is not null, else `status` (free text, of the alignment too); upper case."""
    return (_text(raw, "deployment_status") or _text(raw, "status") or "UNKNOWN").strip().upper()


def items_of(data: Json, provider: str) -> list[Json]:
    """The items of a list's answer. Raises BadAnswerError where there is no list."""
    if isinstance(data, Mapping):
        for key in ("domain_aligned_models", "aligned_models", "models"):
            if isinstance(data.get(key), list):
                return list(data[key])
    raise BadAnswerError("a list of aligned models without `domain_aligned_models`", provider=provider)


def answered_id(data: Json, sent: str) -> str:
    """The id in the answer of a deploy or undeploy: a bare JSON string, or an object with `model_id`."""
    if isinstance(data, str) and data:
        return data
    return _text(data, "model_id", "id") or sent


def task_of(data: Json) -> tuple[Task, str]:
    """A task's state and error text, from either generation of the status call.

    Newer answers name the model's state instead: back at UNDEPLOYED with an error is a failure. The times in the
    answer are those of the question: they are not read.
    """
    word = _text(data, "status").strip().upper()
    result = data.get("result") if isinstance(data, Mapping) else None
    error = _text(result, "error") or _text(data, "error")
    if word in OFF and word != "PROCESSING":
        return ("FAILED" if error else "NONE"), error
    return _TASK.get(word, "PENDING"), error


def _text(raw: Json, *keys: str) -> str:
    """The first of these fields that is a non-empty string; empty otherwise."""
    if isinstance(raw, Mapping):
        for key in keys:
            if isinstance(raw.get(key), str) and raw[key]:
                return str(raw[key])
    return ""


# --- errors -------------------------------------------------------------------------------------------------------


def explain(status: int, data: Json) -> tuple[str | None, str]:
    """The text of `detail` (a string, or FastAPI's list of what is invalid), and `NO_PATH` for an unknown route."""
    detail = data.get("detail") if isinstance(data, Mapping) else None
    if isinstance(detail, str) and detail:
        return (NO_PATH if status in (404, 405) and detail in _NO_ROUTE else None), detail
    if isinstance(detail, list):
        return None, "; ".join(_violation(item) for item in detail)
    return None, ""


def _violation(item: Json) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    place = ".".join(str(part) for part in item.get("loc") or ())
    return f"{place}: {item.get('msg', 'invalid')}" if place else str(item.get("msg", "invalid"))


def request_id(headers: Mapping[str, str], data: Json) -> str | None:  # noqa: ARG001 - the dialect's signature
    """None is documented; a gateway may give one."""
    return headers.get("x-request-id")


def current_status(error: ProviderError) -> str | None:
    """The status that ends a 400's text (`Model cannot be redeployed. Current status: UNDEPLOYING`), upper case."""
    found = _STATUS_IN_TEXT.search(error.message) if error.status == 400 else None
    return found[1].upper() if found else None


def is_empty_list(error: ProviderError) -> bool:
    """Whether a 404 says that there are no aligned models."""
    return error.status == 404 and NONE_THERE.lower() in error.message.lower()


def wrong_path(error: ProviderError, style: str, step: str = "") -> ProviderError:
    """The error for an unknown route (a path of the other style, or no Nugen at all): never "gone"."""
    other = "deploy-model" if style == "deployment" else "deployment"
    hint = f"set `api_style: {other}` in the provider's settings, or check its `endpoint`"
    if style == "deployment" and step == "undeploy":
        hint = (
            f"the undeploy of this api_style is documented nowhere, and the one that was tried does not exist: {hint}"
        )
    return RejectedError(
        f"{error.message}: this endpoint does not know the paths of api_style {style}",
        provider=error.provider,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        hint=hint,
    )


def no_key(error: ProviderError) -> ProviderError:
    """A 403 `Not authenticated` is a missing key, not a missing right."""
    return AccessError(
        error.message,
        provider=error.provider,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        hint="no API key reached the provider: is NUGEN_API_KEY set, and does no proxy drop the Authorization header?",
    )
