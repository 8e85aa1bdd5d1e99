"""The `state …` commands as rules: what moving, removing, pushing and renaming make of a state.

Pure: each takes a State and gives another; who holds the lock and writes it is the store's. None touches a provider.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace

from reconciler.core.state.moves import is_instance, rename
from reconciler.core.state.state_codec import ADDRESS, STACK
from reconciler.diagnostics import Diagnostic, StateError
from reconciler.model import Health, Json, Recorded, State

SENSITIVE = "(sensitive)"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `state list`."""

    address: str
    provider: str
    id: str | None
    health: Health


def rows(state: State) -> tuple[Row, ...]:
    """Everything that the state holds, sorted by address."""
    entries = (state.deployments[address] for address in sorted(state.deployments))
    return tuple(Row(entry.address, entry.provider, entry.id, entry.health) for entry in entries)


def entry_of(state: State, address: str) -> Recorded:
    """The deployment at `address`. Raises StateError that names the nearest one, or the instances of a key."""
    entry = state.deployments.get(address)
    if entry is not None:
        return entry
    instances = instances_of(state, address)
    near = instances or difflib.get_close_matches(address, state.deployments, n=3)
    raise StateError(
        Diagnostic(
            summary=f"the state of stack {state.stack} holds no {address}",
            address=address,
            detail=f"It holds its instances: {', '.join(instances)}." if instances else "",
            hint=f"did you mean {' or '.join(near)}?" if near else "`reconciler state list` shows what it holds",
        )
    )


def instances_of(state: State, key: str) -> tuple[str, ...]:
    """The addresses that `for_each` made of `key`, sorted."""
    return tuple(sorted(address for address in state.deployments if is_instance(address, key)))


def show_rows(entry: Recorded) -> tuple[tuple[str, Json], ...]:
    """(path, value) of everything recorded, for `state show`; plain lists stay whole, digests are not shown."""
    found: list[tuple[str, Json]] = []
    for field in fields(entry):
        _flatten(field.name, getattr(entry, field.name), found)
    return tuple(found)


def _flatten(path: str, value: Json, found: list[tuple[str, Json]]) -> None:
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping) and value:
        if set(value) == {"$digest"}:
            found.append((path, SENSITIVE))
            return
        for key in sorted(value):
            plain = not any(mark in key for mark in '."[]')
            _flatten(f"{path}.{key}" if plain else f'{path}["{key}"]', value[key], found)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        for index, item in enumerate(value):
            _flatten(f"{path}[{index}]", item, found)
    else:
        found.append((path, list(value) if isinstance(value, tuple) else value))


# --- mv, rm -------------------------------------------------------------------------------------------------------
def move(state: State, source: str, target: str, *, begun: Collection[str] = ()) -> State:
    """`source` under the address `target`, and every `depends_on` with it. Ids, names and live things stay as they are.

    Also between `chat` and `chat["eu"]`; a key that has instances only takes all of them along (`chat` → `bot` moves
    `chat["eu"]` to `bot["eu"]`). `begun` are the addresses at which an interrupted run left a request without an
    outcome: what is found of it will stand there, so nothing moves away or in before. Raises StateError: nothing at
    `source`, `target` taken or no address, a request is open at either.
    """
    if not ADDRESS.fullmatch(target):
        raise StateError(
            Diagnostic(
                summary=f"{target} is not an address",
                address=source,
                hint='an address is a key ([a-z][a-z0-9_-]*), or an instance of one: chat["eu"] (quoted for the shell)',
            )
        )
    open_at = sorted(
        address for address in begun if any(address == at or is_instance(address, at) for at in (source, target))
    )
    if open_at:
        raise StateError(
            Diagnostic(
                summary=f"can't move {source} to {target}: an interrupted run left a request at {open_at[0]} whose "
                "outcome is not known yet",
                address=open_at[0],
                hint="let `reconciler apply`, with the file as it was, look it up first; or rename by `moved:` in the "
                "file: that takes along what is found",
            )
        )
    moves = {source: target}
    instances = instances_of(state, source)
    if source not in state.deployments and instances and "[" not in target:
        moves = {address: target + address.removeprefix(source) for address in instances}
    for old, new in moves.items():
        entry_of(state, old)
        if new in state.deployments:
            raise StateError(
                Diagnostic(
                    summary=f"can't move {old} to {new}: the state holds a deployment there already",
                    address=new,
                    hint=f"move that one away first, or stop managing it: reconciler state rm '{new}'",
                )
            )
    return replace(state, deployments=rename(state.deployments, tuple(moves.items())))


def remove(state: State, addresses: Collection[str]) -> State:
    """Without these (a key means its instances too); what they are at the provider goes on running, unmanaged.

    Dependents no longer name them. Raises StateError for an address that the state does not hold.
    """
    gone: set[str] = set()
    for address in addresses:
        instances = instances_of(state, address)
        gone.update(instances)
        if address in state.deployments or not instances:
            gone.add(entry_of(state, address).address)
    deployments = {}
    for address, entry in state.deployments.items():
        if address in gone:
            continue
        if gone.intersection(entry.depends_on):
            entry = replace(entry, depends_on=tuple(name for name in entry.depends_on if name not in gone))
        deployments[address] = entry
    return replace(state, deployments=deployments)


# --- push, mv-stack -----------------------------------------------------------------------------------------------
def pushed(current: State | None, new: State, *, stack: str, force: bool = False, open_intents: int = 0) -> State:
    """The state to write for `state push`, with its serial; `current` itself where `new` says the same.

    `open_intents` is how many creating requests of an interrupted run have no known outcome. With `force` only the
    stack name is still checked, and the serial ends above both, so that plans of either go stale. Raises StateError.
    """
    if new.stack != stack:
        raise StateError(
            Diagnostic(
                summary=f"the pushed state is that of stack {new.stack}, not of {stack}",
                hint=f"to rename a stack: reconciler state mv-stack {new.stack} {stack}",
            )
        )
    if current is None or new == current:
        return new
    problem = _push_problem(current, new, open_intents)
    if problem is not None and not force:
        raise StateError(problem)
    return replace(new, serial=max(new.serial, current.serial + 1))


def _push_problem(current: State, new: State, open_intents: int) -> Diagnostic | None:
    over = "if the pushed state is the right one all the same: reconciler state push --force FILE"
    if new.lineage != current.lineage:
        return Diagnostic(
            summary="the pushed state is another one, not a version of the present one",
            detail=f"Present lineage {current.lineage}, pushed lineage {new.lineage}.",
            hint=over,
        )
    if new.serial <= current.serial:
        word = "older than" if new.serial < current.serial else "different, but has the same serial as,"
        return Diagnostic(
            summary=f"the pushed state is {word} the present one",
            detail=f"Present serial {current.serial}, pushed serial {new.serial}.",
            hint="pull the present one and change that: reconciler state pull; " + over,
        )
    if open_intents:
        return Diagnostic(
            summary=f"an interrupted run left {open_intents} request(s) whose outcome is not known yet",
            hint="let the next `reconciler apply` look them up first; " + over,
        )
    return None


def renamed(state: State, target: str, *, existing: State | None = None, open_intents: int = 0) -> State:
    """The state under the stack name `target` (`state mv-stack`): same lineage, next serial.

    `existing` is what stands under the new name: only what an interrupted rename of this very state left there may.
    Raises StateError: no stack name, the name is taken, or an interrupted run's requests are open.
    """
    if not STACK.fullmatch(target) or target == state.stack:
        why = "it has that name already" if target == state.stack else "a name is [a-z0-9-], 1 to 63 characters"
        raise StateError(Diagnostic(summary=f"can't rename stack {state.stack} to {target}: {why}"))
    if open_intents:
        raise StateError(
            Diagnostic(
                summary=f"an interrupted run of stack {state.stack} left {open_intents} request(s) without an outcome",
                hint="let the next `reconciler apply` look them up, then rename the stack",
            )
        )
    result = replace(state, stack=target, serial=state.serial + 1)
    if existing is not None and existing != result:
        raise StateError(
            Diagnostic(
                summary=f"can't rename stack {state.stack} to {target}: there is a state of that name",
                detail=f"It holds {len(existing.deployments)} deployment(s), serial {existing.serial}.",
                hint="choose another name, or move its files away",
            )
        )
    return result
