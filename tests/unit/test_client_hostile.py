"""The HTTP client against a server that means harm: drips, bombs, depth, half characters, other hosts, bad proxies."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from reconciler.edge.bodies import DEEPEST, parse
from reconciler.edge.client import Client, Dialect
from reconciler.edge.deadline import BoundedTransport
from reconciler.edge.transport import is_loopback, open_transport
from reconciler.provider import BadAnswerError, RejectedError, UnavailableError, UnreachableError, Wire
from tests.support.clients import SECRET, failed, in_turn, served
from tests.support.hostile import HostileServer, Seen, answer

MIB = 1 << 20


class Dripping:
    """A server that sends `first` and then `drop` for ever, so that no single read ever takes long."""

    def __init__(self, first: bytes, drop: bytes) -> None:
        self._first, self._drop = first, drop
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Dripping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with closing(connection), suppress(OSError):
            connection.recv(65_536)
            connection.sendall(self._first)
            while not self._over.wait(0.01):
                connection.sendall(self._drop)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
DRIPS = {
    "header": (HEAD, b"x-a: b\r\n"),
    "one endless header": (HEAD + b"x-a: ", b"b"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (HEAD + b"content-length: 1000000\r\n\r\n", b" "),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a chunk's extension": (HEAD + b"transfer-encoding: chunked\r\n\r\n1;", b"a"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_a_dripping_answer_is_given_up(kind: str) -> None:
    """However little comes, and wherever in the answer: after the total time the answer counts as lost."""
    with Dripping(*DRIPS[kind]) as server:
        client = Client(provider="acme", base_url=server.url, dialect=Dialect(), wire=Wire(), authorize={}, timeout=0.1)
        with pytest.raises((UnavailableError, BadAnswerError)) as caught:
            client.request("POST", "/things", json={})
        client.close()
    assert caught.value.effect == "unknown"


def test_a_request_that_is_not_taken_is_given_up() -> None:
    """A server that reads a byte now and then does not hold us for longer than the total time either."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with BoundedTransport(0.2, monotonic=iter([0.0, 0.0, 1.0, 1.0, 1.0]).__next__) as transport:
            request = httpx.Request("POST", url, content=b"x" * MIB, extensions={"timeout": {"write": 5.0}})
            with pytest.raises(httpx.TimeoutException):
                transport.handle_request(request)


BOMBS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", lambda data: gzip.compress(data, 9)),
    "deflate": ("deflate", lambda data: zlib.compress(data, 9)),
    "nested": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data, 9))),
    "many members": ("gzip", lambda data: gzip.compress(b" ", 9) * 1000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_never_unpacked(kind: str) -> None:
    """Packed once, twice, or in another way: no more than the limit is ever held, and the answer is a bad one."""
    encoding, pack = BOMBS[kind]
    error, _ = failed(in_turn(answer(200, pack(b" " * (40 * MIB)), headers={"content-encoding": encoding})))
    assert isinstance(error, BadAnswerError)


def test_a_bomb_in_an_error_is_none_either() -> None:
    """The body of an error is read by the same rules."""
    bomb = gzip.compress(b'"' + b"x" * (40 * MIB), 9)
    error, _ = failed(in_turn(answer(400, bomb, headers={"content-encoding": "gzip"})))
    assert isinstance(error, BadAnswerError)
    assert "32 MiB" in error.message


@pytest.mark.parametrize("body", [b"[" * 101 + b"]" * 101, b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 5_000_000])
def test_what_is_nested_deeply_is_refused(body: bytes) -> None:
    """Whoever walks a value later must not run out of stack, so that it is refused where it comes in."""
    error, _ = failed(in_turn(answer(200, body)), "POST")
    assert isinstance(error, BadAnswerError)
    assert (error.effect, f"deeper than {DEEPEST} levels" in error.message) == ("unknown", True)


def test_brackets_in_texts_are_no_depth() -> None:
    """Only structure counts, at the limit too."""
    assert parse(json.dumps(["[" * 500, '"{' * 500]).encode())[1] == ""
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST)[1] == ""


@pytest.mark.parametrize("text", ["1" * 5000, "1e999999", "-Infinity", '"\x00"', "'a'", "\ufeff\ufeff1"])
def test_odd_json_is_answered_in_words(text: str) -> None:
    """Numbers without end and what JSON does not have are a value or a bad answer."""
    value, why = parse(text.encode())
    assert why == "is not JSON" or value == float("inf")


def test_half_characters_become_whole_ones() -> None:
    """An id or name with half a surrogate pair can be written to a file and sent again; a whole pair stays."""
    with served(in_turn(answer(200, b'{"a\\udc00": ["\\ud800x", "\\ud83d\\ude00"]}'))) as (client, _, _):
        assert client.request("GET", "/things").data == {"a\ufffd": ["\ufffdx", "\U0001f600"]}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["http://evil.example/", "//evil.example/", "/elsewhere", "ftp://x", "http://[", ""])
def test_no_redirect_is_followed(status: int, target: str) -> None:
    """Whatever status and target: one request, to the configured host alone, and an error."""
    error, sent = failed(in_turn(answer(status, None, headers={"location": target})))
    assert isinstance(error, RejectedError)
    assert sent == 1


@pytest.mark.parametrize("value", ["a\r\nhost: evil.example", "a\nb", "a\x00b", "ü"])
def test_no_header_can_be_smuggled_in(value: str) -> None:
    """A value of the file that becomes a header either arrives as one header or is not sent."""
    with served(in_turn(answer(200, {}))) as (client, server, _):
        with suppress(UnreachableError):
            client.request("GET", "/things", headers={"x-provider": value})
        for seen in server.seen:
            assert seen.headers["host"] == server.url.removeprefix("http://")
            assert not set("\r\n\x00") & set(seen.headers["x-provider"])


def test_parameters_and_bodies_carry_any_text() -> None:
    """Half characters of an environment that is not UTF-8 end in a request, never in a traceback."""
    with served(in_turn(answer(200, {}))) as (client, server, _):
        client.request("POST", "/things", params={"a\r\n": "\udcff&x=1"}, json={"a": "\udcff"})
    assert server.seen[0].path == "/base/things?a%0D%0A=%3F%26x%3D1"
    assert server.seen[0].body == b'{"a":"?"}'


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("127.evil.example", False),
        ("::1evil", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_what_counts_as_this_machine(host: str, ours: bool) -> None:
    """A name that merely begins like a loopback address is another machine."""
    assert is_loopback(host) is ours


def test_proxies_of_the_environment_are_for_other_machines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to another host goes through HTTP_PROXY; one to this machine never does; NO_PROXY is obeyed."""
    asked: list[Seen] = []

    def script(seen: Seen) -> bytes:
        asked.append(seen)
        return answer(200, {"by": "proxy"})

    def got(url: str) -> object:
        client = Client(provider="acme", base_url=url, dialect=Dialect(), wire=Wire(), authorize={}, timeout=2.0)
        try:
            return client.request("GET", "/x").data
        finally:
            client.close()

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HostileServer(script) as proxy, HostileServer(in_turn(answer(200, {"by": "itself"}))) as direct:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert got(direct.url) == {"by": "itself"}
        assert got("http://provider.example") == got("http://127.0.0.1.example") == {"by": "proxy"}
        assert [seen.path for seen in asked] == ["http://provider.example/x", "http://127.0.0.1.example/x"]
        monkeypatch.setenv("NO_PROXY", "provider.example")
        with open_transport(urlsplit("http://provider.example"), connections=1, ca_cert=None) as transport:
            assert isinstance(transport, httpx.HTTPTransport)
            assert "Proxy" not in type(transport._pool).__name__


def test_what_a_server_echoes_in_an_unreadable_answer_is_hidden() -> None:
    """The excerpt of a bad answer shows no secret, even one that is cut by a control character."""
    error, _ = failed(in_turn(answer(200, f"<{SECRET}>\x9b31m".encode())), secrets=(SECRET,))
    told = error.diagnostics[0].detail
    assert SECRET not in told
    assert told.isprintable()
