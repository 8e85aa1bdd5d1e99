"""Value trees in a plan file: a sensitive or unknown leaf stands as its reference, never as its value. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from reconciler.core.values.references import BadReferenceError, Reference, interpolate, parse
from reconciler.core.values.tree import step
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.model import Json, Secret, Unknown

REF, TEMPLATE, LITERAL, SENSITIVE = "$ref", "$template", "$literal", "$sensitive"
_MARKS = frozenset((REF, TEMPLATE, LITERAL))

# The text of a reference without its braces (`env.HF_TOKEN`) to its value now; raises FileError where it has none.
SecretLookup: TypeAlias = Callable[[str], Json]


def literals(tree: Json, path: str = "") -> Iterator[str]:
    """The paths of secrets that no reference can stand for: they can't be saved."""
    if isinstance(tree, Secret):
        if tree.template is None:
            yield path
    elif isinstance(tree, dict):
        for key, item in tree.items():
            yield from literals(item, step(path, key))
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from literals(item, step(path, index))


def encode(tree: Json) -> Json:
    """The tree as JSON: `{"$ref": "env.X"}` for a leaf that is one reference, `{"$template": …}` for a composed one.

    An object of the user that looks like one of these stands inside `{"$literal": …}`. Check `literals` first.
    """
    if isinstance(tree, Secret):
        if tree.template is None:
            raise ValueError("a literal secret can't be written")
        return _reference(tree.template)
    if isinstance(tree, Unknown):
        out = _reference(tree.template)
        if tree.sensitive:
            out[SENSITIVE] = True
        return out
    if isinstance(tree, dict):
        members = {key: encode(item) for key, item in tree.items()}
        return {LITERAL: members} if _MARKS & members.keys() else members
    if isinstance(tree, list):
        return [encode(item) for item in tree]
    return tree


def _reference(template: str) -> dict[str, Json]:
    parts = parse(template)
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return {REF: template.strip()[2:-1].strip()}
    return {TEMPLATE: template}


class Decoder:
    """Encoded trees back to value trees. Without a lookup secrets have no value (None) and can only be shown.

    `errors` gathers what can't be read or looked up.
    """

    def __init__(self, lookup: SecretLookup | None) -> None:
        self._lookup = lookup
        self.errors: list[Diagnostic] = []

    def __call__(self, tree: Json) -> Json:
        if isinstance(tree, dict):
            if LITERAL in tree and len(tree) == 1 and isinstance(tree[LITERAL], dict):
                return {key: self(item) for key, item in tree[LITERAL].items()}
            if _MARKS & tree.keys():
                return self._mark(tree)
            return {key: self(item) for key, item in tree.items()}
        return [self(item) for item in tree] if isinstance(tree, list) else tree

    def _mark(self, tree: dict[str, Json]) -> Json:
        text, whole = tree.get(REF), tree.get(TEMPLATE)
        if not {*tree} <= {REF, TEMPLATE, SENSITIVE} or isinstance(text, str) == isinstance(whole, str):
            return self._bad(f"not a reference: {', '.join(sorted(tree))}")
        template = f"${{{text}}}" if isinstance(text, str) else str(whole)
        try:
            found = [part for part in parse(template) if isinstance(part, Reference)]
        except BadReferenceError as error:
            return self._bad(error.summary)
        if not found or (isinstance(text, str) and len(found) != 1):
            return self._bad(f"no reference: {template}")
        if any(reference.kind == "deployments" for reference in found):
            return Unknown(template, tree.get(SENSITIVE) is True)
        return Secret(self._value(template), template)

    def _value(self, template: str) -> Json:
        lookup = self._lookup
        if lookup is None:
            return None
        try:
            value = interpolate(template, lambda reference: lookup(reference.text[2:-1].strip()))
        except FileError as error:
            self.errors += error.diagnostics
            return None
        except BadReferenceError as error:
            return self._bad(error.summary)
        return value.value if isinstance(value, Secret) else value

    def _bad(self, summary: str) -> None:
        self.errors.append(Diagnostic(f"the plan file is damaged: {summary}"))
