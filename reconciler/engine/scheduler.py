"""The owner thread's loop: what may start, what may be sent, what is due. Knows no rule of an operation.

One round: take all answers, run due timers, start what is ready; then one sync of the journal, and only then the
requests go out and the events are told. So an intent is on disk before its request, and an outcome before anyone hears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Protocol

from reconciler.diagnostics import Diagnostic
from reconciler.edge.pace import in_line
from reconciler.engine.clock import Clock
from reconciler.engine.heartbeat import HEARTBEAT
from reconciler.engine.job import Job, Result, Step
from reconciler.engine.lane import Lane, Request
from reconciler.engine.ledger import Ledger
from reconciler.engine.stop import StopSignal
from reconciler.engine.workers import Result as Answer
from reconciler.engine.workers import Workers
from reconciler.model import Live
from reconciler.plan import Event
from reconciler.provider import ThrottledError

GRACE = 4.0  # seconds that requests in flight get after a first signal; the run must be gone within 5


class Operator(Protocol):
    """The rules of an operation (`engine/operate.py`), as the loop calls them."""

    def begin(self, step: Step) -> None: ...
    def answer(self, request: Request, step: Step, value: object) -> None: ...
    def trouble(self, request: Request, step: Step, error: BaseException) -> None: ...
    def seen(self, step: Step, live: Live | None) -> None: ...
    def unseen(self, step: Step, error: BaseException, times: int) -> None: ...
    def expire(self, step: Step) -> None: ...
    def interrupt(self, step: Step) -> None: ...
    def job(self, request: Request) -> Callable[[], object]: ...


class Owner:
    """Runs steps to their end. All of it happens on the thread that calls `run`."""

    def __init__(
        self,
        *,
        lanes: Sequence[Lane],
        workers: Workers,
        clock: Clock,
        ledger: Ledger,
        emit: Callable[[Event], None],
        stop: StopSignal,
        parallelism: int,
    ) -> None:
        self._lanes, self._workers, self._clock, self._ledger = lanes, workers, clock, ledger
        self._emit, self._stop, self._parallelism = emit, stop, max(1, parallelism)
        self._ready: dict[str, list[tuple[int, int, Step]]] = {lane.key: [] for lane in lanes}
        self._held = dict.fromkeys(self._ready, 0)  # slots of --parallelism, by provider
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._steps: dict[int, Step] = {}
        self._running: dict[int, Step] = {}
        self._events: list[Event] = []
        self._count = self._left = self._in_flight = 0
        self.stopping = False

    # --- for the operator -----------------------------------------------------------------------------------------
    def now(self) -> float:
        return self._clock.monotonic()

    def at(self, when: float, due: Callable[[], None]) -> None:
        """Call `due` at that monotonic time, on this thread."""
        self._count += 1
        heappush(self._timers, (when, self._count, due))

    def ask(self, request: Request) -> None:
        """Send a request when its provider may take one more, after the next sync."""
        if request.step is not None:
            request.step.asking = "queued"
        request.lane.queue.append(request)

    def park(self, step: Step) -> None:
        """The step waits; the provider's next look answers it together with all others."""
        lane = step.lane
        if lane.waiting.get(step.address) is not step:
            lane.waiting[step.address] = step
            self._poll_at(lane, lane.hurry(self.now()))

    def tell(self, event: Event) -> None:
        """Emit an event after the next sync."""
        self._events.append(event)

    def over(self, step: Step, result: Result, error: Diagnostic | None = None) -> None:
        """The step has ended; what cannot start any more for that reason is skipped with it."""
        ended = [(step, result, error)]
        while ended:
            step, result, error = ended.pop()
            if step.phase == "over":
                continue
            self._end(step, result, error)
            for node in step.node.after:
                behind = self._steps[id(node)]
                if result in ("done", "unchanged"):
                    node.waits_for -= 1
                    if not node.waits_for:
                        self._get_ready(behind)
                elif behind.phase == "blocked":
                    behind.blocked_by = behind.blocked_by or step.blocked_by or step.address
                    ended.append((behind, "skipped", _needs(behind, step)))

    # --- the loop ---------------------------------------------------------------------------------------------------
    def run(self, operator: Operator, steps: Sequence[Step]) -> None:
        """Run all steps; returns when each has ended. Anything raised by journal, events or clock comes through."""
        self._operator = operator
        self._steps = {id(step.node): step for step in steps}
        self._left = len(steps)
        self._stop.on_request(self._workers.wake)
        try:
            for step in steps:
                if not step.node.waits_for:
                    self._get_ready(step)
            self._round([])
            while self._left and not self._stop.at_once:
                self._round(self._workers.collect(self._pause()))
            if self._left:
                self._interrupt_all()
                self._settle()
        finally:
            self._stop.on_request(None)

    def _round(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._take(answer)
        if self._stop.requested and not self.stopping:
            self._begin_to_stop()
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2]()
        while any(self._ready.values()) and sum(self._held.values()) < self._parallelism:
            self._start(self._first_ready())
        self._settle()

    def _settle(self) -> None:
        """On disk first; then out, then told."""
        self._ledger.sync()
        now = self.now()
        for lane in self._lanes:
            while (request := lane.take(now)) is not None:
                if request.step is not None and request.turn != request.step.turn:
                    lane.in_flight -= 1
                    continue
                if request.step is not None:
                    request.step.asking = "flying"
                    if request.kind == "send":
                        request.step.intent_sent = request.step.intent is not None
                self._in_flight += 1
                self._workers.submit(request, in_line(self._operator.job(request)))
        events, self._events = self._events, []
        for event in events:
            self._emit(event)

    def _pause(self) -> float | None:
        """How long nothing can happen by itself. Never for ever: a loop with nothing to wait for is a bug."""
        if self._timers:
            return max(0.0, self._timers[0][0] - self.now())
        if not self._in_flight:
            raise RuntimeError(f"{self._left} steps left and nothing to wait for")
        return None

    # --- starting and ending ----------------------------------------------------------------------------------------
    def _get_ready(self, step: Step) -> None:
        if self.stopping:
            return
        if step.node.name == "wait":
            self._start(step)
        else:
            self._count += 1
            heappush(self._ready[step.lane.key], (step.node.index, self._count, step))

    def _first_ready(self) -> Step:
        """The first in the plan's order, of the provider that holds the fewest slots: one that is slow or down would
        come to hold them all, and the others' actions would wait for what they do not depend on."""
        ready = (key for key, steps in self._ready.items() if steps)
        fewest = min(ready, key=lambda key: (self._held[key], self._ready[key][0][:2]))
        return heappop(self._ready[fewest])[2]

    def _start(self, step: Step) -> None:
        if step.phase != "blocked":
            return
        now = self.now()
        step.phase, step.started, step.told = "running", now, now
        self._running[id(step)] = step
        self._held[step.lane.key] += step.node.name != "wait"
        if step.job.started is None:
            step.job.started = now
            action = step.job.action
            self.tell(Event("started", action.address, action.action, step=step.label, id=action.id))
        self._operator.begin(step)
        if step.phase == "running":
            self.at(step.deadline, lambda: self._expire(step))
            self.at(now + HEARTBEAT, lambda: self._beat(step))

    def _expire(self, step: Step) -> None:
        if step.phase == "running":
            self._operator.expire(step)

    def _beat(self, step: Step) -> None:
        if step.phase != "running":
            return
        now = self.now()
        if now >= step.told + HEARTBEAT:
            self.progress(step)
        self.at(step.told + HEARTBEAT, lambda: self._beat(step))

    def progress(self, step: Step) -> None:
        """Tell how far a step is, with the provider's own word."""
        step.told = self.now()
        action, op = step.job.action, step.op
        self.tell(
            Event(
                "progress", action.address, action.action, step=step.label, id=op.id if op is not None else action.id,
                status=step.status or None, health=step.health, elapsed=self._elapsed(step.job),
            )
        )  # fmt: skip

    def _end(self, step: Step, result: Result, error: Diagnostic | None) -> None:
        if step.phase == "running":
            self._held[step.lane.key] -= step.node.name != "wait"
            del self._running[id(step)]
        step.phase = "over"
        step.turn += 1
        if step.lane.waiting.get(step.address) is step:
            del step.lane.waiting[step.address]
        self._left -= 1
        job = step.job
        job.steps -= 1
        _conclude(job, result, error)
        if not job.steps:
            self._finish(job, step)
        elif result == "done":
            self.progress(step)

    def _finish(self, job: Job, step: Step) -> None:
        job.elapsed = self._elapsed(job) or 0.0
        action = job.action
        kinds: Mapping[str, str] = {"done": "done", "unchanged": "done", "skipped": "skipped"}
        if action.action == "none" and job.result == "skipped":
            return
        status = "unchanged" if job.result == "unchanged" else step.status or None
        self.tell(
            Event(
                kinds.get(job.result or "", "failed"),  # type: ignore[arg-type]  # the keys above are its literals
                action.address, action.action, step=step.label if job.result != "skipped" else None, id=job.id,
                status=status if job.result != "skipped" else None, health=job.health,
                error=job.error.summary if job.error is not None else None, elapsed=job.elapsed,
                interrupted=job.result == "interrupted",
            )
        )  # fmt: skip

    def _elapsed(self, job: Job) -> float | None:
        return None if job.started is None else round(self.now() - job.started, 3)

    # --- answers ----------------------------------------------------------------------------------------------------
    def _take(self, answer: Answer) -> None:
        request: Request = answer.token
        lane = request.lane
        lane.in_flight -= 1
        self._in_flight -= 1
        if isinstance(answer.error, ThrottledError):
            opens = lane.throttled(self.now(), answer.error.retry_after)
            self.at(opens, lambda: None)
            if request.kind != "look":
                self._again(request, answer.error)
                return
        else:
            lane.answered()
        if request.kind == "look":
            self._looked(request, answer)
        elif request.step is not None and request.turn == request.step.turn:
            request.step.asking = "no"
            if answer.error is None:
                self._operator.answer(request, request.step, answer.value)
            else:
                self._operator.trouble(request, request.step, answer.error)

    def _again(self, request: Request, error: ThrottledError) -> None:
        """Throttled, so nothing was done: the same request first thing when the provider opens again."""
        step = request.step
        if step is None or step.phase != "running" or request.turn != step.turn:
            return
        step.asking = "queued"
        step.touched = step.touched or error.effect == "unknown"
        if request.kind == "send":
            step.intent_sent = False
        if self.stopping:
            self._operator.interrupt(step)
        else:
            step.status = step.status or error.message
            request.lane.queue.appendleft(request)

    def _poll_at(self, lane: Lane, when: float) -> None:
        self.at(when, lambda: self._poll(lane))

    def _poll(self, lane: Lane) -> None:
        if lane.looking or not lane.waiting or lane.poll_at is None or self.now() < lane.poll_at or self.stopping:
            return
        lane.looking, lane.poll_at = True, None
        waiters = tuple((step, step.turn) for step in lane.waiting.values())
        lane.queue.appendleft(Request("look", lane, waiters=waiters))

    def _looked(self, request: Request, answer: Answer) -> None:
        lane = request.lane
        lane.looking = False
        due = lane.looked(self.now())
        waiting = [step for step, turn in request.waiters if step.turn == turn and step.phase == "running"]
        if answer.error is None:
            lane.refused_looks = 0
            for step in waiting:
                if step.address in answer.value:
                    self._operator.seen(step, answer.value[step.address])
        elif not isinstance(answer.error, ThrottledError):
            lane.refused_looks += 1
            for step in waiting:
                self._operator.unseen(step, answer.error, lane.refused_looks)
        if lane.waiting:
            self._poll_at(lane, lane.poll_at or due)

    # --- stopping ---------------------------------------------------------------------------------------------------
    def _begin_to_stop(self) -> None:
        """Nothing new starts; what waits is recorded as it is; what is in flight gets a short while."""
        self.stopping = True
        self._ready = {key: [] for key in self._ready}
        for lane in self._lanes:
            lane.queue.clear()
        for step in list(self._running.values()):
            if step.asking != "flying":
                self._operator.interrupt(step)
        for step in self._steps.values():
            if step.phase == "blocked":
                self.over(step, "skipped", _not_started(step))
        self.at(self.now() + GRACE, self._interrupt_all)

    def _interrupt_all(self) -> None:
        for step in list(self._running.values()):
            self._operator.interrupt(step)
        for step in self._steps.values():
            if step.phase == "blocked":
                self.over(step, "skipped", _not_started(step))


def _conclude(job: Job, result: Result, error: Diagnostic | None) -> None:
    """What comes of an action whose steps end one after the other, in any order: one that was skipped after (or, where
    a signal came, before the end of) one that did something is half an action, and that is no skipped one."""
    before = job.result
    if before is None:
        job.result, job.error = result, error
    elif before == "skipped" and result != "skipped":
        job.result, job.error = ("failed" if result in ("done", "unchanged") else result), error or job.error
    elif before in ("done", "unchanged") and result not in ("done", "unchanged"):
        job.result, job.error = ("failed" if result == "skipped" else result), error


def _needs(step: Step, failed: Step) -> Diagnostic:
    """Why a step is skipped after another one."""
    root = step.blocked_by or failed.address
    if step.job is failed.job or root == step.address:
        summary = f"{step.name} is skipped: an earlier step of it did not succeed"
    elif step.node.name == "undeploy":
        summary = f"{step.name} is left running: {root} depended on it and did not succeed"
    else:
        summary = f"{step.name} is skipped: it depends on {root}, which did not succeed"
    return Diagnostic(summary=summary, severity="warning", address=step.address)


def _not_started(step: Step) -> Diagnostic:
    summary = f"{step.name} is skipped: the run was interrupted before it started"
    return Diagnostic(summary=summary, severity="warning", address=step.address)
