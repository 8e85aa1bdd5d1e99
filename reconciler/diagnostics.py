"""How we complain: places, diagnostics, and error classes that own their exit code.

This module knows nothing of providers, files or terminals; every other module may import it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One complaint, written for the reader of a CI log: what, where, why, what to do next.

    `summary` is one line without a final full stop. `detail` says what was found and what was expected, `hint` what
    to do next (a command that can be pasted where there is one). `related` names further places.
    """

    summary: str
    severity: Severity = "error"
    span: Span | None = None
    address: str | None = None
    provider: str | None = None
    request_id: str | None = None
    detail: str = ""
    hint: str = ""
    related: tuple[tuple[str, Span], ...] = field(default=())


class ReconcilerError(Exception):
    """Base of everything that a user or a provider can cause. Never shown as a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(d.summary for d in diagnostics))
        self.diagnostics = diagnostics


class UsageError(ReconcilerError):
    """The command line is wrong."""

    exit_code = 64


class FileError(ReconcilerError):
    """The desired-state file, a variable file or a plan file is wrong."""


class StateError(ReconcilerError):
    """The state can't be read, written or trusted."""


class RefusedError(ReconcilerError):
    """A guard or limit refuses the plan; nothing was changed."""


class PlanConflictError(ReconcilerError):
    """A plan can't be made: e.g. a declared deployment exists already and is not in the state."""


class IncompleteError(ReconcilerError):
    """An apply ended early or in part; the state tells the truth."""

    exit_code = 3


class StaleError(ReconcilerError):
    """The plan file no longer fits the world; nothing was changed."""

    exit_code = 4


class LockedError(ReconcilerError):
    """The state is locked by someone else."""

    exit_code = 5
