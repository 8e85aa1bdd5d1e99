"""Plan ↔ JSON: the public document, and the plan file, which is that document plus `execution`. Pure.

The forms are schemas/plan.v1.schema.json and schemas/plan-execution.v1.schema.json. What is shown and what is carried
out come from the same fields: `execution` only adds what the document does not say.
"""

from __future__ import annotations

from dataclasses import asdict

from reconciler.core.planfile.plan_json import change_to_json, drift_to_json, plan_to_json
from reconciler.core.planfile.plan_reading import plan_from_file
from reconciler.core.planfile.plan_values import encode, literals
from reconciler.core.schemas.probe import probe_to_json
from reconciler.core.values.digest import digest
from reconciler.core.values.tree import marks
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.model import HEALTH_KIND, Desired, Json, Secret
from reconciler.plan import Action, Expected, Plan, PlanOptions

__all__ = ["drift_to_json", "plan_from_file", "plan_to_file", "plan_to_json", "same_actions"]

EXECUTION_VERSION = 1


def plan_to_file(plan: Plan, digest_key: str | None) -> dict[str, Json]:
    """The document of a plan file. `digest_key` is the state's, None while there is none (then no digests of secrets).

    Raises FileError, with all of them, for sensitive values that stand in the file literally: they have no reference
    by which the applier could find them again.
    """
    touched = {change.address for change in plan.state_changes}
    kept = [a for a in plan.actions if a.action != "none" or a.address in touched or _on_its_way(a)]
    problems = [
        Diagnostic(
            f"the plan can't be saved: {path} of {action.address} is a sensitive value without a reference",
            span=action.desired.spans.get(path) or action.desired.spans.get(""),
            address=action.address,
            detail="A plan file holds no secrets, only the references by which they are found again.",
            hint="put it into the environment and write ${env.NAME}, or into a variable with `sensitive: true`",
        )
        for action in kept
        if action.desired is not None
        for path in literals(action.desired.spec)
    ]
    if problems:
        raise FileError(*problems)
    wanted = {action.address for action in kept}
    return {
        **plan_to_json(plan),
        "execution": {
            "version": EXECUTION_VERSION,
            "actions": {
                action.address: _execution(action, with_desired=action.address in wanted) for action in plan.actions
            },
            "providers": {key: asdict(provider) for key, provider in sorted(plan.providers.items())},
            "outputs": encode(dict(plan.outputs)),
            "moved": [{"from": source, "to": target} for source, target in plan.moved],
            "options": _options(plan.options),
            "secrets": _digests(kept, digest_key) if digest_key is not None else {},
        },
    }


def _on_its_way(action: Action) -> bool:
    """Whether an apply waits for it: then what it is to become belongs to the plan."""
    return action.expected.health is not None and HEALTH_KIND[action.expected.health] == "in"


def _execution(action: Action, *, with_desired: bool) -> dict[str, Json]:
    out: dict[str, Json] = {"expected": _expected(action.expected)}
    if action.generation:
        out["generation"] = action.generation
    if action.desired is not None and with_desired:
        out["desired"] = _desired(action.desired)
    return out


def _expected(expected: Expected) -> dict[str, Json]:
    out: dict[str, Json] = {"exists": expected.exists}
    if expected.id is not None:
        out["id"] = expected.id
    if expected.identities:
        out["identities"] = list(expected.identities)
    if expected.attributes:
        out["attributes"] = dict(expected.attributes)
    if expected.health is not None:
        out["health"] = expected.health
    return out


def _desired(desired: Desired) -> dict[str, Json]:
    return {
        "type": desired.type,
        "spec": encode(dict(desired.spec)),
        "derived": sorted(desired.derived),
        "references": [list(reference) for reference in desired.references],
        "lifecycle": {**asdict(desired.lifecycle), "ignore_changes": list(desired.lifecycle.ignore_changes)},
        "timeouts": asdict(desired.timeouts),
        "adopt": desired.adopt,
        "presence": desired.presence,
        **({} if desired.probe is None else {"probe": probe_to_json(desired.probe)}),
    }


def _options(options: PlanOptions) -> dict[str, Json]:
    """The options that were typed."""
    out: dict[str, Json] = {}
    for name, value in asdict(options).items():
        if value or (name == "allow_undeploys" and value is not None):
            out[name] = list(value) if isinstance(value, tuple) else value
    return out


def _digests(actions: list[Action], digest_key: str) -> dict[str, str]:
    """Template → digest of every secret that the plan was made with."""
    found: dict[str, str] = {}
    for action in actions:
        for mark in marks(action.desired.spec) if action.desired else ():
            if isinstance(mark, Secret) and mark.template is not None:
                found[mark.template] = digest(digest_key, mark.value)
    return dict(sorted(found.items()))


def same_actions(one: Plan, other: Plan) -> bool:
    """Whether two plans would do and write down the same; figures of cost, drift and what is unchanged don't count."""
    return _essence(one) == _essence(other)


def _essence(plan: Plan) -> tuple[Json, ...]:
    actions = {
        action.address: (
            action.provider,
            action.action,
            action.id,
            action.create_first,
            action.may,
            [change_to_json(change) for change in action.changes],
        )
        for action in plan.actions
        if action.action != "none"
    }
    return actions, plan.state_changes, plan.moved
