"""A proxy in front of a real server: it loses answers, holds requests up, asks for a password, and speaks TLS.

Rules meet `METHOD path` once each: `cut` (done, but the connection breaks without an answer), `swallow` (done, the
answer never comes), `hold` (not passed on until `release`).
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Front:
    """`url` leads to `target`. `users`: name to (password, an expression on `METHOD path` of what it may not do); None:
    nobody is asked. What is refused is refused as the security plugin does."""

    def __init__(
        self, target: str, *, tls: ssl.SSLContext | None = None, users: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        self.target, self.users = urlsplit(target), users
        self.requests: list[str] = []
        self.late: list[int] = []  # how what was held was answered in the end
        self.rewrite: tuple[str, str] | None = None  # an expression and what stands in its place in every answer
        self._rules: list[tuple[str, str]] = []
        self._met: list[str] = []
        self._released, self._over = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.front = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def rule(self, match: str, kind: str) -> None:
        with self._lock:
            self._rules.append((match, kind))

    def met(self, match: str) -> int:
        """How many requests a rule of this expression has met, and carried out as far as it does."""
        return self._met.count(match)

    def calm(self) -> None:
        """Forget the rules; what is held stays held."""
        with self._lock:
            self._rules.clear()

    def release(self) -> None:
        """Pass on what is held."""
        self._released.set()

    def close(self) -> None:
        self._released.set()
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def pick(self, line: str) -> tuple[str, str]:
        """The rule that meets a request, used up; ("", "") for none."""
        with self._lock:
            self.requests.append(line)
            found = next((rule for rule in self._rules if re.search(rule[0], line)), ("", ""))
            if found[1]:
                self._rules.remove(found)
            return found

    def forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str, bytes]:
        """Ask the real server: status, content type and body."""
        assert self.target.hostname is not None
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=30)
        sent = {"content-type": handler.headers.get("content-type", "application/json")}
        if self.users is None and "authorization" in handler.headers:
            sent["authorization"] = handler.headers["authorization"]
        connection.request(handler.command, handler.path, body or None, sent)
        answer = connection.getresponse()
        status, kind, raw = answer.status, answer.headers.get("content-type", ""), answer.read()
        connection.close()
        if self.rewrite is not None:
            raw = re.sub(self.rewrite[0], self.rewrite[1], raw.decode()).encode()
        return status, kind, raw

    def refusal(self, line: str, authorization: str) -> tuple[int, str, bytes] | None:
        """401 as text for nobody we know, 403 for what the user may not do; None for what may pass."""
        if self.users is None:
            return None
        for name, (password, forbidden) in self.users.items():
            if authorization == "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode():
                if not forbidden or not re.search(forbidden, line):
                    return None
                reason = f"no permissions for [cluster:admin/opensearch/ml/x] and User [name={name}, backend_roles=[]]"
                cause = {"type": "security_exception", "reason": reason}
                error = {"error": {"root_cause": [cause], **cause}, "status": 403}
                return 403, "application/json", json.dumps(error).encode()
        return 401, "text/plain", b"Unauthorized"

    def note(self, match: str) -> None:
        self._met.append(match)

    def wait_for_release(self) -> None:
        self._released.wait(120)

    def wait_for_the_end(self) -> None:
        self._over.wait(120)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    front: Front

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed, or did not trust us, is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass(self) -> None:
        front, line = self.server.front, f"{self.command} {self.path}"
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        refused = front.refusal(line, self.headers.get("authorization", ""))
        if refused is not None:
            self._answer(*refused)
            return
        match, kind = front.pick(line)
        if kind == "hold":
            front.note(match)
            front.wait_for_release()
        told = front.forward(self, body)
        if kind == "hold":
            front.late.append(told[0])
        if kind in ("cut", "swallow"):
            front.note(match)
            if kind == "swallow":
                front.wait_for_the_end()
            self.close_connection = True
            return
        self._answer(*told)

    do_GET = do_POST = do_PUT = do_DELETE = _pass

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if status == 401:
            self.send_header("www-authenticate", 'Basic realm="OpenSearch Security"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Quiet."""
