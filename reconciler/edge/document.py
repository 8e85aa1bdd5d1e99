"""Reads desired-state files and variable files from disk, whole folders too, and tells every error with its place."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconciler.core.load.source import Document, Marks, SpanIndex
from reconciler.core.load.structure import without_references
from reconciler.core.values.bulk import collector_paused
from reconciler.core.values.scalars import finite
from reconciler.diagnostics import Diagnostic, FileError, Span
from reconciler.edge.schemas import read_schema
from reconciler.model import Json

SCHEMA = "desired-state.v1"
LARGEST = 256 * 1024 * 1024  # bytes of one file; 100,000 deployments are a tenth of it
SUFFIXES = (".yaml", ".yml")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def load_documents(paths: Sequence[Path], root: Path) -> Document:
    """Read and merge the files (folders: their `*.yaml` and `*.yml`), each path relative to `root`, shown as typed.

    Raises FileError with every error that leaves a file without a readable tree; errors beside a readable one
    (duplicate keys, a key in two files) are in `Document.problems`, to be told together with those of its content.
    """
    from reconciler.edge.yaml_events import Tree, Unusable, read_tree

    texts, problems = _read_all(paths, root)
    trees: list[Tree] = []
    base, fatal = 0, bool(problems)
    with collector_paused():
        places = SpanIndex(None, 0, texts)
        for name, text in texts:
            try:
                tree = read_tree(text, base)
            except Unusable as unusable:
                fatal = True
                problems.append(_diagnostic(unusable.mistake, places))
            else:
                problems += [_diagnostic(mistake, places) for mistake in tree.mistakes]
                if not isinstance(tree.data, dict):
                    fatal = True
                    problems.append(_no_mapping(name, tree.data))
                trees.append(tree)
            base += len(text) + 1
        if fatal:
            raise FileError(*problems)
        data, marks = _merge(trees, places, problems)
    schema = without_references(read_schema(SCHEMA))
    return Document(data, SpanIndex(data, marks, texts), schema, tuple(problems), _touched(trees))


def load_values(path: Path, root: Path | None = None) -> dict[str, Json]:
    """The mapping in a variable file (YAML, of which JSON is a part). Raises FileError with every error in it."""
    from reconciler.edge.yaml_events import Unusable, read_tree

    file = path if root is None else root / path
    text = _read(file, str(path), hint="give another path with --var-file")
    if path.suffix == ".json":
        return _json_values(text, str(path))
    places = SpanIndex(None, 0, [(str(path), text)])
    try:
        tree = read_tree(text)
    except Unusable as unusable:
        raise FileError(_diagnostic(unusable.mistake, places)) from None
    if tree.mistakes:
        raise FileError(*(_diagnostic(mistake, places) for mistake in tree.mistakes))
    if tree.empty or tree.data is None:
        return {}
    if not isinstance(tree.data, dict):
        raise FileError(_no_mapping(str(path), tree.data))
    return tree.data


def _json_values(text: str, name: str) -> dict[str, Json]:
    """The mapping in a JSON text: YAML has no pairs of surrogate escapes, which JSON writers are fond of."""

    def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
            raise ValueError(f"the key {twice!r} stands twice in one mapping")
        return found

    def refuse(word: str) -> Json:
        raise ValueError(f"this is not valid JSON: {word}")

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=finite)
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = Span(name, error.lineno, error.colno)
        raise FileError(Diagnostic(f"this is not valid JSON: {error.msg}", span=place)) from None
    except UnicodeEncodeError:
        raise FileError(Diagnostic("half a surrogate pair stands alone", span=Span(name, 1, 1))) from None
    except (ValueError, RecursionError) as error:
        raise FileError(Diagnostic(str(error), span=Span(name, 1, 1))) from None
    if not isinstance(data, dict):
        raise FileError(_no_mapping(name, data))
    return data


def read_value(text: str) -> Json:
    """One YAML value, as `--var` takes it. Raises ValueError with what is wrong."""
    from reconciler.edge.yaml_events import Unusable, read_tree

    try:
        tree = read_tree(text)
    except Unusable as unusable:
        raise ValueError(unusable.mistake.summary) from None
    if tree.mistakes:
        raise ValueError(tree.mistakes[0].summary)
    return tree.data


def _read_all(paths: Sequence[Path], root: Path) -> tuple[list[tuple[str, str]], list[Diagnostic]]:
    """(name as shown, text) of every file, and what could not be read."""
    texts: list[tuple[str, str]] = []
    problems: list[Diagnostic] = []
    for path in paths:
        try:
            for file, name in _files(root / path, path):
                texts.append((name, _read(file, name)))
        except FileError as error:
            problems += error.diagnostics
    return texts, problems


def _files(place: Path, shown: Path) -> list[tuple[Path, str]]:
    if not place.is_dir():
        return [(place, str(shown))]
    found = sorted(
        entry.name for entry in place.iterdir() if entry.suffix in SUFFIXES and not entry.name.startswith(".")
    )
    if not found:
        raise FileError(
            Diagnostic(
                f"the folder {shown} holds no desired-state file",
                detail="expected *.yaml or *.yml in it",
                hint="write one there, or name another place with -f",
            )
        )
    return [(place / name, str(shown / name)) for name in found]


def _read(
    file: Path, name: str, *, hint: str = "give another path with -f, or write a first file: reconciler init"
) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(LARGEST + 1)  # a device or a pipe has no size to ask for
    except FileNotFoundError:
        raise FileError(Diagnostic(f"{name} does not exist", hint=hint)) from None
    except OSError as error:
        raise FileError(Diagnostic(f"{name} can't be read: {error.strerror or error}")) from None
    if len(raw) > LARGEST:
        raise FileError(Diagnostic(f"{name} is too large: more than {LARGEST >> 20} MiB"))
    encoding = "utf-16" if raw.startswith(_UTF_16) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(encoding, errors="replace")
        line = before.count("\n") + 1
        place = Span(name, line, len(before) - before.rfind("\n"))
        raise FileError(
            Diagnostic(
                "this is not UTF-8 text",
                span=place,
                detail=f"found the byte 0x{raw[error.start]:02x}",
                hint="save the file as UTF-8",
            )
        ) from None


def _diagnostic(mistake: Any, places: SpanIndex) -> Diagnostic:
    return Diagnostic(
        mistake.summary,
        span=places.span(mistake.mark),
        detail=mistake.detail,
        hint=mistake.hint,
        related=tuple((what, places.span(mark)) for what, mark in mistake.related),
    )


def _no_mapping(name: str, data: Json) -> Diagnostic:
    found = "nothing" if data is None else "a list" if isinstance(data, list) else "a single value"
    return Diagnostic(
        "the file is empty" if data is None else "the file holds no mapping",
        span=Span(name, 1, 1),
        detail=f"found {found}, expected keys and values such as `version: 1`",
    )


def _touched(trees: Sequence[Any]) -> frozenset[tuple[str, str]] | None:
    if any(tree.touched is None for tree in trees):
        return None
    return frozenset().union(*(tree.touched for tree in trees))


def _merge(trees: Sequence[Any], places: SpanIndex, problems: list[Diagnostic]) -> tuple[dict[str, Json], Marks]:
    """One tree of all: sections merge, a key below one or a scalar given twice is an error that names both places."""
    if len(trees) == 1:
        return trees[0].data, trees[0].marks
    data: dict[str, Json] = {}
    marks: dict[str, tuple[int, Marks]] = {}
    for tree in trees:
        for number, (section, value) in enumerate(tree.data.items()):
            key_mark, value_marks = tree.marks[2 * number + 1], tree.marks[2 * number + 2]
            if section not in data:
                data[section] = value
                marks[section] = (key_mark, value_marks)
                continue
            known, (known_mark, known_marks) = data[section], marks[section]
            if isinstance(known, dict) and isinstance(value, dict):
                data[section] = dict(known)
                marks[section] = (known_mark, list(known_marks))
                for entry, (name, below) in enumerate(value.items()):
                    entry_mark, entry_marks = value_marks[2 * entry + 1], value_marks[2 * entry + 2]
                    if name in known:
                        first = known_marks[2 * list(known).index(name) + 1]
                        problems.append(_twice(f"{section}.{name}", entry_mark, first, places))
                    else:
                        data[section][name] = below
                        marks[section][1].extend((entry_mark, entry_marks))
            elif isinstance(known, list) and isinstance(value, list):
                data[section] = known + value
                marks[section] = (known_mark, known_marks + value_marks[1:])
            else:
                problems.append(_twice(section, key_mark, known_mark, places))
    flat: list[Any] = [trees[0].marks[0]]
    for section in data:
        flat.extend(marks[section])
    return data, flat


def _twice(what: str, mark: int, first: int, places: SpanIndex) -> Diagnostic:
    return Diagnostic(
        f"{what} is given in two files",
        span=places.span(mark),
        hint="remove one of the two",
        related=(("first here", places.span(first)),),
    )
