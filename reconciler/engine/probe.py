"""Ready means that it answers: a deployment with a probe is done once the probe is answered. Decides what comes of each
try; where a probe goes, and how, is the provider's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from reconciler.core.schemas.probe import answers, expected
from reconciler.core.values.duration import text as duration
from reconciler.core.values.tree import marks
from reconciler.diagnostics import Diagnostic, ReconcilerError
from reconciler.edge.scrub import Scrubber
from reconciler.engine.graph import Node
from reconciler.engine.job import Probing, Step
from reconciler.engine.lane import Request
from reconciler.engine.scheduler import Owner
from reconciler.model import Live, Recorded, Secret
from reconciler.provider import Probed, ProviderError
from reconciler.provider import Probing as ProbingProvider

EXCERPT = 300  # characters of an answer's body that an error quotes


def is_probed(node: Node, prior: Recorded | None) -> bool:
    """Whether this step ends with a probe: it deploys, or goes on with a deploy that was not done."""
    desired = node.action.desired
    if desired is None or desired.probe is None or node.name == "undeploy":
        return False
    pending = prior.pending if prior is not None else None
    return node.name == "deploy" or (pending is not None and pending.verb == "deploy")


def refuse_unable(steps: Iterable[Step], recorded: Mapping[str, Recorded]) -> None:
    """Raises ReconcilerError, before anything is sent, with every deployment whose probe can't be made from here."""
    problems: list[Diagnostic] = []
    for step in steps:
        if not is_probed(step.node, recorded.get(step.record)):
            continue
        provider, address = step.lane.provider, step.address
        problem = provider.probe_problem() if isinstance(provider, ProbingProvider) else None
        if problem is not None:
            summary = f"{address} can't be probed: {problem.message}"
            problems.append(Diagnostic(summary, address=address, provider=step.lane.key, hint=problem.hint))
        elif not isinstance(provider, ProbingProvider):
            summary = f"{address} can't be probed: its provider type has no way to ask"
            problems.append(Diagnostic(summary, address=address, provider=step.lane.key, hint="take `probe` out"))
    if problems:
        raise ReconcilerError(*problems)


class Rules(Protocol):
    """How the step goes on (`engine/operate.py`)."""

    def done(self, step: Step, live: Live | None) -> None: ...
    def fail(self, step: Step, error: Diagnostic) -> None: ...
    def interrupt(self, step: Step) -> None: ...
    def keep(self, step: Step, cause: str) -> None: ...


class Prober:
    """Probes what is ready. Keeps nothing itself: what it knows is in the step."""

    def __init__(self, owner: Owner, rules: Rules) -> None:
        self._owner, self._rules = owner, rules

    def begin(self, step: Step, live: Live) -> None:
        """The provider says that it is ready: record that, then ask it."""
        desired = step.job.action.desired
        assert desired is not None
        assert desired.probe is not None
        step.op = replace(step.operation, live=live)
        step.status, step.health = live.status, live.health
        probing = step.probing = Probing(desired.probe, self._owner.now() + desired.probe.timeout)
        step.lane.waiting.pop(step.address, None)
        self._rules.keep(step, "ready, but its probe was not answered yet")
        if self._owner.stopping:
            self._rules.interrupt(step)
        else:
            self._owner.at(probing.until + step.lane.timeout, lambda: self._give_up(step, probing))
            self._ask(step)

    def _give_up(self, step: Step, probing: Probing) -> None:
        """A provider that lets no request through (throttled without end) must not hold the step for ever."""
        if step.phase == "running" and step.probing is probing:
            self._rules.fail(step, _no_answer(step, probing, "it could not be asked"))

    def answered(self, step: Step, probed: Probed) -> None:
        """Something came back."""
        probing = step.probing
        if probing is None:
            return
        if answers(probing.probe, probed.status):
            step.probing = None
            self._rules.done(step, step.operation.live)
            return
        text = self._scrubber(step).clean(probed.text, EXCERPT)
        what = f"{probed.request} gave {probed.status} after {probed.seconds:.2f} s"
        self._again(step, probing, what, f": {text}" if text else "")

    def unanswered(self, step: Step, error: ProviderError) -> None:
        """Nothing came back."""
        if step.probing is not None:
            self._again(step, step.probing, self._scrubber(step).clean(error.message, 2 * EXCERPT), "")

    def _again(self, step: Step, probing: Probing, what: str, text: str) -> None:
        probing.tries += 1
        live = step.operation.live
        step.status = f"{live.status if live is not None else 'ready'}, not answering yet: {what}"
        now = self._owner.now()
        if self._owner.stopping:
            self._rules.interrupt(step)
        elif now >= probing.until:
            self._rules.fail(step, _no_answer(step, probing, what + text))
        else:
            self._owner.progress(step)
            turn = step.turn
            self._owner.at(
                min(now + probing.probe.interval, probing.until),
                lambda: self._ask(step) if step.phase == "running" and step.turn == turn else None,
            )

    def _ask(self, step: Step) -> None:
        step.turn += 1
        self._owner.ask(Request("probe", step.lane, step, None, step.turn))

    def _scrubber(self, step: Step) -> Scrubber:
        """Hides the secrets of the deployment's own spec, which a model or a connector may echo; the provider has
        hidden its credentials."""
        spec = step.job.desired.spec if step.job.desired is not None else {}
        texts = [str(mark.value) for mark in marks(spec) if isinstance(mark, Secret)]
        return Scrubber([*texts, *(text.rpartition(" ")[2] for text in texts)])  # `Bearer …` without its scheme too


def _no_answer(step: Step, probing: Probing, last: str) -> Diagnostic:
    probe = probing.probe
    times = {0: "without an answer", 1: "once"}.get(probing.tries, f"{probing.tries} times")
    return Diagnostic(
        summary=f"{step.name} is ready but does not answer: {last}",
        address=step.address,
        provider=step.lane.key,
        detail=f"Asked {times} within {duration(probe.timeout)}, expected {expected(probe)}. It stays in the state as "
        "pending, and the next apply probes it again.",
        hint=f"is the probe right for this model? A longer time is set under probe: timeout of {step.address}",
    )
