"""What has been done, on disk before it counts: the state under way and its journal. One owner thread.

Writes only what is new: a run that changes nothing appends nothing, not even its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from reconciler.core.state.journal import (
    EntryRemoved,
    EntrySet,
    IntentClosed,
    IntentWritten,
    OutputsSet,
    ProvidersSet,
    Record,
    RunEnded,
    RunStarted,
)
from reconciler.engine.clock import Clock
from reconciler.model import Intent, Json, Recorded, RecordedProvider, State


class Journal(Protocol):
    """Where records go (`edge/store.py`)."""

    def append(self, *records: Record) -> None:
        """Take records, in order; they may be lost until the next `sync`."""

    def sync(self) -> None:
        """Return once all that was appended is on disk."""


@dataclass(frozen=True, slots=True)
class Run:
    """Who runs what, for the journal. `command` holds no values of options. `started`: the journal has the run's start
    already (it was opened with it, to write down what recovery found)."""

    id: str
    command: str
    user: str
    host: str
    started: bool = False


def run_started(run: Run, at: str, base: State, actions: int) -> RunStarted:
    """The record with which `run` begins to write on top of `base`; `at` is RFC 3339 in UTC."""
    return RunStarted(run.id, run.command, run.user, run.host, at, base.serial, base.lineage, actions)


class Ledger:
    """The state of one run and its journal."""

    def __init__(self, state: State, journal: Journal, clock: Clock, run: Run, actions: int) -> None:
        self.base = state
        self.entries: dict[str, Recorded] = dict(state.deployments)
        self._outputs, self._providers = state.outputs, state.providers
        self._journal, self._clock, self._run, self._actions = journal, clock, run, actions
        self._started = run.started
        self._dirty = False

    def put(self, *entries: Recorded) -> None:
        """Entries are now so; one that is so already is not written again."""
        for entry in entries:
            if self.entries.get(entry.address) != entry:
                self.entries[entry.address] = entry
                self._append(EntrySet(entry))

    def drop(self, address: str) -> None:
        """The state no longer holds `address`."""
        if self.entries.pop(address, None) is not None:
            self._append(EntryRemoved(address))

    def become(self, state: State) -> None:
        """Deployments, providers and outputs are now those of `state`."""
        for address in self.entries.keys() - state.deployments.keys():
            self.drop(address)
        self.put(*state.deployments.values())
        self.providers(state.providers)
        self.outputs(state.outputs)

    def intend(self, intent: Intent) -> None:
        """A creating request is about to be sent; it may be sent after the next `sync`."""
        self._append(IntentWritten(intent))

    def close(self, intent: str, result: Literal["answered", "absent", "refused"]) -> None:
        """How the request of an intent ended. Append after what it led to, so that a torn tail leaves it open."""
        self._append(IntentClosed(intent, result))

    def outputs(self, outputs: Mapping[str, Json]) -> None:
        if dict(outputs) != dict(self._outputs):
            self._outputs = dict(outputs)
            self._append(OutputsSet(self._outputs))

    def providers(self, providers: Mapping[str, RecordedProvider]) -> None:
        if dict(providers) != dict(self._providers):
            self._providers = dict(providers)
            self._append(ProvidersSet(self._providers))

    def end(self, result: str) -> None:
        """Close the run, if it wrote anything at all."""
        if self._started:
            self._append(RunEnded(self._run.id, result))
        self.sync()

    def sync(self) -> None:
        """What was said so far is on disk when this returns."""
        if self._dirty:
            self._journal.sync()
            self._dirty = False

    def state(self) -> State:
        """The state as it is now; its serial is one up from the base's if anything is new."""
        new = replace(self.base, deployments=dict(self.entries), outputs=self._outputs, providers=self._providers)
        return self.base if new == self.base else replace(new, serial=self.base.serial + 1)

    @property
    def recorded_providers(self) -> Mapping[str, RecordedProvider]:
        return self._providers

    @property
    def recorded_outputs(self) -> Mapping[str, Json]:
        return self._outputs

    def _append(self, record: Record) -> None:
        if not self._started:
            self._started = True
            self._journal.append(run_started(self._run, self._clock.now(), self.base, self._actions))
        self._journal.append(record)
        self._dirty = True
