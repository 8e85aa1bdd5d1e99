"""What is wrong with a value, by its JSON Schema, in words for people. jsonschema judges; only the wording is ours.

jsonschema is imported when a value does not pass the quick check of `core/schemas/check.py`, so not at all for a right
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.core.schemas.check import Check, Unsure, resolve_ref
from reconciler.core.values.paths import Part, join
from reconciler.core.values.words import describe, did_you_mean, first_sentence, listing, nearest, show
from reconciler.model import Json, Secret, Unknown

_COMBINED = ("anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong at `path`. `at_key`: the key itself is wrong, not its value."""

    path: tuple[Part, ...]
    summary: str
    found: str = ""
    expected: str = ""
    hint: str = ""
    at_key: bool = False
    about: str = ""  # what the schema says the value is

    @property
    def detail(self) -> str:
        """Found and expected as one line, and what the value is for on a second one."""
        parts = [f"found {self.found}" if self.found else "", f"expected {self.expected}" if self.expected else ""]
        lines = [", ".join(part for part in parts if part), self.about]
        return "\n".join(line for line in lines if line)


def violations(value: Json, schema: Mapping[str, Json], check: Check | None = None) -> tuple[Finding, ...]:
    """Everything wrong with a value tree, in the order of the paths; () where it fits.

    Unknown leaves fit everywhere, Secret leaves are judged by their value and never shown. `check` is the compiled
    quick check of the same schema.
    """
    if check is not None:
        try:
            if check(value):
                return ()
        except Unsure:
            pass
    return explain(value, schema)


def explain(value: Json, schema: Mapping[str, Json], *, templates: bool = False) -> tuple[Finding, ...]:
    """As `violations`, straight from jsonschema; with `templates`, texts that hold a `${` fit everywhere."""
    from jsonschema import Draft202012Validator

    secrets: set[tuple[Part, ...]] = set()
    plain = _reveal(value, (), secrets)
    explainer = _Explainer(schema, secrets, templates)
    found: dict[Finding, None] = {}
    for error in Draft202012Validator(schema).iter_errors(plain):
        for finding in explainer.flatten(error, ()):
            found[finding] = None
    return tuple(sorted(found, key=lambda finding: (join(finding.path), finding.summary)))


def _reveal(value: Json, path: tuple[Part, ...], secrets: set[tuple[Part, ...]]) -> Json:
    """The tree with Secret leaves replaced by what they hold; their paths go into `secrets`."""
    if isinstance(value, Secret):
        secrets.add(path)
        return value.value
    if isinstance(value, dict):
        return {key: _reveal(member, (*path, key), secrets) for key, member in value.items()}
    if isinstance(value, list):
        return [_reveal(member, (*path, number), secrets) for number, member in enumerate(value)]
    return value


class _Explainer:
    def __init__(self, root: Mapping[str, Json], secrets: set[tuple[Part, ...]], templates: bool) -> None:
        self.root, self.secrets, self.templates = root, secrets, templates

    def resolved(self, schema: Json) -> Json:
        """A subschema with its local `$ref` followed, for its words; what stands beside the reference wins."""
        if isinstance(schema, Mapping) and "$ref" in schema:
            try:
                return {**self.resolved(resolve_ref(self.root, schema["$ref"])), **schema}
            except Unsure:
                return schema
        return schema

    def flatten(self, error: Any, base: tuple[Part, ...]) -> Iterator[Finding]:
        """The findings in one error of jsonschema, none where a leaf that is not known yet is all there is to it."""
        path = (*base, *error.relative_path)
        if self.open(error.instance) or (
            error.validator not in ("required", "additionalProperties") and self._hides(error)
        ):
            return
        if "propertyNames" in error.schema_path:
            yield from self.names(error, path)
        elif error.validator in _COMBINED:
            yield from self.choice(error, path)
        else:
            writer = _WRITERS.get(str(error.validator), _Explainer.other)
            yield from writer(self, error, path)

    def open(self, value: Json) -> bool:
        """Whether a value is not known yet."""
        return isinstance(value, Unknown) or (self.templates and isinstance(value, str) and "${" in value)

    def _hides(self, error: Any) -> bool:
        """Whether keywords about whole containers were asked about one with unknown leaves."""
        whole = ("enum", "const", "uniqueItems", "not", "contains")
        return error.validator in whole and any(self.open(leaf) for leaf in _leaves(error.instance))

    def choice(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        """anyOf and oneOf: the branch that was probably meant, or what all branches expect of this value."""
        if not error.context:
            yield self.finding(error, path, "fits more than one form", expected=_forms(error.validator_value))
            return
        branches: dict[Any, list[Finding]] = {}
        for inner in error.context:
            found = branches.setdefault(inner.schema_path[0], [])
            found += self.flatten(inner, path)
        if not all(branches.values()):
            return
        deeper = [found for found in branches.values() if any(len(f.path) > len(path) or f.at_key for f in found)]
        if deeper and len(deeper) in (1, len(branches)):
            yield from min(deeper, key=len)
        elif all(inner.validator == "required" for inner in error.context):
            names = [name for branch in error.validator_value for name in branch.get("required", ())]
            yield self.finding(error, path, f"one of {listing(dict.fromkeys(names))} is missing")
        else:
            yield self.finding(error, path, "has a wrong value", describe({"anyOf": error.validator_value}))

    def finding(self, error: Any, path: tuple[Part, ...], summary: str, expected: str = "", about: str = "") -> Finding:
        """A finding about the instance of an error; what was found is shown unless it is sensitive."""
        found = show(Secret(None)) if self.secret(path) else show(error.instance)
        return Finding(path, summary, "" if isinstance(error.instance, dict) else found, expected, about=about)

    def secret(self, path: tuple[Part, ...]) -> bool:
        return any(path[:length] in self.secrets for length in range(len(path) + 1))

    def unknown_key(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        schema = error.schema
        valid = set(schema.get("properties", {}))
        patterns = schema.get("patternProperties", {})
        for name in error.instance:
            if name not in valid and not _matches(name, patterns):
                free = valid - set(error.instance) or valid
                near = nearest(name, free) or nearest(name, valid)  # what has a default looks as if it were given
                hint = f"did you mean `{near}`?" if near else did_you_mean(name, free, what="valid here")
                if patterns and nearest(name, valid) is None:
                    hint = f"a name here matches {' or '.join(patterns)}"
                yield Finding((*path, name), f"`{name}` is not known here", hint=hint, at_key=True)

    def missing(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        for name in error.validator_value:
            if name not in error.instance:
                schema = self.resolved(error.schema.get("properties", {}).get(name, {}))
                yield Finding(path, f"`{name}` is missing", expected=describe(schema), about=about(schema))

    def dependent(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        for trigger, names in error.validator_value.items():
            if trigger in error.instance:
                for name in names:
                    if name not in error.instance:
                        yield Finding(path, f"`{name}` is missing, which `{trigger}` asks for")

    def value(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        finding = self.finding(error, path, "has a wrong value", describe(error.schema), about(error.schema))
        choices = error.schema.get("enum")
        if choices and isinstance(error.instance, str) and not self.secret(path):
            near = nearest(error.instance, [value for value in choices if isinstance(value, str)])
            finding = replace(finding, hint=f"did you mean `{near}`?") if near else finding
        elif (
            error.validator == "type" and "string" in error.validator_value and isinstance(error.instance, int | float)
        ):
            finding = replace(finding, hint="put it in quotes for a text")
        yield finding

    def names(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        """A key that `propertyNames` refuses: jsonschema gives the key as the instance, without its path."""
        name = error.instance
        yield Finding((*path, name), f"`{name}` is not a valid name", expected=describe(error.schema), at_key=True)

    def denied(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        denied = error.validator_value if isinstance(error.validator_value, Mapping) else {}
        together = denied.get("required")
        if together and isinstance(error.instance, dict):
            names = listing(together)
            text = f"{names} can't stand here" if len(together) == 1 else f"{names} can't stand together"
            yield Finding((*path, together[0]), text, at_key=True, about=about(denied) or about(error.schema))
            return
        what = about(denied) or about(error.schema)
        yield self.finding(error, path, "has a value that is refused", f"anything but {describe(denied)}", what)

    def other(self, error: Any, path: tuple[Part, ...]) -> Iterator[Finding]:
        if error.validator is None:  # the schema `false`
            yield Finding(path, f"`{path[-1] if path else 'this'}` can't stand here", at_key=True)
            return
        counted = {
            "minItems": f"at least {error.validator_value} items",
            "maxItems": f"at most {error.validator_value} items",
            "uniqueItems": "no item twice",
            "minProperties": f"at least {error.validator_value} keys",
            "maxProperties": f"at most {error.validator_value} keys",
        }
        expected = counted.get(str(error.validator), describe(error.schema))
        yield self.finding(error, path, "has a wrong value", expected, about(error.schema))


def _leaves(value: Json) -> Iterator[Json]:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _leaves(member)
    else:
        yield value


def _forms(branches: Sequence[Json]) -> str:
    names = [name for branch in branches if isinstance(branch, Mapping) for name in branch.get("required", ())]
    return f"exactly one of {listing(dict.fromkeys(names))}" if names else "exactly one form"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    import re

    return any(re.search(pattern, name) for pattern in patterns)


def about(schema: Json) -> str:
    """What the schema says the value is."""
    text = schema.get("description", "") if isinstance(schema, Mapping) else ""
    return first_sentence(text) if isinstance(text, str) else ""


_WRITERS: Mapping[str, Callable[[_Explainer, Any, tuple[Part, ...]], Iterator[Finding]]] = {
    "additionalProperties": _Explainer.unknown_key,
    "unevaluatedProperties": _Explainer.unknown_key,
    "required": _Explainer.missing,
    "dependentRequired": _Explainer.dependent,
    "type": _Explainer.value,
    "enum": _Explainer.value,
    "const": _Explainer.value,
    "pattern": _Explainer.value,
    "not": _Explainer.denied,
}
