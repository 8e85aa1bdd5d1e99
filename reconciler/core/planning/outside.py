"""What lies outside a plan's actions: live objects that nobody manages, and what could not be read. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.core.planning.context import Context
from reconciler.core.planning.prepare import Prepared
from reconciler.diagnostics import Diagnostic
from reconciler.model import Live, Recorded
from reconciler.plan import Unmanaged


def unmanaged(ctx: Context, given: Prepared, lives: Mapping[str, Live]) -> tuple[Unmanaged, ...]:
    """Live objects that are declared nowhere and in no state of this stack, sorted; each once, under whatever key."""
    managed = set(ctx.owners)
    for address, live in lives.items():
        for key in _keys(given, address):
            managed.add((ctx.scopes.get(key, key), live.id))
    declared = _declared_identities(ctx, given)
    found: list[Unmanaged] = []
    for key, listing in sorted(ctx.index.refreshed.listings.items()):
        scope = ctx.scopes.get(key, key)
        for live in listing.objects:
            if (
                live.dormant
                or (scope, live.id) in managed
                or not declared.isdisjoint((scope, n) for n in live.identities)
            ):
                continue
            managed.add((scope, live.id))
            found.append(Unmanaged(key, live.id, live.name, live.status or live.health))
    return tuple(sorted(found, key=lambda item: (item.provider, item.name, item.id)))


def _keys(given: Prepared, address: str) -> Iterator[str]:
    """The provider keys under which an address is recorded or declared."""
    if address in given.recorded:
        yield given.recorded[address].provider
    elif given.stack is not None and address in given.stack.deployments:
        yield given.stack.deployments[address].provider


def _declared_identities(ctx: Context, given: Prepared) -> set[tuple[str, str]]:
    """(scope, identity) of what the file declares and the state does not hold."""
    found: set[tuple[str, str]] = set()
    for address, desired in given.stack.deployments.items() if given.stack else ():
        if address not in given.recorded:
            identity = ctx.types[desired.type].identity(desired.spec)
            if identity is not None:
                found.add((ctx.scopes.get(desired.provider, desired.provider), identity))
    return found


def unreadable(ctx: Context, given: Prepared, found: Collection[str] = ()) -> tuple[Diagnostic, ...]:
    """Providers and recorded deployments of which nothing can be said; with any of these nothing can be applied.

    `found` are addresses that are known to have been read.
    """
    open_ = sorted(given.chosen.difference(found))
    return (*_providers(ctx, given, open_), *_deployments(ctx, given, open_))


def _providers(ctx: Context, given: Prepared, addresses: Sequence[str]) -> Iterator[Diagnostic]:
    for key, why in sorted(ctx.index.refreshed.failed.items()):
        yield replace(why, provider=key)
    needed: dict[str, str] = {}
    for address in addresses:
        for key in _needed(given, address):
            needed.setdefault(key, address)
    for key, address in sorted(needed.items()):
        if not ctx.index.readable(key) and key not in ctx.index.refreshed.failed:
            yield Diagnostic(f"provider {key} was not looked at, but {address} is there", address=address, provider=key)


def _needed(given: Prepared, address: str) -> Iterator[str]:
    if given.removed.get(address) != "forget" and address in given.recorded:
        yield given.recorded[address].provider
    if not given.options.destroy and given.stack is not None and address in given.stack.deployments:
        yield given.stack.deployments[address].provider


def _deployments(ctx: Context, given: Prepared, addresses: Sequence[str]) -> Iterator[Diagnostic]:
    for address in addresses:
        entry = given.recorded.get(address)
        if entry is None or entry.id is None or given.removed.get(address) == "forget":
            continue
        if entry.id in ctx.index.ids(entry.provider) or not ctx.index.readable(entry.provider):
            continue
        why = unreadable_entry(ctx, entry)
        if why is not None:
            yield Diagnostic(
                f"{address} can't be read: {why}", address=address, provider=entry.provider, detail=f"id {entry.id}"
            )


def unreadable_entry(ctx: Context, entry: Recorded) -> str | None:
    """Why nothing can be said of a recorded deployment of a provider that answered; None where it can."""
    if ctx.index.find(entry, ctx.schemas[entry.type]) is not None:
        return None
    if entry.provider in ctx.foreign and entry.id is not None:
        here = ctx.scopes[entry.provider]
        return f"it was recorded at {ctx.foreign[entry.provider]}; that it is not at {here} says nothing"
    return ctx.index.unreadable(entry)
