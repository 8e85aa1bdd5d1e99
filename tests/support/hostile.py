"""A loopback HTTP server that sends exactly the bytes a test wants, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def answer(
    status: int, body: object = None, *, headers: Mapping[str, str] | None = None, kind: str = "application/json"
) -> bytes:
    """A whole HTTP/1.1 answer; anything but bytes is sent as JSON, None as an empty body."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {"content-type": kind, "content-length": str(len(raw)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + raw


Script = Callable[[Seen], bytes | None]


GARBLED = b"\x17\x03\x03\x00\x40" + b"?" * 64  # a TLS record that nobody can decrypt


class HostileServer:
    """Calls `script` for each request and sends what it gives; None or a short answer: then the connection is cut.
    GARBLED is sent as it is, past the encryption."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self._script = script
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> HostileServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            with connection, connection.makefile("rb") as stream:
                while self._one(connection, stream):
                    pass
                connection.shutdown(socket.SHUT_RDWR)

    def _one(self, connection: socket.socket, stream: Any) -> bool:
        first = stream.readline()
        if not first:
            return False
        try:
            method, path, _ = first.decode().split(" ", 2)
        except ValueError:  # no HTTP at all, such as a TLS greeting
            connection.sendall(answer(400, b"what?", kind="text/plain"))
            return False
        headers: dict[str, str] = {}
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))
        seen = Seen(method, path, headers, body)
        self.seen.append(seen)
        given = self._script(seen)
        if given is None:
            return False
        if given is GARBLED:
            os.write(connection.fileno(), given)
            return False
        connection.sendall(given)
        head, _, sent = given.partition(b"\r\n\r\n")
        promised = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        return int(promised.split(b":")[1]) == len(sent)
