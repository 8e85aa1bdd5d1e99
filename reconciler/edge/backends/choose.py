"""From the `state:` section of a desired-state file to the backend that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.diagnostics import Diagnostic, FileError
from reconciler.edge.backends.base import Backend
from reconciler.edge.environment import Environment
from reconciler.edge.store import LocalStore
from reconciler.model import Json

DEFAULT_PATH = "state"
SANDBOX = "sandbox"
_BACKENDS = ("local",)


def open_backend(
    config: Mapping[str, Json] | None, base_folder: Path, stack: str, env: Environment, *, sandbox: bool = False
) -> Backend:
    """The backend of one stack. `config` is the `state:` section (None: `{backend: local, path: state}`); a relative
    path starts at `base_folder`, the folder of the desired-state file. With `sandbox`, a state and lock of its own
    below it. Touches no file. Raises FileError for a section that names no backend, StateError for a bad stack name.
    """
    kind = (config or {}).get("backend", "local")
    if kind not in _BACKENDS:
        import difflib

        near = difflib.get_close_matches(str(kind), _BACKENDS, n=1)
        raise FileError(
            Diagnostic(
                summary=f"there is no state backend {str(kind)!r}",
                detail=f"Expected one of: {', '.join(_BACKENDS)}.",
                hint=f"did you mean `backend: {near[0]}`?" if near else "leave `backend` out for the local one",
            )
        )
    home = state_folder(config, base_folder)
    return LocalStore(home / SANDBOX if sandbox else home, stack, env, home=home)


def state_folder(config: Mapping[str, Json] | None, base_folder: Path) -> Path:
    """The folder of the local state; the sandbox keeps its data in `sandbox/` below it. Raises FileError."""
    path = (config or {}).get("path", DEFAULT_PATH)
    if type(path) is not str or not path or "\0" in path:
        raise FileError(
            Diagnostic(summary="`state.path` is not the path of a folder", hint=f"for example: path: {DEFAULT_PATH}")
        )
    return base_folder / path
