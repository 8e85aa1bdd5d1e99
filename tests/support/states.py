"""Sample states, and an environment whose clock and ids a test decides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reconciler.core.state.journal import RunStarted
from reconciler.edge.environment import Environment
from reconciler.model import Intent, Lifecycle, Pending, Recorded, RecordedProvider, State

KEY = "5a" * 32
DIGEST = {"$digest": "hmac-sha256:" + "0" * 64}


def entry(address: str = "chat", **changes: Any) -> Recorded:
    """One deployment; by default the plainest there is."""
    base = Recorded(
        address=address,
        provider="neevcloud",
        type="neevcloud",
        id=f"dep-{address}",
        identity=address,
        name=address,
        spec={"name": address, "replicas": 2},
        computed={"endpoint_url": f"https://models.example/{address}"},
        health="ready",
        status="Running",
        created_at="2025-01-31T08:00:00Z",
        updated_at="2025-01-31T08:00:00Z",
        deployed_at="2025-01-31T08:00:00Z",
    )
    return replace(base, **changes)


def full_entry(address: str = "full") -> Recorded:
    """A deployment in which every field differs from its default."""
    return entry(
        address,
        provider="opensearch.eu",
        type="opensearch",
        spec={"connector": {"credential": DIGEST, "a.b": [1, 2.5, None, True, {"x": []}]}},
        depends_on=("chat", 'index["eu"]'),
        lifecycle=Lifecycle(True, True, ("config.extra_args",)),
        timeouts=replace(entry().timeouts, deploy=90.5),
        retain=True,
        presence="on_demand",
        created={"model_group": "g-1"},
        health="failed",
        pending=Pending("deploy", "2025-01-31T08:01:00Z", "timed out"),
        trusted=("url",),
        generation=3,
    )


def state(*entries: Recorded, serial: int = 7, stack: str = "bots", **changes: Any) -> State:
    base = State(
        stack=stack,
        lineage="lineage-1",
        serial=serial,
        digest_key=KEY,
        providers={"neevcloud": RecordedProvider("neevcloud", "org-1/prj-1", {"org_id": "org-1"})},
        outputs={"url": "https://models.example/chat"},
        deployments={item.address: item for item in entries},
    )
    return replace(base, **changes)


def run(serial: int = 7, **changes: Any) -> RunStarted:
    base = RunStarted("run-1", "apply", "alice", "build-7", "2025-01-31T08:00:00Z", serial, "lineage-1", 3)
    return replace(base, **changes)


def intent(address: str = "new", number: int = 1) -> Intent:
    return Intent(f"intent-{number}", address, "deploy", "create", entry(address, id=None), {"looked": True})


class Time:
    """A clock that only sleeping moves; `on_sleep` sees each sleep."""

    def __init__(self, on_sleep: Callable[[float], None] | None = None) -> None:
        self.now = 0.0
        self._on_sleep = on_sleep

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._on_sleep is not None:
            self._on_sleep(seconds)


def environment(time: Time | None = None, **changes: Any) -> Environment:
    """A machine called build-7 on its first boot; ids count up."""
    clock = time or Time()
    numbers = itertools.count(1)
    base = Environment(
        now=lambda: "2025-01-31T08:00:00Z",
        monotonic=lambda: clock.now,
        sleep=clock.sleep,
        new_id=lambda: f"id-{next(numbers)}",
        new_key=lambda: KEY,
        host="build-7",
        user="alice",
        pid=4242,
        pid_start="1000",
        boot_id="boot-1",
    )
    return replace(base, **changes)
