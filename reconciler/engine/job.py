"""What the owner remembers of each action under way. Plain mutable records of one thread; no rules here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.diagnostics import Diagnostic
from reconciler.engine.graph import Node
from reconciler.engine.lane import Lane
from reconciler.model import Desired, Health, Intent, Live, Probe, Recorded
from reconciler.plan import Action
from reconciler.provider import Call, Operation

Result = Literal["done", "unchanged", "failed", "skipped", "interrupted"]


@dataclass(slots=True, eq=False)
class Job:
    """One action of the plan and its one or two steps.

    `spec` is what is wanted, resolved, as a value tree (secrets still marked); None until the first step needs it, and
    on undeploy. `removed` is the id that this action has undeployed already, `left` what the provider still showed of
    it (asleep) then, `left_at` the provider key. Of a create-first replace: `aside` is where in the state the old
    deployment goes once something of the new one is known, `old` is its record until then.
    """

    action: Action
    steps: int = 1
    started: float | None = None
    desired: Desired | None = None
    result: Result | None = None
    error: Diagnostic | None = None
    elapsed: float = 0.0
    removed: str | None = None
    left: Live | None = None
    left_at: str | None = None
    old: Recorded | None = None
    aside: str = ""
    id: str | None = None
    health: Health | None = None


@dataclass(slots=True, eq=False)
class Lost:
    """A creating call whose answer did not come: when that was, and how many looks lacked what it makes since the
    provider can no longer be working on it. `refused`: the call was repeated and refused, which may mean that the first
    one landed after all."""

    since: float
    error: Diagnostic
    absent: int = 0
    refused: bool = False


@dataclass(slots=True, eq=False)
class Probing:
    """A deployment that is ready and was not seen to answer yet: its probe, until when (monotonic) it is tried, and how
    often it was."""

    probe: Probe
    until: float
    tries: int = 0


@dataclass(slots=True, eq=False)
class Step:
    """One step under way.

    `record`: where in the state its deployment stands (a create-first replace keeps the old one aside). `first`: no
    step of the same action comes before it. `begun`: RFC 3339, for the record. `turn` goes up with everything asked of
    a provider for it, so that late answers are known. `leaving`: it waits until something on its way out is gone;
    `rereading`: it looks whether a failed deployment has recovered, or waits for that. `touched`: some call did
    something, or may have. `intent` is on disk and open; `intent_sent`: its request may have reached the provider;
    `repeated`: it is the second try of a call whose answer was lost.
    """

    node: Node
    job: Job
    lane: Lane
    record: str
    first: bool = True
    phase: Literal["blocked", "running", "over"] = "blocked"
    op: Operation | None = None
    prior: Recorded | None = None
    begun: str = ""
    started: float = 0.0
    deadline: float = 0.0
    limit: float = 0.0
    turn: int = 0
    calls: int = 0
    asking: Literal["no", "queued", "flying"] = "no"
    leaving: bool = False
    rereading: bool = False
    touched: bool = False
    call: Call | None = None
    intent: Intent | None = None
    intent_id: str = ""
    intent_sent: bool = False
    repeated: bool = False
    lost: Lost | None = None
    probing: Probing | None = None
    status: str = ""
    health: Health | None = None
    told: float = 0.0
    blocked_by: str | None = None

    @property
    def address(self) -> str:
        return self.node.action.address

    @property
    def operation(self) -> Operation:
        """The operation of a step that has one; asking before it began is a bug."""
        if self.op is None:
            raise RuntimeError(f"{self.address}: no operation yet")
        return self.op

    @property
    def label(self) -> str | None:
        """The step's name in events: only a replace has several."""
        return self.node.name if self.node.action.action == "replace" else None

    @property
    def name(self) -> str:
        """For sentences: `chat`, or `chat (undeploy)` within a replace."""
        return f"{self.address} ({self.label})" if self.label else self.address
