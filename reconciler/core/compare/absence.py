"""What it means that a recorded deployment is not live: its provider's own rule (a TTL), or somebody's hand. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.compare.reason import status_of, with_why
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.paths import split
from reconciler.core.values.tree import ABSENT, get
from reconciler.model import Live, Recorded


@dataclass(frozen=True, slots=True)
class Absence:
    """`in_sync`: the file is content with it. `text` explains, where there is anything to explain."""

    in_sync: bool
    text: str = ""


def absence(prior: Recorded, dormant: Live | None, schema: ProviderSchema, now: str, presence: str) -> Absence:
    """Judge a recorded deployment of which nothing, or only a dormant object, is left.

    A TTL can have run out only if that long has passed since the last known deploy; the server does not say whether it
    did. What an unfinished change of ours may have left off has not expired. `now` is RFC 3339.
    """
    if prior.id is None:
        return Absence(False)
    if prior.pending is not None:
        return Absence(False, with_why(f"its {prior.pending.verb} was not finished", prior.pending.cause))
    if dormant is None:
        return Absence(False)
    minutes = time_to_live(prior, schema)
    if minutes is None:
        return Absence(presence == "on_demand", f"live status is {status_of(dormant)}")
    since = elapsed(prior.deployed_at, now)
    if since is not None and since < timedelta(minutes=minutes):
        return Absence(False, "undeployed by hand")
    text = f"expired or undeployed by hand (TTL {minutes:g} min; the server does not tell)"
    return Absence(presence == "on_demand", text)


def time_to_live(prior: Recorded, schema: ProviderSchema) -> float | None:
    """The TTL in minutes that was last applied, None where there is none."""
    if schema.on_demand is None:
        return None
    found = get(prior.spec, split(schema.on_demand))
    if found is ABSENT or isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found)


def elapsed(since: str, now: str) -> timedelta | None:
    """The time between two RFC 3339 texts, None where one of them says nothing."""
    try:
        return datetime.fromisoformat(now) - datetime.fromisoformat(since)
    except (ValueError, TypeError):  # empty, malformed, or one without a zone
        return None
