"""Whether a saved plan still fits the world: every reason why it does not. Pure; decides nothing anew.

Only what the plan changes or quotes is held against it: the rest of the world may move on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from reconciler.core.compare.diff import compare, differences
from reconciler.core.compare.expect import expected_of, value_of
from reconciler.core.compare.live_index import LiveIndex
from reconciler.core.compare.reason import of_value, status_of
from reconciler.core.planning.findings import Finding
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.state.moves import rename
from reconciler.core.values.digest import digest
from reconciler.core.values.tree import ABSENT, marks, same, step
from reconciler.model import (
    HEALTH_KIND,
    Json,
    Live,
    ProviderConfig,
    Recorded,
    RecordedProvider,
    Refreshed,
    Secret,
    State,
)
from reconciler.plan import Action, Plan
from reconciler.provider import ProviderType

_PAPERWORK = ("moved", "outputs", "scope", "settings")  # state changes that look at nothing live


def needed_by(plan: Plan) -> frozenset[str]:
    """The provider keys that must be looked at before this plan is applied, and that applying it needs."""
    relevant = _relevant(plan)
    keys: set[str] = set()
    for action in plan.actions:
        waits = action.action == "none" and action.expected.health in ("pending", "updating")
        if (action.address in relevant or waits) and not _only_forgets(action):
            keys |= {action.provider, _where(action)}
    return frozenset(keys)


def _only_forgets(action: Action) -> bool:
    """Whether it is forgotten because the file says so, whatever it is at the provider, and not because it had gone."""
    return action.action == "forget" and action.expected.exists


def concerns(plan: Plan, address: str) -> bool:
    """Whether what a killed run left at `address` (as it was before moves) is this plan's business: all of it is,
    unless targets leave it out."""
    at = dict(plan.moved).get(address, address)
    everything = not plan.options.target and not plan.options.exclude
    return everything or any(action.address == at for action in plan.actions)


def staleness(
    plan: Plan,
    state: State | None,
    configs: Mapping[str, ProviderConfig],
    refreshed: Refreshed | None,
    *,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    recovered: Iterable[Finding] = (),
) -> tuple[str, ...]:
    """Why the plan no longer fits, in sentences; () where it does.

    `configs` are the providers as the file has them now. With `refreshed` None only what needs no look and no secret
    is checked: lineage, serial, provider settings. With it, `plan` holds its secrets in clear (`plan_from_file` with a
    lookup), and digests and live state are checked as well. `recovered` is what has been found of the steps that a
    killed run left uncertain: the state is about to have it.
    """
    found = [*_of_state(plan, state), *_of_providers(plan, configs)]
    if refreshed is not None and not found:
        appeared = {one.address: one.entry for one in recovered if one.what == "found" and one.entry is not None}
        recorded = rename({**(state.deployments if state else {}), **appeared}, plan.moved)
        unforeseen = _unforeseen(plan, rename(appeared, plan.moved))
        found += _of_secrets(plan, state.digest_key if state else None)
        found += unforeseen.values()
        found += _of_world(plan, state, recorded, unforeseen, LiveIndex(refreshed), schemas)
        found += _taken(plan, LiveIndex(refreshed), types)
    return tuple(found)


def other_target(before: Plan, now: Plan, digest_key: str | None) -> tuple[str, ...]:
    """Why `now`, which may have the same actions as the saved plan `before`, would carry them out elsewhere or with
    other secrets; () where it would not. `digest_key` is the state's, None while there is none."""
    found = list(_of_providers(before, now.providers))
    if before.stack != now.stack:
        found.append(f"the plan is of stack {before.stack}, the file of {now.stack}")
    if before.sandbox != now.sandbox:
        found.append(f"the plan was {'' if before.sandbox else 'not '}made in the sandbox")
    if before.lineage is not None and before.lineage != now.lineage:
        found.append("the state is another one than the plan was made on (its lineage differs)")
    return (*found, *_of_secrets(replace(now, secret_digests=before.secret_digests), digest_key))


def _of_state(plan: Plan, state: State | None) -> Iterator[str]:
    if state is None:
        if plan.lineage is not None:
            yield f"the plan was made on serial {plan.serial} of a state that is not there any more"
        return
    if plan.stack != state.stack:
        yield f"the plan is of stack {plan.stack}, the state of {state.stack}"
    elif plan.lineage is None:
        yield f"the plan was made before there was a state; now there is one (serial {state.serial})"
    elif plan.lineage != state.lineage:
        yield "the state is another one than the plan was made on (its lineage differs)"
    elif plan.serial != state.serial:
        yield f"the state has moved on: the plan was made on serial {plan.serial}, now it is {state.serial}"


def _of_providers(plan: Plan, configs: Mapping[str, ProviderConfig | RecordedProvider]) -> Iterator[str]:
    for key, planned in sorted(plan.providers.items()):
        now = configs.get(key)
        if now is None:
            yield f"provider {key} is not in the file any more"
            continue
        if now.type != planned.type or now.scope != planned.scope:
            yield f"provider {key} pointed to {planned.scope}, now it points to {now.scope}"
            continue
        names = {*planned.settings, *now.settings}
        changed = sorted(name for name in names if not same(planned.settings.get(name), now.settings.get(name)))
        if changed:
            yield f"settings of provider {key} have changed: {', '.join(changed)}"


def _of_secrets(plan: Plan, digest_key: str | None) -> Iterator[str]:
    if digest_key is None:
        return
    told: set[str] = set()
    for action in plan.actions:
        for mark in marks(action.desired.spec) if action.desired else ():
            if not isinstance(mark, Secret) or mark.template is None or mark.template in told:
                continue
            planned = plan.secret_digests.get(mark.template)
            if planned is not None and planned != digest(digest_key, mark.value):
                told.add(mark.template)
                yield f"the value of {mark.template} is not the one that was planned with"


def _relevant(plan: Plan) -> set[str]:
    """The addresses that the plan changes, and those whose attributes these take."""
    relevant = {change.address for change in plan.state_changes if change.kind not in _PAPERWORK}
    for action in plan.actions:
        if action.action != "none":
            relevant.add(action.address)
            if action.desired is not None:
                relevant |= {address for address, _ in action.desired.references}
    return relevant


def _where(action: Action) -> str:
    """The provider key at which the planned-for object lives: the old one where the deployment changes over."""
    moved = next((change for change in action.changes if change.path == "provider"), None)
    return str(moved.before) if moved is not None else action.provider


def _unforeseen(plan: Plan, appeared: Mapping[str, Recorded]) -> dict[str, str]:
    """By address what a killed run did where this plan changes something, and this plan did not know of. A step without
    an id yet (what stands beside a deployment) is gone on from, whatever the plan knew."""
    return {
        action.address: f"{action.address} was deployed by a run that was cut off (id {entry.id}); "
        "the plan does not know of it"
        for action in plan.actions
        if action.action != "none"
        and (entry := appeared.get(action.address)) is not None
        and entry.id not in (None, action.expected.id, action.id)
    }


def _of_world(
    plan: Plan,
    state: State | None,
    recorded: Mapping[str, Recorded],
    told: Collection[str],
    index: LiveIndex,
    schemas: Mapping[str, ProviderSchema],
) -> Iterator[str]:
    relevant = _relevant(plan)
    for action in plan.actions:
        if action.address in relevant and action.address not in told and index.readable(_where(action)):
            entry = recorded.get(action.address)
            yield from _of_action(action, entry, index, schemas, state.digest_key if state else None)


def _of_action(
    action: Action,
    entry: Recorded | None,
    index: LiveIndex,
    schemas: Mapping[str, ProviderSchema],
    digest_key: str | None,
) -> Iterator[str]:
    expected, where = action.expected, _where(action)
    type_ = entry.type if entry else action.desired.type if action.desired else None
    if type_ is None or type_ not in schemas:
        return
    schema = schemas[type_]
    live = index.find(entry, schema) if entry else None
    if live is None and expected.id is not None:
        live = index.ids(where).get(expected.id)
    if live is None and entry is not None and index.unreadable(entry) is not None:
        yield f"{action.address} can't be read any more: {index.unreadable(entry)}"
        return
    exists = live is not None and not live.dormant
    if expected.exists and not exists:
        leaving = expected.health == "deleting" and action.action in ("deploy", "undeploy")
        if not leaving:
            yield f"{action.address} has gone since (id {expected.id})"
        return
    if not expected.exists:
        yield from _appeared(action, live if exists else None, index)
        return
    if live is not None:
        yield from _changed(action, entry, live, schema, digest_key)


def _appeared(action: Action, live: Live | None, index: LiveIndex) -> Iterator[str]:
    if live is not None:
        yield f"{action.address} is live now (id {live.id})"
        return
    for identity in action.expected.identities:
        for other in index.by_identity(action.provider, identity):
            if not other.dormant and other.health != "deleting" and other.id != action.expected.id:
                yield f"{identity}, which {action.address} would take, is live now (id {other.id})"


def _taken(plan: Plan, index: LiveIndex, types: Mapping[str, ProviderType]) -> Iterator[str]:
    """The new identities of what is replaced that somebody else has by now: the old one would go for nothing."""
    for action in plan.actions:
        desired = action.desired
        if action.action != "replace" or desired is None or not index.readable(action.provider):
            continue
        identity = types[desired.type].identity(desired.spec)
        for other in index.by_identity(action.provider, identity) if identity is not None else ():
            if not other.dormant and other.health != "deleting" and other.id != action.expected.id:
                yield f"{identity}, which {action.address} would take, is live now (id {other.id})"


def _changed(
    action: Action, entry: Recorded | None, live: Live, schema: ProviderSchema, digest_key: str | None
) -> Iterator[str]:
    expected, desired = action.expected, action.desired
    if expected.id is not None and live.id != expected.id:
        yield f"{action.address} was {expected.id}, now it is {live.id}"
        return
    was, now = HEALTH_KIND[expected.health or "unknown"], HEALTH_KIND[live.health]
    ignore = desired.lifecycle.ignore_changes if desired and entry else ()
    if was == "in" and now == "steady" and desired is not None and live.health == "ready":
        compared = compare(desired.spec, live, entry, schema, ignore=ignore, digest_key=digest_key)
        if compared.known == "none":
            return
    if was != now:
        yield f"{action.address} was {expected.health}, now its status is {status_of(live)}"
        return
    crosses = entry is not None and desired is not None and entry.provider != desired.provider
    shape = entry.spec if entry is not None and (desired is None or crosses) else desired.spec if desired else {}
    prior = entry.spec if entry else None
    seen = expected_of(live, shape, schema, digest_key=digest_key, ignore=ignore, prior=prior).attributes
    for name, planned in sorted(expected.attributes.items()):
        found = seen.get(name, ABSENT)
        found = value_of(live, name) if found is ABSENT else found
        if found is ABSENT and schema.attribute(name).ready_only and live.health != "ready":
            continue
        yield from (
            f"{item} of {action.address} has changed since"
            for item in _differing(name, planned, found, digest_key, is_set=schema.attribute(name).is_set)
        )


def _differing(path: str, planned: Json, found: Json, digest_key: str | None, *, is_set: bool) -> Iterator[str]:
    """Paths below `path` whose value is not the planned one, with both values where they can be shown."""
    if isinstance(planned, dict) and isinstance(found, dict) and not {*planned} >= {*found}:
        for key in sorted(planned):
            yield from _differing(step(path, key), planned[key], found.get(key), digest_key, is_set=False)
        return
    for item in differences(path, planned, found, digest_key, is_set=is_set):
        one, other = of_value(item.left), of_value(item.right)
        shown = f" ({one} → {other})" if not item.sensitive and one is not None and other is not None else ""
        yield f"{item.path}{shown}"
