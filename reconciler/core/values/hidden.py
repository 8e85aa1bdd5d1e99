"""Which texts must never be shown again once they have been sent: what a provider's answer may throw back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reconciler.core.values.references import BadReferenceError, references
from reconciler.core.values.tree import marks
from reconciler.diagnostics import FileError
from reconciler.model import Json, Secret, Stack


def hidden(stack: Stack | None, data: Json, lookup: Callable[[str], Json]) -> tuple[str, ...]:
    """Every sensitive value of a stack's specs (None: without those that stand in the file literally), sorted.

    `data` is the file; `lookup` gives the value of a reference of it, as a Secret where it is sensitive, and raises
    FileError where there is none. Of a composed text its parts count too: an answer may hold the token alone.
    """
    found: set[str] = set()
    for name in sorted(_asked(data)):
        try:
            value = lookup(name)
        except FileError:
            continue
        if isinstance(value, Secret):
            found.update(_texts(value.value))
    for desired in stack.deployments.values() if stack is not None else ():
        for mark in marks(desired.spec):
            if isinstance(mark, Secret):
                found.update(_texts(mark.value))
    return tuple(sorted(found))


def _asked(tree: Json) -> Iterator[str]:
    """The `env` and `var` references in a tree, as `env.X`."""
    if isinstance(tree, str):
        if "${" in tree:
            try:
                yield from (part.text[2:-1].strip() for part in references(tree) if part.kind in ("env", "var"))
            except BadReferenceError:
                return
    elif isinstance(tree, Mapping | list):
        for item in tree if isinstance(tree, list) else tree.values():
            yield from _asked(item)


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, Mapping | list):
        for item in value if isinstance(value, list) else value.values():
            yield from _texts(item)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        text = str(value)
        yield text
        yield text.rpartition(" ")[2]  # `Bearer …`
        if text.startswith("-"):
            yield text.partition("=")[2]  # `--api-key=…`
