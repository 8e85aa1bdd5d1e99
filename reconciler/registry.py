"""Finds provider types: those that ship here, by their schema files, and others by entry point `reconciler.providers`.

Adding a provider edits nothing here. A module is imported only when a file or a state names its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import cast

from reconciler.core.schemas.schema import ProviderSchema, compile_schema
from reconciler.diagnostics import Diagnostic, FileError
from reconciler.edge.schemas import provider_types, read_schema
from reconciler.provider import ProviderType

ENTRY_POINTS = "reconciler.providers"


@dataclass(frozen=True, slots=True)
class Registry:
    """The provider types that one run needs, with their compiled schemas; keys are type names."""

    types: Mapping[str, ProviderType]
    schemas: Mapping[str, ProviderSchema]
    documents: Mapping[str, Mapping[str, object]]


def known_types() -> tuple[str, ...]:
    """Names of all provider types that can be used, sorted."""
    return tuple(sorted({*provider_types(), *_plugins()}))


def registry(names: Iterable[str]) -> Registry:
    """Load the named types that exist; unknown names are left to the validation of the file."""
    asked = set(names)
    known = set(provider_types())
    if asked - known:  # entry points cost milliseconds: asked only for a name that is not ours
        known |= set(_plugins())
    wanted = sorted(asked & known)
    documents = {name: _document(name) for name in wanted}
    return Registry(
        types={name: _module_type(name) for name in wanted},
        schemas={name: compile_schema(documents[name]) for name in wanted},
        documents=documents,
    )


def documents(names: Iterable[str] | None = None) -> dict[str, Mapping[str, object]]:
    """The schema documents of the named (default: all) provider types."""
    return {name: _document(name) for name in (known_types() if names is None else names)}


def _document(name: str) -> Mapping[str, object]:
    if name in provider_types():
        return cast("Mapping[str, object]", read_schema(f"providers/{name}"))
    return cast("Mapping[str, object]", import_module(_plugins()[name]).SCHEMA)


def _module_type(name: str) -> ProviderType:
    ours = name in provider_types()
    module = import_module(f"reconciler.providers.{name}" if ours else _plugins()[name])
    found = getattr(module, "PROVIDER", None)
    if found is None:
        raise FileError(Diagnostic(f"the provider package for {name!r} has no PROVIDER", detail=module.__name__))
    return cast(ProviderType, found)


@cache
def _plugins() -> Mapping[str, str]:
    """Type name to module of providers shipped by other packages; ours win."""
    from importlib.metadata import entry_points

    ours = set(provider_types())
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS) if point.name not in ours}
