"""The grammar of `${…}` and what becomes of a text that holds some. Knows no file, no environment, no provider.

`${var.X}`, `${env.X}`, `${deployments.X.ATTR}`, `${deployments.X["key"].ATTR}`, `${each.key}`, `${each.value.PATH}`;
`$${` is a literal `${`. A text that is one reference keeps the value's type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from reconciler.core.values.paths import Part, join
from reconciler.core.values.tree import plain
from reconciler.core.values.words import nearest
from reconciler.model import Json, Secret, Unknown

Kind: TypeAlias = Literal["var", "env", "deployments", "each"]
KINDS: tuple[Kind, ...] = ("var", "env", "deployments", "each")
EACH_KEY = "${each.key}"  # stands as the instance of `deployments.X[each.key]` until the loop is expanded

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP = re.compile(
    r"""\.([A-Za-z_][A-Za-z0-9_-]*)|\[\s*(\d+)\s*\]|\[\s*("(?:[^"\\]|\\.)*")\s*\]|\[\s*(each\.key)\s*\]"""
)
_END = re.compile(r'(?:[^"}]|"(?:[^"\\]|\\.)*")*\}')
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
LITERAL_HINT = "a literal `${` is written `$${`"


class BadReferenceError(Exception):
    """A reference that is malformed or names nothing; `hint` says what to write."""

    def __init__(self, summary: str, hint: str = "") -> None:
        super().__init__(summary)
        self.summary, self.hint = summary, hint


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${…}`. `name` is the variable, environment variable or deployment key, for `each` "key" or "value".

    `instance` is the `["eu"]` behind a deployment's key; `path` is what follows: below a variable's value, or the
    attribute path of a deployment. `text` is as written, with `${` and `}`.
    """

    kind: Kind
    name: str
    instance: str | None = None
    path: tuple[Part, ...] = ()
    text: str = ""

    @property
    def address(self) -> str:
        """The address that a `deployments` reference names."""
        return address(self.name, self.instance)

    @property
    def attribute(self) -> str:
        """The attribute path that a `deployments` reference names."""
        return join(self.path)


Lookup: TypeAlias = Callable[[Reference], Json]


def address(key: str, instance: str | None = None) -> str:
    """`chat`, or `chat["eu"]` for an instance."""
    return key if instance is None else f"{key}[{json.dumps(instance, ensure_ascii=False)}]"


def has_reference(text: str) -> bool:
    """Whether a text needs `parse` at all (an escaped `$${` does, too)."""
    return "${" in text


def parse(text: str) -> tuple[str | Reference, ...]:
    """Literal parts (escapes undone) and references, in order. Raises BadReferenceError."""
    parts: list[str | Reference] = []
    literal = ""
    position = 0
    while True:
        start = text.find("${", position)
        if start < 0:
            literal += text[position:]
            break
        if start > 0 and text[start - 1] == "$" and start - 1 >= position:
            literal += text[position : start - 1] + "${"
            position = start + 2
            continue
        literal += text[position:start]
        end = _END.match(text, start + 2)
        if end is None:
            raise BadReferenceError(f"the reference {_short(text[start:])} has no closing brace", LITERAL_HINT)
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_reference(text[start : end.end()]))
        position = end.end()
    if literal or not parts:
        parts.append(literal)
    return tuple(parts)


def references(text: str) -> tuple[Reference, ...]:
    """The references in one text. Raises BadReferenceError."""
    return tuple(part for part in parse(text) if isinstance(part, Reference))


def escape(text: str) -> str:
    """A literal text as it is written in a template."""
    return text.replace("${", "$${")


def _reference(text: str) -> Reference:
    body = text[2:-1].strip()
    head = _NAME.match(body)
    kind = head[0] if head else ""
    if kind not in KINDS:
        raise _unknown_kind(text, body, kind)
    steps = _steps(text, body[len(kind) :])
    if not steps or not isinstance(steps[0], str) or body[len(kind)] != ".":
        raise BadReferenceError(f"the reference {text} names nothing", f"expected {_FORMS[kind]}")
    name, rest = steps[0], steps[1:]
    if kind == "deployments":
        return _deployment(text, name, rest, body)
    if any(step == EACH_KEY for step in rest):
        raise BadReferenceError(f"`[each.key]` can stand behind a deployment only, not in {text}")
    if kind == "env" and (rest or not _ENV_NAME.match(name)):
        raise BadReferenceError(f"{text} is no name of an environment variable", f"expected {_FORMS['env']}")
    if kind == "each" and (name not in ("key", "value") or (name == "key" and rest)):
        raise BadReferenceError(f"{text} is not known", f"expected {_FORMS['each']}")
    return Reference(cast(Kind, kind), name, None, tuple(rest), text)


def _deployment(text: str, key: str, rest: list[Part], body: str) -> Reference:
    instance: str | None = None
    bracketed = body.removeprefix("deployments").lstrip(".")[len(key) :].lstrip().startswith("[")
    if rest and bracketed:
        if not isinstance(rest[0], str):
            raise BadReferenceError(f"the instance in {text} must be a quoted key", f'as in {key}["{rest[0]}"]')
        instance, rest = rest[0], rest[1:]
    if not rest:
        where = address(key, instance)
        raise BadReferenceError(
            f"{text} names a deployment, not an attribute of it", f"expected ${{deployments.{where}.ATTRIBUTE}}"
        )
    if EACH_KEY in rest:
        raise BadReferenceError(f"`[each.key]` can stand behind a deployment's key only, not in {text}")
    return Reference("deployments", key, instance, tuple(rest), text)


def _steps(text: str, rest: str) -> list[Part]:
    steps: list[Part] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            raise BadReferenceError(
                f"the reference {_short(text)} can't be read from `{_short(rest[position:])}` on",
                f"there are no functions and no operators; {LITERAL_HINT}",
            )
        name, index, quoted, each = match.groups()
        try:
            steps.append(name or (EACH_KEY if each else int(index) if index else str(json.loads(quoted))))
        except ValueError:
            raise BadReferenceError(f"the quoted key in {_short(text)} is malformed") from None
        position = match.end()
    return steps


_FORMS: Mapping[str, str] = {
    "var": "${var.NAME}",
    "env": "${env.NAME}",
    "deployments": '${deployments.KEY.ATTRIBUTE} or ${deployments.KEY["instance"].ATTRIBUTE}',
    "each": "${each.key} or ${each.value}",
}


def _unknown_kind(text: str, body: str, kind: str) -> BadReferenceError:
    near = {"variables": "var", "variable": "var", "vars": "var", "environment": "env", "local": "var"}.get(kind)
    near = near or (nearest(kind, KINDS) if kind else None)
    shown = _short(text)
    if kind in ("parameters", "credential"):
        return BadReferenceError(
            f"the reference {shown} is not known", f"for ML Commons' own placeholder write `${shown}`"
        )
    if near:
        hint = f"did you mean `${{{near}{body[len(kind) :]}}}`? For a literal text write `${shown}`"
    else:
        hint = f"a reference begins with var, env, deployments or each; for a literal text write `${shown}`"
    if not kind and not body:
        return BadReferenceError("the reference `${}` is empty", LITERAL_HINT)
    return BadReferenceError(f"the reference {shown} is not known", hint)


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


# --- values -------------------------------------------------------------------------------------------------------
def interpolate(text: str, lookup: Lookup) -> Json:
    """The value of one text: what `lookup` gives for a whole reference, else a text.

    Any Secret part makes a Secret, any Unknown part an Unknown whose template has the known plain parts filled in.
    Raises BadReferenceError, also for a list, a mapping or null inside a longer text.
    """
    parts = parse(text)
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return lookup(parts[0])
    texts: list[str] = []  # the value
    written: list[str] = []  # the template, plain references filled in
    unknown = secret = False
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            written.append(escape(part))
            continue
        value = lookup(part)
        if written and written[-1].endswith("$"):
            raise BadReferenceError(f"a `$` stands right before {part.text}, which would make it a plain text")
        if isinstance(value, Unknown):
            unknown, secret = True, secret or value.sensitive
            written.append(value.template)
        elif isinstance(value, Secret):
            secret = True
            texts.append(_as_text(value.value, part))
            written.append(value.template or part.text)
        else:
            texts.append(_as_text(value, part))
            written.append(escape(texts[-1]))
    template = "".join(written)
    if unknown:
        return Unknown(template, secret)
    return Secret("".join(texts), template) if secret else "".join(texts)


def _as_text(value: Json, part: Reference) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value)
    kind = "nothing (null)" if value is None else "a list" if isinstance(value, list) else "a mapping"
    raise BadReferenceError(f"{part.text} is {kind}, which can't stand inside a longer text")


def resolve(tree: Json, lookup: Lookup) -> Json:
    """A value tree with its Unknown leaves resolved as far as `lookup` can; all other leaves stay as they are.

    `lookup` gets each reference of a leaf's template (`deployments`, and `env` or `var` where those are sensitive) and
    gives a value, a Secret, or an Unknown for what is still not known. The same tree comes back where nothing changed.
    """
    if isinstance(tree, Unknown):
        value = interpolate(tree.template, lookup)
        if isinstance(value, Unknown):
            return (
                tree if value.template == tree.template else Unknown(value.template, tree.sensitive or value.sensitive)
            )
        return Secret(plain(value), tree.template) if tree.sensitive and not isinstance(value, Secret) else value
    if isinstance(tree, dict):
        members = {key: resolve(member, lookup) for key, member in tree.items()}
        return members if any(members[key] is not tree[key] for key in tree) else tree
    if isinstance(tree, list):
        items = [resolve(item, lookup) for item in tree]
        return items if any(new is not old for new, old in zip(items, tree, strict=True)) else tree
    return tree


def unknowns(tree: Json, path: tuple[Part, ...] = ()) -> Iterator[tuple[tuple[Part, ...], Unknown]]:
    """Every Unknown leaf of a value tree with its path."""
    if isinstance(tree, Unknown):
        yield path, tree
    elif isinstance(tree, dict):
        for key, member in tree.items():
            yield from unknowns(member, (*path, key))
    elif isinstance(tree, list):
        for number, item in enumerate(tree):
            yield from unknowns(item, (*path, number))
