"""What a plan starts from: the state with moves and findings applied, what is selected, what forbids it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.planning.findings import Finding, uncertain
from reconciler.core.planning.select import declared_needs, matching, select
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.core.state.moves import find_moves, find_removals, rename
from reconciler.core.values.references import references
from reconciler.core.values.tree import marks
from reconciler.diagnostics import Diagnostic, UsageError
from reconciler.model import ProviderConfig, Recorded, Stack, State, Unknown
from reconciler.plan import PlanOptions


@dataclass(frozen=True, slots=True)
class Prepared:
    """`recorded` is by new address; `known` the addresses that the run could be about, `chosen` those that it is;
    `removed` what the file says becomes of recorded addresses. The rest is as in core/planning/context.py."""

    name: str
    stack: Stack | None
    state: State | None
    options: PlanOptions
    configs: Mapping[str, ProviderConfig]
    recorded: Mapping[str, Recorded]
    moved: tuple[tuple[str, str], ...]
    removed: Mapping[str, str]
    chosen: frozenset[str]
    known: frozenset[str]
    replace: frozenset[str]
    quoted: Mapping[str, tuple[str, ...]]
    scopes: Mapping[str, str]
    owners: Mapping[tuple[str, str], str]
    foreign: Mapping[str, str]
    recovered: tuple[Finding, ...]
    errors: tuple[Diagnostic, ...]


def prepare(
    stack: Stack | None,
    state: State | None,
    *,
    schemas: Mapping[str, ProviderSchema],
    options: PlanOptions,
    recovered: Sequence[Finding],
    providers: Mapping[str, ProviderConfig] | None,
) -> Prepared:
    """Gather the inputs of one plan. Raises UsageError for a pattern of the command line that matches nothing."""
    found = {finding.address: finding.entry for finding in recovered if finding.what == "found" and finding.entry}
    before: dict[str, Recorded] = {**(state.deployments if state else {}), **found}
    moved, errors = find_moves(stack.moved, before, stack.deployments) if stack else ((), ())
    recorded = rename(before, moved)
    declared = {} if options.destroy else declared_needs(stack)
    chosen = select(declared, recorded, options)
    if not options.target and not options.exclude:  # neither declared nor recorded any more, but perhaps live
        chosen |= {finding.address for finding in recovered if finding.what == "unclear"}
    configs = providers if providers is not None else stack.providers if stack else {}
    scopes = {key: known.scope for key, known in state.providers.items()} if state else {}
    scopes.update({key: config.scope for key, config in configs.items()})
    errors += uncertain(recovered, chosen, _begun_moves(stack, recovered))
    _known_providers(options, {*configs, *scopes})
    removed = find_removals(stack.removed, recorded) if stack else {}
    errors += tuple(_unreachable(recorded, chosen, schemas, configs, removed))
    return Prepared(
        name=stack.name if stack else state.stack if state else "",
        stack=stack,
        state=state,
        options=options,
        configs=configs,
        recorded=recorded,
        moved=moved,
        removed=removed,
        chosen=chosen,
        known=frozenset({*declared, *recorded}),
        replace=_forced(options, declared, chosen),
        quoted=_quoted(stack) if stack and not options.destroy else {},
        scopes=scopes,
        owners={
            (scopes.get(entry.provider, entry.provider), entry.id): address
            for address, entry in recorded.items()
            if entry.id is not None
        },
        foreign=_foreign(state, configs) if options.destroy else {},
        recovered=tuple(recovered),
        errors=errors,
    )


def _begun_moves(stack: Stack | None, recovered: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    """The renames of what was begun, the state need not hold it yet."""
    return find_moves(stack.moved, {one.address for one in recovered}, stack.deployments)[0] if stack else ()


def _foreign(state: State | None, configs: Mapping[str, ProviderConfig]) -> dict[str, str]:
    """Provider keys that point to another scope than the recorded one. Only `--destroy` needs this: any other plan is
    refused by a guard until the new scope is accepted, but a destroy would forget what goes on running there."""
    known = state.providers if state else {}
    return {
        key: known[key].scope for key, config in configs.items() if key in known and known[key].scope != config.scope
    }


def _known_providers(options: PlanOptions, known: Iterable[str]) -> None:
    """Raises UsageError where a flag that lifts a guard names a provider that is not there: it would lift nothing."""
    keys = sorted(known)
    wrong = [
        Diagnostic(f"{flag} {key} names no provider", hint=f"there are: {', '.join(keys)}" if keys else "there is none")
        for flag, given in (("--allow-empty", options.allow_empty), ("--accept-endpoint", options.accept_endpoint))
        for key in given
        if key not in keys
    ]
    if wrong:
        raise UsageError(*wrong)


def _forced(options: PlanOptions, declared: Iterable[str], chosen: frozenset[str]) -> frozenset[str]:
    if options.destroy and options.refresh_only:
        raise UsageError(Diagnostic("--destroy does not go with --refresh-only, which changes nothing at a provider"))
    if not options.replace:
        return frozenset()
    if options.destroy or options.refresh_only:
        raise UsageError(Diagnostic("--replace goes with neither --destroy nor --refresh-only"))
    asked = frozenset(matching("--replace", options.replace, tuple(declared)))
    left_out = sorted(asked - chosen)
    if left_out:
        raise UsageError(Diagnostic(f"--replace {left_out[0]}: --target and --exclude leave that out"))
    return asked


def _unreachable(
    recorded: Mapping[str, Recorded], chosen: frozenset[str], schemas: Mapping[str, ProviderSchema],
    configs: Mapping[str, ProviderConfig], removed: Mapping[str, str],
) -> Iterable[Diagnostic]:  # fmt: skip
    """Recorded deployments whose provider the file has no longer: nobody can undeploy them so."""
    for address in sorted(recorded):
        entry = recorded[address]
        if address not in chosen or removed.get(address) == "forget":
            continue
        if entry.type not in schemas:
            yield Diagnostic(
                f"{address} is of provider type {entry.type}, which is not installed", address=address,
                provider=entry.provider, hint=f"install it, or stop managing it: reconciler state rm '{address}'",
            )  # fmt: skip
        elif entry.provider not in configs:
            yield Diagnostic(
                f"the state holds {address} at provider {entry.provider}, which the file does not have",
                address=address, provider=entry.provider,
                hint=f"put {entry.provider} back under providers:, or leave it running unmanaged: "
                f"removed: [{{address: {address}, action: forget}}]",
            )  # fmt: skip


def _quoted(stack: Stack) -> dict[str, tuple[str, ...]]:
    """For each address the attribute paths that others take from it, outputs included."""
    found: dict[str, set[str]] = {}
    for desired in stack.deployments.values():
        for address, path in desired.references:
            found.setdefault(address, set()).add(path)
    for mark in marks(dict(stack.outputs)):
        if isinstance(mark, Unknown):
            for reference in references(mark.template):
                if reference.kind == "deployments":
                    found.setdefault(reference.address, set()).add(reference.attribute)
    return {address: tuple(sorted(paths)) for address, paths in found.items()}
