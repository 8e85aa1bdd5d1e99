"""The plan as a value, and what comes of it: actions, changes, drift, events, outcomes; frozen, without behaviour.

Nothing here does anything: a plan is data, so that it can be printed, saved, reviewed, compared and carried out later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.diagnostics import Diagnostic
from reconciler.model import Desired, Health, Json, RecordedProvider, State

ActionKind = Literal["deploy", "scale", "update", "replace", "undeploy", "adopt", "forget", "none"]
DriftClass = Literal["changed", "missing", "unmanaged", "unreadable", "not_compared"]

# --- the plan ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One attribute path. `before` is the live value, None where there is none; values are None when `sensitive`."""

    path: str
    before: Json
    after: Json
    sensitive: bool = False
    unknown: bool = False
    forces_replacement: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Money per hour in one currency; None where no price is known (never guessed, never zero)."""

    before: float | None
    after: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class CostTotal:
    """Per currency: hourly sums over what is known, and how many deployments have no price."""

    before: float
    after: float
    currency: str
    unknown_before: int = 0
    unknown_after: int = 0


@dataclass(frozen=True, slots=True)
class Expected:
    """What the planner saw live for one address: the base against which an apply checks staleness.

    `attributes` are the managed ones, sensitive values as digests.
    """

    exists: bool
    id: str | None = None
    identities: tuple[str, ...] = ()
    attributes: Mapping[str, Json] = field(default_factory=dict)
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What the plan does to one deployment. `desired` is None for undeploy and forget.

    `may` is True where an unknown value decides at apply time whether anything is sent at all. `source` is the
    address in the state before a move.
    """

    address: str
    provider: str
    action: ActionKind
    reason: str
    id: str | None = None
    name: str = ""
    depends_on: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    hourly_cost: Cost | None = None
    desired: Desired | None = None
    expected: Expected = Expected(exists=False)
    create_first: bool = False
    may: bool = False
    generation: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateChange:
    """What an apply would only write down. `path` is an attribute path or the name of a flag."""

    address: str
    kind: str
    path: str
    before: Json
    after: Json


@dataclass(frozen=True, slots=True)
class Drift:
    address: str
    kind: DriftClass
    path: str
    expected: Json
    live: Json
    sensitive: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unmanaged:
    provider: str
    id: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Refusal:
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """The planning options of one run, as typed."""

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    destroy: bool = False
    refresh_only: bool = False
    allow_undeploys: int | None = None
    allow_empty: tuple[str, ...] = ()
    accept_endpoint: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan as a value: everything a renderer, a guard and the applier need, and nothing that does anything.

    `actions` are in execution order and hold every address, `none` included. `notes` are told to the reader beside
    the plan; `looked_at` names the providers contacted, `skipped` what was left out by targets.
    """

    stack: str
    lineage: str | None
    serial: int
    actions: tuple[Action, ...] = ()
    state_changes: tuple[StateChange, ...] = ()
    drift: tuple[Drift, ...] = ()
    unmanaged: tuple[Unmanaged, ...] = ()
    unreadable: tuple[Diagnostic, ...] = ()
    refused: tuple[Refusal, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    notes: tuple[str, ...] = ()
    costs: tuple[CostTotal, ...] = ()
    outputs: Mapping[str, Json] = field(default_factory=dict)
    moved: tuple[tuple[str, str], ...] = ()
    looked_at: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    ignored: int = 0
    options: PlanOptions = PlanOptions()
    providers: Mapping[str, RecordedProvider] = field(default_factory=dict)
    sandbox: bool = False
    secret_digests: Mapping[str, str] = field(default_factory=dict)  # of a saved plan: template -> digest
    managed: int = 0  # of a drift report: how many deployments the state holds


# --- the apply --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event stream; fields that do not apply are None. `interrupted`: a `failed` one that was stopped
    by a signal."""

    event: Literal["started", "progress", "done", "failed", "skipped"]
    address: str
    action: ActionKind
    step: str | None = None
    id: str | None = None
    status: str | None = None
    health: Health | None = None
    error: str | None = None
    elapsed: float | None = None
    interrupted: bool = field(default=False, metadata={"json": False})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one action ended. `result` `unchanged`: an unknown value turned out equal to live, nothing was sent."""

    address: str
    action: ActionKind
    result: Literal["done", "unchanged", "failed", "skipped", "interrupted"]
    elapsed: float = 0.0
    error: Diagnostic | None = None
    id: str | None = None
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The end of an apply: one outcome an action other than `none`, and the state as it was left."""

    outcomes: tuple[Outcome, ...]
    state: State
    outputs: Mapping[str, Json] = field(default_factory=dict)
    interrupted: bool = False
