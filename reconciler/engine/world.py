"""What the rules of an operation look things up in: one value, made at the start of an apply. No rule of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.compare.live_index import LiveIndex
from reconciler.engine.clock import Clock
from reconciler.engine.entries import Entries
from reconciler.engine.ledger import Ledger
from reconciler.engine.values import Values
from reconciler.model import Json


@dataclass(frozen=True, slots=True)
class World:
    """What the rules look things up in; `settings` is by provider key."""

    lineage: str
    live: LiveIndex
    entries: Entries
    values: Values
    ledger: Ledger
    clock: Clock
    forced: frozenset[str]
    settings: Mapping[str, Mapping[str, Json]]
