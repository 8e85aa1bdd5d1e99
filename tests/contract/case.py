"""What a contract test says about its provider type, and the bench on which the suite puts it: simulator in process,
a clock that moves when told, and an adapter connected to it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import httpx

from reconciler.edge.schemas import read_schema
from reconciler.model import Json, Live, ProviderConfig, Secret
from reconciler.provider import Operation, Provider, ProviderType, Wire
from reconciler.sandbox.base import Simulator, World
from reconciler.sandbox.faults import Fault
from reconciler.sandbox.host import Sandbox
from reconciler.sandbox.in_process import SandboxTransport
from reconciler.sandbox.store import SandboxStore
from tests.support.drive import Driven, after, deploy_of, drive

Spec = dict[str, Json]


@dataclass(frozen=True)
class ContractCase:
    """One provider type under the suite.

    `spec(i)` is a valid spec with an identity of its own for each i (defaults, the address and derived values are
    filled in by the suite, as loading does). `scaled` and `updated` give a spec that differs only in what scales or
    updates in place (None: the type can't). `create` and `list_` are regular expressions on `METHOD path` that meet the
    creating request and the list request. `dormant`: what is undeployed still exists, switched off.
    """

    type: str
    spec: Callable[[int], Spec]
    create: str
    list_: str
    scaled: Callable[[Spec], Spec] | None = None
    updated: Callable[[Spec], Spec] | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)
    knobs: Mapping[str, Json] = field(default_factory=dict)
    bad_credentials: Mapping[str, str] = field(default_factory=dict)  # default: the sandbox's, each with -wrong behind
    no_credentials_needed: bool = False
    dormant: bool = False
    lag_looks: int = 2  # seconds that a list may trail behind without being taken for a loss
    many: int | None = None  # objects for the paging tests; default: a page and a half

    @property
    def provider_type(self) -> ProviderType:
        found: ProviderType = import_module(f"reconciler.providers.{self.type}").PROVIDER
        return found

    @property
    def simulator(self) -> type[Simulator]:
        found: type[Simulator] = import_module(f"reconciler.sandbox.{self.type}").SIMULATOR
        return found


class Clock:
    """Seconds since 1970 that pass only when told."""

    def __init__(self) -> None:
        self.at = float(int(time.time()))

    def __call__(self) -> float:
        return self.at

    def tick(self, seconds: float = 1.0) -> None:
        self.at += seconds


class Bench:
    """A sandbox with one provider type in it and adapters connected to it."""

    def __init__(self, case: ContractCase) -> None:
        self.case = case
        self.type = case.provider_type
        self.clock = Clock()
        self.sandbox = Sandbox(SandboxStore(None, wall=self.clock), sleep=time.sleep)
        self.waits: list[float] = []
        self.log: list[str] = []
        self.meddle: Callable[[Json], Json] | None = None
        self._connected: list[Provider] = []
        knobs = {"deploy_seconds": 2.0, "scale_seconds": 2.0, "undeploy_seconds": 2.0, **case.knobs}
        with self.world() as world:
            world.knobs.update(knobs)
        self.provider = self.connect()

    @contextmanager
    def world(self) -> Any:
        """The provider's world, to turn knobs or change things behind the adapter's back."""
        with self.sandbox.store.world(self.case.type) as world:
            yield world

    def knob(self, **knobs: Json) -> None:
        with self.world() as world:
            world.knobs.update(knobs)

    def fault(self, match: str, kind: str, *, times: int | None = 1, skip: int = 0) -> None:
        with self.world() as world:
            world.faults.append(Fault.parse({"match": match, "kind": kind, "times": times, "skip": skip}))

    def calm(self) -> None:
        with self.world() as world:
            world.faults.clear()

    def connect(self, credentials: Mapping[str, str] | None = None, **settings: Json) -> Provider:
        """An adapter on the simulator; `settings` beside the case's."""
        case = self.case
        given = dict(case.simulator.credentials if credentials is None else credentials)
        plain = {**case.settings, **settings}
        with self.world() as world:
            plain |= case.simulator(world).endpoints(f"http://sandbox.invalid/{case.type}")
        config = ProviderConfig(
            key=case.type,
            type=case.type,
            settings=plain,
            scope=self.type.scope(plain),
            credentials={name: Secret(value) for name, value in given.items()},
        )
        transport = _Meddling(self)
        provider = self.type.connect(config, given, Wire(transport, log=self.log.append, sleep=self.waits.append))
        self._connected.append(provider)
        return provider

    def close(self) -> None:
        for provider in self._connected:
            provider.close()

    # --- specs and operations ------------------------------------------------------------------------------------
    def address(self, i: int) -> str:
        return f"case-{i}"

    def complete(self, spec: Spec, address: str) -> Spec:
        """`spec` with schema defaults, the address and derived values filled in, as loading a file does."""
        whole = dict(spec)
        for name, about in read_schema(f"providers/{self.case.type}")["properties"].items():
            if name in whole:
                continue
            if "default" in about:
                whole[name] = about["default"]
            elif about.get("x-default") == "address" and not self._existing(whole):
                whole[name] = address
        return {**self.type.derive(whole, "contract", address, 0), **whole}

    def _existing(self, spec: Spec) -> bool:
        return any(name in spec for name in read_schema(f"providers/{self.case.type}").get("x-existing", ()))

    def spec(self, i: int) -> Spec:
        return self.complete(self.case.spec(i), self.address(i))

    def presuppose(self, count: int) -> list[str]:
        """What the first `count` specs take for granted exists."""
        with self.world() as world:
            simulator: Simulator = self.case.simulator(world)
            return simulator.presuppose([self.spec(i) for i in range(count)], self.case.settings)

    def deploy(self, i: int = 0, **options: Any) -> Driven:
        return self.drive(deploy_of(self.address(i), self.spec(i)), **options)

    def drive(self, op: Operation, **options: Any) -> Driven:
        return drive(self.type, options.pop("provider", self.provider), op, tick=self.clock.tick, **options)

    def undeploy(self, before: Driven, **options: Any) -> Driven:
        return self.drive(after(self.type, before, "undeploy", {}), **options)

    def serving(self, provider: Provider | None = None) -> Sequence[Live]:
        """What counts as live, sorted by id."""
        listed = (provider or self.provider).list()
        return sorted((live for live in listed if not live.dormant), key=lambda live: live.id)

    def requests(self, match: str = "") -> int:
        """How many requests so far meet the expression (on `METHOD path`)."""
        return sum(1 for _, method, path in self.sandbox.requests.recent if re.search(match, f"{method} {path}"))

    def threads(self, work: Callable[[int], object], count: int) -> list[BaseException]:
        """Run `work(i)` in `count` threads at once; gives what they raised."""
        with ThreadPoolExecutor(count) as pool:
            errors = [future.exception() for future in [pool.submit(work, i) for i in range(count)]]
        return [error for error in errors if error is not None]


class _Meddling(httpx.BaseTransport):
    """The sandbox's transport; `Bench.meddle` may change the JSON of each answer on its way."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._inner = SandboxTransport(bench.sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if self._bench.meddle is None:
            return response
        body = response.read()
        if body and "json" in response.headers.get("content-type", ""):
            body = json.dumps(self._bench.meddle(json.loads(body))).encode()
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return httpx.Response(response.status_code, headers=headers, stream=httpx.ByteStream(body))


def agrees(wanted: Mapping[str, Json], live: Live) -> list[str]:
    """Names of attributes that the live object returned and that differ from what was asked."""
    return [name for name, value in live.attributes.items() if name in wanted and value != wanted[name]]


__all__ = ["Bench", "Clock", "ContractCase", "Spec", "World", "agrees"]
