"""Annotations of a provider schema, the quick check against jsonschema, and names that make a value sensitive."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.core.load.structure import without_references
from reconciler.core.schemas.check import Unsure, compile_check
from reconciler.core.schemas.schema import compile_schema
from reconciler.core.schemas.validate import explain, violations
from reconciler.core.values.sensitive import mark_sensitive, may_hide
from reconciler.edge.schemas import provider_types, read_schema
from reconciler.model import Json, Secret, Unknown
from tests.support.stacks import FAKE, fake_schema

SCHEMA = fake_schema()


def test_annotations_of_declared_attributes() -> None:
    """Each attribute says how it changes, whether it identifies, where its default comes from, what it costs."""
    name, replicas = SCHEMA.attribute("name"), SCHEMA.attribute("replicas")
    assert (name.identity, name.default_from, name.change) == (True, "address", "replace")
    assert (replicas.change, replicas.default, replicas.price) == ("scale", 1, "quantity")
    assert SCHEMA.attribute("suffix").default_from == "derived"
    assert SCHEMA.attribute("blob").write_only
    assert SCHEMA.identity == ("name",)
    assert SCHEMA.computed["endpoint_url"].changed_by == ("update",)
    assert SCHEMA.credentials["api_key"].env == "FAKE_API_KEY"
    assert SCHEMA.scope_settings == ("region", "org")
    assert SCHEMA.type == "fake"


def test_nested_attributes_inherit() -> None:
    """What is below an attribute changes as it does, unless it says otherwise, list items and free keys too."""
    assert SCHEMA.attribute("config.mode").change == "update"
    assert SCHEMA.attribute("config.depth").change == "replace"
    assert SCHEMA.attribute("config.extra_args[3]").path == "config.extra_args"
    assert SCHEMA.attribute('config.labels["a.b"].c').path == "config"
    assert SCHEMA.attribute("nobody").path == "nobody"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("replicas", True),
        ("config.extra_args[1]", True),
        ("config.anything.below", True),
        ("blob.whatever[0]", True),
        ("replicas.x", False),
        ("config.depth[0]", False),
        ("nobody", False),
        ("", False),
        ("a..b", False),
    ],
)
def test_paths_that_can_exist(path: str, there: bool) -> None:
    """`ignore_changes` is checked against this: declared, or below something open."""
    assert SCHEMA.has(path) is there


def test_attributes_of_alternatives_count() -> None:
    """Attributes that only a branch of oneOf, allOf or then declares are attributes all the same."""
    schema = compile_schema(
        {
            "$id": "https://x/y/two.schema.json",
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "oneOf": [{"properties": {"b": {"x-change": "scale"}}}],
            "if": {"required": ["a"]},
            "then": {"properties": {"c": {"x-change": "update"}}},
            "$defs": {"a": {"type": "object", "properties": {"d": {"x-identity": True}}}},
        }
    )
    assert schema.type == "two"
    assert {path: schema.attribute(path).change for path in "bc"} == {"b": "scale", "c": "update"}
    assert schema.attribute("a.d").identity


def test_wrong_annotation_is_the_authors_error() -> None:
    """A misspelt x-change does not quietly become the default."""
    with pytest.raises(ValueError, match="x-change"):
        compile_schema({"properties": {"a": {"x-change": "scales"}}})


def test_every_shipped_schema_compiles() -> None:
    """The schemas in the package are valid JSON Schema, describe every attribute, and need no slow path."""
    for name in provider_types():
        document = read_schema(f"providers/{name}")
        Draft202012Validator.check_schema(document)
        schema = compile_schema(document)
        assert schema.type == name
        assert all(part.get("description") for part in schema.properties.values()), name
        assert schema.computed["id"]
        assert schema.accepts({}) in (True, False)


def descriptions(node: Json, path: str = "") -> list[str]:
    """Paths of properties without a description."""
    if not isinstance(node, dict):
        return []
    missing: list[str] = []
    for key, part in node.get("properties", {}).items():
        if "description" not in part and "$ref" not in part:
            missing.append(f"{path}.{key}")
        missing += descriptions(part, f"{path}.{key}")
    for word in ("items", "additionalProperties"):
        missing += descriptions(node.get(word), f"{path}.{word}")
    for key, part in node.get("$defs", {}).items():
        missing += descriptions(part, f"{path}.{key}")
    return missing


def test_the_files_own_schema_describes_everything() -> None:
    """Editors show what each key of the desired-state file is for."""
    schema = read_schema("desired-state.v1")
    Draft202012Validator.check_schema(schema)
    assert descriptions(schema) == []
    assert all(part.get("description") for part in schema["$defs"].values())


def test_references_are_for_editors_only() -> None:
    """The shipped schema takes `${var.x}` where a value stands; once references are replaced, only a value fits."""
    shipped = read_schema("desired-state.v1")
    strict = without_references(shipped)
    data = {"version": 1, "stack": "s", "deployments": {"d": {"provider": "p", "adopt": "${var.x}"}}}
    assert Draft202012Validator(shipped).is_valid(data)
    assert not Draft202012Validator(strict).is_valid(data)
    assert strict["$defs"]["duration"]["type"] == ["string", "number"]


SAMPLES: list[Json] = [
    {},
    [],
    "",
    0,
    None,
    {"model": "m"},
    {"model": "m", "replicas": 1},
    {"model": "m", "replicas": 1.0},
    {"model": "m", "replicas": True},
    {"model": "m", "replicas": 0},
    {"model": "m", "size": "huge"},
    {"model": "m", "size": ["small"]},
    {"model": "m", "name": "UPPER"},
    {"model": "m", "config": {"extra_args": ["a", 1]}},
    {"model": "m", "config": {"depth": "x", "free": None}},
    {"model": 1},
    {"model": "m", "unknown": 1},
]
EXTRA: list[dict[str, Any]] = [
    FAKE,
    {"oneOf": [{"required": ["model"]}, {"required": ["unknown"]}]},
    {"anyOf": [{"required": ["size"]}, {"properties": {"model": {"const": 1}}}]},
    {"if": {"required": ["size"]}, "then": {"required": ["name"]}, "else": {"maxProperties": 2}},
    {"not": {"required": ["config"]}, "minProperties": 1},
    {"patternProperties": {"^m": {"type": "string"}}, "additionalProperties": {"type": ["integer", "string"]}},
    {"propertyNames": {"maxLength": 6}, "dependentRequired": {"size": ["name"]}},
    {"properties": {"replicas": {"multipleOf": 2}, "model": {"enum": ["m", 1, None]}}},
    {"allOf": [{"type": "object"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"properties": {"model": {"minLength": 1}}}}},
    {"type": "array", "uniqueItems": True, "items": False},
]


@pytest.mark.parametrize("schema", EXTRA, ids=range(len(EXTRA)))
def test_quick_check_agrees_with_jsonschema(schema: dict[str, Any]) -> None:
    """The quick check never says yes or no where jsonschema says otherwise."""
    check = compile_check(schema)
    judge = Draft202012Validator(schema)
    for value in SAMPLES:
        try:
            quick = check(value)
        except Unsure:
            continue
        assert quick is judge.is_valid(value), value


def test_unknown_leaves_fit_everywhere() -> None:
    """What is known only at the apply is no error now; what stands beside it is."""
    later = Unknown("${deployments.x.id}")
    spec = {"model": later, "replicas": later, "config": {"extra_args": [later]}, "size": later}
    assert violations(spec, FAKE, compile_check(FAKE)) == ()
    assert [f.path for f in violations({**spec, "ratio": "x"}, FAKE)] == [("ratio",)]
    choice = {"oneOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"type": "integer"}}}]}
    assert violations({"a": later}, choice, compile_check(choice)) == ()


def test_secrets_are_judged_and_never_shown() -> None:
    """A sensitive value is checked like any other, and the complaint does not contain it."""
    (finding,) = violations({"model": "m", "replicas": Secret("hush")}, FAKE)
    assert finding.found == "a sensitive value"
    assert "hush" not in str(explain({"model": Secret({"hush": "hush"})}, FAKE))


def texts(schema: dict[str, Any], value: Json) -> list[str]:
    return [f"{'.'.join(map(str, f.path))}: {f.summary}; {f.detail}; {f.hint}" for f in explain(value, schema)]


def test_findings_are_written_for_people() -> None:
    """Each names what was found, what was expected and the nearest spelling."""
    found = texts(FAKE, {"modle": 1, "size": "Small", "replicas": "x", "config": {"extra_args": "x"}})
    assert found == [
        ": `model` is missing; expected a text\nWhat to serve; ",
        'config.extra_args: has a wrong value; found the text "x", expected a list\nFlags; ',
        "modle: `modle` is not known here; ; did you mean `model`?",
        'replicas: has a wrong value; found the text "x", expected a whole number, 1 or more\nHow many; ',
        'size: has a wrong value; found the text "Small", expected one of "small", "large"\nHow big; '
        "did you mean `small`?",
    ]


def test_findings_of_alternatives() -> None:
    """Of anyOf and oneOf, the branch that was meant is explained, or what all of them would take."""
    either = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert "exactly one of `a`, `b`" in texts(either, {"a": 1, "b": 1})[0]
    assert "one of `a`, `b` is missing" in texts(either, {})[0]
    kinds = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}
    assert "expected a whole number or a list" in texts(kinds, "x")[0]
    assert texts(kinds, [1, "x"])[0].startswith("1: has a wrong value")
    assert "can't stand together" in texts({"not": {"required": ["a", "b"]}}, {"a": 1, "b": 1})[0]


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ({"extra_args": ["--hf-token", "abc", "--other", "x"]}, ["extra_args[1]"]),
        ({"extra_args": ["--hf-token=abc", "--tp=2"]}, ["extra_args[0]"]),
        ({"extra_args": ["HF_TOKEN=abc", "MAX_TOKENS=4096"]}, ["extra_args[0]"]),
        ({"extra_args": ["--max-tokens", "4096", "--api-key", "--next"]}, []),
        ({"env": {"HF_TOKEN": "x", "MODE": "y"}}, ["env.HF_TOKEN"]),
        ({"env": {"max_tokens": 4096, "use_token": True, "key": None, "password": ""}}, []),
        ({"env": [{"name": "HF_TOKEN", "value": "x"}, {"name": "MODE", "value": "y"}]}, ["env[0].value"]),
        ({"secrets": {"a": "x", "n": 1}, "passwords": ["x"]}, ["secrets.a", "passwords[0]"]),
        ({"command": "serve --api-key abc --port 80"}, ["command"]),
        ({"command": "serve --max-tokens 80"}, []),
    ],
)
def test_names_that_make_a_text_sensitive(value: dict[str, Json], secrets: list[str]) -> None:
    """A text beside a flag or key with token, key, secret or password in its name is sensitive; numbers are not."""
    marked = mark_sensitive(value, (), SCHEMA.sensitive)
    found: list[str] = []

    def walk(node: Json, path: str) -> None:
        if isinstance(node, Secret):
            found.append(path)
        elif isinstance(node, dict):
            for key, member in node.items():
                walk(member, f"{path}.{key}".lstrip("."))
        elif isinstance(node, list):
            for number, member in enumerate(node):
                walk(member, f"{path}[{number}]")

    walk(marked, "")
    assert found == secrets
    assert may_hide(value, {}) or marked is value


def test_schema_overrules_names() -> None:
    """What the schema says about an attribute wins over its name; an identity is never sensitive by its name."""
    assert SCHEMA.sensitive("api_key", "api_key")
    assert not SCHEMA.sensitive("key_pair_name", "key_pair_name")
    assert SCHEMA.sensitive("blob.x", "x")
    assert not SCHEMA.sensitive("name", "key")
