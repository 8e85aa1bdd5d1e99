"""What every decision of one plan is made from, and what a decision is. No rule stands here. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.core.compare.live_index import LiveIndex
from reconciler.core.planning.prepare import Prepared
from reconciler.core.planning.resolve import Resolver
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.state.aside import generations
from reconciler.diagnostics import Diagnostic
from reconciler.model import Live, ProviderConfig, Recorded
from reconciler.plan import Action
from reconciler.provider import ProviderType


@dataclass(frozen=True, slots=True)
class Context:
    """The inputs of one plan. `recorded` is by address, moves done; `quoted` maps addresses to the attribute paths that
    others take from them; `owners` maps (scope, id) to the address that the state holds it under. `foreign` maps
    provider keys that point elsewhere than recorded to the recorded scope, where absence there proves nothing. `asides`
    maps an address to the generation of its old deployment that still stands aside. `released` are the recorded
    addresses that are not declared any more and of which nothing is deleted: what of theirs is not live, this plan only
    forgets."""

    stack: str
    now: str
    digest_key: str | None
    index: LiveIndex
    recorded: Mapping[str, Recorded]
    schemas: Mapping[str, ProviderSchema]
    types: Mapping[str, ProviderType]
    configs: Mapping[str, ProviderConfig]
    scopes: Mapping[str, str]
    owners: Mapping[tuple[str, str], str]
    resolver: Resolver
    quoted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replace: frozenset[str] = frozenset()
    foreign: Mapping[str, str] = field(default_factory=dict)
    asides: Mapping[str, int] = field(default_factory=dict)
    released: frozenset[str] = frozenset()

    def owner(self, provider: str, live: Live) -> str | None:
        """The address under which the state of this stack holds a live object."""
        return self.owners.get((self.scopes.get(provider, provider), live.id))


@dataclass(frozen=True, slots=True)
class Decision:
    """What one address comes to. `live` is what the decision was made on, dormant objects included."""

    action: Action
    live: Live | None = None
    ignored: int = 0
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


def context_of(
    given: Prepared,
    index: LiveIndex,
    schemas: Mapping[str, ProviderSchema],
    types: Mapping[str, ProviderType],
    now: str,
    resolver: Resolver,
) -> Context:
    """What the decisions of one plan are made from."""
    return Context(
        stack=given.name,
        now=now,
        digest_key=given.state.digest_key if given.state else None,
        index=index,
        recorded=given.recorded,
        schemas=schemas,
        types=types,
        configs=given.configs,
        scopes=given.scopes,
        owners=given.owners,
        resolver=resolver,
        quoted=given.quoted,
        replace=given.replace,
        foreign=given.foreign,
        asides=generations(given.recorded),
        released=frozenset(_released(given)),
    )


def _released(given: Prepared) -> Iterator[str]:
    declared = given.stack.deployments if given.stack is not None and not given.options.destroy else {}
    for address, entry in given.recorded.items():
        if address in declared or address not in given.chosen:
            continue
        if given.removed.get(address) == "forget" or not entry.created or entry.retain:
            yield address
