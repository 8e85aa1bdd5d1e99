"""Bounds the whole of one exchange: a server that drips bytes, of a header too, is given up when the time is over.

The timeouts of the HTTP library hold for each single read; this adds one for all of them together.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx


class Deadline(threading.local):
    """When the exchange that runs in this thread must be over, on the monotonic clock."""

    until: float | None = None


class BoundedTransport(httpx.HTTPTransport):
    """An httpx transport whose every exchange, to the end of its body, takes at most `longest` seconds on the wire.

    What is cut off is an httpx.ReadTimeout or WriteTimeout.
    """

    def __init__(self, longest: float, *, monotonic: Callable[[], float] = time.monotonic, **options: Any) -> None:
        super().__init__(**options)
        self._longest, self._monotonic = longest, monotonic
        self._deadline = Deadline()
        self._pool._network_backend = _Backend(self._pool._network_backend, self._left)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the answer's body is to be read in the same thread before the next request."""
        self._deadline.until = self._monotonic() + self._longest
        return super().handle_request(request)

    def _left(self, timeout: float | None) -> float:
        """The seconds that a single operation may take; not above 0 once the time is over."""
        until = self._deadline.until
        left = self._longest if until is None else until - self._monotonic()
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    """Opens connections as `inner` does; their reads and writes ask `left` how long they may take."""

    def __init__(self, inner: httpcore.NetworkBackend, left: Callable[[float | None], float]) -> None:
        self._inner, self._left = inner, left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._left)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options), self._left)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left: Callable[[float | None], float]) -> None:
        self._inner, self._left = inner, left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._left(timeout)
        if left <= 0:
            raise httpcore.ReadTimeout("its end did not come in time")
        return self._inner.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._left(timeout)
        if left <= 0:
            raise httpcore.WriteTimeout("the request was not taken in time")
        self._inner.write(buffer, left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
