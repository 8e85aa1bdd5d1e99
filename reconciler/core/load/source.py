"""A loaded desired-state file as a value: its data, and the place of everything in it. Reads no file itself."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reconciler.core.values.paths import Part, join, split
from reconciler.diagnostics import Diagnostic, Span
from reconciler.model import Json

# A scalar's mark is its character offset; a list's is [own, items…]; a mapping's is [own, key, value, key, value, …] in
# the order of its keys. Offsets count through all files, so that one integer says file, line and column.
Marks: TypeAlias = Any

_LINE_END = re.compile(r"\r\n?|\n")


class SpanIndex:
    """Places of a tree's values, worked out only when somebody asks: most runs never do.

    `files` are (name, text) in the order of their offsets; each file takes `len(text) + 1` of them.
    """

    __slots__ = ("_bases", "_data", "_files", "_lines", "_marks", "_positions")

    def __init__(self, data: Json, marks: Marks, files: Sequence[tuple[str, str]]) -> None:
        self._data, self._marks, self._files = data, marks, tuple(files)
        self._bases: list[int] = []
        base = 0
        for _, text in files:
            self._bases.append(base)
            base += len(text) + 1
        self._lines: dict[int, list[int]] = {}
        self._positions: dict[int, dict[str, int]] = {}

    def at(self, path: Sequence[Part]) -> Span:
        """The place of the value at `path`; of its key where it is a block; else of the nearest thing above."""
        key, value = self._find(path)
        return self.span(key if isinstance(value, list) or value is None else value)

    def key(self, path: Sequence[Part]) -> Span:
        """The place of the key that `path` ends in (of the item in a list)."""
        return self.span(self._find(path)[0])

    def has(self, path: Sequence[Part]) -> bool:
        """Whether something stands at `path`."""
        node = self._data
        for part in path:
            if not (part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))):
                return False
            node = node[part]
        return True

    def value(self, path: Sequence[Part]) -> Json:
        """What stands at `path`. Raises KeyError or IndexError where nothing does."""
        node = self._data
        for part in path:
            node = node[part]
        return node

    def span(self, mark: int) -> Span:
        """The place of one offset."""
        if not self._files:
            return Span("", 1, 1)
        number = max(bisect_right(self._bases, mark) - 1, 0)
        name, text = self._files[number]
        offset = mark - self._bases[number]
        starts = self._line_starts(number, text, offset)
        line = bisect_right(starts, offset)
        return Span(name, line, offset - starts[line - 1] + 1)

    def _line_starts(self, number: int, text: str, offset: int) -> list[int]:
        """Where the lines of a file start, found as far as `offset`: a run without errors asks for its head alone."""
        starts = self._lines.setdefault(number, [0])
        if starts[-1] <= offset:
            for match in _LINE_END.finditer(text, starts[-1]):
                starts.append(match.end())
                if starts[-1] > offset:
                    break
        return starts

    def _find(self, path: Sequence[Part]) -> tuple[int, Marks]:
        """Key mark and value marks at `path`; the value is None where the path leaves the tree."""
        node, marks = self._data, self._marks
        key = marks[0] if isinstance(marks, list) else marks
        for part in path:
            if isinstance(node, dict) and isinstance(part, str) and part in node:
                position = self._position(node, part)
                key, marks = marks[2 * position + 1], marks[2 * position + 2]
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                marks = marks[part + 1]
                key = marks[0] if isinstance(marks, list) else marks
            else:
                return key, None
            node = node[part]
        return key, marks

    def _position(self, node: dict[str, Json], key: str) -> int:
        known = self._positions.get(id(node))
        if known is None:
            known = self._positions[id(node)] = {name: number for number, name in enumerate(node)}
        return known[key]


@dataclass(frozen=True, slots=True)
class Document:
    """One stack's files, merged. `data` is plain JSON and shares parts where YAML aliases did: never change it.

    `schema` is the desired-state schema that it promises to follow. `problems` are errors that did not stop the
    reading (duplicate keys and the like). `templated` are the (section, key) that hold a `${`; None: any may.
    """

    data: dict[str, Json]
    spans: SpanIndex
    schema: Mapping[str, Json] = field(default_factory=dict)
    problems: tuple[Diagnostic, ...] = ()
    templated: frozenset[tuple[str, str]] | None = None

    def entries(self, section: str) -> dict[str, Json]:
        """The entries of a section by key; none where it is missing or no mapping."""
        found = self.data.get(section)
        return found if isinstance(found, dict) else {}

    def has_references(self, section: str, key: str) -> bool:
        """Whether the text under `section.key` holds a `${` (true where that is not known)."""
        return self.templated is None or (section, key) in self.templated


class SpecSpans(Mapping[str, Span]):
    """`Desired.spans`: attribute paths of one deployment's spec to places; the empty path is the address itself.

    A value that came from `defaults:` is found there. A path that was never written gives the nearest thing above it,
    so every lookup answers; iteration gives the paths that stand in the file.
    """

    __slots__ = ("_default", "_home", "_index")

    def __init__(self, index: SpanIndex, key: str, provider: str) -> None:
        self._index = index
        self._home: tuple[Part, ...] = ("deployments", key)
        self._default: tuple[Part, ...] = ("defaults", provider, "spec")

    def __getitem__(self, path: str) -> Span:
        if not path:
            return self._index.key(self._home)
        try:
            parts = split(path)
        except ValueError:
            raise KeyError(path) from None
        return self.place(parts)

    def place(self, parts: Sequence[Part], *, key: bool = False) -> Span:
        """As `spans[path]`, from parts; `key` asks for the key's own place."""
        find = self._index.key if key else self._index.at
        home = (*self._home, "spec", *parts)
        if not self._index.has(home) and self._index.has((*self._default, *parts)):
            return find((*self._default, *parts))
        return find(home)

    def place_in(self, *parts: Part) -> Span:
        """The place of something beside `spec`: `provider`, `lifecycle`…; in the defaults where only they have it."""
        home = (*self._home, *parts)
        default = (*self._default[:-1], *parts)
        return self._index.at(default if not self._index.has(home) and self._index.has(default) else home)

    def __iter__(self) -> Iterator[str]:
        yield ""
        seen: set[str] = set()
        for root in ((*self._home, "spec"), self._default):
            for path in self._paths(root):
                if path not in seen:
                    seen.add(path)
                    yield path

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _paths(self, root: tuple[Part, ...]) -> Iterator[str]:
        if self._index.has(root):
            yield from _walk(self._index.value(root), ())


def _walk(node: Json, parts: tuple[Part, ...]) -> Iterator[str]:
    items: Iterator[tuple[Part, Json]] = iter(())
    if isinstance(node, dict):
        items = iter(node.items())
    elif isinstance(node, list):
        items = iter(enumerate(node))
    for part, value in items:
        yield join((*parts, part))
        yield from _walk(value, (*parts, part))
