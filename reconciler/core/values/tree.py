"""Value trees: paths into them, strict equality, and what marks (Secret, Unknown) they hold. Pure.

Paths are those of core/values/paths.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from reconciler.core.values.paths import Part, join
from reconciler.model import Json, Secret, Unknown


class _Absent:
    """The type of ABSENT, which is not None: a provider may return null."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
_SCALARS = frozenset((str, int, float, bool, type(None)))  # most of what stands in a tree: told apart first


def step(path: str, part: Part) -> str:
    """The path one step further down."""
    if part.__class__ is str and part.isidentifier():  # nearly always
        return f"{path}.{part}" if path else str(part)
    text = join((part,))
    return f"{path}.{text}" if path and not text.startswith("[") else path + text


def within(path: str, above: str) -> bool:
    """Whether `path` is `above` or lies below it."""
    return path.startswith(above) and (len(path) == len(above) or path[len(above)] in ".[")


def _fits(part: Part, items: list[Json]) -> bool:
    return isinstance(part, int) and part < len(items)


def get(tree: Json, parts: Sequence[Part]) -> Json:
    """What stands at a path, ABSENT where nothing does."""
    for part in parts:
        inside = part in tree if isinstance(tree, Mapping) else isinstance(tree, list) and _fits(part, tree)
        if not inside:
            return ABSENT
        tree = tree[part]
    return tree


def put(tree: Json, parts: Sequence[Part], value: Json) -> Json:
    """A copy of the tree with `value` at the path; ABSENT removes. Missing objects on the way are made."""
    if not parts:
        return value
    part, rest = parts[0], parts[1:]
    if isinstance(part, int):
        items = list(tree) if isinstance(tree, list) else []
        if part >= len(items):
            return items if value is ABSENT else [*items, put(None, rest, value)]
        if not rest and value is ABSENT:
            return items[:part] + items[part + 1 :]
        items[part] = put(items[part], rest, value)
        return items
    copy = dict(tree) if isinstance(tree, Mapping) else {}
    if value is ABSENT and (not rest or part not in copy):
        copy.pop(part, None)
    else:
        copy[part] = put(copy.get(part), rest, value)
    return copy


def same(a: Json, b: Json) -> bool:
    """Equality of JSON values: `1` equals `1.0`, but `true` is not `1`."""
    return a is b or (a == b and same_kinds(a, b))


def same_kinds(a: Json, b: Json) -> bool:
    """Whether two equal values have their booleans in the same places. Plain loops: this runs for every container."""
    kind = a.__class__
    if kind is dict:
        for key, item in a.items():  # noqa: SIM110 - twice as fast as all()
            if item.__class__ is not str and not same_kinds(item, b[key]):
                return False
        return True
    if kind is list:
        for item, other in zip(a, b, strict=True):
            if item.__class__ is not str and not same_kinds(item, other):
                return False
        return True
    return (kind is bool) == (b.__class__ is bool)


def marks(tree: Json) -> Iterator[Secret | Unknown]:
    """Every Secret and Unknown leaf."""
    if isinstance(tree, Secret | Unknown):
        yield tree
    elif isinstance(tree, Mapping | list):
        for item in tree if isinstance(tree, list) else tree.values():
            if item.__class__ not in _SCALARS:
                yield from marks(item)


def marked(tree: Json) -> bool:
    """Whether there is a Secret or Unknown leaf."""
    return next(marks(tree), None) is not None


def has_unknown(tree: Json) -> bool:
    return any(isinstance(mark, Unknown) for mark in marks(tree))


def plain(tree: Json) -> Json:
    """The tree with secrets in clear (it must never leave memory); Unknown leaves stay."""
    if tree.__class__ in _SCALARS:
        return tree
    if isinstance(tree, Secret):
        return tree.value
    if isinstance(tree, Mapping):
        return {key: plain(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [plain(item) for item in tree]
    return tree


def leaves(path: str, tree: Json) -> Iterator[tuple[str, Json]]:
    """The values of a tree to show one by one: objects are entered, lists only where a mark stands in them."""
    if isinstance(tree, Mapping) and tree:
        for key in sorted(tree):
            yield from leaves(step(path, key), tree[key])
    elif isinstance(tree, list) and marked(tree):
        for index, item in enumerate(tree):
            yield from leaves(step(path, index), item)
    else:
        yield path, tree
