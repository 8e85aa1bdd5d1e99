"""A scripted provider in one process, a clock that jumps, and workers without threads: the engine, deterministically.

`Cloud` is what the provider holds; it outlives runs. `Trace` is one list of everything that happened in order: journal
appends and syncs, requests, events. Faults are told per step: `cloud.fault("create", "lost_after", times=2)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

from reconciler.core.schemas.schema import ProviderSchema, compile_schema
from reconciler.core.state.journal import Record, RunEnded, RunStarted, encode, replay
from reconciler.engine.workers import Job, Result
from reconciler.model import Health, Intent, Json, Live, ProviderConfig, Recorded, State
from reconciler.provider import (
    AccessError,
    Call,
    Capabilities,
    Conflict,
    Done,
    Failed,
    Next,
    NotFoundError,
    Operation,
    Problem,
    Provider,
    RejectedError,
    Reply,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    Wait,
    Wire,
)

KEY = "ab" * 32

DOCUMENT: Mapping[str, Json] = {
    "$id": "fake.schema.json",
    "title": "Fake",
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "x-identity": True, "description": "its name"},
        "size": {"type": "integer", "minimum": 1, "description": "never changes"},
        "link": {"type": "string", "description": "never changes"},
        "replicas": {"type": "integer", "x-change": "scale", "x-ready-only": True, "description": "how many"},
        "note": {"type": "string", "x-change": "update", "description": "a text"},
        "token": {
            "type": "string",
            "x-change": "update",
            "x-write-only": True,
            "x-sensitive": True,
            "description": "-",
        },
    },
    "x-computed": {"id": {"type": "string"}, "url": {"type": "string"}},
}


class FakeClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.ids = 0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.time

    def now(self) -> str:
        minutes, seconds = divmod(int(self.time), 60)
        return f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z"

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.ids:012x}"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class InlineWorkers:
    """Each job takes `latency` seconds of the fake clock and runs on the caller's thread when they have passed."""

    def __init__(self, clock: FakeClock, latency: float = 0.02) -> None:
        self.clock, self.latency = clock, latency
        self.jobs: list[tuple[float, int, Any, Job]] = []
        self.count = self.most = 0
        self.woken = False

    def submit(self, token: object, job: Job) -> None:
        self.count += 1
        heappush(self.jobs, (self.clock.time + self.latency, self.count, token, job))
        self.most = max(self.most, len(self.jobs))

    def collect(self, timeout: float | None) -> list[Result]:
        if self.woken:
            self.woken = False
            return []
        until = float("inf") if timeout is None else self.clock.time + timeout
        if not self.jobs or self.jobs[0][0] > until:
            assert until != float("inf"), "the owner waits for ever"
            self.clock.time = until
            return []
        self.clock.time = max(self.clock.time, self.jobs[0][0])
        results = []
        while self.jobs and self.jobs[0][0] <= self.clock.time:
            _, _, token, job = heappop(self.jobs)
            try:
                results.append(Result(token, value=job()))
            except Exception as error:  # noqa: BLE001 - as a worker does
                results.append(Result(token, error=error))
        return results

    def wake(self) -> None:
        self.woken = True

    def close(self) -> None:
        pass


@dataclass
class Trace:
    """What happened, in order: ("append", record), ("sync",), ("send" | "find" | "read", step, address), ("look", n),
    ("list",), ("event", event)."""

    items: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, *item: Any) -> None:
        self.items.append(item)

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [item for item in self.items if item[0] == kind]

    def sends(self) -> list[tuple[str, str]]:
        return [(item[1], item[2]) for item in self.of("send")]

    def place(self, *start: Any) -> int:
        """The index of the first item that begins so."""
        return next(i for i, item in enumerate(self.items) if item[: len(start)] == start)


@dataclass
class Thing:
    """One object at the provider."""

    id: str
    name: str
    spec: dict[str, Json]
    ready_at: float = 0.0
    gone_at: float | None = None
    health: Health | None = None
    replicas: int = 1


class Cloud:
    """What exists at the provider; `busy` seconds pass until a deploy, scale or undeploy is done."""

    def __init__(self, clock: FakeClock, trace: Trace, *, busy: float = 2.0) -> None:
        self.clock, self.trace, self.busy = clock, trace, busy
        self.things: dict[str, Thing] = {}
        self.made = 0
        self.faults: list[list[Any]] = []
        self.failing: set[str] = set()
        self.list_fault: Exception | None = None

    def fault(self, step: str, kind: str, times: int = 1, address: str | None = None, **more: Any) -> None:
        self.faults.append([step, kind, times, address, more])

    def take_fault(self, step: str, address: str) -> tuple[str, dict[str, Any]] | None:
        for rule in self.faults:
            if rule[0] == step and rule[2] > 0 and rule[3] in (None, address):
                rule[2] -= 1
                return rule[1], rule[4]
        return None

    def alive(self) -> list[Thing]:
        now = self.clock.monotonic()
        for id_, thing in list(self.things.items()):
            if thing.gone_at is not None and now >= thing.gone_at:
                del self.things[id_]
        return list(self.things.values())

    def named(self, name: str) -> Thing | None:
        return next((thing for thing in self.alive() if thing.name == name), None)

    def create(self, spec: Mapping[str, Json]) -> Thing:
        if self.named(str(spec["name"])) is not None:
            raise RejectedError(f"the name {spec['name']} is taken", provider="fake", status=400)
        self.made += 1
        ready = self.clock.monotonic() + self.busy
        thing = Thing(f"dep-{self.made}", str(spec["name"]), dict(spec), ready)
        if thing.name in self.failing:
            thing.health = "failed"
        self.things[thing.id] = thing
        return thing

    def live(self, thing: Thing) -> Live:
        now = self.clock.monotonic()
        health: Health = thing.health or ("ready" if now >= thing.ready_at else "pending")
        if thing.gone_at is not None:
            health = "deleting"
        attributes = {key: thing.spec[key] for key in ("name", "size", "link", "note") if key in thing.spec}
        attributes["replicas"] = thing.replicas
        url = f"https://{thing.name}.example" if health == "ready" else None
        computed = {"id": thing.id, "url": url}
        return Live(thing.id, (thing.name,), thing.name, attributes, computed, health.upper(), health)


class FakeProvider:
    """`Provider` over a Cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.in_flight = self.most = 0

    def list(self) -> Sequence[Live]:
        self.cloud.trace.add("list")
        if self.cloud.list_fault is not None:
            raise self.cloud.list_fault
        return [self.cloud.live(thing) for thing in self.cloud.alive()]

    def read(self, id: str) -> Live | None:  # noqa: A002 - the port's name
        self.cloud.trace.add("read", id)
        self._raise("read", id)
        thing = {thing.id: thing for thing in self.cloud.alive()}.get(id)
        return self.cloud.live(thing) if thing is not None else None

    def send(self, op: Operation, call: Call) -> Reply:
        self.cloud.trace.add("send", call.step, op.address)
        after = self._raise(call.step, op.address)
        reply = self._do(op, call)
        if after is not None:
            raise after
        return reply

    def _do(self, op: Operation, call: Call) -> Reply:
        cloud = self.cloud
        if call.step == "create":
            thing = cloud.create(op.desired)
            return Reply(id=thing.id, live=cloud.live(thing))
        found = cloud.things.get(op.id or "")
        if call.step == "delete":
            if found is not None and found.gone_at is None:
                found.gone_at = cloud.clock.monotonic() + cloud.busy
            return Reply(memo={"delete": True})
        if found is None:
            raise NotFoundError("no such deployment", provider="fake", status=404)
        found.ready_at = cloud.clock.monotonic() + cloud.busy
        if call.step == "scale":
            found.replicas = int(op.desired["replicas"])
        else:
            found.spec.update({path: op.desired[path] for path in op.changes})
        return Reply(memo={call.step: True}, live=cloud.live(found))

    def look(self, waiting: Sequence[Operation]) -> Mapping[str, Live | None]:
        self.cloud.trace.add("look", len(waiting))
        self._raise("look", "")
        lives = {thing.id: self.cloud.live(thing) for thing in self.cloud.alive()}
        return {op.address: lives.get(op.id or "") for op in waiting}

    def find(self, op: Operation, call: Call) -> Reply | Conflict | None:
        self.cloud.trace.add("find", call.step, op.address)
        fault = self.cloud.take_fault("find", op.address)
        if fault is not None and fault[0] == "conflict":
            return Conflict("two of that name", "dep-9")
        if fault is not None:
            raise UnavailableError("down", provider="fake", effect="unknown")
        thing = self.cloud.named(str(op.desired.get("name", op.prior.identity if op.prior else "")))
        return Reply(id=thing.id, live=self.cloud.live(thing)) if thing is not None else None

    def close(self) -> None:
        pass

    def _raise(self, step: str, address: str) -> Exception | None:
        """Raise the scripted fault, or give the one to raise after the request has taken effect."""
        fault = self.cloud.take_fault(step, address)
        if fault is None:
            return None
        kind, more = fault
        match kind:
            case "throttle":
                raise ThrottledError("slow down", provider="fake", status=429, **more)
            case "refused":
                raise RejectedError("not like that", provider="fake", status=400)
            case "unreachable":
                raise UnreachableError("no route", provider="fake")
            case "denied":
                raise AccessError("no right", provider="fake", status=403)
            case "lost_before":
                raise UnavailableError("no answer", provider="fake", effect="unknown")
            case "lost_after":
                return UnavailableError("no answer", provider="fake", effect="unknown")
            case "bug":
                raise KeyError("a bug in the adapter")
            case "call":
                more["then"]()
        return None


class FakeType:
    """`ProviderType`: a deployment with a name, replicas that scale, a note that is updated."""

    type = "fake"

    def __init__(self, **capabilities: Any) -> None:
        defaults: dict[str, Any] = {"page_size": 100, "scales": True, "updates": True, "restartable": False}
        defaults |= {"create_first": True, "read_by_id": True, "min_poll_interval": 0.5, "max_concurrency": 8}
        self.capabilities = Capabilities(**{**defaults, **capabilities})

    def scope(self, settings: Mapping[str, Json]) -> str:
        return str(settings.get("endpoint", "fake"))

    def identity(self, spec: Mapping[str, Json]) -> str | None:
        name = spec.get("name")
        return name if isinstance(name, str) else None

    def derive(self, spec: Mapping[str, Json], stack: str, address: str, generation: int) -> Mapping[str, Json]:
        return {}

    def check(self, spec: Mapping[str, Json], settings: Mapping[str, Json]) -> Sequence[Problem]:
        return [Problem("note", "is not allowed")] if spec.get("note") == "forbidden" else []

    def next(self, op: Operation) -> Next:
        live = op.live
        if op.verb == "undeploy":
            if "delete" not in op.memo:
                return Call("delete")
            return Done(None) if live is None else Wait("until it is gone", live.status)
        if op.verb == "deploy" and op.id is None:
            return Call("create", creates=True)
        if live is None:
            return Wait("until the list shows it") if op.looks < 3 else Failed("it vanished", exists=False)
        if live.health == "failed":
            return Failed("it does not start", live=live)
        if op.verb in ("scale", "update") and op.verb not in op.memo:
            return Call(op.verb)
        if live.health != "ready":
            return Wait("until it is ready", live.status)
        wanted = op.desired.get("replicas")
        if wanted is not None and live.attributes["replicas"] != wanted and "scale" not in op.memo:
            return Call("scale")
        return Done(live)

    def connect(self, config: ProviderConfig, credentials: Mapping[str, str], wire: Wire) -> Provider:
        raise AssertionError("the tests of the engine give it its providers")


class KilledError(BaseException):
    """The process was killed here."""


class MemoryJournal:
    """A journal whose disk is a list of lines; `kill_at` dies at that append or sync (counted together)."""

    def __init__(self, trace: Trace, kill_at: int | None = None) -> None:
        self.trace, self.kill_at = trace, kill_at
        self.disk: list[bytes] = []
        self.buffer: list[Record] = []
        self.count = 0

    def append(self, *records: Record) -> None:
        for record in records:
            self._point()
            self.trace.add("append", record)
            self.buffer.append(record)

    def sync(self) -> None:
        self._point()
        batch = len(self.disk) + 1
        self.disk += [encode(record, batch).rstrip(b"\n") for record in self.buffer]
        self.buffer.clear()
        self.trace.add("sync")

    def _point(self) -> None:
        self.count += 1
        if self.count == self.kill_at:
            raise KilledError

    def after(self, base: State) -> tuple[State, tuple[Intent, ...]]:
        """What the next run reads: snapshot and what had been synced."""
        replayed = replay(base, self.disk)
        assert replayed.state is not None
        return replayed.state, replayed.intents

    def records(self) -> list[Record]:
        return [item[1] for item in self.trace.of("append") if not isinstance(item[1], RunStarted | RunEnded)]


def schema() -> ProviderSchema:
    return compile_schema(DOCUMENT, "fake")


def empty_state() -> State:
    return State("bots", "11111111-2222-4333-8444-555555555555", 1, KEY)


def recorded(address: str, thing: Thing, cloud: Cloud, **more: Any) -> Recorded:
    """The record of a thing as an earlier apply would have left it."""
    live = cloud.live(thing)
    entry = Recorded(
        address, "fake", "fake", thing.id, thing.name, thing.name, dict(thing.spec), live.computed, health=live.health,
        status=live.status, created_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    return replace(entry, **more)


def config(**settings: Json) -> ProviderConfig:
    return ProviderConfig("fake", "fake", settings, "fake")


Emit = Callable[[Any], None]
