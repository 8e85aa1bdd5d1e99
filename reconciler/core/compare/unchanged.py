"""The short way for a deployment in which nothing differs: most of them, in most plans. Pure.

It must say `none` only where the long way (core/planning/decide.py) would say so with no note, drift or state
change at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.compare.cost import Tariff
from reconciler.core.values.digest import Sealer
from reconciler.core.values.sensitive import hides_secret
from reconciler.core.values.tree import has_unknown, plain, same, same_kinds
from reconciler.model import Desired, Json, Live, Recorded
from reconciler.plan import Action, Expected

IN_SYNC = "in sync"
_MISSING = object()


def unchanged(
    desired: Desired, prior: Recorded, live_by_id: Mapping[str, Live], price: Tariff, sealer: Sealer | None
) -> Action | None:
    """The action `none` of a ready deployment whose file, record and live object agree; None: look closer.

    `sealer` compares secrets with the record, None while there is no state.
    """
    if prior.id is None or prior.pending is not None or prior.provider != desired.provider:
        return None
    live = live_by_id.get(prior.id)
    if live is None or live.health != "ready" or live.dormant:
        return None
    spec = desired.spec
    if (
        desired.depends_on != prior.depends_on
        or (desired.lifecycle is not prior.lifecycle and desired.lifecycle != prior.lifecycle)
        or (desired.timeouts is not prior.timeouts and desired.timeouts != prior.timeouts)
        or desired.presence != prior.presence
        or desired.probe != prior.probe
        or not _agrees(spec, prior.spec, live.attributes, sealer)
    ):
        return None
    return Action(
        desired.address,
        desired.provider,
        "none",
        IN_SYNC,
        live.id,
        live.name or prior.name,
        desired.depends_on,
        hourly_cost=price.unchanged(spec) if price.known else None,
        desired=desired,
        expected=Expected(True, live.id, health="ready"),
        generation=prior.generation,
    )


def _agrees(
    spec: Mapping[str, Json], recorded: Mapping[str, Json], live: Mapping[str, Json], sealer: Sealer | None
) -> bool:
    """Whether record and live values are the same wherever there are any. Only containers can hide `true` for `1`: the
    schema settles the type of everything else."""
    if spec != recorded:  # a Secret or Unknown leaf equals nothing that is recorded
        if sealer is None or spec.keys() != recorded.keys() or not hides_secret(spec) or has_unknown(spec):
            return False
        if not same(sealer(spec), recorded):
            return False
        spec = recorded = plain(spec)
    for name, value in spec.items():
        found = live.get(name, _MISSING)
        if value.__class__ is dict or value.__class__ is list:
            known = recorded[name]
            if (value is not known and not same_kinds(value, known)) or (
                found is not _MISSING and not same(value, found)
            ):
                return False
        elif found is not _MISSING and found != value:
            return False
    return True
