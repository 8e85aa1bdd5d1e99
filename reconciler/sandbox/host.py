"""Routes requests to simulators and carries out faults, latency and counting; the same for every way in.

It opens no socket. The first segment of a path names the world: `<type>`, or `<type>.<suffix>` where one sandbox holds
several accounts or clusters of a type.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal, cast

from reconciler.diagnostics import Diagnostic, FileError
from reconciler.model import Json
from reconciler.sandbox.base import Request, Response, Simulator
from reconciler.sandbox.faults import Fault, pick
from reconciler.sandbox.store import SandboxStore

ENTRY_POINTS = "reconciler.simulators"  # of other packages: provider type -> module that exports SIMULATOR
FASTEST = 1e6  # times as fast as ours, for a world's clock
UNTROUBLED = "x-sandbox-untroubled"  # a request with this header meets no fault and counts for none: a bystander's
Broken = Literal["refuse", "cut", "timeout"]


@cache
def simulator_of(type_: str) -> type[Simulator] | None:
    """The simulator class of a provider type, by the module's name or an entry point; None where there is none."""
    name = f"reconciler.sandbox.{type_}"
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        found = next(iter(entry_points(group=ENTRY_POINTS, name=type_)), None)
        if found is None:
            return None
        module = import_module(found.value)
    return cast("type[Simulator] | None", getattr(module, "SIMULATOR", None))


@dataclass(slots=True)
class Requests:
    """What was asked of the sandbox, for tests and for people who count: safe to use from several threads."""

    counts: Counter[str] = field(default_factory=Counter)  # by "world METHOD"
    most_in_flight: dict[str, int] = field(default_factory=dict)  # by world
    recent: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=10_000))  # world, method, path
    _in_flight: Counter[str] = field(default_factory=Counter)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def counted(self, world: str, request: Request) -> Iterator[None]:
        with self._guard:
            self.counts[f"{world} {request.method}"] += 1
            self.recent.append((world, request.method, request.path))
            self._in_flight[world] += 1
            self.most_in_flight[world] = max(self.most_in_flight.get(world, 0), self._in_flight[world])
        try:
            yield
        finally:
            with self._guard:
                self._in_flight[world] -= 1

    def dump(self) -> dict[str, Json]:
        """Counters as JSON: `total`, `counts` by world and method, `most_in_flight` by world."""
        with self._guard:
            counts, most = dict(sorted(self.counts.items())), dict(sorted(self.most_in_flight.items()))
        return {"total": sum(counts.values()), "counts": counts, "most_in_flight": most}

    def clear(self) -> None:
        """Count from zero again."""
        with self._guard:
            self.counts.clear()
            self.most_in_flight.clear()
            self.recent.clear()


class Sandbox:
    """All simulators of one store. `sleep` carries out latency; `find` gives the simulator of a type."""

    def __init__(
        self,
        store: SandboxStore,
        *,
        sleep: Callable[[float], None] = time.sleep,
        find: Callable[[str], type[Simulator] | None] = simulator_of,
    ) -> None:
        self.store = store
        self.requests = Requests()
        self._sleep = sleep
        self._find = find

    def simulator(self, type_: str) -> type[Simulator]:
        """The simulator class of a type. Raises FileError where none exists."""
        found = self._find(type_)
        if found is None:
            raise FileError(
                Diagnostic(
                    f"the provider type {type_!r} has no simulator, so it can't be used with --sandbox",
                    hint="leave its deployments out with --exclude, or run without --sandbox",
                )
            )
        return found

    def exchange(self, request: Request) -> Response | Broken:
        """Answer a request whose path begins with the world's name, or say how its connection is to break."""
        world_name, _, rest = request.path.lstrip("/").partition("/")
        host = request.headers.get("host")
        inner = replace(request, path=f"/{rest}", mount=f"http://{host}/{world_name}" if host else "")
        if world_name == "_sandbox":
            return self._control(inner)
        found = self._find(world_name.partition(".")[0])
        if found is None:
            return Response(404, {"error": f"no simulator at /{world_name}"})
        with self.requests.counted(world_name, inner):
            answer, wait = self._answer(found, world_name, inner)
            if wait:
                self._sleep(wait)
            return answer

    def _answer(self, simulator: type[Simulator], name: str, request: Request) -> tuple[Response | Broken, float]:
        with self.store.world(name, keep=request.method not in ("GET", "HEAD")) as world:
            wait = float(world.knob("latency", 0.0))
            if UNTROUBLED in request.headers:
                before = Counter(world.effects)
                answer = simulator(world).handle(request)
                world.effects = before
                return answer, wait
            fault = pick(world.faults, request.line)
            if fault is None:
                return simulator(world).handle(request), wait
            world.touch()
            world.effects[fault.spelled] += 1
            answer = simulator(world).handle(request) if fault.acts else Response(0)
            if fault.kind == "delay":
                return answer, wait + fault.number
            return _spoilt(fault, answer), wait

    # --- control -------------------------------------------------------------------------------------------------
    def _control(self, request: Request) -> Response:
        """`/_sandbox/requests`, and `/_sandbox/WORLD/world`, `knobs`, `faults`, `effects`, `data`, `presuppose`."""
        parts = request.path.strip("/").split("/")
        if request.body and not request.headers.get("content-type", "").lower().startswith("application/json"):
            return Response(415, {"error": "control requests are application/json"})  # a web page's form is not
        try:
            if parts == ["requests"]:
                if request.method == "DELETE":
                    self.requests.clear()
                return Response(200, self.requests.dump())
            if parts == [""] and request.method == "GET":
                return Response(200, {"worlds": self.store.names()})
            if len(parts) == 2 and self._find(parts[0].partition(".")[0]) is not None:
                return self._world_control(parts[0], parts[1], request)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            return Response(400, {"error": f"{type(error).__name__}: {error}"})
        return Response(404, {"error": "no such control"})

    def _world_control(self, name: str, what: str, request: Request) -> Response:
        call = (request.method, what)
        with self.store.world(name, keep=request.method != "GET") as world:
            if call == ("GET", "world"):
                return Response(200, world.dump())
            if call == ("PUT", "knobs"):
                knobs = dict(request.json())
                if "speed" in knobs:
                    speed = float(knobs.pop("speed"))
                    if not 0 < speed <= FASTEST:
                        raise ValueError(f"speed is a number above 0 and at most {FASTEST:g}")
                    world.set_speed(speed)
                world.knobs.update(knobs)
                return Response(200, world.knobs)
            if call == ("PUT", "data"):
                world.data = dict(request.json())
                return Response(204)
            if call == ("GET", "faults"):
                return Response(200, [fault.dump() for fault in world.faults])
            if what == "effects" and request.method in ("GET", "DELETE"):
                told = dict(sorted(world.effects.items()))
                if request.method == "DELETE":
                    world.effects.clear()
                return Response(200, told)
            if call == ("POST", "faults"):
                rules = request.json()
                world.faults += [Fault.parse(rule) for rule in (rules if isinstance(rules, list) else [rules])]
                return Response(200, [fault.dump() for fault in world.faults])
            if call == ("DELETE", "faults"):
                world.faults.clear()
                return Response(204)
            if call == ("POST", "presuppose"):
                asked: Mapping[str, Json] = request.json()
                simulator = self.simulator(name.partition(".")[0])
                return Response(200, simulator(world).presuppose(asked["specs"], asked.get("settings", {})))
        return Response(404, {"error": "no such control"})


def _spoilt(fault: Fault, answer: Response) -> Response | Broken:
    """What a fault makes of an answer."""
    match fault.kind:
        case "refuse":
            return "refuse"
        case "cut_before" | "cut_after":
            return "cut"
        case "timeout":
            return "timeout"
        case "status":
            status = int(fault.number)
            return Response(
                status, {"code": f"sandbox_{status}", "message": f"the sandbox was told to answer {status}"}
            )
        case "throttle":
            wait = f"{fault.number:g}"
            return Response(429, {"code": "throttled", "message": "slow down"}, {"retry-after": wait})
        case "redirect":
            return Response(302, None, {"location": "https://elsewhere.invalid/login?next=1"})
        case "html":
            page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
            return Response(200, page, {"content-type": "text/html"})
        case "page":
            page = "<!DOCTYPE html><html><head><title>Bad gateway</title></head><body><h1>Sorry</h1></body></html>"
            return Response(int(fault.number), page, {"content-type": "text/html"})
        case "garbage":
            return Response(200, b'{"status": ready,, }', {"content-type": "application/json"})
        case "empty":
            return Response(200, b"", {"content-type": "application/json"})
        case _:
            body, headers = answer.encoded()
            return Response(200, body[: len(body) // 2] or b"{", headers)
