"""What a killed run left behind, as a command meets it: what became of it is looked up, and told.

Joins the state and the engine's looks; what a finding means is the planner's, what is written down the workflow's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.core.values.duration import seconds
from reconciler.edge.backends.base import Base
from reconciler.model import ProviderConfig, Recorded, Stack
from reconciler.plan import PlanOptions
from reconciler.provider import Provider
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.core.planning.findings import Finding
    from reconciler.engine.recover import Resolution


def providers_to_ask(stack: Stack, base: Base, options: PlanOptions) -> frozenset[str]:
    """The provider keys that a run must contact, those of what may have been begun included: also where all else has
    gone, or where it was begun at another provider than the recorded one."""
    from reconciler.core.planning.select import providers_needed

    if base.state is None or not base.intents:
        return frozenset(providers_needed(stack, base.state, options))
    begun, held = {intent.address: intent.entry for intent in base.intents}, base.state.deployments
    both = (replace(base.state, deployments=known) for known in ({**begun, **held}, {**held, **begun}))
    return frozenset(key for state in both for key in providers_needed(stack, state, options))


def resolve(
    space: Workspace, base: Base, configs: Mapping[str, ProviderConfig], providers: Mapping[str, Provider], locked: bool
) -> tuple[Resolution, ...]:
    """What became of the requests that a killed run left without an answer.

    `configs` are all that the run could contact. What was begun at one of them that it does not contact (`--target`)
    is none of its business: nothing is said of it, and its intent stays open.
    """
    begun = [one for one in base.intents if one.entry.provider in providers or one.entry.provider not in configs]
    if not begun or base.state is None:
        return ()
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.recover import resolve_intents

    timeouts = {key: seconds(config.settings.get("timeout", 30.0)) for key, config in configs.items()}
    return resolve_intents(
        begun,
        state=base.state,
        providers=providers,
        schemas=space.registry.schemas,
        last_run=base.last_run,
        clock=SystemClock(),
        timeouts=timeouts if locked else None,
        heartbeat=space.heartbeat("looking for what the last run left"),
    )


def findings_of(resolutions: tuple[Resolution, ...]) -> tuple[Finding, ...]:
    """What they mean to a plan. Nearly always there are none, and then a plan needs nothing of the engine's."""
    if not resolutions:
        return ()
    from reconciler.engine.recover import findings

    return tuple(findings(resolutions))


def found(recovered: Sequence[Finding]) -> list[Recorded]:
    """Entries that the state is going to have, so that a list which lacks one is asked about it."""
    return [finding.entry for finding in recovered if finding.what == "found" and finding.entry]


def unended_note(space: Workspace, base: Base, locked: bool) -> tuple[str, ...]:
    """One note of a run that was killed and left nothing uncertain; what is uncertain tells of the run itself."""
    if base.untold is None:
        return ()  # nearly always
    from reconciler.core.planning.findings import unended

    return (unended(base.untold, under_way=not locked and space.backend.lock_status().state == "held"),)
