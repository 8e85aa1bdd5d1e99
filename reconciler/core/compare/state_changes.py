"""What an apply would only write down: the fields of a record that differ though nothing is to be done. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from reconciler.core.compare.diff import differences, hides, usable
from reconciler.core.compare.record import written
from reconciler.core.schemas.probe import probe_to_json
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.tree import same, within
from reconciler.model import HEALTH_KIND, Json, Live, ProviderConfig, Recorded, RecordedProvider, Unknown
from reconciler.plan import Action, StateChange

SENSITIVE = "(sensitive)"
LATER = "(known after apply)"
_REWRITTEN = ("deploy", "replace", "adopt")


def of_entry(
    action: Action, prior: Recorded, live: Live | None, schema: ProviderSchema, digest_key: str
) -> Iterator[StateChange]:
    """The state changes of one declared deployment that the state holds, in a fixed order.

    Fields that the action itself rewrites are not told again.
    """
    desired = action.desired
    if desired is None:
        return
    address = action.address
    for kind in ("lifecycle", "timeouts"):
        old, new = getattr(prior, kind), getattr(desired, kind)
        before, after = (asdict(old), asdict(new)) if old != new else ({}, {})
        for name in before:
            if before[name] != after[name]:
                yield StateChange(address, kind, f"{kind}.{name}", _plain(before[name]), _plain(after[name]))
    if prior.depends_on != desired.depends_on:
        yield StateChange(address, "depends_on", "depends_on", list(prior.depends_on), list(desired.depends_on))
    if prior.presence != desired.presence:
        yield StateChange(address, "presence", "presence", prior.presence, desired.presence)
    if prior.probe != desired.probe:
        yield StateChange(address, "probe", "probe", probe_to_json(prior.probe), probe_to_json(desired.probe))
    if action.action in _REWRITTEN:
        return
    yield from _spec(action, prior, live, schema, digest_key)
    if action.action == "none" and live is not None and not live.dormant:
        if live.id != prior.id:
            yield StateChange(address, "record", "id", prior.id, live.id)
        if prior.pending is not None and HEALTH_KIND[live.health] == "steady":
            yield StateChange(address, "record", "pending", f"{prior.pending.verb} since {prior.pending.since}", None)


def _plain(value: Json) -> Json:
    return list(value) if isinstance(value, tuple) else value


def _spec(
    action: Action, prior: Recorded, live: Live | None, schema: ProviderSchema, digest_key: str
) -> Iterator[StateChange]:
    assert action.desired is not None
    target = written(action.desired, prior, digest_key)
    acted = tuple(change.path for change in action.changes)
    for name in sorted({*prior.spec, *target}):
        before, after = prior.spec.get(name), target.get(name)
        if same(before, after):
            continue
        found = list(differences(name, before, after, digest_key, is_set=schema.attribute(name).is_set))
        for item in found:
            if any(within(item.path, path) or within(path, item.path) for path in acted):
                continue
            one, other = (SENSITIVE, SENSITIVE) if item.sensitive else (item.left, item.right)
            yield StateChange(action.address, _kind(item.path, name, schema, live), item.path, one, other)
        if not found and hides(before) != hides(after):
            yield StateChange(action.address, "record", name, *_sides(before))


def _sides(before: Json) -> tuple[Json, Json]:
    return (SENSITIVE, "(in clear)") if hides(before) else ("(in clear)", SENSITIVE)


def _kind(path: str, name: str, schema: ProviderSchema, live: Live | None) -> str:
    """`accept` for what the provider showed; an attribute that is only for us gives its own name."""
    attribute = schema.attribute(path)
    if attribute.change == "record":
        return path
    shown = live is not None and name in live.attributes and usable(attribute, live)
    return "accept" if shown and attribute.change != "never" else "record"


def of_outputs(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[StateChange]:
    """Outputs that differ; one that is not known yet is a change, since only the apply can say."""
    for name in sorted({*before, *after}):
        if name not in after:
            yield StateChange("", "outputs", name, before[name], None)
        elif not same(before.get(name), after[name]) or name not in before:
            value = LATER if isinstance(after[name], Unknown) else _shown(after[name])
            yield StateChange("", "outputs", name, before.get(name), value)


def _shown(tree: Json) -> Json:
    """An output with what is not known yet as text."""
    if isinstance(tree, Unknown):
        return LATER
    if isinstance(tree, dict):
        return {key: _shown(item) for key, item in tree.items()}
    return [_shown(item) for item in tree] if isinstance(tree, list) else tree


def of_provider(
    key: str, before: RecordedProvider, after: ProviderConfig, *, scope_accepted: bool
) -> Iterator[StateChange]:
    """Settings of a provider that differ from the recorded ones, and its scope once that is accepted."""
    if before.scope != after.scope:
        if not scope_accepted:
            return
        yield StateChange(key, "scope", "scope", before.scope, after.scope)
    for name in sorted({*before.settings, *after.settings}):
        one, other = before.settings.get(name), after.settings.get(name)
        if not same(one, other):
            yield StateChange(key, "settings", name, one, other)
