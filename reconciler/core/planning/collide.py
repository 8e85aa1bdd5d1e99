"""Two addresses that come to one and the same deployment, where the file alone does not show it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from reconciler.core.planning.context import Context
from reconciler.core.planning.identity import problem
from reconciler.diagnostics import Diagnostic
from reconciler.plan import Action

_BUILDS = ("deploy", "adopt", "replace")
_TAKES = (*_BUILDS, "undeploy")
_Place = tuple[str, str, str]


def collisions(ctx: Context, actions: Sequence[Action], told: Collection[str | None]) -> Iterator[Diagnostic]:
    """What two addresses would take from each other; `told` are those that have an error already."""
    taking = [action for action in actions if action.action in _TAKES and action.address not in told]
    if taking:
        yield from _one_object(ctx, taking, actions)
        yield from _one_identity(ctx, [action for action in taking if action.action in _BUILDS])


def _one_object(ctx: Context, taking: Sequence[Action], actions: Sequence[Action]) -> Iterator[Diagnostic]:
    """One live object that answers to several identities, or that the state holds twice."""
    taken: dict[_Place, Action] = {}
    for action in taking:
        if action.expected.id is not None:
            taken.setdefault(_object(ctx, action, action.expected.id), action)
    for action in actions if taken else ():
        if action.desired is None or action.expected.id is None:
            continue
        first = taken.get(_object(ctx, action, action.expected.id), action)
        if first is not action:
            yield problem(
                action.desired, f"{action.address} and {first.address} mean the same deployment: {action.expected.id} "
                f"at {action.provider} answers to both",
                hint="keep one of them in the file; what the state holds twice, "
                "`reconciler state rm` forgets at one address",
            )  # fmt: skip


def _one_identity(ctx: Context, builds: Sequence[Action]) -> Iterator[Diagnostic]:
    """One identity that two would be deployed under: a moved deployment keeps the name that was derived for it."""
    seen: dict[_Place, Action] = {}
    for action in builds:
        assert action.desired is not None
        identity = ctx.types[action.desired.type].identity(action.desired.spec)
        if identity is None:
            continue
        first = seen.setdefault(_place(ctx, action.desired.type, action.provider, identity), action)
        if first is not action:
            keeps = [one.address for one in (action, first) if one.address in ctx.recorded]
            detail = f"{keeps[0]} keeps the name that it was deployed under." if keeps else ""
            yield problem(
                action.desired, f"{action.address} and {first.address} would both be deployed as {identity} "
                f"at {action.provider}",
                detail=detail, hint="give one of them another name in `spec`",
            )  # fmt: skip


def _object(ctx: Context, action: Action, id_: str) -> _Place:
    """Where the live object is: still at the recorded provider key where the deployment leaves that."""
    prior = ctx.recorded.get(action.address)
    type_ = prior.type if prior is not None else action.desired.type if action.desired is not None else ""
    return _place(ctx, type_, prior.provider if prior is not None else action.provider, id_)


def _place(ctx: Context, type_: str, provider: str, name: str) -> _Place:
    return type_, ctx.scopes.get(provider, provider), name
