"""Whether a spec is still valid once its references are resolved; the loader could not check so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.planning.context import Context
from reconciler.core.planning.identity import problem
from reconciler.core.schemas.check import Unsure
from reconciler.core.values.tree import marks
from reconciler.diagnostics import Diagnostic
from reconciler.model import Desired, Json, Unknown


def verify(ctx: Context, desired: Desired, spec: Mapping[str, Json]) -> tuple[Diagnostic, ...]:
    """What the schema or the provider's own limits refuse, now that values are known. Leaves still unknown fit."""
    try:
        fits = ctx.schemas[desired.type].accepts(dict(spec))
    except Unsure:
        fits = True  # only the full validator can say; the applier asks it before the first request
    if not fits:
        shown = ", ".join(sorted(_resolved(desired.spec, spec)))
        return (
            problem(desired, f"a referenced value does not fit the schema: {shown}",
                    hint="`reconciler schema` shows what is expected there"),
        )  # fmt: skip
    config = ctx.configs.get(desired.provider)
    return tuple(
        problem(desired, found.message, hint=found.hint, path=found.path)
        for found in ctx.types[desired.type].check(spec, config.settings if config else {})
    )


def _resolved(before: Mapping[str, Json], after: Mapping[str, Json]) -> set[str]:
    return {
        name
        for name, value in before.items()
        if any(isinstance(mark, Unknown) for mark in marks(value)) and after.get(name) is not value
    }
