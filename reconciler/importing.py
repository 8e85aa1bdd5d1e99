"""`import`: what is live goes into the state, or into a file. Joins the rooms; has no rule of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.core.compare.record import record
from reconciler.core.values.words import nearest
from reconciler.diagnostics import Diagnostic, PlanConflictError, StateError, UsageError
from reconciler.model import Desired, Live, ProviderConfig, Recorded, State
from reconciler.provider import Provider
from reconciler.workflow import change_state
from reconciler.workspace import Workspace

if TYPE_CHECKING:
    from reconciler.render.generate import Found


def import_one(space: Workspace, address: str, deployment_id: str, lock_timeout: str) -> list[str]:
    """Record the live deployment `deployment_id` as `address`; lines that say what was done.

    Raises UsageError where the file does not declare it, PlanConflictError where it is not there, is another one than
    the file declares or is held under another address, StateError where the address is taken.
    """
    stack = space.stack
    desired = stack.deployments.get(address)
    if desired is None:
        raise UsageError(
            Diagnostic(
                f"the file declares no {address}",
                hint=f"did you mean {near}?"
                if (near := nearest(address, stack.deployments)) is not None
                else "declare it first; `reconciler import --generate PROVIDER` prints what would declare it",
            )
        )
    done: list[str] = []

    def take(state: State) -> State:
        provider, config = _connected(space, desired.provider)
        live = _find(space, provider, desired, deployment_id)
        _check_scope(state, desired, config)
        _check_free(state, desired, live.id, config)
        entry = _entry(space, state, desired, live)
        done.append(f"imported {address}: {desired.provider} {live.id} ({live.status})")
        if entry.trusted:
            done.append(f"taken on trust, the provider does not return them: {', '.join(entry.trusted)}")
        providers = {**state.providers, desired.provider: space.recorded_provider(config)}
        return replace(state, providers=providers, deployments={**state.deployments, address: entry})

    change_state(space, take, "import", lock_timeout, fresh=True, settles=(address,))
    return [*done, f"next: {space.invocation.called} plan"]


def _entry(space: Workspace, state: State, desired: Desired, live: Live) -> Recorded:
    """What the state says of it from now on. Raises PlanConflictError where it is not the one that is declared."""
    type_ = space.registry.types[desired.type]
    identity = type_.identity(desired.spec)
    if identity is not None and live.identities and identity not in live.identities:
        raise PlanConflictError(
            Diagnostic(
                f"{live.id} is {live.name}, but the file declares {desired.address} as another one",
                span=desired.spans.get(""),
                address=desired.address,
                provider=desired.provider,
                detail=f"declared: {identity}; live: {', '.join(live.identities)}",
                hint="write the live one's identifying attributes in `spec`, then import it",
            )
        )
    return record(
        desired,
        live,
        state.deployments.get(desired.address),
        schema=space.registry.schemas[desired.type],
        digest_key=state.digest_key,
        identity=type_.identity,
        now=space.invocation.environment.now(),
        adopted=True,
    )


def generate(space: Workspace, key: str) -> list[Found]:
    """Every unmanaged deployment of one provider, ready to be written down. Raises UsageError for an unknown key."""
    from reconciler.render.generate import Found

    if key not in space.configs:
        raise UsageError(
            Diagnostic(f"the file has no provider {key}", hint=f"it has: {', '.join(sorted(space.configs)) or 'none'}")
        )
    provider, config = _connected(space, key)
    schema = space.registry.schemas[config.type]
    state = space.base.state
    managed = {entry.id for entry in state.deployments.values() if entry.provider == key} if state else set()
    required = set(schema.document.get("required", ()))
    taken: set[str] = set()
    found = []
    for live in sorted(provider.list(), key=lambda item: (item.name, item.id)):
        if live.dormant or live.id in managed:
            continue
        address = _address(live.name or live.id, taken)
        declared = live.extra.get("declare", live.attributes)
        spec = {name: value for name, value in declared.items() if value != schema.defaults.get(name)}
        missing = tuple(sorted(live.extra.get("missing", required - set(declared))))
        secret = frozenset(name for name in missing if schema.sensitive(name))
        found.append(Found(address, key, spec, missing, secret))
    return found


def _check_scope(state: State, desired: Desired, config: ProviderConfig) -> None:
    """Raises StateError where the provider points elsewhere than what the state holds there: taking the new scope down
    beside it would make the next plan look for all of that in the wrong place."""
    known = state.providers.get(config.key)
    held = sorted(one.address for one in state.deployments.values() if one.provider == config.key)
    if known is not None and known.scope != config.scope and held:
        raise StateError(
            Diagnostic(
                f"provider {config.key} points to {config.scope}, and what the state holds there is in {known.scope}",
                address=desired.address,
                provider=config.key,
                detail=f"the state holds there: {', '.join(held[:5])}" + (" …" if len(held) > 5 else ""),
                hint=f"declare the other one as a provider of its own ({config.type}.NAME), or put the settings back",
            )
        )


def _check_free(state: State, desired: Desired, deployment_id: str, config: ProviderConfig) -> None:
    taken = state.deployments.get(desired.address)
    if taken is not None and taken.id not in (None, deployment_id):
        raise StateError(
            Diagnostic(
                f"the state holds {desired.address} already: {taken.id}",
                address=desired.address,
                hint=f"to stop managing that one: reconciler state rm '{desired.address}'",
            )
        )
    for address, entry in state.deployments.items():
        known = state.providers.get(entry.provider)
        place = (entry.type, known.scope) if known is not None else None
        same_place = entry.provider == desired.provider or place == (config.type, config.scope)
        if entry.id == deployment_id and same_place and address != desired.address:
            raise PlanConflictError(
                Diagnostic(
                    f"{deployment_id} is managed already, as {address}",
                    address=desired.address,
                    provider=desired.provider,
                    hint=f"moved: [{{from: {address}, to: {desired.address}}}]",
                )
            )


def _connected(space: Workspace, key: str) -> tuple[Provider, ProviderConfig]:
    config = space.configs[key]
    return space.connect({key: config}, None)[key], config


def _find(space: Workspace, provider: Provider, desired: Desired, deployment_id: str) -> Live:
    """The live object of that id, in whichever of its spellings the provider shows it: by the list, else by a read."""
    listed = provider.list()
    asked = [live for live in listed if deployment_id in (live.id, live.computed.get("id"))]
    for live in asked:
        if not live.dormant:
            return live
    found = provider.read(deployment_id) if space.registry.types[desired.type].capabilities.read_by_id else None
    if found is not None and not found.dormant:
        return found
    dormant = next((item for item in (found, *asked) if item is not None), None)
    raise PlanConflictError(
        Diagnostic(
            f"{deployment_id} is not deployed" if dormant else f"there is no {deployment_id} at {desired.provider}",
            address=desired.address,
            provider=desired.provider,
            detail=f"its status is {dormant.status}" if dormant else "",
            hint="`reconciler apply` deploys what is declared" if dormant else _known(listed),
        )
    )


def _known(listed: Sequence[Live]) -> str:
    ids = [live.id for live in listed if not live.dormant]
    return f"live there: {', '.join(ids[:10])}" + (" …" if len(ids) > 10 else "") if ids else "nothing is live there"


def _address(name: str, taken: set[str]) -> str:
    """A name made a valid address, numbered where two would be the same."""
    base = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")
    base = (base if re.match(r"[a-z]", base) else f"d-{base}")[:60] or "d"
    address, number = base, 2
    while address in taken:
        address, number = f"{base}-{number}", number + 1
    taken.add(address)
    return address
