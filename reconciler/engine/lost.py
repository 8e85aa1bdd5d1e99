"""A creating call whose answer was lost: look for what it made, and repeat it only once it can't come any more.

The order: one early look (most answers are lost on the way back); the request's timeout; two looks with a pause. Found
by any look: ours, if it agrees. Absent in both late ones: the call is sent again under the same intent.
"""

from __future__ import annotations

from typing import Protocol

from reconciler.diagnostics import Diagnostic
from reconciler.engine.job import Lost, Step
from reconciler.engine.lane import Request
from reconciler.engine.scheduler import Owner
from reconciler.model import Live
from reconciler.provider import Call, Conflict, ProviderError, Reply

EARLY = 0.5
PAUSE = 2.0
LOOKS = 2


class Rules(Protocol):
    """How the step goes on once it is known what became of its call (`engine/operate.py`)."""

    def take(self, step: Step, reply: Reply) -> None: ...
    def send(self, step: Step, call: Call) -> None: ...
    def agrees(self, step: Step, live: Live) -> list[str]: ...
    def fail(self, step: Step, error: Diagnostic) -> None: ...
    def refuse(self, step: Step, error: Diagnostic) -> None: ...
    def interrupt(self, step: Step) -> None: ...


class Finder:
    """Looks for what lost calls made. Keeps nothing itself: what it knows is in the step."""

    def __init__(self, owner: Owner, rules: Rules) -> None:
        self._owner, self._rules = owner, rules

    def lost(self, step: Step, error: Diagnostic) -> None:
        """The answer of the step's open intent did not come."""
        if self._owner.stopping:
            self._rules.interrupt(step)
            return
        now = self._owner.now()
        step.lost = Lost(now, error)
        step.status = f"the answer was lost, looking for what came of it ({error.summary})"
        self._owner.progress(step)
        self._look_at(step, now + EARLY)

    def refused(self, step: Step, error: Diagnostic) -> None:
        """A repeated call was refused; what the first one made may be the reason, so look once more."""
        step.lost = Lost(self._owner.now(), error, refused=True)
        self._look_at(step, self._owner.now())

    def found(self, step: Step, value: Reply | Conflict | None) -> None:
        """What a look for it gave."""
        lost = step.lost
        if lost is None:
            return
        if isinstance(value, Reply):
            self._ours(step, value)
        elif isinstance(value, Conflict):
            self._rules.fail(step, conflict(step, value.message, value.id))
        elif self._owner.stopping:
            self._rules.interrupt(step)
        else:
            self._absent(step, lost)

    def not_told(self, step: Step, error: ProviderError) -> None:
        """A look failed: it says nothing, so it is made again, until the action's time is up."""
        if self._owner.stopping:
            self._rules.interrupt(step)
            return
        step.status = f"the answer was lost, and looking for it failed: {error.message}"
        self._owner.progress(step)
        self._look_at(step, self._owner.now() + PAUSE)

    def _ours(self, step: Step, reply: Reply) -> None:
        intent = step.intent
        differs = self._rules.agrees(step, reply.live) if reply.live is not None else []
        if differs:
            self._rules.fail(step, conflict(step, f"it differs in {', '.join(differs)}", reply.id))
        elif intent is not None and not intent.memo.get("lacked"):
            self._rules.fail(step, conflict(step, "one of that name was there before", reply.id))
        else:
            self._rules.take(step, reply)

    def _absent(self, step: Step, lost: Lost) -> None:
        if lost.refused:
            self._rules.refuse(step, lost.error)
            return
        now, certain = self._owner.now(), lost.since + step.lane.timeout
        if now < certain:
            self._look_at(step, certain)
            return
        lost.absent += 1
        if lost.absent < LOOKS:
            self._look_at(step, now + PAUSE)
        elif step.call is not None:
            step.lost, step.intent_sent, step.repeated = None, False, True
            step.status = "the answer was lost and nothing came of it; sent again"
            self._rules.send(step, step.call)

    def _look_at(self, step: Step, when: float) -> None:
        step.turn += 1
        turn = step.turn

        def look() -> None:
            if step.phase == "running" and step.turn == turn:
                self._owner.ask(Request("find", step.lane, step, step.call, turn))

        self._owner.at(when, look)


def conflict(step: Step, message: str, id_: str | None) -> Diagnostic:
    """Something is there that may or may not be what we sent; only a person can tell."""
    take = f"`reconciler import {step.address} {id_}` takes it over" if id_ else "import takes it over"
    return Diagnostic(
        summary=f"{step.name}: the answer was lost, and what is there can't be shown to be ours: {message}",
        address=step.address,
        provider=step.lane.key,
        detail=f"Its id is {id_}." if id_ else "",
        hint=f"{take}; or undeploy it at the provider, and the next apply deploys {step.address} anew",
    )
