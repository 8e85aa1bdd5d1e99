"""Finds the JSON Schemas that ship with the program: beside the package in a wheel, above it in a checkout."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.diagnostics import Diagnostic, FileError

_PACKAGE = Path(__file__).resolve().parent.parent
_SUFFIX = ".schema.json"


def read_schema(name: str) -> dict[str, Any]:
    """One schema by its name without suffix: `desired-state.v1`, `providers/nugen`. Raises FileError without it."""
    path = _folder() / f"{name}{_SUFFIX}"
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileError(
            Diagnostic(f"the schema {name!r} can't be read: this installation is damaged", detail=str(error))
        ) from None
    return document


def provider_types() -> tuple[str, ...]:
    """The provider types that ship here, by their schema files, sorted."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in (_folder() / "providers").glob(f"*{_SUFFIX}")))


@cache
def _folder() -> Path:
    packaged = _PACKAGE / "schemas"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "schemas"
