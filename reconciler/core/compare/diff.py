"""The three-way comparison of one deployment: desired against live, and against prior where the provider is silent.

Pure, and generic over the provider type's schema annotations. Equal pairs cost one `==`; only a pair that differs and
is a list or an object is taken apart, by DeepDiff, which is imported then and not before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.core.schemas.schema import Attribute, ProviderSchema
from reconciler.core.values.digest import canonical, digest, is_sealed
from reconciler.core.values.paths import split
from reconciler.core.values.sensitive import mark_sensitive
from reconciler.core.values.tree import ABSENT, has_unknown, leaves, marked, plain, same, step, within
from reconciler.model import Json, Live, Recorded, Secret, Unknown
from reconciler.plan import Change

Strength = Literal["none", "scale", "update", "replace"]
RANK: Mapping[str, int] = {"none": 0, "scale": 1, "update": 2, "replace": 3}
_SCALARS = (str, int, float, bool)
_UNCOMPARED = ("record", "never")


@dataclass(frozen=True, slots=True)
class Difference:
    """One path where two trees differ. Values are None when `sensitive`; `unknown`: the right side is not known yet."""

    path: str
    left: Json
    right: Json
    sensitive: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """What a deployment needs to be as desired.

    `known` is the action that the known changes need, `strength` the one that all of them could need. `trusted` are the
    attributes that nobody can compare (never returned, nothing recorded): the file's value is taken on trust.
    """

    changes: tuple[Change, ...] = ()
    known: Strength = "none"
    strength: Strength = "none"
    ignored: int = 0
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """One attribute's values: wanted, live (ABSENT where the provider did not return it), prior (sealed).

    What is sensitive in the live value, by its name or because file or record say so, is a Secret: it can't be shown.
    """

    path: str
    attribute: Attribute
    wanted: Json
    live: Json
    prior: Json


def compare(
    spec: Mapping[str, Json],
    live: Live | None,
    prior: Recorded | None,
    schema: ProviderSchema,
    *,
    ignore: Sequence[str] = (),
    digest_key: str | None = None,
) -> Compared:
    """Desired `spec` (a value tree) against live, and against prior for what is write-only or was not returned.

    An attribute that neither the file nor the record names is not managed and not compared. `x-ready-only` values count
    only while the deployment is ready; until then the record stands for them.
    """
    changes: list[Change] = []
    trusted: list[str] = []
    ignored = known = strength = 0
    for pair in pairs(schema, spec, live.attributes if live else {}, prior.spec if prior else {}):
        if pair.attribute.change in _UNCOMPARED:
            continue
        base = pair.live if usable(pair.attribute, live) else ABSENT
        if base is ABSENT:
            base = pair.prior
            if base is None and (prior is None or _on_trust(prior, pair.path)):
                if pair.wanted is not None and not pair.attribute.ready_only:
                    trusted.append(pair.path)
                continue
        for found in differences(pair.path, base, pair.wanted, digest_key, is_set=pair.attribute.is_set):
            if any(within(found.path, path) for path in ignore):
                ignored += 1
                continue
            change = to_change(found, schema)
            changes.append(change)
            rank = RANK[schema.attribute(found.path).change]
            strength = max(strength, rank)
            known = max(known, 0 if found.unknown else rank)
    names: tuple[Strength, ...] = ("none", "scale", "update", "replace")
    return Compared(tuple(changes), names[known], names[strength], ignored, tuple(trusted))


def _on_trust(prior: Recorded, path: str) -> bool:
    return any(within(path, trusted) for trusted in prior.trusted)


def usable(attribute: Attribute, live: Live | None) -> bool:
    """Whether what the provider returned for this attribute can be compared now."""
    if live is None or attribute.write_only:
        return False
    return live.health == "ready" or not attribute.ready_only


def to_change(found: Difference, schema: ProviderSchema) -> Change:
    """A difference as the plan shows it; it holds nothing sensitive any more."""
    attribute = schema.attribute(found.path)
    return Change(
        path=found.path,
        before=found.left,
        after=found.right,
        sensitive=found.sensitive,
        unknown=found.unknown,
        forces_replacement=attribute.change == "replace",
        note=attribute.note,
    )


def pairs(
    schema: ProviderSchema,
    wanted: Mapping[str, Json],
    live: Mapping[str, Json],
    prior: Mapping[str, Json],
    path: str = "",
) -> Iterator[Pair]:
    """The attributes that the file or the record names, objects with known members entered, in the order of names.

    Null and left out are one thing on the wanted and prior side; on the live side null was returned, ABSENT was not.
    """
    for key in sorted({*wanted, *prior}):
        here = step(path, key)
        want, was = wanted.get(key), prior.get(key)
        if want is None and was is None:
            continue
        seen = live.get(key, ABSENT)
        if isinstance(want, Mapping) and not is_sealed(want) and has_members(schema, here):
            below = seen if isinstance(seen, Mapping) else {} if seen is ABSENT else _Nulls()
            yield from pairs(schema, want, below, was if isinstance(was, Mapping) and not is_sealed(was) else {}, here)
        else:
            if seen.__class__ in _SCALARS and seen.__class__ is want.__class__ and seen == want:
                pass  # nothing to tell, so nothing to hide
            elif seen is not ABSENT:
                seen = mark_sensitive(masked(masked(seen, was), want), tuple(split(here)), schema.sensitive)
            yield Pair(here, schema.attribute(here), want, seen, was)


class _Nulls(dict[str, Json]):
    """The members of an object that was returned as null: each of them is null."""

    def get(self, key: str, default: Json = None) -> Json:  # noqa: ARG002 - dict's own signature
        return None


def has_members(schema: ProviderSchema, path: str) -> bool:
    """Whether the schema names members of the object at `path`; else it is one value."""
    prefix = path + "."
    return any(known.startswith(prefix) for known in schema.attributes)


def masked(live: Json, known: Json) -> Json:
    """A live value with everything as a Secret that stands where `known` has a secret or its digest."""
    if isinstance(known, Secret) or is_sealed(known) or (isinstance(known, Unknown) and known.sensitive):
        return live if live is None or isinstance(live, Secret) else Secret(plain(live))
    if isinstance(known, dict) and isinstance(live, dict):
        return {key: masked(item, known[key]) if key in known else item for key, item in live.items()}
    return _every_leaf(live) if hides(known) else live


def _every_leaf(live: Json) -> Json:
    """Every leaf as a Secret: where in a list, or in something of another shape, the known one stands can't be said."""
    if isinstance(live, dict):
        return {key: _every_leaf(item) for key, item in live.items()}
    if isinstance(live, list):
        return [_every_leaf(item) for item in live]
    return live if live is None or isinstance(live, Secret) else Secret(live)


def differences(
    path: str, left: Json, right: Json, digest_key: str | None = None, *, is_set: bool = False
) -> Iterator[Difference]:
    """Where two values differ, leaf by leaf. Either side may hold Secret leaves or digests, the right one Unknown ones.

    None and ABSENT stand for nothing there. A sensitive leaf is compared, in clear or by digest, and never given out.
    """
    left, right = None if left is ABSENT else left, None if right is ABSENT else right
    if left is None and right is None:
        return
    if is_set and isinstance(left, list) and isinstance(right, list):
        yield from _set_differences(path, left, right, digest_key)
    elif isinstance(right, Unknown):
        hidden = hides(left)
        yield Difference(path, None if hidden else left, None, hidden or right.sensitive, unknown=True)
    elif _is_leaf(left) or _is_leaf(right):
        if not _same_leaf(left, right, digest_key):
            yield Difference(path, None, None, sensitive=True)
    elif not hides(left) and not hides(right) and not marked(right):
        if not same(left, right):
            yield from _plain_differences(path, left, right)
    elif isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            yield from differences(step(path, key), left.get(key), right.get(key), digest_key)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        secret = hides(left) or hides(right)  # elements may have changed places: show none of such a list
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            for found in differences(step(path, index), one, other, digest_key):
                yield replace(found, left=None, right=None, sensitive=True) if secret else found
    elif isinstance(right, dict) and left is None:
        for at, leaf in leaves(path, right):
            yield from differences(at, None, leaf, digest_key)
    elif not _same_leaf(left, right, digest_key):
        yield Difference(path, None, None, sensitive=True, unknown=has_unknown(right))


def _is_leaf(value: Json) -> bool:
    return isinstance(value, Secret) or is_sealed(value)


def hides(value: Json) -> bool:
    """Whether a secret or its digest stands anywhere in it."""
    if isinstance(value, dict):
        return is_sealed(value) or any(map(hides, value.values()))
    return any(map(hides, value)) if isinstance(value, list) else isinstance(value, Secret)


def _same_leaf(left: Json, right: Json, digest_key: str | None) -> bool:
    if is_sealed(left) and is_sealed(right):
        return bool(left == right)
    if is_sealed(left) or is_sealed(right):
        sealed, clear = (left, right) if is_sealed(left) else (right, left)
        if digest_key is None or clear is None or has_unknown(clear):
            return False
        return bool(sealed["$digest"] == digest(digest_key, plain(clear)))
    return same(plain(left), plain(right))


def _plain_differences(path: str, left: Json, right: Json) -> Iterator[Difference]:
    if left is None and isinstance(right, dict):
        yield from (Difference(at, None, leaf) for at, leaf in leaves(path, right))
        return
    if type(left) is not type(right) or not isinstance(left, dict | list):
        yield Difference(path, left, right)
        return
    from deepdiff import DeepDiff  # only a pair that differs pays for it

    tree = DeepDiff(left, right, view="tree", zip_ordered_iterables=True, threshold_to_diff_deeper=0)
    found = [
        Difference(_deep_path(path, level.path(output_format="list")), _side(level.t1), _side(level.t2))
        for group in tree.values()
        for level in group
        if not same(_side(level.t1), _side(level.t2))  # DeepDiff tells 1 from 1.0, JSON does not
    ]
    yield from sorted(found, key=_by_path)


def _by_path(found: Difference) -> tuple[tuple[str, int], ...]:
    return tuple(("", part) if isinstance(part, int) else (part, 0) for part in split(found.path))


def _deep_path(path: str, parts: Sequence[str | int]) -> str:
    for part in parts:
        path = step(path, part)
    return path


def _side(value: Json) -> Json:
    return value if isinstance(value, dict | list | str | int | float | bool) else None


def _set_differences(path: str, left: list[Json], right: list[Json], digest_key: str | None) -> Iterator[Difference]:
    """Lists whose order says nothing: compared sorted, told as a whole."""
    if any(isinstance(item, Unknown) for item in right):
        yield Difference(path, left, None, sensitive=any(map(hides, left)), unknown=True)
        return
    sensitive = any(map(hides, left)) or any(map(hides, right))
    if sensitive and digest_key is not None:
        one, other = sorted(_digests(left, digest_key)), sorted(_digests(right, digest_key))
    else:
        one, other = sorted(canonical(plain(item)) for item in left), sorted(canonical(plain(item)) for item in right)
    if one != other and sensitive:
        yield Difference(path, None, None, sensitive=True)
    elif one != other:
        yield Difference(path, sorted(left, key=canonical), sorted(right, key=canonical))


def _digests(items: list[Json], digest_key: str) -> list[str]:
    return [item["$digest"] if is_sealed(item) else digest(digest_key, plain(item)) for item in items]
