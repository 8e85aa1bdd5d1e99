"""YAML text to data and places: what is read, what is refused, and where it says the mistake is."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from reconciler.diagnostics import Diagnostic, FileError, Span
from reconciler.edge.document import load_documents, load_values, read_value
from reconciler.edge.yaml_events import ALIAS_BUDGET, Unusable, read_tree
from tests.support.stacks import HEAD, write

BOTH = pytest.mark.parametrize("pure", [False, True], ids=["libyaml", "pure"])


def load(folder: Path, name: str = "reconciler.yaml"):
    return load_documents([Path(name)], folder)


def refused(folder: Path, name: str = "reconciler.yaml") -> tuple[Diagnostic, ...]:
    with pytest.raises(FileError) as caught:
        load(folder, name)
    return caught.value.diagnostics


@BOTH
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("012", "012"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("0", 0),
        ("-7", -7),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ('"true"', "true"),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("!!int 7", 7),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_scalars_are_json(text: str, value: object, pure: bool) -> None:
    """Only JSON's numbers, true, false and null are more than text: no Norway, no dates, no octal."""
    found = read_tree(f"a: {text}\n", pure=pure).data["a"]
    assert found == value
    assert type(found) is type(value)


@BOTH
def test_half_characters_are_refused(pure: bool) -> None:
    """An escape that is half a character could not be printed or sent, so it is an error at its place."""
    with pytest.raises(Unusable, match="not valid YAML"):
        read_tree('a: "\\ud800"\n', pure=pure)


def test_digits_without_end_stay_text() -> None:
    """A number of ten thousand digits neither hangs nor crashes the loader."""
    assert read_tree(f"a: {'9' * 10_000}").data["a"] == "9" * 10_000


@BOTH
def test_duplicate_keys_name_both_places(pure: bool) -> None:
    """A key given twice in one mapping is an error with the second place, and the first beside it."""
    tree = read_tree("a:\n  b: 1\n  c: 2\n  b: 3\n", pure=pure)
    (mistake,) = tree.mistakes
    assert "'b'" in mistake.summary
    assert (mistake.mark, mistake.related) == (19, (("first here", 5),))


def test_all_files_errors_are_told_at_once(tmp_path: Path) -> None:
    """Every file of a folder with an error is named in one run, each with file, line and column as typed."""
    write(tmp_path, a="a: [1\n", b="b: *nobody\n", c="version: 1\n")
    found = refused(tmp_path, ".")
    assert [item.span for item in found] == [Span("a.yaml", 2, 1), Span("b.yaml", 1, 4)]


def test_places_are_shown_as_typed(tmp_path: Path) -> None:
    """A path is shown relative, as the user typed it, whatever the working folder is."""
    (tmp_path / "envs").mkdir()
    write(tmp_path / "envs", prod="version: 1\nstack: x\nstack: y\n")
    document = load(tmp_path, "envs")
    (problem,) = document.problems
    assert str(problem.span) == "envs/prod.yaml:3:1"
    assert [str(span) for _, span in problem.related] == ["envs/prod.yaml:2:1"]


def test_columns_count_characters(tmp_path: Path) -> None:
    """Columns count characters, not bytes, also behind a byte order mark and with Windows line ends."""
    text = "\ufeffversion: 1\r\nstack: é\r\nümläut: {ö: ä, x: 1}\r\n"
    (tmp_path / "reconciler.yaml").write_bytes(text.encode())
    spans = load(tmp_path).spans
    assert spans.at(("ümläut", "x")) == Span("reconciler.yaml", 3, 19)
    assert spans.key(("ümläut", "x")) == Span("reconciler.yaml", 3, 16)


def test_places_of_keys_values_and_what_is_missing(tmp_path: Path) -> None:
    """A scalar's place is its value, a block's its key, a list item's its own; a missing path gives what is above."""
    write(tmp_path, reconciler="version: 1\ndeployments:\n  chat:\n    spec:\n      replicas: 2\n      list: [a, b]\n")
    spans = load(tmp_path).spans
    assert spans.at(("deployments", "chat", "spec", "replicas")) == Span("reconciler.yaml", 5, 17)
    assert spans.key(("deployments", "chat", "spec", "replicas")) == Span("reconciler.yaml", 5, 7)
    assert spans.at(("deployments", "chat", "spec")) == Span("reconciler.yaml", 4, 5)
    assert spans.at(("deployments", "chat", "spec", "list", 1)) == Span("reconciler.yaml", 6, 17)
    assert spans.at(("deployments", "chat", "spec", "nothing", "there")) == Span("reconciler.yaml", 4, 5)


@BOTH
def test_anchors_aliases_and_merge_keys(pure: bool) -> None:
    """Aliases give the same value again; `<<` fills in what a mapping does not say itself, the first source first."""
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 9\nw: *x\nq: {'<<': text}\n"
    data = read_tree(text, pure=pure).data
    assert data["z"] == {"a": 9, "b": 2, "c": 4}
    assert data["w"] == {"a": 1, "b": 2}
    assert data["q"] == {"<<": "text"}


def test_merged_values_keep_their_places(tmp_path: Path) -> None:
    """A value that came in by `<<` is found where it was written."""
    write(tmp_path, reconciler="base: &b\n  replicas: 0\nversion: 1\nuse:\n  own: 1\n  <<: *b\n")
    assert load(tmp_path).spans.at(("use", "replicas")) == Span("reconciler.yaml", 2, 13)


@BOTH
def test_alias_bombs_are_refused(pure: bool) -> None:
    """Aliases of aliases that would expand to more values than the budget are an error, not a full memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Unusable, match=f"{ALIAS_BUDGET:,}"):
        read_tree("\n".join(lines), pure=pure)


@BOTH
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "contain itself"),
        ("a: *b", "names no anchor"),
        ("[" * 200, "nested deeper"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 150)), "nested deeper"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("? [1, 2]\n: x\n", "a key must be a text"),
        ("a: b: c\n", "not valid YAML"),
        ("a: '\x07'\n", "not valid YAML"),
        ("a:\n\tb: 1\n", "not valid YAML"),
    ],
)
def test_what_yaml_allows_and_we_do_not(text: str, message: str, pure: bool) -> None:
    """Self-reference, bottomless nesting, several documents and keys that are no texts are refused with a place."""
    with pytest.raises(Unusable, match=message) as caught:
        read_tree(text, pure=pure)
    assert 0 <= caught.value.mistake.mark <= len(text)


@BOTH
def test_unknown_tags_are_refused(pure: bool) -> None:
    """A tag that makes something else of a value than JSON is an error, and never runs anything."""
    tree = read_tree("a: !!python/object/apply:os.system [ls]\nb: !!binary aGk=\nc: !!int x\n", pure=pure)
    assert [mistake.summary for mistake in tree.mistakes] == [
        "the tag !!python/object/apply:os.system is not supported",
        "the tag !!binary is not supported",
        "'x' is no int, as its tag says",
    ]


def test_an_unquoted_reference_between_braces_is_explained(tmp_path: Path) -> None:
    """`{replicas: ${var.x}}` is no YAML; the error says which quotes are missing."""
    write(tmp_path, reconciler="spec: {replicas: ${var.x}}\n")
    (problem,) = refused(tmp_path)
    assert "quotes" in problem.hint


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: \xff\n", "not UTF-8"),
        (b"", "empty"),
        (b"# only a comment\n", "empty"),
        (b"- a\n- b\n", "no mapping"),
        (b"just text\n", "no mapping"),
    ],
)
def test_files_that_hold_no_mapping(tmp_path: Path, raw: bytes, message: str) -> None:
    """What is no text or no mapping is said in words, with a place."""
    (tmp_path / "reconciler.yaml").write_bytes(raw)
    (problem,) = refused(tmp_path)
    assert message in problem.summary
    assert problem.span is not None


def test_utf_16_with_a_mark_is_read(tmp_path: Path) -> None:
    """A file that an editor saved as UTF-16 is still read."""
    (tmp_path / "reconciler.yaml").write_text("version: 1\n", encoding="utf-16")
    assert load(tmp_path).data == {"version": 1}


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    """No file, or a folder without one, is an error with the next step."""
    assert "does not exist" in refused(tmp_path)[0].summary
    assert "-f" in refused(tmp_path, ".")[0].hint


def test_folder_merges_sections(tmp_path: Path) -> None:
    """The sections of all *.yaml and *.yml of a folder are one; lists are joined; other files are left alone."""
    write(tmp_path, a=HEAD + "deployments: {x: {provider: fake}}\nmoved: [{from: a, to: b}]\n")
    (tmp_path / "b.yml").write_text("deployments: {y: {provider: fake}}\nmoved: [{from: c, to: d}]\n")
    (tmp_path / "c.txt").write_text("not: yaml: at all")
    (tmp_path / ".hidden.yaml").write_text("[")
    document = load(tmp_path, ".")
    assert set(document.data["deployments"]) == {"x", "y"}
    assert [entry["from"] for entry in document.data["moved"]] == ["a", "c"]
    assert document.problems == ()
    assert document.spans.at(("deployments", "y", "provider")) == Span("b.yml", 1, 29)
    assert document.spans.at(("moved", 1, "to")) == Span("b.yml", 2, 23)


def test_folder_refuses_the_same_key_twice(tmp_path: Path) -> None:
    """A key below a section, or a scalar, in two files is an error that names both places."""
    write(
        tmp_path, a=HEAD + "deployments: {x: {provider: fake}}\n", b="stack: t\ndeployments:\n  x: {provider: fake}\n"
    )
    found = load(tmp_path, ".").problems
    assert [(item.summary, str(item.span), str(item.related[0][1])) for item in found] == [
        ("stack is given in two files", "b.yaml:1:1", "a.yaml:2:1"),
        ("deployments.x is given in two files", "b.yaml:3:3", "a.yaml:4:15"),
    ]


def test_which_entries_hold_references(tmp_path: Path) -> None:
    """Only entries with a `${` in them are walked for references; with aliases nothing is taken for granted."""
    write(tmp_path, reconciler="deployments:\n  a: {spec: {x: 1}}\n  b:\n    spec:\n      y: [1, 'v ${var.x}']\n")
    document = load(tmp_path)
    assert not document.has_references("deployments", "a")
    assert document.has_references("deployments", "b")
    write(tmp_path, reconciler="deployments:\n  a: &a {x: '${var.x}'}\n  b: *a\n")
    assert load(tmp_path).has_references("deployments", "b")


def test_the_collector_is_put_back(tmp_path: Path) -> None:
    """The garbage collector is on after a load as it was before, also after an error."""
    write(tmp_path, reconciler="a: [")
    assert gc.isenabled()
    refused(tmp_path)
    assert gc.isenabled()


def test_variable_files(tmp_path: Path) -> None:
    """--var-file takes YAML and JSON, an empty one too, and tells its errors with places."""
    (tmp_path / "v.json").write_text('{"a": {"b": [1, null]}, "s": "x\\u00e9 \\ud83d\\ude00"}')
    (tmp_path / "e.yaml").write_text("# nothing\n")
    assert load_values(Path("v.json"), tmp_path) == {"a": {"b": [1, None]}, "s": "xé 😀"}
    assert load_values(tmp_path / "e.yaml") == {}
    for name, text in {"d.yaml": "a: 1\na: 2\n", "d.json": '{"a": 1, "a": 2}', "s.json": '{"a": "\\ud800"}'}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(FileError, match=r"twice|surrogate"):
            load_values(Path(name), tmp_path)
    for name, text in {"b.json": '{"a": NaN}', "c.json": "{'a': 1}", "l.json": "[1]"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(FileError, match=r"not valid JSON|no mapping"):
            load_values(Path(name), tmp_path)


def test_one_value_of_a_command_line() -> None:
    """--var reads one YAML value; what is none is a ValueError with the reason."""
    assert read_value("[1, two]") == [1, "two"]
    assert read_value("2024-01-01") == "2024-01-01"
    with pytest.raises(ValueError, match="not valid YAML"):
        read_value("[1,")
