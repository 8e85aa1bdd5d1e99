"""What a simulator of a provider is made of: requests, responses, a world, and the class that answers.

It knows no provider, no socket and no disk; time and chance come in as arguments. A simulator is as strict as the real
service is documented to be, so that a mistake of an adapter shows here first.
"""

from __future__ import annotations

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from reconciler.edge.bodies import parse
from reconciler.model import Json
from reconciler.sandbox.faults import Fault


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it reaches a simulator.

    `path` starts with `/` and continues what the mount stands for, as the provider's base URL would; percent-decoded.
    `query` holds the last value of a key given twice. Header names are lower-case. `mount` is the URL that leads to the
    simulator's root, without a final slash; empty where nothing leads there.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    mount: str = ""

    def json(self) -> Json:
        """The body as JSON, as strictly as answers are read. Raises ValueError where it is none."""
        value, why = parse(self.body)
        if why or not self.body:
            raise ValueError(f"the body {why or 'is empty'}")
        return value

    @property
    def line(self) -> str:
        """`METHOD path`: what fault rules are matched against."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. A `str` or `bytes` body is sent as it is (give a content-type); all else as JSON; None: empty."""

    status: int
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, dict[str, str]]:
        """The body as bytes, and the headers with lower-case names and a content type."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.body is None:
            return b"", headers
        if isinstance(self.body, bytes):
            return self.body, headers
        if isinstance(self.body, str):
            return self.body.encode(errors="replace"), {"content-type": "text/plain; charset=utf-8", **headers}
        # half a surrogate pair, which no encoding has, becomes the escape that JSON has for it
        raw = json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
        return raw, {"content-type": "application/json", **headers}


class World:
    """All that one simulated provider knows: its data, its knobs, its faults and its clock.

    `data` is plain JSON. The framework calls a simulator with the world to itself and keeps what it changed; what a GET
    or HEAD changes is not kept on disk, so they may only advance what the clock would advance again anyway.
    `wall` gives seconds since 1970; the world's own time runs `speed` times as fast from the moment it began.
    """

    def __init__(self, name: str, wall: Callable[[], float], *, speed: float = 1.0) -> None:
        self.name = name
        self.data: dict[str, Any] = {}
        self.knobs: dict[str, Json] = {}
        self.faults: list[Fault] = []
        self.random = random.Random(name)
        self.touched = False
        self.effects: Counter[str] = Counter()  # how often a fault or a knob made a difference; not kept on disk
        self._wall = wall
        self._origin = self._start = wall()
        self._speed = speed
        self._made = 0

    def touch(self) -> None:
        """What changed in this turn is to be kept, even if the request is one that only reads."""
        self.touched = True

    def now(self) -> float:
        """Seconds since 1970 on the world's own clock."""
        return self._start + (self._wall() - self._origin) * self._speed

    def set_speed(self, speed: float) -> None:
        """From now on the clock runs `speed` times as fast; what has passed stays as it was."""
        self._start, self._origin, self._speed = self.now(), self._wall(), speed

    def knob(self, name: str, default: Json) -> Json:
        """The knob's value, or `default` where it is not set."""
        return self.knobs.get(name, default)

    def shown_moment(self, look: Callable[[float], object]) -> float:
        """The moment that a list shows: the knob `lag` ago. An effect where `look` of then is not that of now."""
        now, lag = self.now(), float(self.knob("lag", 0.0))
        if lag and look(now - lag) != look(now):
            self.effects["lag"] += 1
        return now - lag

    def shuffle(self, items: list[Any], page: int) -> None:
        """With the knob `shuffle`, in another order each time: of more than one `page`, what is on which differs."""
        if self.knob("shuffle", False):
            self.random.shuffle(items)
            self.effects["shuffle"] += len(items) > page

    def new_id(self, prefix: str, length: int = 12) -> str:
        """A fresh id: `prefix` and `length` (at most 64) hexadecimal digits; never the same twice in one world."""
        self._made += 1
        return prefix + hashlib.sha256(f"{self.name}:{self._made}".encode()).hexdigest()[:length]

    def table(self, name: str) -> MutableMapping[str, Any]:
        """`data[name]`, made on first use: a mapping of ids to JSON objects."""
        table: MutableMapping[str, Any] = self.data.setdefault(name, {})
        return table

    def dump(self) -> dict[str, Json]:
        """The whole world as JSON."""
        return {
            "version": 1,
            "clock": {"wall": self._origin, "own": self._start, "speed": self._speed},
            "made": self._made,
            "knobs": self.knobs,
            "faults": [fault.dump() for fault in self.faults],
            "data": self.data,
        }

    def load(self, saved: Mapping[str, Json]) -> None:
        """Become what `dump` wrote. Raises KeyError, TypeError or ValueError where that can't be."""
        clock = saved["clock"]
        self._origin, self._start, self._speed = float(clock["wall"]), float(clock["own"]), float(clock["speed"])
        self._made = int(saved["made"])
        self.knobs = dict(saved["knobs"])
        self.faults = [Fault.parse(fault) for fault in saved["faults"]]
        self.data = dict(saved["data"])


class Simulator(ABC):
    """One provider type, simulated. A module `reconciler.sandbox.<type>` exports its class as `SIMULATOR`.

    An instance holds nothing but the world: it may be made anew for each request.
    """

    type: ClassVar[str]
    credentials: ClassVar[Mapping[str, str]]
    """What `connect` is given in the sandbox, by credential name; `handle` refuses any other."""

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def handle(self, request: Request) -> Response:
        """Answer one request; the state of things is first brought up to `world.now()`."""

    @abstractmethod
    def presuppose(self, specs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[str]:
        """Create what `specs` (value trees, one provider key's) take for granted and the world lacks on first use.

        Gives one sentence for each thing created; nothing the second time. A world that already knows a name is left
        alone, so that what was deleted on purpose does not come back.
        """

    def endpoints(self, base: str) -> dict[str, str]:
        """Provider settings that lead an adapter here: `base` is the URL of the mount, without a final slash."""
        return {"endpoint": base}
