"""Where variables get their values, and what is said about those that do not fit."""

from __future__ import annotations

import pytest

from reconciler.core.load.desired import Inputs, load_providers_only, secret_lookup
from reconciler.diagnostics import FileError
from reconciler.edge.document import read_value
from reconciler.model import Json, Secret
from tests.support.stacks import HEAD, FakeType, build, document, errors, fake_schema, only_error

USE = "deployments: {d: {provider: fake, spec: {model: '${var.v}'}}}\n"


def value(schema: str, **inputs: object) -> Json:
    """The value that a variable of that schema takes, seen through an output."""
    text = f"variables:\n  v: {schema}\noutputs: {{o: '${{var.v}}'}}\n"
    return build(text, **inputs).outputs["o"]  # type: ignore[arg-type]


def test_order_of_strength() -> None:
    """--var beats --var-file beats the environment beats the default; a later file beats an earlier one."""
    schema = "{type: string, default: d}"
    environ = {"RECONCILER_VAR_v": "e"}
    files = (("a.yaml", {"v": "f1"}), ("b.yaml", {"v": "f2"}))
    assert value(schema) == "d"
    assert value(schema, environ=environ) == "e"
    assert value(schema, environ=environ, var_files=files) == "f2"
    assert value(schema, environ=environ, var_files=files, vars={"v": "c"}) == "c"


@pytest.mark.parametrize(
    ("schema", "text", "found"),
    [
        ("{type: string}", "007", "007"),
        ("{type: string}", "[1, 2]", "[1, 2]"),
        ("{type: [string, 'null']}", "null", "null"),
        ("{enum: [a, b]}", "a", "a"),
        ("{type: integer}", "3", 3),
        ("{type: number}", "1e1", 10.0),
        ("{type: boolean}", "true", True),
        ("{type: array, items: {type: string}}", "[eu, us]", ["eu", "us"]),
        ("{type: object}", "{a: 1}", {"a": 1}),
        ("{}", "3", 3),
    ],
)
def test_texts_from_outside(schema: str, text: str, found: Json) -> None:
    """--var and RECONCILER_VAR_ are literal where the schema says string, else one YAML value."""
    assert value(schema, vars={"v": text}) == found
    assert value(schema, environ={"RECONCILER_VAR_v": text}) == found


@pytest.mark.parametrize("source", ["--var", "RECONCILER_VAR_v", "--var-file p.yaml", "default"])
def test_values_that_do_not_fit(source: str) -> None:
    """A value against its schema is an error that names the variable, its source, what was found and expected."""
    inputs: dict[str, object] = {}
    default = ""
    if source == "--var":
        inputs["vars"] = {"v": "0"}
    elif source.startswith("RECONCILER"):
        inputs["environ"] = {source: "0"}
    elif source == "default":
        default = ", default: 0"
    else:
        inputs["var_files"] = (("p.yaml", {"v": 0}),)
    problem = only_error(f"variables:\n  v: {{type: integer, minimum: 1{default}}}\n", **inputs)
    assert "`v`" in problem.summary
    assert source in problem.summary
    assert problem.detail == "found 0, expected a whole number, 1 or more"
    assert problem.span is not None
    assert problem.span.line == 5


def test_unreadable_text() -> None:
    """A --var that is no YAML value is said so, not taken as something else."""
    assert "can't be read" in only_error("variables: {v: {type: array}}\n", vars={"v": "[1"}).summary


def test_missing_value() -> None:
    """A variable without a value is an error even where nothing uses it, with every way to set it."""
    problem = only_error("variables: {v: {type: string}}\n")
    assert "`v` has no value" in problem.summary
    assert "--var v=…" in problem.hint
    assert "RECONCILER_VAR_v" in problem.hint


def test_names_that_are_not_declared() -> None:
    """--var for an unknown variable is an error, a file's a warning (files are shared), the environment's nothing."""
    text = "variables: {replicas: {default: 1}}\n"
    problem = only_error(text, vars={"replcas": "2"})
    assert "`replicas`" in problem.hint
    (warning,) = build(text, var_files=(("p.yaml", {"other": 1}),)).warnings
    assert warning.severity == "warning"
    assert "p.yaml sets other" in warning.summary
    assert build(text, environ={"RECONCILER_VAR_other": "1"}).warnings == ()


def test_sensitive_variables() -> None:
    """A sensitive value is a Secret with its reference, in every use, and never in an error."""
    text = "variables: {v: {type: string, minLength: 5, sensitive: true}}\n" + USE
    spec = build(text, vars={"v": "hush-hush"}).deployments["d"].spec
    assert spec["model"] == Secret("hush-hush", "${var.v}")
    assert "abc" not in str(only_error(text, vars={"v": "abc"}))
    assert "abc" not in str(only_error("variables: {v: {type: array, sensitive: true}}\n", vars={"v": "*abc"}))


def test_parts_of_a_variable() -> None:
    """`${var.map.key[0]}` goes into a variable; a missing part is an error with what there is."""
    text = "variables: {v: {default: {eu: [a, b]}}}\noutputs: {o: '${var.v.eu[1]}'}\n"
    assert build(text).outputs == {"o": "b"}
    problem = only_error("variables: {v: {default: {region: 1}}}\noutputs: {o: '${var.v.regoin}'}\n")
    assert problem.hint == "did you mean `region`?"


def test_unknown_variable_in_a_reference() -> None:
    """A reference to no variable is an error at its place, with the nearest spelling."""
    problem = only_error("variables: {model: {default: m}}\noutputs:\n  o: ${var.modle}\n")
    assert (problem.span and problem.span.line, problem.hint) == (6, "did you mean `model`?")


@pytest.mark.parametrize(
    "schema", ["{typ: integer, default: 1}", "{type: int, default: 1}", "{minimum: x, default: 1}", "5"]
)
def test_schemas_with_mistakes(schema: str) -> None:
    """A variable's schema is checked itself: a misspelt keyword would otherwise check nothing."""
    assert errors(f"variables: {{v: {schema}}}\n")


def test_pattern_that_is_no_regular_expression() -> None:
    """A broken pattern is an error of the file, not a traceback."""
    assert "schema of the variable" in only_error("variables: {v: {pattern: '(', default: x}}\n").summary


def test_references_in_defaults_are_refused() -> None:
    """A default is a value; a `${…}` in it would silently stay a text, so it is an error."""
    problem = only_error("variables: {v: {default: '${env.X}'}}\n")
    assert "default" in problem.summary
    assert build("variables: {v: {default: 'a $${x}'}}\noutputs: {o: '${var.v}'}\n").outputs == {"o": "a ${x}"}


def test_sandbox_placeholders() -> None:
    """In the sandbox an unset ${env.X} and a required sensitive variable get a fixed text; others stay required."""
    text = "variables: {v: {type: string, sensitive: true, minLength: 99}}\n"
    text += "deployments: {d: {provider: fake, spec: {model: '${var.v}', blob: '${env.X}'}}}\n"
    spec = build(text, placeholder=True).deployments["d"].spec
    assert (spec["model"].value, spec["blob"].value) == ("sandbox-placeholder", "sandbox-placeholder")
    assert build(text, placeholder=True, environ={"X": "real"}).deployments["d"].spec["blob"].value == "real"
    assert errors("variables: {v: {type: string}}\n", placeholder=True)


def test_providers_only_needs_only_their_variables() -> None:
    """For a plan file just the variables that `providers:` uses must have a value; others may be missing."""
    text = "version: 1\nstack: s\nvariables: {org: {type: string}, other: {type: string}}\n"
    text += "providers: {fake: {org: '${var.org}'}}\ndeployments: {x: {provider: nobody}}\n"

    def load(**given: str) -> object:
        return load_providers_only(
            document(text),
            schemas={"fake": fake_schema()},
            types={"fake": FakeType()},  # type: ignore[dict-item]
            inputs=Inputs(given, read_value=read_value),
        )["fake"].settings

    assert load(org="o") == {"region": "r1", "org": "o"}
    with pytest.raises(FileError, match="`org` has no value"):
        load()


def test_secrets_for_a_plan_file() -> None:
    """A reference in a plan file gets its value from the environment and --var as they are now, or an error."""
    text = HEAD + "variables: {v: {type: string, sensitive: true}}\n"
    find = secret_lookup(document(text), Inputs({"v": "x"}, {"A": "1"}, read_value=read_value))
    assert find("env.A") == Secret("1", "${env.A}")
    assert find("${var.v}") == Secret("x", "${var.v}")
    with pytest.raises(FileError, match="B is not set"):
        find("env.B")
    with pytest.raises(FileError, match="no value"):
        secret_lookup(document(text), Inputs())("var.v")
