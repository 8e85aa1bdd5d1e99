"""Create-first replacement: the next generation's derived names, and whether the two can stand side by side. Pure."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.context import Context
from reconciler.core.identity import conflict, holders, problem
from reconciler.diagnostics import Diagnostic
from reconciler.model import Live, Recorded
from reconciler.plan import Action, Change


def succeed(ctx: Context, action: Action, prior: Recorded, live: Live | None) -> tuple[Action, tuple[Diagnostic, ...]]:
    """The create-first replace with its generation one up and what is derived made anew; errors where it can't be.

    Identities of the old and the new one must differ: by an attribute that the file changed, or by a derived one.
    """
    desired = action.desired
    assert desired is not None
    kind = ctx.types[desired.type]
    generation = prior.generation + 1
    base = {name: value for name, value in desired.spec.items() if name not in desired.derived}
    derived = {
        name: value
        for name, value in kind.derive(base, ctx.stack, desired.address, generation).items()
        if name in desired.derived
    }
    changes = action.changes + tuple(
        Change(name, desired.spec.get(name), value, forces_replacement=True)
        for name, value in sorted(derived.items())
        if value != desired.spec.get(name)
    )
    renewed = replace(desired, spec={**desired.spec, **derived})
    action = replace(action, desired=renewed, changes=changes, generation=generation)
    identity = kind.identity(renewed.spec)
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
