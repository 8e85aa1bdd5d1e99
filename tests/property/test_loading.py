"""Loading, whatever the text: the order of keys and files never matters, and nothing ever ends in a traceback."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.core.load.desired import Inputs, build_stack
from reconciler.core.schemas.check import Unsure, compile_check
from reconciler.core.schemas.validate import explain
from reconciler.core.values.paths import join, split
from reconciler.core.values.references import BadReferenceError, escape, interpolate, parse
from reconciler.diagnostics import FileError
from reconciler.edge.document import load_documents
from reconciler.edge.yaml_events import read_tree
from reconciler.model import Stack
from tests.support.stacks import FAKE, FakeType, fake_schema

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(["${var.v}", "x ${env.X}", "${deployments.d.id}", "${each.value.a}", "$${x}", "${", "fake", "5m"]),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
# without what YAML can't hold though JSON can: pairs of surrogate escapes, and a bare delete character
YAML_TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",), exclude_characters="\x7f"))
YAML_KEYS = YAML_TEXT.filter(lambda text: len(text) < 100)  # a key that long must be marked with `?`
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | YAML_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(YAML_KEYS, inner),
    max_leaves=12,
)
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
SPECS = st.fixed_dictionaries(
    {"model": NAMES},
    optional={
        "replicas": st.integers(1, 4),
        "size": st.sampled_from(["small", "large"]),
        "config": st.dictionaries(NAMES, st.integers() | NAMES, max_size=3),
    },
)
ENTRIES = st.fixed_dictionaries(
    {"provider": st.just("fake") | VALUES, "spec": VALUES | SPECS},
    optional=dict.fromkeys(("for_each", "depends_on", "lifecycle", "timeouts", "adopt", "presence", "x"), VALUES),
)
ALL_SECTIONS = ("variables", "providers", "defaults", "deployments", "moved", "removed", "outputs", "limits", "state")
SECTION = st.dictionaries(NAMES | st.sampled_from(["fake", "fake.b", "a b", ""]), VALUES, max_size=3)
PIECES = [
    "version: 1\n",
    "stack: s\n",
    "providers:",
    "deployments:",
    " fake:",
    " {}",
    "\n",
    "  ",
    "- ",
    "a",
    ": ",
    "&a ",
    "*a",
    "<<",
    "[",
    "]",
    "{",
    "}",
    ",",
    '"',
    "'",
    ">",
    "#",
    "|",
    "${",
    "${var.x}",
    "${env.X}",
    "$${",
    "!!str ",
    "!x ",
    "---\n",
    "provider: fake",
    "spec: ",
    "model: m",
    "for_each: ",
    "variables:",
    "limits:",
    "null",
    "1",
    "-",
    "\t",
    "é",
    "\x00",
    "\ufeff",
]


def load(folder: Path) -> Stack:
    document = load_documents([Path(".")], folder)
    return build_stack(
        document,
        schemas={"fake": fake_schema()},
        types={"fake": FakeType()},
        inputs=Inputs(placeholder=True),
    )


def is_told(text: str) -> bool:
    """Whether a text loads, or ends in a FileError with something to say; anything else comes through."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "x.yaml").write_bytes(text.encode())
        try:
            load(Path(name))
        except FileError as error:
            return bool(error.diagnostics) and all(item.summary for item in error.diagnostics)
    return True


def stack_of(*files: str) -> Stack:
    with tempfile.TemporaryDirectory() as name:
        for number, text in enumerate(files):
            Path(name, f"{number}.yaml").write_text(text)
        return load(Path(name))


def plain(stack: Stack) -> object:
    """All of a stack but its places, in its own order."""
    rows = [(d.address, dict(d.spec), d.depends_on, d.references) for d in stack.deployments.values()]
    return stack.name, rows, list(stack.outputs.items())


@settings(max_examples=60, deadline=None)
@given(
    deployments=st.dictionaries(NAMES, SPECS, min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 5),
)
def test_order_of_keys_and_files_never_matters(deployments: dict[str, Any], order: Any, cut: int) -> None:
    """The same content gives the same Stack in the same order, however keys are sorted and split over files."""
    head: dict[str, Any] = {"version": 1, "stack": "s", "providers": {"fake": {}}}
    names = list(deployments)
    entries = {name: {"provider": "fake", "spec": deployments[name]} for name in names}
    if len(names) > 1:
        entries[names[0]]["depends_on"] = [names[1]]
        head["outputs"] = {"o": f"${{deployments.{names[1]}.id}}"}
    one = stack_of(json.dumps({**head, "deployments": entries}))
    order.shuffle(names)

    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    parts = [{name: entries[name] for name in names[:cut]}, {name: entries[name] for name in names[cut:]}]
    files = [yaml.safe_dump(shuffled(head), sort_keys=False)]
    files += [json.dumps({"deployments": shuffled(part)}) for part in parts if part]
    order.shuffle(files)
    assert plain(stack_of(*files)) == plain(one)


@settings(max_examples=150, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60))
@example(text="version: 1\nstack: s\nproviders: {fake: {}}\ndeployments: {a: {provider: fake, spec: [1]}}\n")
@example(text="version: [1]\nstack: {a: 1}\nproviders: [x]\ndeployments: x\nvariables: 1\ndefaults: 2\noutputs: 3\n")
@example(text="version: 1\nstack: s\nproviders: {fake: 1}\ndefaults: {fake: 1}\nmoved: {}\nremoved: 1\nlimits: []\n")
@example(text="version: 1\nstack: s\nproviders: {fake: {credentials: 1, prices: 2}}\n")
def test_no_text_ends_in_a_traceback(text: str) -> None:
    """Any text is a Stack or a FileError whose every complaint has a summary, never another exception."""
    assert is_told(text)


@settings(max_examples=100, deadline=None)
@given(
    sections=st.fixed_dictionaries({}, optional=dict.fromkeys(ALL_SECTIONS, SECTION | VALUES)),
    entries=st.dictionaries(NAMES | st.just("d"), ENTRIES, max_size=2),
    value=VALUES,
)
def test_no_structure_ends_in_a_traceback(sections: dict[str, Any], entries: dict[str, Any], value: Any) -> None:
    """Whatever JSON stands in the sections, the result is a Stack or a FileError."""
    data: dict[str, Any] = {"version": 1, "stack": "s", "providers": {"fake": {}}, **sections}
    data.setdefault("deployments", entries)
    data.setdefault("variables", {"v": {"default": value}})
    assert is_told(json.dumps(data))


@settings(max_examples=100, deadline=None)
@given(value=JSON_VALUES)
def test_both_parsers_agree_with_json(value: Any) -> None:
    """JSON text is read as the same value by libyaml and by the pure parser."""
    text = json.dumps({"v": value})
    for pure in (False, True):
        assert read_tree(text, pure=pure).data == {"v": value}


@given(parts=st.lists(st.text(min_size=1) | st.integers(0, 99), max_size=5))
def test_paths_round_trip(parts: list[str | int]) -> None:
    """An attribute path as text gives the same parts again, whatever the keys are."""
    if parts and isinstance(parts[0], int):
        parts = ["a", *parts]
    assert split(join(parts)) == tuple(parts)


@given(text=st.text())
def test_escaped_text_stays_text(text: str) -> None:
    """A literal text, escaped, is itself again; unescaped it is a value or a BadReferenceError."""
    assert interpolate(escape(text), lambda _: "") == text
    with contextlib.suppress(BadReferenceError):
        parse(text)


@settings(max_examples=100, deadline=None)
@given(spec=st.dictionaries(st.sampled_from([*FAKE["properties"], "x"]), VALUES, max_size=5))
def test_the_quick_check_is_never_wrong(spec: dict[str, Any]) -> None:
    """Where the quick check answers, jsonschema finds something wrong exactly when the answer is no."""
    try:
        fits = compile_check(FAKE)(spec)
    except Unsure:
        return
    assert fits is (explain(spec, FAKE) == ())
