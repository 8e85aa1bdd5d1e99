"""Small parts of a simulated model's record: how the real cluster reads and keeps them."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model import Json
from reconciler.sandbox.opensearch_index import Refused

FUNCTIONS = (
    "remote",
    "text_embedding",
    "sparse_encoding",
    "sparse_tokenize",
    "text_similarity",
    "question_answering",
)
_UNITS = ("NANOSECONDS", "MICROSECONDS", "MILLISECONDS", "SECONDS", "MINUTES", "HOURS", "DAYS")


def no_model(reason: str = "Failed to find model") -> Refused:
    """The 404 of a model that is not there."""
    return Refused(404, "status_exception", reason)


UNDEPLOYED: Mapping[str, Json] = {
    "model_state": "UNDEPLOYED",
    "planning_worker_node_count": 0,
    "current_worker_node_count": 0,
    "planning_worker_nodes": None,
}


def text(body: Mapping[str, Json], name: str) -> Json:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(400, "parsing_exception", f"Failed to parse {name}")
    return value


def limiter(raw: Json) -> dict[str, Json] | None:
    """A rate limiter as it is kept: the limit as text."""
    if raw is None:
        return None
    kept: dict[str, Json] = {}
    if "limit" in raw:
        try:
            positive = float(raw["limit"]) > 0
        except (TypeError, ValueError):
            positive = False
        if not positive:
            raise Refused(400, "parse_exception", "Limit field must be a positive number.")
        kept["limit"] = str(raw["limit"])
    if "unit" in raw:
        if raw["unit"] not in _UNITS:
            raise Refused(
                400, "illegal_argument_exception", f"No enum constant java.util.concurrent.TimeUnit.{raw['unit']}"
            )
        kept["unit"] = raw["unit"]
    return kept


def setting(had: Mapping[str, Json], given: Json) -> dict[str, Json]:
    """Merged field by field, but a TTL that is not given is written as -1."""
    if not isinstance(given, dict):
        raise Refused(400, "parsing_exception", "Failed to parse object: expecting token of type [START_OBJECT]")
    ttl = given.get("model_ttl_minutes", -1)
    try:
        minutes = int(ttl)
    except (TypeError, ValueError):
        raise Refused(400, "illegal_argument_exception", f'For input string: "{ttl}"') from None
    kept = {**had, "model_ttl_minutes": minutes}
    if "is_auto_deploy_enabled" in given:
        kept["is_auto_deploy_enabled"] = given["is_auto_deploy_enabled"]
    return kept
