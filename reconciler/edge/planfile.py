"""Saved plans and reports on disk: written whole and private, read with a bound on their size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.diagnostics import Diagnostic, FileError
from reconciler.edge.files import write_whole

LARGEST = 512 * 1024 * 1024  # bytes; a plan of 100,000 deployments is a tenth of it


def write_plan(path: Path, document: Mapping[str, Any]) -> None:
    """Write a plan file (mode 0600, replaced whole). Raises StateError where the disk refuses."""
    write_whole(path, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """Write a report whole, so that no reader (a metrics collector) ever sees half of it."""
    write_whole(path, text.encode())


def read_plan(path: Path) -> dict[str, Any]:
    """A plan file as plain JSON, not trusted yet. Raises FileError with what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            raise FileError(Diagnostic(f"{path} is too large for a plan file"))
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise FileError(
            Diagnostic(
                f"can't read the plan file {path}",
                detail=error.strerror or "",
                hint=f"to make one: reconciler plan --out {path.name}",
            )
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileError(
            Diagnostic(f"{path} is not a plan file", detail=f"not JSON: {error}", hint="reconciler plan --out FILE")
        ) from error
    if not isinstance(document, dict):
        raise FileError(Diagnostic(f"{path} is not a plan file", hint="reconciler plan --out FILE writes one"))
    return document
