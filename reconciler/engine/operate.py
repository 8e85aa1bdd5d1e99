"""The rules of one operation: what the adapter's `next` says is done, and what came of it is written down.

Runs on the owner thread; every request goes out through the scheduler. Deciding what to do with a lost answer is
`engine/lost.py`'s, beginning a step `engine/begin.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, cast

from reconciler.core.state.aside import displaces, put_aside
from reconciler.core.values.duration import text as duration
from reconciler.diagnostics import Diagnostic
from reconciler.engine.begin import Beginner
from reconciler.engine.fetch import about
from reconciler.engine.job import Probing, Step
from reconciler.engine.lane import Request
from reconciler.engine.lost import Finder
from reconciler.engine.probe import Prober, is_probed
from reconciler.engine.scheduler import Owner
from reconciler.engine.trouble import internal
from reconciler.engine.values import agrees
from reconciler.engine.world import World
from reconciler.model import HEALTH_KIND, Health, Intent, Json, Live, Recorded
from reconciler.provider import (
    AccessError,
    Call,
    Conflict,
    Done,
    Failed,
    Next,
    Operation,
    Probed,
    ProviderError,
    Reply,
    Wait,
)
from reconciler.provider import Probing as ProbingProvider

_MOST_CALLS = 100  # of one operation; more is an adapter that never ends
_REFUSED_LOOKS = 3  # in a row, until a wait is given up


class Operate:
    """Implements `scheduler.Operator`."""

    def __init__(self, world: World, owner: Owner) -> None:
        self.world, self.owner = world, owner
        self._beginner = Beginner(world, owner, self.advance)
        self._finder = Finder(owner, self)
        self._prober = Prober(owner, self)

    # --- called by the loop -----------------------------------------------------------------------------------------
    def begin(self, step: Step) -> None:
        step.begun = self.world.clock.now()
        self._beginner.begin(step)

    def job(self, request: Request) -> Callable[[], object]:
        """The one request, for a worker: values are bound now, so that no thread reads what the owner writes."""
        provider, step = request.lane.provider, request.step
        match request.kind, step, request.call:
            case "send", Step(), Call() as call:
                return partial(provider.send, step.operation, call)
            case "find", Step(), Call() as call:
                return partial(provider.find, step.operation, call)
            case "read", Step(), _:
                return partial(provider.read, step.operation.id or "")
            case "probe", Step(probing=Probing() as probing), _:
                return partial(cast(ProbingProvider, provider).probe, step.operation, probing.probe)
            case _:
                return partial(provider.look, [waiter.operation for waiter, _ in request.waiters])

    def answer(self, request: Request, step: Step, value: object) -> None:
        """A request for this step came back."""
        if request.kind == "read":
            self._beginner.reread(step, value if isinstance(value, Live) else None)
        elif request.kind == "find":
            self._finder.found(step, value if isinstance(value, Reply | Conflict) else None)
        elif isinstance(value, Probed):
            self._prober.answered(step, value)
        elif isinstance(value, Reply):
            self.take(step, value)
        else:
            self.trouble(request, step, TypeError(f"send gave {type(value).__name__}"))

    def trouble(self, request: Request, step: Step, error: BaseException) -> None:
        """A request for this step raised."""
        if not isinstance(error, ProviderError):
            step.touched = step.touched or request.kind == "send"
            self.fail(step, internal(step, error))  # an intent stays open: nobody knows what was done
        elif request.kind == "probe":
            self._prober.unanswered(step, error)
        elif request.kind == "find":
            self._finder.not_told(step, error)
        elif request.kind == "read":
            self.fail(step, self.told(step, error))
        elif error.effect == "unknown" and step.intent is not None:
            self._finder.lost(step, self.told(step, error))
        elif step.intent is not None and step.repeated:
            self._finder.refused(step, self.told(step, error))
        else:
            step.touched = step.touched or error.effect == "unknown"
            self.refuse(step, self.told(step, error))

    def refuse(self, step: Step, error: Diagnostic) -> None:
        """A call was refused: it did nothing, and the action fails."""
        self._close(step, "refused")
        self.fail(step, error)

    def seen(self, step: Step, live: Live | None) -> None:
        """A look answered this waiting step."""
        op = step.operation
        before = step.status
        step.op = replace(op, live=live, looks=op.looks + 1)
        self._note(step, live)
        if step.leaving:
            self._beginner.left(step, live)
        elif step.rereading:
            self._beginner.reread(step, live)
        else:
            self.advance(step)
        if step.phase == "running" and step.status != before:
            self.owner.progress(step)

    def unseen(self, step: Step, error: BaseException, times: int) -> None:
        """A look failed. Waits go on until their timeout, unless the provider keeps refusing us."""
        if not isinstance(error, ProviderError):
            self.fail(step, internal(step, error))
        elif isinstance(error, AccessError) and times >= _REFUSED_LOOKS:
            self.fail(step, self.told(step, error))
        else:
            step.status = f"can't be read: {error.message}"
            self.owner.progress(step)

    def expire(self, step: Step) -> None:
        """The step's time is up. A request in flight is answered first: only then is it known what to record."""
        if step.probing is not None:
            return  # a probe has a timeout of its own
        if step.asking == "flying":
            self.owner.at(self.owner.now() + 1.0, lambda: self.expire(step) if step.phase == "running" else None)
            return
        last = f"; last seen: {step.status}" if step.status else ""
        verb = step.node.verb or "deploy"
        stays = {
            "undeploy": "it stays in the state, and the next apply undeploys it again",
            "deploy": "it stays in the state, and the next apply waits for it",
        }.get(verb, "the next plan shows what is still to do")
        if step.lost is not None:
            stays = "what became of its last request is looked up by the next run"
        elif step.operation.id is None and not step.operation.created:
            stays = "nothing of it is known at the provider"
        self.fail(
            step,
            Diagnostic(
                summary=f"{step.name} was not done within {duration(step.limit)}{last}",
                address=step.address,
                provider=step.lane.key,
                detail=stays[0].upper() + stays[1:] + ".",
                hint=f"a longer time is set under timeouts: {verb} of {step.address}",
            ),
        )

    def interrupt(self, step: Step) -> None:
        """The run is to end: record what is under way. An intent whose request is in flight stays open."""
        if step.intent is not None and not step.intent_sent:
            self._close(step, "absent")
        step.touched = step.touched or step.asking == "flying"
        summary = f"{step.name} was interrupted" + (f"; last seen: {step.status}" if step.status else "")
        how = ", without --replace," if step.address in self.world.forced else ""
        error = Diagnostic(
            summary=summary, severity="warning", address=step.address, hint=f"run the same command again{how} to go on"
        )
        self._record_unfinished(step, "interrupted", None)
        self._end(step, "interrupted", error)

    # --- an operation's next ----------------------------------------------------------------------------------------
    def advance(self, step: Step, answered: bool = False) -> None:
        """Do what the adapter says; `answered`: a call has just been answered, and what it gave is not recorded yet."""
        try:
            following = self.next(step)
        except Exception as error:  # noqa: BLE001 - an adapter's bug fails its action, not the others
            self.fail(step, internal(step, error))
            return
        goes_on = isinstance(following, Call | Wait) or self._to_probe(step, following)
        if answered and goes_on:
            self._record_unfinished(step, "", None)
        if answered and not goes_on:
            self._finish(step, following)
            self._close(step, "answered")
            return
        if answered:
            self._close(step, "answered")
        match following:
            case Call() as call:
                self.send(step, call)
            case Wait(what, status):
                step.status = status or step.status or what
                step.turn += 0 if step.address in step.lane.waiting else 1
                if self.owner.stopping:
                    self.interrupt(step)
                else:
                    self.owner.park(step)
            case _:
                self._finish(step, following)

    def next(self, step: Step) -> Next:
        """The adapter's pure answer; a wait that must not act ends instead of calling, once nothing is under way."""
        following = step.lane.type.next(step.operation)
        if not isinstance(following, Next):
            raise TypeError(f"next gave {type(following).__name__}")
        pending = step.prior.pending if step.prior is not None else None
        if isinstance(following, Call) and step.node.name == "wait" and (pending is None or following.creates):
            return _waited(step.operation.live, deploying=pending is not None and pending.verb == "deploy")
        return following

    def send(self, step: Step, call: Call) -> None:
        """Ask for one request; a creating one gets its intent first, and the scheduler syncs before it sends."""
        step.lane.waiting.pop(step.address, None)
        if self.owner.stopping:
            self.interrupt(step)
            return
        step.calls += step.intent is None  # the same call again, after a lost answer, is bounded by the step's time
        if step.calls > _MOST_CALLS:
            self.fail(step, internal(step, RuntimeError(f"{step.calls} calls and no end")))
            return
        step.turn += 1
        step.call = call
        if step.calls == 1:
            self._announce(step)
        if call.creates and step.intent is None:
            step.intent = self._intent(step, call)
            self.world.ledger.intend(step.intent)
        self.owner.ask(Request("send", step.lane, step, call, step.turn))

    def take(self, step: Step, reply: Reply) -> None:
        """Merge what a call gave, record it, go on."""
        op = step.operation
        step.lost = None
        step.touched = True
        step.op = replace(
            op,
            id=reply.id if reply.id is not None else op.id,
            created={**op.created, **reply.created},
            memo={**op.memo, **reply.memo},
            live=reply.live if reply.live is not None else op.live,
            looks=0,
        )
        if reply.live is not None:
            self._note(step, reply.live)
        self.advance(step, answered=True)

    # --- ends -------------------------------------------------------------------------------------------------------
    def _finish(self, step: Step, following: Next) -> None:
        match following:
            case Done(Live() as live) if self._to_probe(step, following):
                self._prober.begin(step, live)
            case Done(live):
                self.done(step, live)
            case Failed(reason, exists, live):
                step.op = replace(step.operation, live=live if live is not None else step.operation.live)
                self._note(step, step.operation.live)
                summary = f"{step.name} failed: {reason}"
                error = Diagnostic(summary=summary, address=step.address, provider=step.lane.key)
                if exists:
                    self.fail(step, error, health="failed" if step.operation.verb == "deploy" else None)
                else:
                    self._vanished(step, error)
            case _:
                raise TypeError(f"not an end: {following}")

    def done(self, step: Step, live: Live | None, result: Literal["done", "unchanged"] = "done") -> None:
        """As wanted: record it, then end the step."""
        before = step.operation.live
        op = step.op = replace(step.operation, live=live)
        self._note(step, live)
        if op.verb == "undeploy":
            step.job.removed, step.job.left, step.job.left_at = op.id, before, step.lane.key
            step.job.health = None
            step.status = "gone"
            self.world.ledger.drop(step.record)
        else:
            entry = self.world.entries.of(step, pending=None)
            self._put(step, entry)
            step.job.health, step.job.id = entry.health, entry.id
        self._end(step, result, None)

    def fail(self, step: Step, error: Diagnostic, health: Health | None = None) -> None:
        """Not as wanted: the state keeps what is there, with the cause. An open intent stays open unless closed."""
        if step.op is not None:
            if step.intent is not None and not step.intent_sent:
                self._close(step, "absent")
            self._record_unfinished(step, error.summary, health)
        self._end(step, "failed", error)

    def _to_probe(self, step: Step, following: Next) -> bool:
        """Whether ready is not enough: it has to answer."""
        return isinstance(following, Done) and following.live is not None and is_probed(step.node, step.prior)

    def _vanished(self, step: Step, error: Diagnostic) -> None:
        """The provider says that it does not exist: only what stands beside it is kept."""
        if step.operation.created:
            step.op = replace(step.operation, id=None, live=None)
            pending = self.world.entries.pending(step, step.operation.verb, error.summary)
            self._put(step, replace(self.world.entries.of(step, pending=pending), id=None, health="unknown"))
        elif step.job.old is None:
            self.world.ledger.drop(step.record)
        self._end(step, "failed", error)

    def _end(
        self, step: Step, result: Literal["done", "unchanged", "failed", "interrupted"], error: Diagnostic | None
    ) -> None:
        if step.op is not None and step.op.verb != "undeploy":
            step.job.id = (step.op.live.id if step.op.live is not None else step.op.id) or step.job.id
            step.job.health = step.health or step.job.health
        elif step.op is not None:
            step.job.id = step.job.id or step.op.id
        self.owner.over(step, result, error)

    # --- what is written down -----------------------------------------------------------------------------------------
    def _announce(self, step: Step) -> None:
        """Record, before its first request, that a change or an undeploy is under way; a create has its intent.

        A killed run that took all away leaves an empty list, which must not look like an outage; and a secret that it
        may have changed is not known any more.
        """
        verb = step.operation.verb
        if verb != "deploy" and step.prior is not None:
            pending = self.world.entries.pending(step, verb, "interrupted")
            self.world.ledger.put(self.world.entries.of(step, pending=pending))

    def keep(self, step: Step, cause: str) -> None:
        """Record a deployment that is ready and has not answered its probe: its deploy stays pending."""
        self._put(step, self.world.entries.unanswered(step, cause))

    def _record_unfinished(self, step: Step, cause: str, health: Health | None) -> None:
        """Record the deployment as it stands, where there is something to record."""
        op = step.op
        if step.probing is not None:
            self.keep(step, cause)
            return
        if op is None or not self._worth_recording(step, op):
            if op is not None and op.verb != "deploy" and step.calls and step.prior is not None:
                self.world.ledger.put(step.prior)  # it was refused
            return
        pending = self.world.entries.pending(step, op.verb, cause)
        self._put(step, self.world.entries.of(step, pending=pending, health=health))

    def _worth_recording(self, step: Step, op: Operation) -> bool:
        """A refused create is not in the state; a refused change leaves the record as it was."""
        if step.leaving or step.rereading:
            return False
        if step.node.name == "deploy":
            return step.touched and (op.id is not None or bool(op.created))
        return step.touched or step.node.name == "wait"

    def _put(self, step: Step, entry: Recorded) -> None:
        """Record the step's deployment. What it replaces goes aside first, in the same sync."""
        ledger, old = self.world.ledger, step.job.old
        if old is not None and entry.address == old.address:
            step.job.old = None
            if displaces(entry, old):
                ledger.put(put_aside(old, step.job.aside))
        ledger.put(entry)

    def _intent(self, step: Step, call: Call) -> Intent:
        op = step.operation
        entry = self.world.entries.of(step, pending=self.world.entries.pending(step, op.verb, "interrupted"))
        memo: dict[str, Json] = {**op.memo, "lacked": self._lacked(step, entry)}
        if step.job.old is not None:
            memo["aside"] = step.job.aside
        if op.removed is not None:
            memo["removed"] = op.removed
        return Intent(step.intent_id, step.address, op.verb, call.step, entry, memo)

    def _lacked(self, step: Step, entry: Recorded) -> bool:
        """Whether the latest list before the call lacked a live object of this identity (what was on its way out then
        has been waited for)."""
        found = self.world.live.by_identity(step.lane.key, entry.identity) if entry.identity else ()
        mine = {step.operation.id, step.job.removed}
        return not any(live.id not in mine and not live.dormant and live.health != "deleting" for live in found)

    def _close(self, step: Step, result: Literal["answered", "absent", "refused"]) -> None:
        if step.intent is not None:
            self.world.ledger.close(step.intent.id, result)
            step.intent = None
            if step.phase != "over":  # another creating call may follow
                self._beginner.mark(step)

    def _note(self, step: Step, live: Live | None) -> None:
        if live is not None:
            step.status, step.health = live.status, live.health
        elif step.operation.verb == "undeploy":
            step.status = "gone"

    def agrees(self, step: Step, live: Live) -> list[str]:
        """The paths in which a found object is not what the open intent was about to create."""
        if step.intent is None or step.job.desired is None:
            return []
        entries = self.world.entries
        return list(agrees(step.intent.entry, live, entries.schemas[step.job.desired.type], entries.digest_key))

    def told(self, step: Step, error: ProviderError) -> Diagnostic:
        """A provider's error about this step."""
        diagnostic = about(step.lane.key, error)
        return replace(diagnostic, summary=f"{step.name}: {diagnostic.summary}", address=step.address)


def _waited(live: Live | None, *, deploying: bool) -> Next:
    """How a wait stands that may not act; `deploying`: for a deploy of an earlier run, which may turn out to have
    failed. What a look does not show may be there all the same, so that it stays in the state."""
    if live is not None and not live.dormant and HEALTH_KIND[live.health] == "in":
        return Wait("until it is ready", live.status)
    if not deploying or (live is not None and not live.dormant and live.health != "failed"):
        return Done(live)
    told = "the provider does not show it any more" if live is None else live.reason or f"its status is {live.status}"
    return Failed(told, live=live)
