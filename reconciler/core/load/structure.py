"""Checks a desired-state file against its own schema, section by section, before anything in it is interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.source import Document
from reconciler.core.schemas.check import Check, Unsure, compile_check
from reconciler.core.schemas.validate import Finding, explain
from reconciler.core.values.paths import Part
from reconciler.core.values.words import did_you_mean
from reconciler.model import Json

# Sections that are read before any variable is known, or that name addresses: no reference can stand in them.
_STATIC = frozenset(("version", "stack", "state", "variables", "moved", "removed"))
_BY_ENTRY = frozenset(("deployments", "providers", "defaults", "variables"))


_REFERENCE = {"$ref": "#/$defs/reference"}


def without_references(schema: Json) -> Json:
    """The file's schema as values must fit it once references are replaced.

    What ships is for editors, which see the references: there, `anyOf: [S, a reference]` stands for S.
    """
    if isinstance(schema, list):
        return [without_references(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {word: without_references(part) for word, part in schema.items()}
    choices = plain.get("anyOf")
    if isinstance(choices, list) and len(choices) == 2 and choices[1] == _REFERENCE:
        return {**choices[0], **{word: part for word, part in plain.items() if word != "anyOf"}}
    return plain


@dataclass(frozen=True, slots=True)
class Broken:
    """What the file's schema refused: the bad keys of each (section, entry), "" for the entry as a whole.

    The entry "" stands for a whole section.
    """

    parts: Mapping[tuple[str, str], frozenset[str]]

    def section(self, name: str) -> bool:
        """Whether a section that is no collection of entries has an error."""
        return (name, "") in self.parts

    def entries(self, section: str) -> frozenset[str]:
        """The entries of a section that have any error."""
        return frozenset(key for name, key in self.parts if name == section)

    def usable(self, section: str, key: str, entry: Json) -> dict[str, Json] | None:
        """An entry without its bad keys, so that the rest is judged in the same run; None if nothing can be told."""
        bad = self.parts.get((section, key), frozenset())
        if "" in bad or not isinstance(entry, dict):
            return None
        return {name: value for name, value in entry.items() if name not in bad} if bad else entry


def check_structure(document: Document, complaints: Complaints) -> Broken:
    """Complain about everything that the file's schema refuses; what is below `spec` and settings comes later."""
    schema = document.schema
    sections: Mapping[str, Json] = schema.get("properties", {})
    broken: dict[tuple[str, str], frozenset[str]] = {}
    for name in document.data:
        if name not in sections:
            complaints.error(
                f"`{name}` is not a section of this file",
                document.spans.key((name,)),
                hint=did_you_mean(name, sections, what="sections"),
            )
    for name in schema.get("required", ()):
        if name not in document.data:
            example = "version: 1" if name == "version" else f"{name}: my-{name}"
            complaints.error(f"`{name}` is missing", document.spans.at(()), hint=f"write `{example}`")
    for name, value in document.data.items():
        if name in sections:
            broken |= _section(document, name, value, sections[name], complaints)
    return Broken(broken)


def check_header(document: Document, complaints: Complaints) -> None:
    """The part of it that is needed to find a state: `version`, `stack` and `state`."""
    sections = document.schema.get("properties", {})
    for name in ("version", "stack", "state"):
        if name in document.data:
            _section(document, name, document.data[name], sections.get(name, True), complaints)
        elif name in document.schema.get("required", ()):
            complaints.error(f"`{name}` is missing", document.spans.at(()))


def _section(
    document: Document, name: str, value: Json, schema: Mapping[str, Json], complaints: Complaints
) -> dict[tuple[str, str], frozenset[str]]:
    templates = name not in _STATIC
    if name not in _BY_ENTRY or not isinstance(value, dict):
        # a reference can stand inside a section, never for one
        found = _findings(value, schema, document.schema, templates and not isinstance(value, str))
        _tell(document, (name,), found, complaints)
        return {(name, ""): frozenset(("",))} if found else {}
    broken: dict[tuple[str, str], frozenset[str]] = {}
    entry_schema = schema.get("additionalProperties", True)
    if name == "providers":  # settings are judged with those of the type, once references are replaced
        entry_schema = {"type": ["object", "null"]}
    names = {"propertyNames": schema.get("propertyNames", True)}
    _tell(document, (name,), _findings(dict.fromkeys(value), names, document.schema, False), complaints)
    check = compile_check(entry_schema, document.schema, templates=templates)
    for key, entry in value.items():
        if isinstance(entry, str) or not _passes(check, entry):
            found = _explained(entry, entry_schema, document.schema, templates and not isinstance(entry, str))
            _tell(document, (name, key), found, complaints)
            if found:
                broken[name, key] = frozenset(str(finding.path[0]) if finding.path else "" for finding in found)
    return broken


def _passes(check: Check, value: Json) -> bool:
    try:
        return check(value)
    except Unsure:
        return False


def _findings(value: Json, schema: Json, root: Mapping[str, Json], templates: bool) -> tuple[Finding, ...]:
    if _passes(compile_check(schema, root, templates=templates), value):
        return ()
    return _explained(value, schema, root, templates)


def _explained(value: Json, schema: Json, root: Mapping[str, Json], templates: bool) -> tuple[Finding, ...]:
    return explain(value, {"$defs": root.get("$defs", {}), **schema}, templates=templates)


def _tell(document: Document, base: tuple[Part, ...], findings: tuple[Finding, ...], complaints: Complaints) -> None:
    for finding in findings:
        path = (*base, *finding.path)
        span = document.spans.key(path) if finding.at_key else document.spans.at(path)
        address = str(path[1]) if len(path) > 1 and path[0] == "deployments" else None
        provider = str(path[1]) if len(path) > 1 and path[0] == "providers" else None
        hint = finding.hint
        if base[0] in _STATIC and "${" in finding.found:
            hint = "a reference can't stand here"
        if address and len(finding.path) == 1 and finding.at_key and base == ("deployments", address):
            hint = _belongs(document, address, str(path[-1]), hint)
        prefix = base[2:] if address or provider else base
        complaints.finding(replace(finding, hint=hint), span, prefix=prefix, address=address, provider=provider)


def _belongs(document: Document, key: str, name: str, hint: str) -> str:
    """The hint for an unknown key of a deployment: attributes of the model belong under `spec`."""
    body = document.data["deployments"][key]
    known = document.schema.get("$defs", {}).get("deployment", {}).get("properties", {})
    if hint.startswith("did you mean") or not isinstance(body, dict) or name in known:
        return hint
    return f"attributes of the model stand under `spec:`; {hint}"
