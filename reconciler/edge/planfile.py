"""Saved plans and reports on disk: written whole and private, read with a bound on their size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.diagnostics import Diagnostic, FileError
from reconciler.edge.files import write_whole

LARGEST = 512 * 1024 * 1024  # bytes; a plan of 100,000 deployments is a tenth of it


def write_plan(path: Path, document: Mapping[str, Any]) -> None:
    """Write a plan file (mode 0600, replaced whole). Raises StateError where the disk refuses."""
    # half a surrogate pair, which no encoding has, becomes the escape that JSON has for it
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    write_whole(path, text.encode(errors="backslashreplace"))


def write_text(path: Path, text: str) -> None:
    """Write a report whole, so that no reader (a metrics collector) ever sees half of it."""
    write_whole(path, text.encode(errors="replace"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. A key given twice is refused: what a reviewer's tool shows would not be what is carried out."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def read_plan(path: Path) -> dict[str, Any]:
    """A plan file as plain JSON, not trusted yet. Raises FileError with what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)  # a device or a pipe has no size to ask for
        if len(data) > LARGEST:
            raise FileError(Diagnostic(f"{path} is too large for a plan file"))
        document = json.loads(data, object_pairs_hook=_unique)
    except OSError as error:
        raise FileError(
            Diagnostic(
                f"can't read the plan file {path}",
                detail=error.strerror or "",
                hint="to make one: reconciler plan --out FILE",
            )
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileError(
            Diagnostic(f"{path} is not a plan file", detail=f"not JSON: {error}", hint="reconciler plan --out FILE")
        ) from error
    if not isinstance(document, dict):
        raise FileError(Diagnostic(f"{path} is not a plan file", hint="reconciler plan --out FILE writes one"))
    return document
