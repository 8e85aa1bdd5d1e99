"""`--target` and `--exclude`: which addresses a run is about, and so which providers it must contact. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from reconciler.core.state.moves import base_of, find_moves, find_removals, rename
from reconciler.core.values.words import nearest
from reconciler.diagnostics import Diagnostic, UsageError
from reconciler.model import Recorded, Stack, State
from reconciler.plan import PlanOptions


def matcher(pattern: str) -> re.Pattern[str]:
    """A pattern of the command line: only `*` and `?` are special; one without a key also means its instances."""
    text = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.compile(text if "[" in pattern else rf"{text}(\[.*\])?", re.DOTALL)


def matching(option: str, patterns: Sequence[str], addresses: Collection[str]) -> set[str]:
    """The addresses that any of the patterns means. Raises UsageError for every pattern that means none."""
    found: set[str] = set()
    problems: list[Diagnostic] = []
    for pattern in patterns:
        means = matcher(pattern)
        hits = {address for address in addresses if means.fullmatch(address)}
        found |= hits
        if not hits:
            near = nearest(pattern, sorted({*addresses, *map(base_of, addresses)}))
            hint = f"did you mean {near}?" if near else "`reconciler state list` shows what the state holds"
            problems.append(Diagnostic(f"{option} {pattern} matches no deployment", hint=hint))
    if problems:
        raise UsageError(*problems)
    return found


def needs(
    declared: Mapping[str, Collection[str]], recorded: Mapping[str, Recorded], *, destroy: bool
) -> dict[str, set[str]]:
    """What each address can't go without: its dependencies where it stays; where it goes, what was built on it."""
    result = {} if destroy else {address: set(names) for address, names in declared.items()}
    for address in recorded:
        if destroy or address not in declared:
            result[address] = set()
    for address, entry in recorded.items():
        for name in entry.depends_on:
            if name in recorded and (destroy or name not in declared):
                result[name].add(address)
    return result


def closure(start: Iterable[str], edges: Mapping[str, Collection[str]]) -> set[str]:
    """Everything that can be reached from `start`, itself included."""
    reached = set(start)
    todo = list(reached)
    while todo:
        for name in edges.get(todo.pop(), ()):
            if name not in reached and name in edges:
                reached.add(name)
                todo.append(name)
    return reached


def select(
    declared: Mapping[str, Collection[str]], recorded: Mapping[str, Recorded], options: PlanOptions
) -> frozenset[str]:
    """The addresses that a run is about; `declared` maps addresses to what they depend on.

    A target takes what it needs, an exclusion takes away what depends on it; exclusions win. Raises UsageError for a
    pattern that matches nothing.
    """
    if not options.target and not options.exclude:
        return frozenset(recorded) if options.refresh_only or options.destroy else frozenset((*declared, *recorded))
    edges = needs(declared, recorded, destroy=options.destroy)
    if options.refresh_only:
        edges = {address: set() for address in recorded}
    chosen = set(edges)
    if options.target:
        chosen = closure(matching("--target", options.target, edges), edges)
    if options.exclude:
        dependents: dict[str, set[str]] = {address: set() for address in edges}
        for address, names in edges.items():
            for name in names:
                if name in dependents:
                    dependents[name].add(address)
        chosen -= closure(matching("--exclude", options.exclude, edges), dependents)
    return frozenset(chosen)


def declared_needs(stack: Stack | None) -> dict[str, tuple[str, ...]]:
    return {address: desired.depends_on for address, desired in stack.deployments.items()} if stack else {}


def moved_entries(stack: Stack | None, state: State | None) -> dict[str, Recorded]:
    """The recorded deployments under the addresses that the file gives them."""
    recorded = state.deployments if state else {}
    if not stack or not stack.moved:
        return dict(recorded)
    renames, _ = find_moves(stack.moved, recorded, stack.deployments)
    return rename(recorded, renames)


def providers_needed(stack: Stack | None, state: State | None, options: PlanOptions) -> tuple[str, ...]:
    """The provider keys that this run must contact, sorted.

    Without targets and exclusions: every one that the file or the state names (`--destroy`: the state alone). Else
    those of what is left and of what that refers to. What is only to be forgotten needs nobody. Raises UsageError for
    a pattern that matches nothing.
    """
    recorded = moved_entries(stack, state)
    chosen = select(declared_needs(stack), recorded, options)
    removed = find_removals(stack.removed, recorded) if stack else {}
    keys = {recorded[name].provider for name in chosen if name in recorded and removed.get(name) != "forget"}
    if options.destroy:
        return tuple(sorted(keys))
    if stack is not None:
        if not options.target and not options.exclude:
            keys |= set(stack.providers)
        for address in chosen & stack.deployments.keys():
            desired = stack.deployments[address]
            keys.add(desired.provider)
            for name, _ in desired.references:
                target = stack.deployments.get(name) or recorded.get(name)
                if target is not None:
                    keys.add(target.provider)
    return tuple(sorted(keys))
