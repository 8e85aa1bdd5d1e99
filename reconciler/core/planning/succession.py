"""Create-first replacement: the next generation's derived names, and whether the two can stand side by side. Pure."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.planning.context import Context
from reconciler.core.planning.identity import conflict, holders, problem
from reconciler.diagnostics import Diagnostic
from reconciler.model import Desired, Live, Recorded
from reconciler.plan import Action, Change


def renew(ctx: Context, desired: Desired, generation: int) -> Desired:
    """What is derived of this generation, the rest as it is."""
    base = {name: value for name, value in desired.spec.items() if name not in desired.derived}
    made = ctx.types[desired.type].derive(base, ctx.stack, desired.address, generation)
    return replace(desired, spec={**desired.spec, **{name: made[name] for name in desired.derived & made.keys()}})


def succeed(ctx: Context, action: Action, prior: Recorded, live: Live | None) -> tuple[Action, tuple[Diagnostic, ...]]:
    """The create-first replace with its generation one up and what is derived made anew; errors where it can't be.

    Identities of the old and the new one must differ: by an attribute that the file changed, or by a derived one.
    """
    desired = action.desired
    assert desired is not None
    generation = prior.generation + 1
    renewed = renew(ctx, desired, generation)
    changes = action.changes + tuple(
        Change(name, desired.spec.get(name), renewed.spec[name], forces_replacement=True)
        for name in sorted(desired.derived & renewed.spec.keys())
        if renewed.spec[name] != desired.spec.get(name)
    )
    action = replace(action, desired=renewed, changes=changes, generation=generation)
    identity = ctx.types[desired.type].identity(renewed.spec)
    refuse = ctx.schemas[desired.type].refuse_create_first
    taken = {prior.identity, *(live.identities if live else ())}
    if refuse or (identity is not None and identity in taken):
        why = refuse or f"the new deployment would have the identity of the old one ({identity})"
        return action, (
            problem(
                desired, f"create_before_undeploy is not possible here: {why}",
                hint="remove create_before_undeploy (the old one is then undeployed first), or change its name",
            ),
        )  # fmt: skip
    error = conflict(ctx, renewed, holders(ctx, renewed, live))
    return action, (error,) if error else ()
