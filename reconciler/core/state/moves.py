"""What `moved:` and `removed:` say of the recorded deployments: renames, when planning and when applying. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.diagnostics import Diagnostic
from reconciler.model import Moved, Recorded, Removed


def base_of(address: str) -> str:
    """`chat` of `chat["eu"]`."""
    return address.partition("[")[0]


def is_instance(address: str, base: str) -> bool:
    """Whether the address is an instance of `base`, which has no key itself."""
    return address.startswith(base + "[")


def is_at(address: str, bases: Iterable[str]) -> bool:
    """Whether the address is one of `bases`, or an instance of one."""
    return any(address == base or is_instance(address, base) for base in bases)


def find_moves(
    moved: Sequence[Moved], recorded: Collection[str], declared: Collection[str]
) -> tuple[tuple[tuple[str, str], ...], tuple[Diagnostic, ...]]:
    """The renames that this state still needs, as (source, target), and what forbids them.

    A source that the state does not hold was moved earlier: nothing to do. A source without a key stands for all its
    instances where the state holds no deployment of that very name.
    """
    problems: list[Diagnostic] = []
    sources = {move.source for move in moved}
    renames: dict[str, str] = {}
    for move in moved:
        if move.target in sources:
            problems.append(_problem(move, f"moved: {move.target} is the end of one move and the start of another",
                                     f"write one entry straight to the last address, from {move.source}"))  # fmt: skip
            continue
        for source, target in _expand(move, recorded):
            if source in declared:
                problems.append(_problem(move, f"moved: {source} is still declared",
                                         "remove the old block, or the `moved` entry"))  # fmt: skip
            elif target in recorded:
                problems.append(_problem(move, f"moved: {target} is in the state already",
                                         f"`reconciler state rm {source}` forgets the old one"))  # fmt: skip
            elif renames.get(source, target) != target or (target in renames.values() and source not in renames):
                problems.append(_problem(move, f"moved: {source} and {target} occur in more than one entry", ""))
            else:
                renames[source] = target
    return tuple(sorted(renames.items())), tuple(problems)


def _problem(move: Moved, summary: str, hint: str) -> Diagnostic:
    return Diagnostic(summary, span=move.span, address=move.target, hint=hint)


def _expand(move: Moved, recorded: Collection[str]) -> list[tuple[str, str]]:
    if move.source in recorded:
        return [(move.source, move.target)]
    if "[" in move.source or "[" in move.target:
        return []
    return [
        (address, move.target + address[len(move.source) :])
        for address in sorted(recorded)
        if is_instance(address, move.source)
    ]


def find_removals(removed: Sequence[Removed], recorded: Iterable[str]) -> dict[str, str]:
    """What becomes of the recorded addresses that `removed` speaks of. One without a key also stands for its instances,
    except those that have an entry of their own."""
    if not removed:
        return {}
    said = {entry.address: entry.action for entry in removed}
    found = ((address, said.get(address) or said.get(base_of(address))) for address in recorded)
    return {address: action for address, action in found if action is not None}


def rename(recorded: Mapping[str, Recorded], renames: Sequence[tuple[str, str]]) -> dict[str, Recorded]:
    """The recorded deployments under their new addresses; those that depend on them follow."""
    if not renames:
        return dict(recorded)
    table = dict(renames)
    result: dict[str, Recorded] = {}
    for address, entry in recorded.items():
        target = table.get(address, address)
        needs = entry.depends_on
        if any(name in table for name in needs):
            needs = tuple(sorted(table.get(name, name) for name in needs))
        if target != address or needs != entry.depends_on:
            entry = replace(entry, address=target, depends_on=needs)
        result[target] = entry
    return result
