"""The door to the simulators: in this process as an httpx transport, or for others over HTTP on this machine.

Imports httpx or the HTTP server only for the way in that is used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from reconciler.sandbox.host import Sandbox
from reconciler.sandbox.store import SandboxStore

BASE = "http://sandbox.invalid"


def open_sandbox(folder: Path | None = None, *, speed: float = 1.0) -> Sandbox:
    """The simulators with their data under `folder` (None: in memory); new worlds' clocks run `speed` times as fast."""
    return Sandbox(SandboxStore(folder, speed=speed))


def transport(sandbox: Sandbox) -> object:
    """An httpx transport for `Wire.transport`: `http://sandbox.invalid/<world>/…` reaches the simulators, nothing else
    can be reached."""
    from reconciler.sandbox.in_process import SandboxTransport

    return SandboxTransport(sandbox)


def serve(
    host: str,
    port: int,
    *,
    folder: Path | None = None,
    speed: float = 1.0,
    ready: Callable[[str], None] = lambda _url: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve over HTTP until `stop` is set (None: until KeyboardInterrupt); `ready` is told the base URL.

    `port` 0 takes a free one. Raises UsageError where the address is no loopback address, ReconcilerError where it
    is taken or the folder can't be written.
    """
    from reconciler.sandbox.loopback import LoopbackServer

    sandbox = open_sandbox(folder, speed=speed)
    sandbox.store.open_folder()
    server = LoopbackServer(sandbox, host, port)
    with server:
        ready(server.url)
        (stop or threading.Event()).wait()
