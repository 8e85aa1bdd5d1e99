"""The values of a file's variables: where each comes from, whether it fits its schema, whether it is sensitive."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.source import Document
from reconciler.core.schemas.check import compile_check
from reconciler.core.schemas.validate import violations
from reconciler.core.values.paths import Part
from reconciler.core.values.paths import lookup as value_at
from reconciler.core.values.references import BadReferenceError, Reference, interpolate, references
from reconciler.core.values.scalars import scalar
from reconciler.core.values.words import did_you_mean
from reconciler.model import Json, Secret, Unknown

PREFIX = "RECONCILER_VAR_"
PLACEHOLDER = "sandbox-placeholder"
_OURS = ("sensitive",)


def read_json(text: str) -> Json:
    """One value from a command line without a YAML parser: JSON, else a plain scalar."""
    try:
        return json.loads(text)
    except ValueError:
        return scalar(text)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What comes from outside the file.

    `vars` are `--var` texts by name (the later one already won); `var_files` are (file as typed, its values) in the
    order given; `environ` is the whole environment. `placeholder` (the sandbox): an unset `${env.X}` or a required
    sensitive variable becomes a fixed text. `read_value` reads one YAML value of a command line (ValueError: it can't).
    """

    vars: Mapping[str, Json] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    placeholder: bool = False
    var_files: tuple[tuple[str, Mapping[str, Json]], ...] = ()
    read_value: Callable[[str], Json] = read_json


@dataclass(frozen=True, slots=True)
class _Given:
    value: Json
    source: str  # for people: "--var", "--var-file prod.yaml", "RECONCILER_VAR_x", "default"
    text: bool = False  # to be read by what the schema says


class Variables:
    """The declared variables of one document. Values are worked out when asked for; each complaint is made once."""

    def __init__(
        self, document: Document, inputs: Inputs, complaints: Complaints, broken: frozenset[str] = frozenset()
    ) -> None:
        self._declared: Mapping[str, Json] = document.entries("variables")
        self._document, self._inputs, self._complaints = document, inputs, complaints
        self._values: dict[str, Json] = {name: Unknown("") for name in broken}  # complained about already

    def check_all(self) -> None:
        """Work out every variable, and complain about given ones that the file does not declare."""
        for name in self._declared:
            self.get(name)
        for name in self._inputs.vars:
            if name not in self._declared:
                self._complaints.error(
                    f"--var {name}: the file declares no variable of that name", hint=self._near(name)
                )
        for file, values in self._inputs.var_files:
            for name in values:
                if name not in self._declared:
                    self._complaints.warn(f"{file} sets {name}, which the file does not declare", hint=self._near(name))

    def get(self, name: str) -> Json:
        """The value of a declared variable: plain, Secret if it is sensitive, an Unknown after a complaint.

        Raises BadReferenceError if there is no such variable.
        """
        if name not in self._declared:
            raise BadReferenceError(f"the variable `{name}` is not declared", self._near(name))
        if name not in self._values:
            self._values[name] = self._work_out(name, self._declared[name])
        return self._values[name]

    def lookup(self, reference: Reference) -> Json:
        """The value of a `${var.…}` or `${env.…}` reference. Raises BadReferenceError."""
        if reference.kind == "env":
            return self._environment(reference)
        value = self.get(reference.name)
        if not reference.path or isinstance(value, Unknown):
            return Secret(value.value, reference.text) if isinstance(value, Secret) else value
        plain = value.value if isinstance(value, Secret) else value
        try:
            found = value_at(plain, reference.path)
        except KeyError as missing:
            parts = missing.args[0]
            above = value_at(plain, parts[:-1])
            hint = did_you_mean(str(parts[-1]), above, what="it has") if isinstance(above, dict) else ""
            if isinstance(value, Secret):
                hint = ""
            raise BadReferenceError(f"{reference.text}: the variable has no such part", hint) from None
        return Secret(found, reference.text) if isinstance(value, Secret) else found

    def _environment(self, reference: Reference) -> Json:
        value = self._inputs.environ.get(reference.name)
        if value is None and self._inputs.placeholder:
            value = PLACEHOLDER
        if value is None:
            raise BadReferenceError(
                f"the environment variable {reference.name} is not set", f"export {reference.name}=…"
            )
        return Secret(value, reference.text)

    def _near(self, name: str) -> str:
        if not self._declared:
            return "the file has no `variables:`"
        return did_you_mean(name, self._declared, what="declared")

    def _work_out(self, name: str, schema: Json) -> Json:
        if not isinstance(schema, dict):
            return Unknown("")  # complained about by the schema of the file
        sensitive = schema.get("sensitive") is True
        given = self._given(name, schema)
        if given is None:
            if self._inputs.placeholder and sensitive and "string" in _types(schema, "string"):
                return Secret(PLACEHOLDER)
            self._complaints.error(
                f"the variable `{name}` has no value",
                self._document.spans.key(("variables", name)),
                detail="it has no default, and nothing sets it",
                hint=f"--var {name}=…, {PREFIX}{name}=… in the environment, or --var-file FILE",
            )
            return Unknown("", sensitive)
        value = given.value
        if given.source == "default":
            value = self._literal_default(name, value)
        if given.text and isinstance(value, str) and not _literal(schema):
            try:
                value = self._inputs.read_value(value)
            except ValueError as error:
                reason = "" if sensitive else f": {error}"
                self._wrong(name, given, f"can't be read as one YAML value{reason}")
                return Unknown("", sensitive)
        return self._validated(name, value, given, schema, sensitive)

    def _literal_default(self, name: str, value: Json, path: tuple[Part, ...] = ()) -> Json:
        """A default with `$${` undone; a reference in it is an error, since nothing is known yet."""
        if isinstance(value, dict):
            return {key: self._literal_default(name, member, (*path, key)) for key, member in value.items()}
        if isinstance(value, list):
            return [self._literal_default(name, item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        try:
            found = references(value)
            if not found:
                return interpolate(value, self.lookup)
            message, hint = f"{found[0].text} can't stand in the default of the variable `{name}`", ""
        except BadReferenceError as error:
            message, hint = f"the default of the variable `{name}`: {error.summary}", error.hint
        span = self._document.spans.at(("variables", name, "default", *path))
        self._complaints.error(message, span, hint=hint or f"set {PREFIX}{name} in the environment instead")
        return Unknown(value)

    def _validated(self, name: str, value: Json, given: _Given, schema: Mapping[str, Json], sensitive: bool) -> Json:
        plain = {word: part for word, part in schema.items() if word not in _OURS}
        try:
            found = violations(Secret(value) if sensitive else value, plain, compile_check(plain))
        except (re.error, TypeError, ValueError, OverflowError) as error:  # the schema is the user's own text
            self._complaints.error(
                f"the schema of the variable `{name}` is not valid",
                self._document.spans.key(("variables", name)),
                detail=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            )
            return Unknown("", sensitive)
        for finding in found:
            self._wrong(name, given, finding.summary.replace("has a wrong value", "does not fit"), finding.detail)
        if found:
            return Unknown("", sensitive)
        return Secret(value, f"${{var.{name}}}") if sensitive else value

    def _wrong(self, name: str, given: _Given, what: str, detail: str = "") -> None:
        place = self._document.spans.key(("variables", name))
        if given.source == "default":
            span = self._document.spans.at(("variables", name, "default"))
            self._complaints.error(f"the default of the variable `{name}` {what}", span, detail=detail)
        else:
            self._complaints.error(
                f"the value of the variable `{name}` ({given.source}) {what}",
                place,
                detail=detail,
                related=(("declared here", place),),
            )

    def _given(self, name: str, schema: Mapping[str, Any]) -> _Given | None:
        inputs = self._inputs
        if name in inputs.vars:
            return _Given(inputs.vars[name], "--var", True)
        for file, values in reversed(inputs.var_files):
            if name in values:
                return _Given(values[name], f"--var-file {file}")
        if PREFIX + name in inputs.environ:
            return _Given(inputs.environ[PREFIX + name], PREFIX + name, True)
        if "default" in schema:
            return _Given(schema["default"], "default")
        return None


def _types(schema: Mapping[str, Json], otherwise: str) -> Iterable[str]:
    names = schema.get("type", otherwise)
    return [names] if isinstance(names, str) else names if isinstance(names, list) else []


def _literal(schema: Mapping[str, Json]) -> bool:
    """Whether the schema says string, so that a text from outside is taken as it is."""
    if "type" in schema:
        return "string" in _types(schema, "")
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return isinstance(choices, list) and bool(choices) and all(isinstance(choice, str) for choice in choices)
