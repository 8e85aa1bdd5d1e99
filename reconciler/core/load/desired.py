"""A loaded document to a Stack: variables in, `for_each` expanded, defaults merged, everything checked at once.

Nothing here reads a file, asks a provider or knows one by name. Every entry point raises FileError with all errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from reconciler.core.load.complaints import Complaints
from reconciler.core.load.deployments import DeploymentBuilder
from reconciler.core.load.interpolation import Interpolator
from reconciler.core.load.linking import Linker, check_identities, spread_sensitivity
from reconciler.core.load.provider_section import ProviderSection
from reconciler.core.load.sections import Sections
from reconciler.core.load.source import Document
from reconciler.core.load.structure import Broken, check_header, check_structure
from reconciler.core.load.variables import Inputs, Variables
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.values.bulk import collector_paused
from reconciler.core.values.references import BadReferenceError, Reference, references
from reconciler.core.values.words import did_you_mean
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.model import Desired, Json, ProviderConfig, Stack
from reconciler.provider import ProviderType

__all__ = ["Header", "Inputs", "build_stack", "load_providers_only", "read_header", "secret_lookup"]


@dataclass(frozen=True, slots=True)
class Header:
    """What finds the state: the stack's name, the backend and the folder as written (relative to the file)."""

    stack: str
    backend: str = "local"
    path: str = "state"


def read_header(document: Document) -> Header:
    """The stack's name and where its state is. Needs no variable and looks at nothing else in the file."""
    complaints = Complaints()
    check_header(document, complaints)
    complaints.raise_errors()
    state = document.data.get("state") or {}
    return Header(document.data["stack"], state.get("backend", "local"), state.get("path", "state"))


def build_stack(
    document: Document,
    *,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    inputs: Inputs,
    known_types: Collection[str] = (),
) -> Stack:
    """The whole file as a Stack, deployments by address, sorted. `known_types` only help to spell a type's name.

    Raises FileError with every error of the file: each with place, address, what was found and what was expected.
    """
    with collector_paused():
        return _build(document, schemas, types, inputs, known_types)


def _build(
    document: Document,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    inputs: Inputs,
    known_types: Collection[str],
) -> Stack:
    complaints = Complaints(errors=list(document.problems))
    broken = check_structure(document, complaints)
    variables = Variables(document, inputs, complaints, broken.entries("variables"))
    variables.check_all()
    interpolator = Interpolator(variables, complaints)
    section = ProviderSection(document, schemas, types, interpolator, complaints, known_types)
    providers = section.build(broken.entries("providers"))
    stack = document.data.get("stack")
    builder = DeploymentBuilder(
        document=document,
        providers=providers,
        broken_providers=frozenset(section.broken),
        schemas=schemas,
        types=types,
        interpolator=interpolator,
        complaints=complaints,
        stack=stack if isinstance(stack, str) else "",
        defaults=_defaults(document, {*providers, *section.broken}, broken, complaints),
    )
    entries = document.entries("deployments")
    built: dict[str, Desired] = {}
    for key in sorted(entries):
        body = broken.usable("deployments", key, entries[key])
        if body is not None and "provider" in body:
            for desired in builder.build(key, body):
                built[desired.address] = desired
    sections = Sections(document, interpolator, complaints, broken)
    outputs = sections.outputs()
    linker = Linker(
        document, built, builder.looped, schemas, complaints, builder.explicit, frozenset(builder.attempted)
    )
    built = linker.link(interpolator.uses)
    check_identities(built, providers, types, complaints)
    moved, removed = sections.moved(built, entries), sections.removed(built, entries)
    limits = sections.limits()
    complaints.raise_errors()
    outputs = spread_sensitivity(built, outputs)
    sections.refuse_sensitive_outputs(outputs)
    complaints.raise_errors()
    return Stack(
        name=document.data["stack"],
        providers={key: providers[key] for key in sorted(providers)},
        deployments=built,
        moved=moved,
        removed=removed,
        outputs=outputs,
        limits=limits,
        warnings=tuple(complaints.warnings),
    )


def load_providers_only(
    document: Document,
    *,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    inputs: Inputs,
    known_types: Collection[str] = (),
) -> Mapping[str, ProviderConfig]:
    """The `providers:` section alone, as `apply PLANFILE` needs it: only variables that it uses must have a value.

    Raises FileError for what is wrong in that section.
    """
    complaints = Complaints()
    check_header(document, complaints)
    found = Complaints()
    broken = check_structure(document, found)
    keys = broken.entries("providers")
    complaints.errors += [error for error in found.errors if error.provider is not None]
    variables = Variables(document, inputs, complaints, broken.entries("variables"))
    interpolator = Interpolator(variables, complaints)
    section = ProviderSection(document, schemas, types, interpolator, complaints, known_types)
    providers = section.build(keys)
    complaints.raise_errors()
    return {key: providers[key] for key in sorted(providers)}


def secret_lookup(document: Document, inputs: Inputs) -> Callable[[str], Json]:
    """A function from the text of a reference (`env.HF_TOKEN`, `var.admin_password`) to its value now.

    It gives a Secret for what is sensitive and raises FileError where the value is missing: a plan file is filled in
    with it.
    """
    complaints = Complaints()
    variables = Variables(document, inputs, complaints, frozenset())

    def find(text: str) -> Json:
        before = len(complaints.errors)
        try:
            parsed = references(text if "${" in text else f"${{{text}}}")
            value = variables.lookup(_one(parsed, text))
        except BadReferenceError as error:
            raise FileError(Diagnostic(error.summary, hint=error.hint)) from None
        if len(complaints.errors) > before:
            raise FileError(*complaints.errors[before:])
        return value

    return find


def _one(found: tuple[Reference, ...], text: str) -> Reference:
    if len(found) != 1 or found[0].kind not in ("env", "var"):
        raise BadReferenceError(f"{text} is no reference to a variable or the environment")
    return found[0]


def _defaults(
    document: Document, providers: set[str], broken: Broken, complaints: Complaints
) -> dict[str, Mapping[str, Json]]:
    """What `defaults:` says by provider key; a key that no provider has would do nothing, so it is an error."""
    found: dict[str, Mapping[str, Json]] = {}
    for key, entry in document.entries("defaults").items():
        if key not in providers:
            complaints.error(
                f"`defaults.{key}` names no provider of this file",
                document.spans.key(("defaults", key)),
                hint=did_you_mean(key, providers, what="declared"),
            )
        usable = broken.usable("defaults", key, entry)
        if usable:
            found[key] = usable
    return found
