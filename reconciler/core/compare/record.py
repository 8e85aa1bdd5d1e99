"""What the state says of a declared deployment once it is as desired, or on its way there. Pure.

Sensitive values are digests here, always. An entry that says the same as before is given back unchanged, so that
nothing is written for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reconciler.core.compare.diff import compare, differences, pairs
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.digest import is_sealed, seal
from reconciler.core.values.paths import split
from reconciler.core.values.tree import ABSENT, get, has_unknown, put, within
from reconciler.model import Desired, Json, Live, Recorded, Unknown


def written(desired: Desired, prior: Recorded | None, digest_key: str) -> dict[str, Json]:
    """The spec as the state holds it: secrets sealed; ignored and unresolved parts as they were recorded before."""
    spec: Json = desired.spec
    if prior is not None:
        for path in desired.lifecycle.ignore_changes:
            parts = split(path)
            before = get(prior.spec, parts)
            there = get(spec, parts[:-1])  # what is ignored within something goes when that goes
            if isinstance(there, Mapping | list) and (before is not ABSENT or get(spec, parts) is not ABSENT):
                spec = put(spec, parts, before)
    if has_unknown(spec):
        spec = _known(spec, prior.spec if prior is not None else {})
    sealed: dict[str, Json] = seal(dict(spec), digest_key)
    return sealed


def _known(tree: Json, before: Json) -> Json:
    """The tree with unresolved leaves as they were before; where nothing was, they are left out."""
    if isinstance(tree, Mapping):
        old = before if isinstance(before, Mapping) and not is_sealed(before) else {}
        members = {key: _known(item, old.get(key, ABSENT)) for key, item in tree.items()}
        return {key: item for key, item in members.items() if item is not ABSENT}
    if isinstance(tree, Unknown) or (isinstance(tree, list) and has_unknown(tree)):
        return before
    return tree


def unsure(
    entry: Recorded,
    desired: Desired,
    prior: Recorded,
    schema: ProviderSchema,
    digest_key: str,
    *,
    ignore: Sequence[str] = (),
) -> Recorded:
    """The entry of a change under way, without what a provider never returns and the change is to bring in place.

    Until it is done, nobody can tell whether the old value is there or the new one. With nothing recorded the next plan
    brings it again, whatever the file says by then.
    """
    spec, trusted = entry.spec, entry.trusted
    for pair in pairs(schema, desired.spec, {}, prior.spec):
        if not pair.attribute.write_only or pair.attribute.change not in ("scale", "update"):
            continue
        parts, path = split(pair.path), pair.path
        if get(spec, parts) in (ABSENT, None) or any(_meet(path, ignored) for ignored in ignore):
            continue
        if any(differences(path, pair.prior, pair.wanted, digest_key, is_set=pair.attribute.is_set)):
            spec = put(spec, parts, ABSENT)
            trusted = tuple(one for one in trusted if not _meet(path, one))
    return entry if spec is entry.spec else replace(entry, spec=spec, trusted=trusted)


def _meet(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)


def record(
    desired: Desired,
    live: Live | None,
    prior: Recorded | None,
    *,
    schema: ProviderSchema,
    digest_key: str,
    identity: Callable[[Mapping[str, Json]], str | None],
    now: str,
    generation: int = 0,
    adopted: bool = False,
) -> Recorded:
    """The entry of `desired`, of which `live` is what the provider shows (None: not seen yet).

    `identity` is the provider type's. A value that is still unknown stays as it was recorded. Ignored attributes keep
    their recorded values too, unless this is another object than the recorded one: then the whole spec was sent.
    `adopted` (an import or an adoption): what the provider does not return is marked as taken on trust. `id`, `created`
    and `pending` are those of `prior`, or of `live` where it has them; the caller knows better while a step is under
    way. `now` is RFC 3339.
    """
    known = prior if prior is not None and prior.type == desired.type and prior.provider == desired.provider else None
    same_object = known is not None and (live is None or known.id in (None, live.id))
    name = identity(desired.spec) or (known.identity if known else "")
    trusted = known.trusted if known is not None and same_object else ()
    if adopted:
        trusted = compare(desired.spec, live, None, schema, digest_key=digest_key).trusted
    entry = Recorded(
        address=desired.address,
        provider=desired.provider,
        type=desired.type,
        id=live.id if live else known.id if known else None,
        identity=name,
        name=(live.name if live else "") or (known.name if known else "") or name,
        spec=written(desired, known if same_object else None, digest_key),
        computed=dict(live.computed) if live else known.computed if known else {},
        depends_on=desired.depends_on,
        lifecycle=desired.lifecycle,
        timeouts=desired.timeouts,
        retain=desired.spec.get("retain") is True,
        presence=desired.presence,
        probe=desired.probe,
        created=known.created if known else {},
        health=live.health if live else known.health if known else "unknown",
        status=live.status if live else known.status if known else "",
        pending=known.pending if known else None,
        trusted=trusted,
        generation=generation,
        created_at=known.created_at if known is not None and same_object and known.created_at else now,
        updated_at=now,
        deployed_at=known.deployed_at if known else "",
    )
    if prior is not None and replace(entry, updated_at=prior.updated_at) == prior:
        return prior
    return entry
