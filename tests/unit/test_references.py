"""The grammar of `${…}`, and values put into texts."""

from __future__ import annotations

import pytest

from reconciler.core.values.references import (
    BadReferenceError,
    Reference,
    interpolate,
    parse,
    references,
    resolve,
    unknowns,
)
from reconciler.model import Json, Secret, Unknown


def look_up(reference: Reference) -> Json:
    values = {"n": 3, "s": "text", "b": True, "none": None, "list": [1], "tricky": "${env.X}", "dollar": "US$"}
    if reference.kind == "env":
        return Secret("hush", reference.text)
    if reference.kind == "deployments":
        return Unknown(reference.text)
    return values[reference.name]


@pytest.mark.parametrize(
    ("text", "kind", "name", "instance", "path"),
    [
        ("${var.replicas}", "var", "replicas", None, ()),
        ("${ var.replicas }", "var", "replicas", None, ()),
        ("${var.map.eu[0]}", "var", "map", None, ("eu", 0)),
        ("${env.HF_TOKEN}", "env", "HF_TOKEN", None, ()),
        ("${each.key}", "each", "key", None, ()),
        ('${each.value.a["b c"]}', "each", "value", None, ("a", "b c")),
        ("${deployments.chat.endpoint_url}", "deployments", "chat", None, ("endpoint_url",)),
        ('${deployments.chat["eu"].id}', "deployments", "chat", "eu", ("id",)),
        ('${deployments.chat["e}u"].id}', "deployments", "chat", "e}u", ("id",)),
        ("${deployments.chat.config.extra_args[1]}", "deployments", "chat", None, ("config", "extra_args", 1)),
    ],
)
def test_reference_forms(text: str, kind: str, name: str, instance: str | None, path: tuple[object, ...]) -> None:
    """Every documented form is read into its parts."""
    assert parse(text) == (Reference(kind, name, instance, path, text),)  # type: ignore[arg-type]


def test_addresses_of_references() -> None:
    """A reference knows the address and the attribute path that it names."""
    (found,) = references('${deployments.chat["eu"].config.extra_args[1]}')
    assert (found.address, found.attribute) == ('chat["eu"]', "config.extra_args[1]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain $ {text}", "plain $ {text}"),
        ("$${var.n}", "${var.n}"),
        ("a $${x} b ${var.n}", "a ${x} b 3"),
        ("$$${var.n}", "$${var.n}"),
        ("${var.n}", 3),
        ("${var.list}", [1]),
        ("${var.none}", None),
        ("n=${var.n} b=${var.b} s=${var.s}", "n=3 b=true s=text"),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    """A text that is one reference keeps the value's type; in a longer one it becomes text; `$${` is a literal."""
    assert interpolate(text, look_up) == value


def test_secrets_make_the_whole_text_secret() -> None:
    """A text with any sensitive part is sensitive as a whole, and remembers how it was composed."""
    assert interpolate("${env.X}", look_up) == Secret("hush", "${env.X}")
    assert interpolate("Bearer ${env.X} ${var.n}", look_up) == Secret("Bearer hush 3", "Bearer ${env.X} 3")


def test_unknown_parts_keep_what_is_known() -> None:
    """What is not known before the apply stays a template with plain values filled in and no secret in it."""
    found = interpolate("${var.s}/${deployments.a.id}/${env.X}/$${p}", look_up)
    assert found == Unknown("text/${deployments.a.id}/${env.X}/$${p}", True)
    assert interpolate(found.template, lambda r: "7" if r.kind == "deployments" else look_up(r)) == Secret(
        "text/7/hush/${p}", "text/7/${env.X}/$${p}"
    )


def test_values_are_never_read_as_templates() -> None:
    """A value that holds `${…}` itself is not replaced again, now or later."""
    assert interpolate("x ${var.tricky}", look_up) == "x ${env.X}"
    later = interpolate("${var.tricky} ${deployments.a.id}", look_up)
    assert resolve(later, lambda _: "7") == "${env.X} 7"


def test_a_dollar_right_before_a_reference_is_an_error() -> None:
    """Together they would be the escape of a plain text, and the reference would never be looked up."""
    with pytest.raises(BadReferenceError, match=r"right before \$\{deployments\.a\.id\}"):
        interpolate("${var.dollar}${deployments.a.id}", look_up)
    assert interpolate("${var.dollar} ${var.n}", look_up) == "US$ 3"


def test_a_quoted_container_with_a_secret_is_secret_as_a_whole() -> None:
    """And a plain one inside: a secret within a secret could not be recorded."""
    quoted = Unknown("${deployments.a.config}", True)
    found = resolve(quoted, lambda _: {"env": {"T": Secret("hush", "${env.X}")}, "n": 1})
    assert found == Secret({"env": {"T": "hush"}, "n": 1}, "${deployments.a.config}")


@pytest.mark.parametrize("name", ["none", "list"])
def test_no_containers_inside_a_text(name: str) -> None:
    """A list, a mapping or null inside a longer text is an error, not Python's idea of it."""
    with pytest.raises(BadReferenceError, match="can't stand inside"):
        interpolate(f"x ${{var.{name}}}", look_up)


@pytest.mark.parametrize(
    ("text", "summary", "hint"),
    [
        ("${parameters.input}", "not known", "`$${parameters.input}`"),
        ("${credential.key}", "not known", "`$${credential.key}`"),
        ("${vars.x}", "not known", "`${var.x}`"),
        ("${deployment.x.id}", "not known", "`${deployments.x.id}`"),
        ("${upper(x)}", "not known", "literal"),
        ("${HOME}", "not known", "`$${HOME}`"),
        ("${var.x + 1}", "can't be read", "no operators"),
        ("${var}", "names nothing", "${var.NAME}"),
        ("${deployments.x}", "not an attribute", "${deployments.x.ATTRIBUTE}"),
        ("${deployments.x[0].id}", "quoted key", '["0"]'),
        ("${each.index}", "not known", "${each.key}"),
        ("${env.A.b}", "no name", "${env.NAME}"),
        ("${}", "empty", "$${"),
        ("${var.x", "no closing brace", "$${"),
    ],
)
def test_what_is_no_reference(text: str, summary: str, hint: str) -> None:
    """Anything else in `${…}` is an error with what to write; ML Commons' placeholders are recognised."""
    with pytest.raises(BadReferenceError) as caught:
        parse(text)
    assert summary in caught.value.summary
    assert hint in caught.value.hint


def test_resolve_leaves_literals_alone() -> None:
    """Only Unknown leaves are resolved; a tree in which nothing changes is the same object."""
    tree = {"a": "literal ${var.n}", "b": [Unknown("${deployments.x.id}"), 1], "c": Secret("s")}
    done = resolve(tree, lambda _: "id-1")
    assert done == {"a": "literal ${var.n}", "b": ["id-1", 1], "c": Secret("s")}
    assert resolve(tree, lambda reference: Unknown(reference.text)) is tree
    assert list(unknowns(tree)) == [(("b", 0), Unknown("${deployments.x.id}"))]
    assert resolve(Unknown("${deployments.x.key}", True), lambda _: "k") == Secret("k", "${deployments.x.key}")
