"""A client on a hostile server, and what comes of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reconciler.edge.client import Client, Dialect
from reconciler.provider import (
    ProviderError,
    Wire,
)
from tests.support.hostile import HostileServer, Script, Seen

SECRET = "s3cret/tok&en"


@contextmanager
def served(script: Script, **options: Any) -> Iterator[tuple[Client, HostileServer, list[float]]]:
    """A client on a server with this script; waits are recorded, not waited."""
    waits: list[float] = []
    settings: dict[str, Any] = {
        "provider": "acme.eu",
        "dialect": Dialect(),
        "wire": Wire(sleep=waits.append),
        "authorize": {"authorization": f"Bearer {SECRET}"},
        "random": lambda: 0.5,
        "timeout": 5.0,
        **options,
    }
    with HostileServer(script) as server:
        client = Client(base_url=f"{server.url}/base/", **settings)
        try:
            yield client, server, waits
        finally:
            client.close()


def in_turn(*answers: bytes | None) -> Callable[[Seen], bytes | None]:
    """One answer a request; the last one for ever."""
    left = list(answers)
    return lambda seen: left.pop(0) if len(left) > 1 else left[0]


def failed(script: Script, method: str = "GET", **options: Any) -> tuple[ProviderError, int]:
    """What a request raised, and how often it was sent."""
    repeatable = options.pop("repeatable", None)
    with served(script, **options) as (client, server, _):
        with pytest.raises(ProviderError) as caught:
            client.request(method, "/things", repeatable=repeatable)
        return caught.value, len(server.seen)


def told(error: ProviderError) -> str:
    return " ".join(f"{d.summary} {d.detail} {d.hint}" for d in error.diagnostics)
