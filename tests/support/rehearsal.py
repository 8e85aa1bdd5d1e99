"""The whole product in one process on a clock that jumps: real files, planner, engine and adapters on the simulators.

A `Place` is the outside (worlds and their clock); a `Party` is somebody who works in it with a state of their own. Two
parties in one place do not know of each other. `Place.fork` copies a place, so that one history can go on in two ways.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from reconciler.core.compare.drift import is_drift
from reconciler.core.load.desired import build_stack
from reconciler.core.load.variables import Inputs
from reconciler.core.planning.planner import plan as make_plan
from reconciler.core.state.journal import RunStarted
from reconciler.edge.document import read_value
from reconciler.engine.apply import apply
from reconciler.engine.fetch import fetch
from reconciler.engine.ledger import Run
from reconciler.engine.recover import findings, records, resolve_intents
from reconciler.engine.stop import StopSignal
from reconciler.model import Intent, Json, ProviderConfig, Refreshed, Stack, State
from reconciler.plan import Event, Plan, PlanOptions, Report
from reconciler.provider import Provider, Wire
from reconciler.registry import registry
from reconciler.sandbox.base import Request
from reconciler.sandbox.faults import Fault
from reconciler.sandbox.host import Sandbox
from reconciler.sandbox.in_process import SandboxTransport
from reconciler.sandbox.neevcloud import ACCESS_TOKEN
from reconciler.sandbox.setup import prepare, world_name
from reconciler.sandbox.store import SandboxStore
from tests.support.fake_provider import InlineWorkers, KilledError, MemoryJournal, Trace
from tests.support.stacks import document

EPOCH = 1_767_225_600.0  # 2026-01-01
REGISTRY = registry(("modelstudio", "neevcloud", "nugen", "opensearch"))
RUN = Run("run-1", "apply", "me", "here")
ANY_LOSS = {"allow_undeploys": 1000}  # what these worlds do is on purpose


class JumpingClock:
    """One clock for engine and worlds; it passes only when somebody waits. `time` is in seconds."""

    def __init__(self, time: float = 1000.0, ids: int = 0) -> None:
        self.time, self.ids = time, ids

    def monotonic(self) -> float:
        return self.time

    def wall(self) -> float:
        return EPOCH + self.time

    def now(self) -> str:
        return datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:012x}"

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Place:
    """The simulators' worlds and their clock."""

    def __init__(self, clock: JumpingClock | None = None) -> None:
        self.clock = clock or JumpingClock()
        self.sandbox = Sandbox(SandboxStore(None, wall=self.clock.wall), sleep=self.clock.sleep)
        self.wire = Wire(SandboxTransport(self.sandbox), sleep=self.clock.sleep)

    def fork(self) -> Place:
        """The same outside once more; what happens in one is not seen in the other."""
        other = Place(JumpingClock(self.clock.time, self.clock.ids))
        for name, dump in self.dump().items():
            with other.sandbox.store.world(name) as world:
                world.load(dump)
        return other

    def dump(self) -> dict[str, Any]:
        """Every world as JSON, by its name."""
        found = {}
        for name in self.sandbox.store.names():
            with self.sandbox.store.world(name, keep=False) as world:
                found[name] = json.loads(json.dumps(world.dump()))
        return found

    def things(self) -> dict[tuple[str, str, str], str]:
        """Every record of every world as text, by (world, table, key); without logins."""
        return {
            (name, table, key): json.dumps(record, sort_keys=True)
            for name, dump in self.dump().items()
            for table, rows in dump["data"].items()
            if isinstance(rows, dict) and table != "tokens"
            for key, record in rows.items()
        }

    @contextmanager
    def world(self, config: ProviderConfig) -> Iterator[Any]:
        with self.sandbox.store.world(world_name(config)) as world:
            yield world

    def knobs(self, configs: Mapping[str, ProviderConfig], **knobs: Json) -> None:
        """Turn knobs of the worlds behind these providers; None takes one back."""
        for config in configs.values():
            with self.world(config) as world:
                world.knobs.update(knobs)
                for name in [name for name, value in world.knobs.items() if value is None]:
                    del world.knobs[name]

    def fault(self, config: ProviderConfig, **rule: Json) -> None:
        with self.world(config) as world:
            world.faults.append(Fault.parse(rule))

    def by_hand(self, config: ProviderConfig, method: str, path: str, headers: Mapping[str, str]) -> Json:
        """A request of somebody with a console: past every adapter."""
        request = Request(method, f"/{world_name(config)}{path}", headers=dict(headers))
        answer = self.sandbox.exchange(request)
        assert not isinstance(answer, str), answer
        assert answer.status < 300, (method, path, answer)
        return answer.body

    def writes(self) -> int:
        """How many requests that can change something were sent so far."""
        recent = self.sandbox.requests.recent
        return sum(1 for _, method, path in recent if method not in ("GET", "HEAD") and not path.endswith("_search"))


@dataclass
class Party:
    """One stack: its file of the moment, its state, its connections."""

    place: Place
    name: str = "bots"
    state: State | None = None
    intents: tuple[Intent, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: {"TOKEN": "s3cret"})

    def __post_init__(self) -> None:
        self.events: list[Event] = []
        self.configs: Mapping[str, ProviderConfig] = {}
        self._connected: dict[str, tuple[ProviderConfig, Provider]] = {}
        self.stop = StopSignal()
        self.journal = MemoryJournal(Trace())
        self.written = 0  # appends and syncs of the last apply
        self.workers = InlineWorkers(self.place.clock)  # type: ignore[arg-type]  # of a clock it uses the time alone

    def fork(self, place: Place | None = None) -> Party:
        """The same party in a copy of the place, or in one that was copied already."""
        other = Party(place or self.place.fork(), self.name, self.state, self.intents, self.environ)
        other.configs = self.configs
        return other

    # --- the file ---------------------------------------------------------------------------------------------------
    def stack(self, file: Mapping[str, Json]) -> Stack:
        """The file as the product loads it. Raises FileError with all that is wrong with it."""
        text = json.dumps({"version": 1, "stack": self.name, **file})
        inputs = Inputs({}, self.environ, read_value=read_value)
        return build_stack(document(text), schemas=REGISTRY.schemas, types=REGISTRY.types, inputs=inputs)

    def connect(self, stack: Stack) -> Mapping[str, Provider]:
        """Adapters on the worlds behind the file's providers; connections are kept for the next run."""
        prepared = prepare(self.place.sandbox, stack.providers, stack)
        self.configs = stack.providers
        for key, config in prepared.configs.items():
            kept = self._connected.get(key)
            if kept is not None and kept[0] == config:
                continue
            credentials = dict(prepared.credentials[key])
            if config.type == "neevcloud":
                credentials = {"access_token": ACCESS_TOKEN}
            provider = REGISTRY.types[config.type].connect(config, credentials, self.place.wire)
            self._connected[key] = (config, provider)
        return {key: self._connected[key][1] for key in prepared.configs}

    # --- the phases of a run ----------------------------------------------------------------------------------------
    def look(self, file: Mapping[str, Json], *, locked: bool = False) -> None:
        """Load the file and refresh; `locked`: what a killed run left open is resolved and written down first."""
        self.loaded = self.stack(file)
        self.providers = self.connect(self.loaded)
        if locked and self.intents:
            self._write_down()
        recorded: dict[str, list[Any]] = {}
        for entry in (self.state.deployments if self.state else {}).values():
            recorded.setdefault(entry.provider, []).append(entry)
        capabilities = {key: REGISTRY.types[self.configs[key].type].capabilities for key in self.providers}
        self.refreshed: Refreshed = fetch(self.providers, recorded, capabilities, workers=self._pool)
        assert not self.refreshed.failed, self.refreshed.failed

    def plan(self, file: Mapping[str, Json], *, locked: bool = False, **options: Any) -> Plan:
        """What an apply would do. Raises FileError and PlanConflictError as the product does."""
        self.look(file, locked=locked)
        return make_plan(
            self.loaded,
            self.state,
            self.refreshed,
            schemas=REGISTRY.schemas,
            types=REGISTRY.types,
            options=PlanOptions(**{**ANY_LOSS, "allow_empty": tuple(self.loaded.providers), **options}),
            now=self.place.clock.now(),
            recovered=findings(self._resolve(locked)),
            providers=self.loaded.providers,
        )

    def apply(self, plan: Plan, *, parallelism: int = 10, emit: Callable[[Event], None] | None = None) -> Report:
        """Carry the plan out; the state is what the journal says, also after a kill (KilledError comes through)."""
        base = self.state or State(self.name, f"{self.name}-lineage", 0, "ab" * 32)

        def told(event: Event) -> None:
            self.events.append(event)
            if emit is not None:
                emit(event)

        assert not plan.refused, plan.refused
        self.workers = InlineWorkers(self.place.clock)  # type: ignore[arg-type]
        try:
            report = apply(
                plan, base, self.refreshed, providers=self.providers, configs=self.configs, types=REGISTRY.types,
                schemas=REGISTRY.schemas, journal=self.journal, run=RUN, clock=self.place.clock, emit=told,
                stop=self.stop, parallelism=parallelism, workers=lambda _size: self.workers,
            )  # fmt: skip
            assert self.journal.after(base)[0] == report.state, "the journal does not say what the report says"
            return report
        finally:
            self.state, self.intents = self.journal.after(base)
            self.written = self.journal.count
            self.journal, self.stop = MemoryJournal(Trace()), StopSignal()

    def run(self, file: Mapping[str, Json], *, parallelism: int = 10, **options: Any) -> Report:
        """Plan and apply, as one command that holds the lock."""
        return self.apply(self.plan(file, locked=True, **options), parallelism=parallelism)

    def killed(self, plan: Plan, at: int, *, sent: bool, parallelism: int = 10) -> bool:
        """Apply, dying at that append or sync of the journal; `sent`: requests on the wire still arrive. Whether it
        died before it was done."""
        self.journal = MemoryJournal(Trace(), kill_at=at)
        try:
            self.apply(plan, parallelism=parallelism)
        except KilledError:
            if sent:
                self.workers.collect(60.0)
            return True
        return False

    def _resolve(self, locked: bool) -> tuple[Any, ...]:
        if not self.intents or self.state is None:
            return ()
        return resolve_intents(
            self.intents, state=self.state, providers=self.providers, schemas=REGISTRY.schemas, last_run=None,
            clock=self.place.clock, timeouts=dict.fromkeys(self.providers, 30.0) if locked else None,
            workers=self._pool,
        )  # fmt: skip

    def _write_down(self) -> None:
        assert self.state is not None
        journal, state = MemoryJournal(Trace()), self.state
        clock = self.place.clock
        journal.append(RunStarted("r", "apply", "me", "here", clock.now(), state.serial, state.lineage))
        resolved = self._resolve(True)
        journal.append(*records(resolved))
        journal.sync()
        self.state, _ = journal.after(state)
        closed = {one.intent.id for one in resolved if one.findings[-1].what != "unclear"}
        self.intents = tuple(intent for intent in self.intents if intent.id not in closed)

    def _pool(self, _size: int) -> Any:
        return InlineWorkers(self.place.clock)  # type: ignore[arg-type]


def differences(plan: Plan, *, drift: bool = True) -> list[str]:
    """What a plan that should be empty is not; () for an empty one. Notes and unmanaged objects are no difference."""
    found = [f"{action.action} {action.address}: {action.reason}" for action in plan.actions if action.action != "none"]
    found += [f"state change {c.address} {c.kind} {c.path}: {c.before} -> {c.after}" for c in plan.state_changes]
    if drift:
        found += [f"drift {d.address} {d.path}: {d.expected} -> {d.live} {d.note}" for d in plan.drift if is_drift(d)]
    return found + [f"moved {move}" for move in plan.moved]


def forget_times(state: State | None) -> dict[str, Any]:
    """What a state says of each deployment, without ids and times: equal for two histories of one end."""
    kept = {}
    for address, entry in (state.deployments if state else {}).items():
        beside = {name.removesuffix("_next"): "" for name, id_ in sorted(entry.created.items()) if id_}
        plain = replace(entry, created_at="", updated_at="", deployed_at="", id="" if entry.id else None)
        kept[address] = replace(plain, computed={}, created=beside)
    return kept
