"""YAML text to JSON values and their places, in one pass over the parser's events. Reads no file.

Only what JSON can hold comes out. Refused, each with its place: duplicate keys, aliases that expand too far or contain
themselves, deep nesting, several documents, keys that are no texts, and tags other than the standard JSON ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from yaml.events import DocumentStartEvent as _Document
from yaml.events import MappingEndEvent as _MappingEnd
from yaml.events import SequenceEndEvent as _SequenceEnd
from yaml.events import StreamEndEvent as _StreamEnd

from reconciler.core.load.source import Marks
from reconciler.core.values.scalars import WORDS, scalar
from reconciler.model import Json

CParser: Any = None
try:
    from yaml import _yaml
except ImportError:  # PyYAML built without libyaml: same events, some twenty times slower
    pass
else:
    CParser = _yaml.CParser

MAX_DEPTH = 100
ALIAS_BUDGET = 1_000_000  # values that aliases may add to a file, counted as if they were written out

_MERGE: Any = object()  # stands as a key until its mapping ends
_OPEN: Any = object()  # an anchor whose node has not ended yet
_ABSENT: Any = object()
_HALF = re.compile("[\\ud800-\\udfff]")
_TAG = "tag:yaml.org,2002:"
_TAGGED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


@dataclass(slots=True)
class Mistake:
    """Something wrong at an offset (counted like marks); `related` names other offsets."""

    mark: int
    summary: str
    detail: str = ""
    hint: str = ""
    related: tuple[tuple[str, int], ...] = ()


class Unusable(Exception):
    """The text can't be read to its end, so that there is no tree."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.summary)
        self.mistake = mistake


@dataclass(slots=True)
class Tree:
    """What one text holds. `touched` are the (section, key) with a `${` somewhere below; None: aliases hide that."""

    data: Json = None
    marks: Marks = 0
    empty: bool = True
    mistakes: list[Mistake] = field(default_factory=list)
    touched: set[tuple[str, str]] | None = field(default_factory=set)


def event_source(text: str, *, pure: bool = False) -> Callable[[], Any]:
    """The parser's "next event" function: libyaml's where PyYAML has it, else (or if `pure`) PyYAML's own."""
    if CParser is None or pure:
        next_event: Callable[[], Any] = _whole_characters(yaml.SafeLoader(text).get_event)
    else:
        next_event = CParser(text).get_event
    return next_event


def _whole_characters(next_event: Callable[[], Any]) -> Callable[[], Any]:
    """Refuse escapes of half characters, which libyaml refuses by itself."""

    def checked() -> Any:
        event = next_event()
        if isinstance(event, ScalarEvent) and not event.value.isascii() and _HALF.search(event.value):
            mark: Any = event.start_mark
            raise yaml.scanner.ScannerError(None, None, "found invalid Unicode character escape code", mark)
        return event

    return checked


def read_tree(text: str, base: int = 0, *, pure: bool = False) -> Tree:
    """Build the tree of one document; `base` is added to every mark. Raises Unusable."""
    tree = Tree()
    try:
        next_event = event_source(text, pure=pure)
        _Builder(tree, next_event, base).run()
    except yaml.YAMLError as error:
        raise Unusable(_syntax(error, text, base)) from None
    return tree


def _syntax(error: yaml.YAMLError, text: str, base: int) -> Mistake:
    if isinstance(error, yaml.reader.ReaderError):
        from_libyaml = error.encoding == "?"  # which counts bytes
        before = text.encode()[: error.position].decode(errors="ignore") if from_libyaml else text[: error.position]
        return Mistake(base + len(before), f"this is not valid YAML: {error.reason}")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or "it can't be parsed"
    context = getattr(error, "context", None) or ""
    hint = ""
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        hint = "indent with spaces, not with tabs"
    elif "mapping values are not allowed" in problem or "expected ':'" in problem:
        hint = "look for a missing quote, a missing space after `:`, or a wrong indentation just above"
    elif mark is not None and "${" in _line(text, mark.index) and ("expected ','" in problem or "'{'" in problem):
        hint = 'between { } or [ ] a reference needs quotes: "${var.x}"'
    index = min(mark.index, len(text)) if mark is not None else 0
    return Mistake(base + index, f"this is not valid YAML: {problem}", detail=context, hint=hint)


def _line(text: str, index: int) -> str:
    """The line around an offset."""
    start = text.rfind("\n", 0, index) + 1
    return text[start : max(text.find("\n", index), index)] if "\n" in text[index:] else text[start:]


class _Builder:
    """One pass over the events. The open container lives in local names of `run`; its parents are on a stack."""

    def __init__(self, tree: Tree, next_event: Callable[[], Any], base: int) -> None:
        self.tree, self.next_event, self.base = tree, next_event, base
        # name -> (value, marks, values in it, how deep it is)
        self.anchors: dict[str, tuple[Json, Marks, int, int]] = {}
        self.expanded = 0

    def run(self) -> None:
        next_event, base, tree = self.next_event, self.base, self.tree
        plain: dict[str, Json] = dict(WORDS)
        stack: list[tuple[Any, Any, Any, str | None, int, int]] = []
        node: Any = None  # the open container; None outside
        marks: Any = None
        key: Any = None  # the key that waits for its value
        in_map = False
        count = 0  # values so far, aliases written out
        peak = 0  # deepest nesting seen since the innermost open anchor began
        while True:
            event = next_event()
            kind = event.__class__
            if kind is ScalarEvent:
                value = event.value
                mark = event.start_mark.index + base
                if in_map and key is None:
                    key = value if value not in node and value != "<<" else self._key(node, marks, value, event, mark)
                    marks.append(mark)
                    continue
                if event.tag is not None:
                    value = self._tagged(event, mark)
                elif event.implicit[0]:
                    text = value
                    value = plain.get(text, _ABSENT)
                    if value is _ABSENT:
                        value = plain[text] = scalar(text)
                if value.__class__ is str and "${" in value:
                    self._touch(stack, key)
                count += 1
                if event.anchor is not None:
                    self.anchors[event.anchor] = (value, mark, 1, 0)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                mark = event.start_mark.index + base
                if in_map and key is None:
                    raise Unusable(Mistake(mark, "a key must be a text, not a list or a mapping"))
                if len(stack) >= MAX_DEPTH:
                    raise Unusable(Mistake(mark, f"nested deeper than {MAX_DEPTH} levels"))
                if event.tag is not None:
                    self._container_tag(event, mark, kind is MappingStartEvent)
                if event.anchor is not None:
                    self.anchors[event.anchor] = (_OPEN, mark, 0, 0)
                stack.append((node, marks, key, event.anchor, count, peak))
                count += 1
                peak = len(stack)
                in_map = kind is MappingStartEvent
                node, marks, key = ({} if in_map else []), [mark], None
                continue
            elif kind is _MappingEnd or kind is _SequenceEnd:
                if in_map and _MERGE in node:
                    self._merge(node, marks)
                value, mark = node, marks
                node, marks, key, anchor, before, outer_peak = stack.pop()
                in_map = node.__class__ is dict
                if anchor is not None:
                    self.anchors[anchor] = (value, mark, count - before, peak - len(stack))
                if outer_peak > peak:
                    peak = outer_peak
            elif kind is AliasEvent:
                mark = event.start_mark.index + base
                if in_map and key is None:
                    key = self._key(node, marks, self._alias(event, mark)[0], event, mark)
                    marks.append(mark)
                    continue
                value, mark, weight, height = self._alias(event, mark)
                count += weight
                tree.touched = None
                if len(stack) + height > MAX_DEPTH:
                    raise Unusable(Mistake(event.start_mark.index + base, f"nested deeper than {MAX_DEPTH} levels"))
                peak = max(peak, len(stack) + height)
            elif kind is _StreamEnd:
                return
            else:
                if kind is _Document and not tree.empty:
                    raise Unusable(self._second_document(event))
                continue
            # a value is complete: hand it to the container around it
            if in_map:
                node[key] = value
                marks.append(mark)
                key = None
            elif node is None:
                tree.data, tree.marks, tree.empty = value, mark, False
            else:
                node.append(value)
                marks.append(mark)

    def _key(self, node: dict[Any, Json], marks: list[Any], text: Json, event: Any, mark: int) -> Any:
        """The key as it goes into the mapping; a repeated one is noted, and its later value wins for the time being."""
        key: Any = text
        if not isinstance(text, str):
            raise Unusable(Mistake(mark, "a key must be a text, not a list or a mapping"))
        if key == "<<" and isinstance(event, ScalarEvent) and event.implicit[0]:
            key = _MERGE
        if key in node:
            place = list(node).index(key)
            first = ("first here", marks[2 * place + 1])
            self.tree.mistakes.append(
                Mistake(
                    mark,
                    f"the key {text!r} stands twice in one mapping",
                    hint="remove one of the two, or merge what is below them",
                    related=(first,),
                )
            )
            node[key] = node.pop(key)  # so that the order of keys stays the order of marks
            del marks[2 * place + 1 : 2 * place + 3]
        return key

    def _alias(self, event: Any, mark: int) -> tuple[Json, Marks, int, int]:
        found = self.anchors.get(event.anchor)
        if found is None:
            known = f"anchors so far: {', '.join(sorted(self.anchors)[:10])}" if self.anchors else "there is no anchor"
            raise Unusable(Mistake(mark, f"the alias *{event.anchor} names no anchor above it", detail=known))
        if found[0] is _OPEN:
            raise Unusable(
                Mistake(mark, f"the alias *{event.anchor} would contain itself", related=(("its anchor", found[1]),))
            )
        self.expanded += found[2]
        if self.expanded > ALIAS_BUDGET:
            raise Unusable(
                Mistake(
                    mark,
                    f"aliases expand to more than {ALIAS_BUDGET:,} values",
                    hint="aliases of aliases multiply; write fewer of them",
                )
            )
        return found

    def _merge(self, node: dict[Any, Json], marks: list[Any]) -> None:
        """Apply `<<`: own keys win over merged ones, earlier sources over later ones."""
        place = list(node).index(_MERGE)
        value, value_marks = node.pop(_MERGE), marks[2 * place + 2]
        mark = marks[2 * place + 1]
        del marks[2 * place + 1 : 2 * place + 3]
        many = isinstance(value, list)
        sources = zip(value, value_marks[1:], strict=True) if many else [(value, value_marks)]
        for source, source_marks in sources:
            if not isinstance(source, dict):
                self.tree.mistakes.append(
                    Mistake(mark, "`<<` merges a mapping or a list of mappings", hint='quote it ("<<") for a plain key')
                )
                return
            for number, name in enumerate(source):
                if name not in node:
                    node[name] = source[name]
                    marks += source_marks[2 * number + 1 : 2 * number + 3]

    def _touch(self, stack: list[tuple[Any, Any, Any, str | None, int, int]], key: Any) -> None:
        """Note that a `${` stands below (section, key)."""
        if self.tree.touched is not None:
            keys = [*(frame[2] for frame in stack[1:3]), key]
            if _MERGE in keys:  # it will stand elsewhere
                self.tree.touched = None
                return
            if len(keys) > 1 and isinstance(keys[0], str) and isinstance(keys[1], str):
                self.tree.touched.add((keys[0], keys[1]))

    def _tagged(self, event: Any, mark: int) -> Json:
        """The value of a scalar with an explicit tag."""
        name = event.tag.removeprefix(_TAG)
        if name == "str" or event.tag == "!":
            return event.value
        value = scalar(event.value)
        if name in _TAGGED and event.tag != name:
            if isinstance(value, _TAGGED[name]) and isinstance(value, bool) == (name == "bool"):
                return value
            self.tree.mistakes.append(Mistake(mark, f"{event.value!r} is no {name}, as its tag says"))
            return value
        self._unknown_tag(event.tag, mark)
        return event.value

    def _container_tag(self, event: Any, mark: int, mapping: bool) -> None:
        if event.tag not in (_TAG + ("map" if mapping else "seq"), "!"):
            self._unknown_tag(event.tag, mark)

    def _unknown_tag(self, tag: str, mark: int) -> None:
        shown = tag.replace(_TAG, "!!", 1)
        self.tree.mistakes.append(
            Mistake(mark, f"the tag {shown} is not supported", hint="values are plain JSON values; remove the tag")
        )

    def _second_document(self, event: Any) -> Mistake:
        return Mistake(
            event.start_mark.index + self.base,
            "a second document begins here",
            detail="a file holds one document",
            hint="put it into a file of its own in the same folder",
        )
