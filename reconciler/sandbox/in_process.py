"""The way into the sandbox without a socket: an httpx transport that leads `http://sandbox.invalid/<world>` to it."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

from reconciler.sandbox.base import Request
from reconciler.sandbox.host import Broken, Sandbox

HOST = "sandbox.invalid"


class SandboxTransport(httpx.BaseTransport):
    """Answers in the calling thread; a connection that breaks is the httpx exception that a real one would raise."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request. Raises httpx.TransportError as the faults say, ConnectError for any other host."""
        if request.url.host != HOST:
            raise httpx.ConnectError(f"the sandbox has no network: {request.url.host} can't be reached from it")
        parts = urlsplit(request.url.raw_path.decode("ascii"))
        answer = self._sandbox.exchange(
            Request(
                method=request.method,
                path=unquote(parts.path),
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers=dict(request.headers),
                body=request.read(),
            )
        )
        if isinstance(answer, str):
            raise _broken(answer)
        body, headers = answer.encoded()
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(body))


def _broken(how: Broken) -> httpx.TransportError:
    if how == "refuse":
        return httpx.ConnectError("[Errno 111] Connection refused")
    if how == "timeout":
        return httpx.ReadTimeout("The read operation timed out")
    return httpx.RemoteProtocolError("Server disconnected without sending a response.")
