"""The way into the sandbox over HTTP on this machine: a threaded server with keep-alive that can really break
connections. It listens on loopback addresses alone, as simulators take any request for real, and answers no web page:
a request that names another host (DNS rebinding) or comes from a page of another place is refused.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

from reconciler.diagnostics import Diagnostic, ReconcilerError, UsageError
from reconciler.sandbox.base import Request
from reconciler.sandbox.host import Sandbox

LARGEST_REQUEST = 16 * 1024 * 1024
LONGEST_SILENCE = 60.0  # seconds a connection is held without an answer (fault "timeout")


class LoopbackServer:
    """One listening server; `url` is its base, to which the world's name is appended."""

    def __init__(self, sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind. Raises UsageError where `host` is no loopback address, ReconcilerError where the port is taken."""
        if not _is_loopback(host):
            raise UsageError(Diagnostic(f"the sandbox listens on this machine alone, not on {host}"))
        try:
            self._server = _Server((host, port), sandbox)
        except (OSError, OverflowError) as error:
            raise ReconcilerError(Diagnostic(f"can't listen on {host}:{port}: {error}")) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}"
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until `stop` is called from elsewhere."""
        self._server.serve_forever(poll_interval=0.1)

    def start(self) -> LoopbackServer:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="sandbox", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> LoopbackServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _is_ours(authority: str) -> bool:
    """Whether `host` or `host:port` of a header names this machine."""
    try:
        return _is_loopback(urlsplit(f"//{authority}").hostname or "")
    except ValueError:
        return False


def _stranger(headers: Message) -> str:
    """Why a request is none of a program on this machine; empty where it may be one.

    A browser sends the host that the page knows, and `Origin` with all but plain reads; a program sends neither.
    """
    hosts = headers.get_all("host", [])
    if len(hosts) != 1 or not _is_ours(hosts[0].strip()):
        return "the sandbox answers only to localhost and loopback addresses as Host"
    origin = headers.get("origin")
    if origin is not None and not _is_ours(origin.partition("://")[2]):
        return "the sandbox answers no web page"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "the sandbox answers no web page"
    return ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Handler)

    def track(self, connection: socket.socket, *, is_open: bool) -> None:
        with self._guard:
            (self._open.add if is_open else self._open.discard)(connection)

    def close_connections(self) -> None:
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        # without the name lookup of HTTPServer.server_bind, which can take seconds on a machine without DNS
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server_version = "reconciler-sandbox"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        cast(_Server, self.server).track(self.connection, is_open=True)

    def finish(self) -> None:
        cast(_Server, self.server).track(self.connection, is_open=False)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            super().handle()

    def _serve(self) -> None:
        request = self._request()
        if request is None:
            return
        answer = cast(_Server, self.server).sandbox.exchange(request)
        if isinstance(answer, str):
            self._break(wait=answer == "timeout")
            return
        body, headers = answer.encoded()
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and answer.status != 204:
            self.wfile.write(body)
        self.wfile.flush()

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Any method is a simulator's to answer or refuse, also one that the base class would not know."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _request(self) -> Request | None:
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_REQUEST or "transfer-encoding" in self.headers:
            self.close_connection = True
            self.send_error(413)
            return None
        refused = _stranger(self.headers)
        if refused:
            self.close_connection = True
            self.send_error(403, refused)
            return None
        target = self.path if self.path.startswith("/") else "/"  # not the `http://host/…` that proxies are sent
        path, _, query = target.partition("#")[0].partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True)
        except ValueError:
            pairs = []
        return Request(
            method=self.command,
            path=unquote(path),
            query=dict(pairs),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
        )

    def _break(self, *, wait: bool) -> None:
        self.close_connection = True
        if wait:
            select.select([self.connection], [], [], LONGEST_SILENCE)  # readable: the client hung up
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: requests are counted, not printed."""
