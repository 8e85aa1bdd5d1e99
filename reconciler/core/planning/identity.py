"""Who else answers to a declared identity: what forbids a deploy, what can be adopted, what must exist. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.compare.reason import status_of
from reconciler.core.planning.context import Context
from reconciler.diagnostics import Diagnostic
from reconciler.model import Desired, Live


@dataclass(frozen=True, slots=True)
class Holders:
    """The objects at a provider that answer to one identity, apart from the deployment's own.

    `own` says that its own object does. `leaving` are on their way out and will free it.
    """

    identity: str | None
    live: tuple[Live, ...] = ()
    leaving: tuple[Live, ...] = ()
    dormant: tuple[Live, ...] = ()
    own: bool = False


def holders(ctx: Context, desired: Desired, own: Live | None = None) -> Holders:
    """Who holds the identity that a resolved spec asks for."""
    identity = ctx.types[desired.type].identity(desired.spec)
    if identity is None:
        return Holders(None)
    known = ctx.index.by_identity(desired.provider, identity)
    found = [live for live in known if own is None or live.id != own.id]
    asleep = [live for live in found if live.dormant or _failed_model(ctx, desired, live)]
    awake = [live for live in found if live not in asleep]
    return Holders(
        identity,
        tuple(live for live in awake if live.health != "deleting"),
        tuple(live for live in awake if live.health == "deleting"),
        tuple(asleep),
        len(found) < len(known),
    )


def _failed_model(ctx: Context, desired: Desired, live: Live) -> bool:
    """Whether a model that stood at the provider before anybody deployed it failed to come up, under nobody's record:
    it is known but not serving, which counts as not live."""
    existing = any(desired.spec.get(name) is not None for name in ctx.schemas[desired.type].existing)
    return existing and live.health == "failed" and ctx.owner(desired.provider, live) is None


def problem(desired: Desired, summary: str, detail: str = "", hint: str = "", path: str = "") -> Diagnostic:
    """A complaint about one declared deployment, at the attribute where the file has it."""
    span = desired.spans.get(path) or desired.spans.get("")
    return Diagnostic(summary, span=span, address=desired.address, provider=desired.provider, detail=detail, hint=hint)


def conflict(ctx: Context, desired: Desired, found: Holders) -> Diagnostic | None:
    """Why this identity can't be deployed: something has it already. Names the id and the ways out."""
    if not found.live:
        return _kept(ctx, desired, found)
    first = found.live[0]
    if len(found.live) > 1:
        ids = ", ".join(live.id for live in found.live)
        return problem(
            desired, f"{found.identity} names {len(found.live)} live deployments: {ids}",
            hint=f"choose one: reconciler import '{desired.address}' ID",
        )  # fmt: skip
    owner = ctx.owner(desired.provider, first)
    if owner is not None and owner != desired.address:
        return _renamed(desired, owner, f"{found.identity} is live already (id {first.id})")
    return problem(
        desired, f"{found.identity} is live already (id {first.id}, status {status_of(first)}) and not in the state",
        detail="Deploying it would collide with a deployment that somebody else made.",
        hint=f"take it over: reconciler import '{desired.address}' '{first.id}', or `adopt: true` beside `provider:`; "
        "else give yours another name",
    )  # fmt: skip


def _kept(ctx: Context, desired: Desired, found: Holders) -> Diagnostic | None:
    """Something of that identity serves nothing, but another address has it, and would undeploy or delete it."""
    for asleep in found.dormant:
        owner = ctx.owner(desired.provider, asleep)
        if owner is not None and owner != desired.address and owner not in ctx.released:
            where = f"id {asleep.id}, status {status_of(asleep)}"
            return _renamed(desired, owner, f"{found.identity} is there, but not live ({where})")
    return None


def _renamed(desired: Desired, owner: str, what: str) -> Diagnostic:
    """A complaint about a forgotten move, as it mostly is."""
    return problem(
        desired, f"{what}, and the state holds it as {owner}",
        hint=f"if it was renamed, say so: moved: [{{from: {_quoted(owner)}, to: {_quoted(desired.address)}}}]; "
        "else give one of them another name",
    )  # fmt: skip


def _quoted(address: str) -> str:
    return f"'{address}'" if "[" in address else address


def missing_model(ctx: Context, desired: Desired, found: Holders) -> Diagnostic | None:
    """What is deployed here must exist at the provider before (`x-existing`): the error where it does not."""
    names = [name for name in ctx.schemas[desired.type].existing if desired.spec.get(name) is not None]
    if not names or found.identity is None or found.own or found.live or found.leaving or found.dormant:
        return None
    named = ", ".join(f"{name} {desired.spec[name]}" for name in names)
    return problem(
        desired, f"{named}: the provider knows no such model",
        detail="It is switched on and off from here, never made: it must exist at the provider before.",
        hint=f"`reconciler import --generate {desired.provider}` shows what is live there; check id and account",
        path=names[0],
    )  # fmt: skip
