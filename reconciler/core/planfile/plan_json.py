"""The public document of a plan (`plan --format json`; schemas/plan.v1.schema.json). Pure; holds no secret.

Fields that rarely say anything are left out while they don't; the order of keys is fixed.
"""

from __future__ import annotations

from reconciler.core.compare.drift import is_drift
from reconciler.diagnostics import Diagnostic
from reconciler.model import Json
from reconciler.plan import Action, Change, Cost, CostTotal, Drift, Plan

FORMAT_VERSION = "1.0"
KINDS = ("deploy", "scale", "update", "replace", "undeploy", "adopt", "forget", "none")


def plan_to_json(plan: Plan) -> dict[str, Json]:
    """The whole plan. `actions` are in execution order, `none` included."""
    return _document(plan, actions=True)


def drift_to_json(plan: Plan) -> dict[str, Json]:
    """The same document without `actions`."""
    return _document(plan, actions=False)


def _document(plan: Plan, *, actions: bool) -> dict[str, Json]:
    out: dict[str, Json] = {
        "format_version": FORMAT_VERSION,
        "stack": plan.stack,
        "lineage": plan.lineage,
        "serial": plan.serial,
        "summary": _summary(plan),
    }
    if actions:
        out["actions"] = [_action(action) for action in plan.actions]
    out["state_changes"] = [
        {"address": item.address, "kind": item.kind, "path": item.path, "from": item.before, "to": item.after}
        for item in plan.state_changes
    ]
    out["drift"] = [_drift(row) for row in plan.drift]
    out["unmanaged"] = [
        {"provider": item.provider, "id": item.id, "name": item.name, "status": item.status} for item in plan.unmanaged
    ]
    out["unreadable"] = [diagnostic_to_json(item) for item in plan.unreadable]
    out["hourly_cost"] = _total(plan.costs[0]) if len(plan.costs) == 1 else None
    if len(plan.costs) > 1:
        out["hourly_costs"] = [_total(item) for item in plan.costs]
    if plan.refused:
        out["refused"] = [{"rule": item.rule, "message": item.message} for item in plan.refused]
    if plan.warnings:
        out["warnings"] = [diagnostic_to_json(item) for item in plan.warnings]
    for name in ("notes", "looked_at", "skipped"):
        if getattr(plan, name):
            out[name] = list(getattr(plan, name))
    if plan.ignored:
        out["ignored"] = plan.ignored
    if plan.sandbox:
        out["sandbox"] = True
    return out


def _summary(plan: Plan) -> dict[str, int]:
    counted = dict.fromkeys(KINDS, 0)
    for action in plan.actions:
        counted[action.action] += 1
    return {
        **counted,
        "drifted": len({row.address for row in plan.drift if is_drift(row)}),
        "unmanaged": len(plan.unmanaged),
        "state_changes": len(plan.state_changes),
    }


def _action(action: Action) -> dict[str, Json]:
    out: dict[str, Json] = {
        "address": action.address,
        "provider": action.provider,
        "action": action.action,
        "id": action.id,
        "name": action.name,
        "reason": action.reason,
        "depends_on": list(action.depends_on),
        "changes": [change_to_json(change) for change in action.changes],
        "hourly_cost": _cost(action.hourly_cost) if action.hourly_cost else None,
    }
    if action.create_first:
        out["create_first"] = True
    if action.may:
        out["may"] = True
    if action.notes:
        out["notes"] = list(action.notes)
    return out


def change_to_json(change: Change) -> dict[str, Json]:
    hidden = change.sensitive
    out: dict[str, Json] = {
        "path": change.path,
        "before": None if hidden else change.before,
        "after": None if hidden or change.unknown else change.after,
    }
    for name in ("sensitive", "unknown", "forces_replacement"):
        if getattr(change, name):
            out[name] = True
    if change.note:
        out["note"] = change.note
    return out


def _drift(row: Drift) -> dict[str, Json]:
    out: dict[str, Json] = {
        "address": row.address,
        "class": row.kind,
        "path": row.path,
        "expected": None if row.sensitive else row.expected,
        "live": None if row.sensitive else row.live,
    }
    if row.sensitive:
        out["sensitive"] = True
    if row.note:
        out["note"] = row.note
    return out


def _cost(cost: Cost) -> dict[str, Json]:
    return {"before": cost.before, "after": cost.after, "currency": cost.currency}


def _total(total: CostTotal) -> dict[str, Json]:
    """One currency's sums. A sum of nothing but unknown prices is null, never zero."""
    out: dict[str, Json] = {
        "before": None if total.unknown_before and not total.before else total.before,
        "after": None if total.unknown_after and not total.after else total.after,
        "currency": total.currency or None,
    }
    if total.unknown_before or total.unknown_after:
        out["unknown"] = {"before": total.unknown_before, "after": total.unknown_after}
    return out


def diagnostic_to_json(item: Diagnostic) -> dict[str, Json]:
    """What a complaint says, without its place in a file."""
    out: dict[str, Json] = {"summary": item.summary}
    for name in ("address", "provider", "request_id", "detail", "hint"):
        if getattr(item, name):
            out[name] = getattr(item, name)
    return out
