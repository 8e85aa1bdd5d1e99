"""What the planner saw of a deployment, in the form in which an apply can check that it is still so. Pure.

Only managed attributes are kept: those that the file or the record names and the provider returned. Sensitive values
stand as digests; without a key (no state yet) they are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.core.compare.diff import has_members, hides, usable
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.digest import is_sealed, seal
from reconciler.core.values.paths import split
from reconciler.core.values.sensitive import hides_secret, mark_sensitive
from reconciler.core.values.tree import ABSENT, get, put, step, within
from reconciler.model import Json, Live, Secret
from reconciler.plan import Expected


def expected_of(
    live: Live | None,
    shape: Mapping[str, Json],
    schema: ProviderSchema,
    *,
    digest_key: str | None,
    ignore: Sequence[str] = (),
    quoted: Iterable[str] = (),
    prior: Mapping[str, Json] | None = None,
) -> Expected:
    """The base of an action on `live`; `shape` is the spec (desired or recorded) whose attributes are managed.

    `quoted` are attribute paths that other deployments take from this one: they count too, computed ones included.
    `prior` is the recorded spec: what was secret in it stays so. A dormant object does not exist as a deployment, but
    its id is kept.
    """
    if live is None:
        return Expected(exists=False)
    attributes = managed(live, shape, schema, digest_key=digest_key, ignore=ignore, prior=prior)
    for path in quoted:
        found = value_of(live, path)
        if found is not ABSENT and not hides_secret(mark_sensitive(found, split(path), schema.sensitive)):
            attributes = put(attributes, split(path), found)
    return Expected(not live.dormant, live.id, live.identities, attributes, live.health)


def value_of(live: Live, path: str) -> Json:
    """A live attribute by its path, the spec's or a computed one; ABSENT where it was not returned."""
    parts = split(path)
    found = get(live.attributes, parts)
    if found is ABSENT:
        found = get(live.computed, parts)
    return live.id if found is ABSENT and path == "id" else found


def managed(
    live: Live,
    shape: Mapping[str, Json],
    schema: ProviderSchema,
    *,
    digest_key: str | None,
    ignore: Sequence[str] = (),
    path: str = "",
    values: Mapping[str, Json] | None = None,
    prior: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """The live values of the attributes that `shape` names and that can be compared now, sealed."""
    source = live.attributes if values is None else values
    result: dict[str, Json] = {}
    for key in sorted(shape):
        here = step(path, key)
        found = source.get(key, ABSENT)
        if found is ABSENT or not usable(schema.attribute(here), live) or any(within(here, name) for name in ignore):
            continue
        wanted, was = shape[key], (prior or {}).get(key)
        if (
            isinstance(wanted, Mapping)
            and isinstance(found, Mapping)
            and not is_sealed(wanted)
            and has_members(schema, here)
        ):
            result[key] = managed(
                live, wanted, schema, digest_key=digest_key, ignore=ignore, path=here, values=found,
                prior=was if isinstance(was, Mapping) and not is_sealed(was) else None,
            )  # fmt: skip
            continue
        for name in ignore:
            if within(name, here):
                found = put(found, split(name[len(here) :].lstrip(".")), ABSENT)
        if hides(wanted) or hides(was):  # by origin: where in the live value the secret stands is not known
            found = Secret(found)
        marked = mark_sensitive(found, split(here), schema.sensitive)
        if not hides_secret(marked):
            result[key] = found
        elif digest_key is not None:
            result[key] = seal(marked, digest_key)
    return result
