"""What tests of the local store share: a store in a folder, its lock held, a first snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.core.state.state_codec import encode_state
from reconciler.edge.store import LocalStore
from reconciler.model import State
from tests.support.states import entry, environment, state

SNAPSHOT, BACKUP, JOURNAL, LOCK = "bots.state.json", "bots.backup.json", "bots.journal", "bots.lock"


def store_in(folder: Path, stack: str = "bots") -> LocalStore:
    return LocalStore(folder, stack, environment())


@contextmanager
def holding(store: LocalStore) -> Iterator[LocalStore]:
    with store.locked(command="apply", unlock_command="reconciler unlock"):
        yield store


def seeded(folder: Path, *addresses: str) -> State:
    """A snapshot at serial 7, written as the tool writes it."""
    base = state(*(entry(address) for address in addresses))
    (folder / SNAPSHOT).write_text(encode_state(base))
    return base


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
