"""Drift: live against what was recorded, without noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.compare.drift import is_drift
from reconciler.core.planfile.plan_codec import drift_to_json
from reconciler.core.planning.drift_report import find_drift
from reconciler.model import Lifecycle, Live, Pending, Recorded, Refreshed, Stack, State
from reconciler.plan import Drift, Plan, PlanOptions
from tests.support.planning import NOW, SCHEMAS, TYPES, desired, live, recorded, seen, stack, state

CHAT = desired("chat", gpu="h", replicas=2, plan_id="p")
LIVE = live("d-1", name="chat", gpu="h", replicas=2)


def drift(before: State | None, world: Refreshed, file: Stack | None = None, **options: Any) -> Plan:
    return find_drift(
        file or stack(CHAT), before, world, schemas=SCHEMAS, types=TYPES, options=PlanOptions(**options), now=NOW
    )


def rows(entry: Recorded, *objects: Live, gone: tuple[str, ...] = ()) -> list[Drift]:
    """Drift and notes of one deployment, without what is not returned anyway."""
    return [row for row in drift(state(entry), seen(*objects, gone=gone)).drift if row.path != "plan_id"]


def test_nothing() -> None:
    """Live as recorded is no drift; what the provider never returns is one note a provider."""
    found = drift(state(recorded(CHAT, "d-1")), seen(LIVE))
    assert [(row.address, row.kind, row.path) for row in found.drift] == [("toy", "not_compared", "plan_id")]
    assert not any(map(is_drift, found.drift))
    assert found.actions == ()


def test_changed_by_hand() -> None:
    """A managed attribute that differs is drift, with both values; one that nobody declared is none."""
    found = rows(recorded(CHAT, "d-1"), replace(LIVE, attributes={**LIVE.attributes, "replicas": 5, "rpm": 9}))
    assert [(row.kind, row.path, row.expected, row.live) for row in found] == [("changed", "replicas", 2, 5)]


def test_drift_does_not_look_at_the_file() -> None:
    """What the file wants is the plan's business."""
    entry = recorded(CHAT, "d-1")
    found = drift(state(entry), seen(LIVE), stack(desired("chat", gpu="other"), desired("new")))
    assert [row for row in found.drift if is_drift(row)] == []


def test_declared_and_live_but_not_recorded_is_no_error() -> None:
    """A conflict of the plan neither stops drift nor is it unmanaged."""
    found = drift(state(), seen(LIVE, live("d-9", name="other")))
    assert [item.id for item in found.unmanaged] == ["d-9"]
    assert drift(None, seen(LIVE)).drift == ()


def test_ignored_is_counted() -> None:
    """Ignored attributes are neither drift nor lost: they are counted."""
    entry = replace(recorded(CHAT, "d-1"), lifecycle=Lifecycle(ignore_changes=("replicas",)))
    found = drift(state(entry), seen(replace(LIVE, attributes={**LIVE.attributes, "replicas": 5})))
    assert ([row for row in found.drift if is_drift(row)], found.ignored) == ([], 1)


def test_missing() -> None:
    """Gone is class missing, with health as values."""
    (row,) = rows(recorded(CHAT, "d-1"), gone=("d-1",))
    assert (row.kind, row.path, row.expected, row.live) == ("missing", "status", "ready", None)


@pytest.mark.parametrize("health", ["failed", "stopped", "degraded"])
def test_status(health: Any) -> None:
    """A deployment that no longer serves as it did is drift on status, with the provider's words."""
    (row,) = rows(recorded(CHAT, "d-1"), replace(LIVE, health=health, status="ODD", reason="because"))
    assert (row.kind, row.path, row.expected, row.live) == ("changed", "status", "ready", health)
    assert row.note == "status ODD (because)"


@pytest.mark.parametrize("health", ["pending", "updating", "deleting", "unknown"])
def test_in_transition_is_a_note(health: Any) -> None:
    """What is on its way is a note, and its attributes are not judged meanwhile."""
    moving = replace(LIVE, health=health, attributes={**LIVE.attributes, "gpu": "?"})
    assert [(row.kind, row.path) for row in rows(recorded(CHAT, "d-1"), moving)] == [("not_compared", "status")]


@pytest.mark.parametrize(
    ("since", "kind"), [("2025-11-21T11:50:00Z", "not_compared"), ("2025-11-21T11:00:00Z", "changed")]
)
@pytest.mark.parametrize("health", ["pending", "failed"])
def test_what_an_apply_left_is_a_note_until_its_timeout(since: str, kind: str, health: Any) -> None:
    """A deploy that timed out or failed is a note with its cause, and drift once its timeout has passed."""
    entry = recorded(CHAT, "d-1", pending=Pending("deploy", since, "timed out"), health=health)
    (row,) = rows(entry, replace(LIVE, health=health))
    assert (row.kind, row.path) == (kind, "status")
    assert "timed out" in row.note


def test_a_failed_one_that_was_recorded_as_failed_is_as_recorded() -> None:
    """Drift is against the record: known failures are not news."""
    assert rows(recorded(CHAT, "d-1", health="failed"), replace(LIVE, health="failed")) == []


@pytest.mark.parametrize(
    ("deployed", "presence", "kind", "note"),
    [
        ("10:00", "always", "missing", "expired or undeployed by hand (TTL 30 min; the server does not tell)"),
        ("10:00", "on_demand", "not_compared", "expired or undeployed by hand (TTL 30 min; the server does not tell)"),
        ("11:45", "always", "missing", "undeployed by hand"),
        ("11:45", "on_demand", "missing", "undeployed by hand"),
    ],
)
def test_ttl(deployed: str, presence: Any, kind: str, note: str) -> None:
    """A TTL that can have run out is told as such; earlier it was a hand. on_demand makes the first a note."""
    item = desired("chat", setting={"ttl": 30}, presence=presence)
    entry = recorded(item, "d-1", deployed_at=f"2025-11-21T{deployed}:00Z")
    off = live("d-1", name="chat", setting={"ttl": 30}, dormant=True)
    (row,) = rows(entry, off)
    assert (row.kind, row.note) == (kind, note)


def test_targets_and_unreadable() -> None:
    """Targets narrow it; what can't be read stands beside what can."""
    other = desired("other", "toy.b")
    before = state(recorded(CHAT, "d-1"), recorded(other, "o-1"))
    world = replace(seen(gone=("d-1",)), failed={"toy.b": drift_diagnostic()})
    found = drift(before, world, stack(CHAT, other))
    assert [row.address for row in found.drift] == ["chat"]
    assert [problem.provider for problem in found.unreadable] == ["toy.b"]
    assert drift(before, world, stack(CHAT, other), target=("other",)).skipped == ("chat",)


def drift_diagnostic() -> Any:
    from reconciler.diagnostics import Diagnostic

    return Diagnostic("no answer")


def test_the_document_has_no_actions() -> None:
    """`drift --format json` is the plan's document without `actions`; notes don't count as drifted."""
    document = drift_to_json(drift(state(recorded(CHAT, "d-1")), seen(gone=("d-1",))))
    assert "actions" not in document
    assert document["summary"]["drifted"] == 1
    assert document["drift"][0] == {
        "address": "chat", "class": "missing", "path": "status", "expected": "ready", "live": None,
    }  # fmt: skip
