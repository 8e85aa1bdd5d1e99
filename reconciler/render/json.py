"""JSON for machines: documents that others made, events and the summary of an apply, always the same bytes.

Pure. Says nothing of what stands in a plan document (the codec in core does); secrets are gone before they come here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields

from reconciler.model import Json
from reconciler.plan import Event, Outcome


def to_json(document: Json, *, indent: int | None = 2) -> str:
    """A document as text without a final newline, on one line with `indent=None`; keys stay in the order given.

    Raises TypeError for what has no place in JSON: a secret that a codec let through is a bug, never printed.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False, default=_refuse)
    return _UNSAFE.sub(_escape, text)


def event_to_json(event: Event) -> dict[str, Json]:
    """An event with the fields that apply, in the contract's order; `elapsed` in seconds, rounded to milliseconds."""
    out: dict[str, Json] = {}
    for item in fields(Event):
        found = getattr(event, item.name)
        if found is not None and item.metadata.get("json", True):
            out[item.name] = round(found, 3) if item.name == "elapsed" else found
    return out


def event_line(event: Event) -> str:
    """One line of the event stream, without its newline."""
    return to_json(event_to_json(event), indent=None)


def summary_to_json(outcomes: Iterable[Outcome], outputs: Mapping[str, Json]) -> dict[str, Json]:
    """The last line of an apply. `unchanged` counts as done, `interrupted` as failed; `none` is not counted."""
    counted = {"done": 0, "failed": 0, "skipped": 0}
    kinds = {"done": "done", "unchanged": "done", "failed": "failed", "interrupted": "failed", "skipped": "skipped"}
    for outcome in outcomes:
        if outcome.action != "none":
            counted[kinds[outcome.result]] += 1
    return {"event": "summary", **counted, "outputs": dict(sorted(outputs.items()))}


def _escape(found: re.Match[str]) -> str:
    """A character by its UTF-16 units: JSON spells one beyond the basic plane as two escapes."""
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _refuse(item: object) -> Json:
    raise TypeError(f"{type(item).__name__} has no place in JSON")


# What JSON lets stand as it is but a terminal obeys or a line reader splits at: DEL and C1 controls, bidirectional and
# other invisible marks, line separators, lone surrogates (no stream could encode them), and the second of two `#`,
# since `##[` is a command to the runner of a CI job.
_UNSAFE = re.compile(
    "[\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
    "|(?<=#)#"
)
