"""After a killed run: ask the providers what became of the creating requests whose outcome is not on disk.

Reads only. What it finds is told and planned with in memory; `records` is what a command that holds the lock writes
down. No rule here looks at a clock: a match is ours because the list just before the request lacked it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.core.planning.findings import Finding
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.state.aside import displaces, put_aside
from reconciler.core.state.journal import EntrySet, IntentClosed, LastRun, Record
from reconciler.engine.clock import Clock
from reconciler.engine.heartbeat import Heartbeat
from reconciler.engine.values import agrees
from reconciler.engine.workers import ThreadWorkers, Workers
from reconciler.model import Intent, Recorded, State
from reconciler.provider import Call, Conflict, Operation, Provider, ProviderError, Reply

_OURS = ("lacked", "aside", "removed")  # what the engine wrote into an intent's memo
_AT_ONCE = 8  # looks at one provider: one that hangs holds up no other


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of one open intent; more than one finding where an old deployment stands aside for the new one."""

    intent: Intent
    findings: tuple[Finding, ...]


def resolve_intents(
    intents: Sequence[Intent],
    *,
    state: State,
    providers: Mapping[str, Provider],
    schemas: Mapping[str, ProviderSchema],
    last_run: LastRun | None,
    clock: Clock,
    timeouts: Mapping[str, float] | None = None,
    workers: Callable[[int], Workers] = ThreadWorkers,
    heartbeat: Heartbeat | None = None,
) -> tuple[Resolution, ...]:
    """Look each open intent up at its provider, side by side.

    `providers` is by key, `schemas` by type. With `timeouts` (seconds a request may take, by provider key), for a
    command that is going to create again, what one look lacks counts as absent only after that time and a second look;
    without, for a plan, after one. A provider that is missing or does not answer leaves its intents unclear.
    `heartbeat` hears of each wait.
    """
    heartbeat = heartbeat or Heartbeat(clock, lambda _keys, _seconds: None)
    answers = _ask(intents, state, providers, workers, heartbeat)
    if timeouts is not None:
        again = [intent for intent in intents if answers[intent.id] is None]
        if again:
            keys = {intent.entry.provider for intent in again}
            heartbeat.sleep(max(timeouts.get(key, 0.0) for key in keys), keys)
            answers.update(_ask(again, state, providers, workers, heartbeat))
    return tuple(
        Resolution(intent, tuple(_judge(intent, answers[intent.id], state, schemas, _story(intent, last_run))))
        for intent in intents
    )


def findings(resolutions: Iterable[Resolution]) -> tuple[Finding, ...]:
    """All findings, in the order of the intents: for the planner."""
    return tuple(finding for resolution in resolutions for finding in resolution.findings)


def records(resolutions: Iterable[Resolution]) -> tuple[Record, ...]:
    """What to append to the journal while holding the lock. An unclear intent stays open; entries come before the
    closing, so that a torn tail leaves the intent open."""
    made: list[Record] = []
    for resolution in resolutions:
        what = resolution.findings[-1].what
        if what == "found":
            made += [EntrySet(finding.entry) for finding in resolution.findings if finding.entry is not None]
            made.append(IntentClosed(resolution.intent.id, "answered"))
        elif what == "absent":
            made.append(IntentClosed(resolution.intent.id, "absent"))
    return tuple(made)


def _ask(
    intents: Sequence[Intent],
    state: State,
    providers: Mapping[str, Provider],
    workers: Callable[[int], Workers],
    heartbeat: Heartbeat,
) -> dict[str, object]:
    """By intent id: Reply, Conflict, None, or the ProviderError; a provider that is not there gives a text."""
    answers: dict[str, object] = {
        intent.id: f"provider {intent.entry.provider} is not connected"
        for intent in intents
        if intent.entry.provider not in providers
    }
    lines: dict[str, deque[Intent]] = {}
    for intent in intents:
        if intent.id not in answers:
            lines.setdefault(intent.entry.provider, deque()).append(intent)
    if not lines:
        return answers
    pool = workers(_AT_ONCE * len(lines))

    def waited_for() -> Iterable[str]:
        return (intent.entry.provider for intent in intents if intent.id not in answers)

    def ask(key: str) -> None:
        """One more look at this provider, if any is left."""
        if lines[key]:
            intent = lines[key].popleft()
            call = Call(intent.step, creates=True)
            pool.submit(intent, partial(providers[key].find, _operation(intent, state), call))

    try:
        for key in lines:
            for _ in range(_AT_ONCE):
                ask(key)
        while len(answers) < len(intents):
            for result in heartbeat.collect(pool, waited_for):
                if result.error is not None and not isinstance(result.error, ProviderError):
                    raise result.error
                answers[result.token.id] = result.error if result.error is not None else result.value
                ask(result.token.entry.provider)
    finally:
        pool.close()
    return answers


def _operation(intent: Intent, state: State) -> Operation:
    """The operation as far as it was written down: sensitive values are digests, the call's own arguments are gone."""
    return Operation(
        verb=intent.verb,
        address=intent.address,
        mark=f"reconciler:{state.lineage}/{intent.address}/{intent.id}",
        desired=intent.entry.spec,
        prior=None if _replaced(intent, state) is not None else state.deployments.get(intent.address),
        memo={key: value for key, value in intent.memo.items() if key not in _OURS},
        id=intent.entry.id,
        created=intent.entry.created,
        removed=removed if isinstance(removed := intent.memo.get("removed"), str) else None,
    )


def _judge(
    intent: Intent, answer: object, state: State, schemas: Mapping[str, ProviderSchema], story: str
) -> Iterable[Finding]:
    address = intent.address
    prior = state.deployments.get(address)
    match answer:
        case None:
            message = f"{story} It is not there."
            yield Finding(address, "absent", message, prior)
        case Reply() as reply:
            problem = _not_ours(intent, reply, state, schemas)
            if problem:
                yield _unclear(intent, story, problem, reply.id, prior)
                return
            entry = _entry(intent, reply)
            old = _replaced(intent, state)
            if old is not None and displaces(entry, old):
                which = f" ({old.id})" if old.id else ""
                message = f"The deployment that {address} replaces{which} is still there; it goes next."
                place = str(intent.memo["aside"])
                yield Finding(place, "found", message, put_aside(old, place))
            where = f" (id {entry.id})" if entry.id else ""
            yield Finding(address, "found", f"{story} It took effect{where}; apply records it as ours.", entry)
        case Conflict(message, id_):
            yield _unclear(intent, story, message, id_, prior)
        case ProviderError() as error:
            message = f"{story} It can't be told what became of it: {error.message}."
            again = f"Run the command again when {intent.entry.provider} answers."
            yield Finding(address, "unclear", f"{message} {again}", prior)
        case _:
            message = f"{story} It can't be told what became of it: {answer}. Add it under providers: and run again."
            yield Finding(address, "unclear", message, prior)


def _replaced(intent: Intent, state: State) -> Recorded | None:
    """The record of the deployment that a create-first replace was to put aside, where that has not been done."""
    place = intent.memo.get("aside")
    return state.deployments.get(intent.address) if place and place not in state.deployments else None


def _not_ours(intent: Intent, reply: Reply, state: State, schemas: Mapping[str, ProviderSchema]) -> str:
    """Why something found can't be shown to be ours; empty where it can."""
    if not intent.memo.get("lacked"):
        return "one of that name was there before the request"
    if reply.live is None:
        return ""
    differs = agrees(intent.entry, reply.live, schemas[intent.entry.type], state.digest_key)
    return f"it differs in {', '.join(differs)}" if differs else ""


def _unclear(intent: Intent, story: str, problem: str, id_: str | None, prior: Recorded | None) -> Finding:
    address = intent.address
    if prior is not None and prior.id is not None:  # a step about something that is recorded: that is not to be lost
        choices = (
            f"`reconciler import {address} {prior.id}` keeps {prior.id} and gives up the step; "
            f"`reconciler state rm {address}` stops managing {prior.id} as well"
        )
    else:
        choices = (
            f"`reconciler import {address} {id_ or 'ID'}` takes it over; "
            f"`reconciler state rm {address}` gives up the step"
        )
    message = (
        f"{story} What is there can't be shown to be ours: {problem}. "
        f"Choose: {choices}; or undeploy it at the provider and run again."
    )
    return Finding(address, "unclear", message, None)


def _entry(intent: Intent, reply: Reply) -> Recorded:
    """What the state says from now on: the intent's entry with what the provider gave."""
    entry, live = intent.entry, reply.live
    return replace(
        entry,
        id=reply.id if reply.id is not None else entry.id,
        created={name: one for name, one in {**entry.created, **reply.created}.items() if one},
        computed={**entry.computed, **live.computed} if live is not None else entry.computed,
        health=live.health if live is not None else entry.health,
        status=live.status if live is not None else entry.status,
    )


def _story(intent: Intent, last_run: LastRun | None) -> str:
    """Which run left the step open."""
    step, run = f"at step {intent.step} of {intent.verb} {intent.address}", intent.by
    if run is None:
        return f"An earlier run ended {step}."
    which = "The last" if last_run is not None and last_run.started.writer == run else "An earlier"
    return f"{which} run (`{run.command}`, {run.user} on {run.host}, {run.at}) ended {step}."
