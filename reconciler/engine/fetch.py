"""Refresh: what every provider has now. Lists side by side; a request by id only for what a list lacks.

Never turns a failure into an empty list, and never asks for a deployment that the list showed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.diagnostics import Diagnostic
from reconciler.engine.heartbeat import Heartbeat
from reconciler.engine.workers import Job, Result, ThreadWorkers, Workers
from reconciler.model import Listing, Live, Recorded, Refreshed
from reconciler.provider import Capabilities, Provider, ProviderError


@dataclass(slots=True)
class _Reading:
    """One provider's refresh under way. `todo` are the requests that may go out, at most `limit` at a time."""

    key: str
    provider: Provider
    capabilities: Capabilities
    recorded: Sequence[Recorded]
    limit: int
    todo: deque[tuple[str | None, Job]] = field(default_factory=deque)
    under_way: int = 0
    listed: bool = False
    objects: list[Live] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    gone: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    failed: Diagnostic | None = None

    def take(self, result: Result, asked: str | None) -> None:
        """Digest one answer: of a list (`asked` None) or of a read by id."""
        if result.error is not None and not isinstance(result.error, ProviderError):
            raise result.error
        if asked is not None:
            self._read(asked, result)
        elif not self.listed:
            self._first_list(result)
        else:
            self._second_list(result)

    def _first_list(self, result: Result) -> None:
        if isinstance(result.error, ProviderError):
            self.failed = about(self.key, result.error)
            return
        self.listed = True
        self.objects = list(result.value)
        self.missing = self._lacking(self.objects)
        if self.missing and self.capabilities.read_by_id:
            self.todo.extend((id_, partial(self.provider.read, id_)) for id_ in self.missing)
        elif self.missing:
            self.todo.append((None, self.provider.list))

    def _second_list(self, result: Result) -> None:
        if isinstance(result.error, ProviderError):
            reason = f"the list lacks it, and a second list failed: {result.error.message}"
            self.unreadable.update(dict.fromkeys(self.missing, reason))
            return
        self.objects = list(result.value)
        self.gone.update(id_ for id_ in self._lacking(self.objects) if id_ in self.missing)

    def _lacking(self, objects: Iterable[Live]) -> tuple[str, ...]:
        """Recorded ids that these objects lack, each once. Where nothing can be read by id, an object of the same
        identity counts as shown: such a provider may rename ids (Nugen), and only its list can say more."""
        objects = tuple(objects)
        shown = {live.id for live in objects}
        names = {name for live in objects for name in live.identities} if not self.capabilities.read_by_id else set()
        lacking = (entry.id for entry in self.recorded if entry.id not in shown and entry.identity not in names)
        return tuple(dict.fromkeys(id_ for id_ in lacking if id_ is not None))

    def _read(self, asked: str, result: Result) -> None:
        if isinstance(result.error, ProviderError):
            self.unreadable[asked] = result.error.message
        elif result.value is None:
            self.gone.add(asked)
        else:
            self.objects.append(result.value)

    def listing(self) -> Listing:
        return Listing(tuple(self.objects), frozenset(self.gone), dict(sorted(self.unreadable.items())))


def fetch(
    providers: Mapping[str, Provider],
    recorded: Mapping[str, Sequence[Recorded]],
    capabilities: Mapping[str, Capabilities],
    *,
    max_concurrency: Mapping[str, int] | None = None,
    workers: Callable[[int], Workers] = ThreadWorkers,
    heartbeat: Heartbeat | None = None,
) -> Refreshed:
    """List all `providers` side by side and confirm what the lists lack; all mappings are by provider key.

    `recorded` are the deployments that the state knows at each; `max_concurrency` (default: the capabilities') bounds
    the reads by id; `heartbeat` hears of a wait. A provider that could not be listed is in `Refreshed.failed` and
    nowhere else. Never raises ProviderError; any other exception is a bug and comes through.
    """
    limits = max_concurrency or {}
    readings = [
        _Reading(
            key,
            provider,
            capabilities[key],
            recorded.get(key, ()),
            max(1, limits.get(key, capabilities[key].max_concurrency)),
            deque([(None, provider.list)]),
        )
        for key, provider in sorted(providers.items())
    ]
    if readings:
        pool = workers(sum(reading.limit for reading in readings))
        try:
            _run(readings, pool, heartbeat)
        finally:
            pool.close()
    return Refreshed(
        {reading.key: reading.listing() for reading in readings if reading.failed is None},
        {reading.key: reading.failed for reading in readings if reading.failed is not None},
    )


def _run(readings: Sequence[_Reading], pool: Workers, heartbeat: Heartbeat | None) -> None:
    def waited_for() -> list[str]:
        return [reading.key for reading in readings if reading.under_way]

    under_way = _send(readings, pool)
    while under_way:
        for result in heartbeat.collect(pool, waited_for) if heartbeat is not None else pool.collect(None):
            reading, asked = result.token
            reading.under_way -= 1
            under_way -= 1
            reading.take(result, asked)
            under_way += _send((reading,), pool)


def _send(readings: Iterable[_Reading], pool: Workers) -> int:
    """Submit what may go out now; how many that were."""
    sent = 0
    for reading in readings:
        while reading.todo and reading.under_way < reading.limit:
            asked, job = reading.todo.popleft()
            reading.under_way += 1
            sent += 1
            pool.submit((reading, asked), job)
    return sent


def about(key: str, error: ProviderError) -> Diagnostic:
    """The error's diagnostic, told of the provider by its key in the file (an error may know only the type)."""
    return replace(error.diagnostics[0], provider=key)
