"""Leads the providers of an unchanged file to the simulators: settings, credentials, and what the file presupposes.

Creates nothing but that, says what it created, and never touches what a world already knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.model import Json, ProviderConfig, Secret, Stack
from reconciler.sandbox.host import Sandbox
from reconciler.sandbox.mount import BASE


@dataclass(frozen=True, slots=True)
class Prepared:
    """`configs` are the given ones with settings that lead to the sandbox, scope as in the file; `credentials` is what
    `connect` is given, by provider key.

    `created` says what was created because the file takes it for granted: one line each, empty after the first use.
    """

    configs: Mapping[str, ProviderConfig]
    credentials: dict[str, dict[str, str]]
    created: tuple[str, ...]


def world_name(config: ProviderConfig) -> str:
    """The world behind a provider: its type and a digest of its scope, so that two accounts or clusters stay apart."""
    return f"{config.type}.{hashlib.sha256(config.scope.encode()).hexdigest()[:8]}"


def prepare(
    sandbox: Sandbox,
    providers: Mapping[str, ProviderConfig],
    stack: Stack | None = None,
    *,
    base: str = BASE,
) -> Prepared:
    """Settings and credentials for each provider, and on first use of a name what the stack's deployments presuppose.

    `base` is the URL under which the worlds are mounted. Raises FileError for a provider type without a simulator and
    StateError where the sandbox's data can't be read or written.
    """
    specs: dict[str, list[Mapping[str, Json]]] = {}
    for desired in stack.deployments.values() if stack is not None else ():
        specs.setdefault(desired.provider, []).append(desired.spec)
    led: dict[str, ProviderConfig] = {}
    created: list[str] = []
    for key, config in sorted(providers.items()):
        led[key], lines = _lead(sandbox, config, specs.get(key, ()), base)
        created += [f"{key}: {line}" for line in lines]
    given = {key: {name: str(one.value) for name, one in config.credentials.items()} for key, config in led.items()}
    return Prepared(led, given, tuple(created))


def _lead(
    sandbox: Sandbox, config: ProviderConfig, specs: Sequence[Mapping[str, Json]], base: str
) -> tuple[ProviderConfig, list[str]]:
    simulator = sandbox.simulator(config.type)
    name = world_name(config)
    with sandbox.store.world(name, keep=False) as world:
        simulated = simulator(world)
        lines = simulated.presuppose(specs, config.settings) if specs else []
        if lines:
            world.touch()
        settings = {**config.settings, **simulated.endpoints(f"{base}/{name}")}
    settings.pop("ca_cert", None)
    credentials = {key: Secret(value) for key, value in simulator.credentials.items()}
    return replace(config, settings=settings, credentials=credentials), lines
