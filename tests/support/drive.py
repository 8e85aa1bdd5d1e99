"""Runs one operation to its end without the engine: next, send, look; a lost answer of a create is looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.model import Json, Recorded
from reconciler.provider import (
    Call,
    Conflict,
    Done,
    Failed,
    Operation,
    Provider,
    ProviderError,
    ProviderType,
    Reply,
    ThrottledError,
    Wait,
)

MARK = "reconciler:11111111-2222-4333-8444-555555555555/{address}/intent-1"


@dataclass
class Driven:
    """How it ended (`Wait`: it did not), the operation as it then was, and the steps that were sent."""

    end: Done | Failed | Wait | Conflict
    op: Operation
    sent: list[str] = field(default_factory=list)


def drive(
    type_: ProviderType,
    provider: Provider,
    op: Operation,
    *,
    tick: Callable[[], None],
    looks: int = 60,
    between: Callable[[Operation], None] = lambda op: None,
    before_send: Callable[[Operation], None] = lambda op: None,
) -> Driven:
    """Loop until it is done, failed, in conflict, or was looked at `looks` times.

    `tick` lets time pass before each look; `between` is called before each, `before_send` before each call, for a test
    to meddle.
    """
    driven = Driven(Wait("start"), op)
    looked = 0
    for _ in range(20 * looks):
        driven.end = step = type_.next(driven.op)
        if isinstance(step, Done | Failed):
            return driven
        if isinstance(step, Call):
            before_send(driven.op)
            reply = _send(provider, driven, step, tick)
            if isinstance(reply, Conflict):
                driven.end = reply
                return driven
            driven.op = merged(driven.op, reply)
            continue
        if looked >= looks:
            return driven
        looked += 1
        tick()
        between(driven.op)
        seen = provider.look([driven.op])
        driven.op = replace(driven.op, live=seen[driven.op.address], looks=driven.op.looks + 1)
    raise AssertionError(f"next asks for calls without end: {driven.sent[-10:]}")


def _send(provider: Provider, driven: Driven, call: Call, tick: Callable[[], None]) -> Reply | Conflict:
    """One call as the engine makes it: throttled is sent later, a lost create is looked for twice, then repeated."""
    for _ in range(5):
        driven.sent.append(call.step)
        try:
            return provider.send(driven.op, call)
        except ThrottledError:
            tick()
        except ProviderError as error:
            if not call.creates or error.effect != "unknown":
                raise
            for _look in range(2):
                tick()
                found = provider.find(driven.op, call)
                if found is not None:
                    return found
    raise AssertionError(f"{call.step} was never answered")


def merged(op: Operation, reply: Reply) -> Operation:
    """The operation after a call was answered."""
    return replace(
        op,
        id=reply.id if reply.id is not None else op.id,
        created={**op.created, **reply.created},
        memo={**op.memo, **reply.memo},
        live=reply.live if reply.live is not None else op.live,
        looks=0,
    )


def deploy_of(address: str, spec: Mapping[str, Json]) -> Operation:
    """A deploy of something that no state knows."""
    return Operation("deploy", address, MARK.format(address=address), spec)


def recorded(type_: ProviderType, driven: Driven) -> Recorded:
    """What a state would hold after this operation."""
    op = driven.op
    live = driven.end.live if isinstance(driven.end, Done | Failed) and driven.end.live is not None else op.live
    return Recorded(
        address=op.address,
        provider=type_.type,
        type=type_.type,
        id=op.id,
        identity=type_.identity(op.desired) or "",
        name=live.name if live else "",
        spec=op.desired,
        computed=live.computed if live else {},
        created=op.created,
        health=live.health if live else "unknown",
        status=live.status if live else "",
    )


def after(
    type_: ProviderType, before: Driven, verb: str, desired: Mapping[str, Json], changes: Sequence[str] = ()
) -> Operation:
    """The next operation on what `before` left, as the planner would make it (a refresh gave its latest live)."""
    prior = recorded(type_, before)
    live = before.end.live if isinstance(before.end, Done | Failed) else before.op.live
    return Operation(
        verb=verb,  # type: ignore[arg-type]
        address=prior.address,
        mark=MARK.format(address=prior.address),
        desired={} if verb == "undeploy" else desired,
        prior=prior,
        live=live,
        changes=tuple(changes),
        id=prior.id,
        created=prior.created,
    )
