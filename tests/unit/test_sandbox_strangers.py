"""The served sandbox answers programs on this machine: no web page, no other host, nothing that breaks it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from reconciler.sandbox.faults import Fault
from reconciler.sandbox.loopback import LoopbackServer
from reconciler.sandbox.mount import open_sandbox

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(open_sandbox()) as running:
        yield running


@pytest.fixture
def client(server: LoopbackServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as it:
        yield it


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:80",
        "localhost@evil",
        "",
        "[::1",
    ],
)
def test_another_host_is_refused(client: httpx.Client, host: str) -> None:
    """DNS that is bent to this machine (rebinding) makes a browser send the page's own host: that is not answered."""
    got = client.get("/_sandbox/requests", headers={"host": host})
    assert got.status_code in (400, 403)
    assert "total" not in got.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "127.1.2.3", "[::1]:8080"])
def test_every_name_of_this_machine_is_answered(client: httpx.Client, host: str) -> None:
    """Through a tunnel or with another port the name is still this machine's."""
    assert client.get("/_sandbox/requests", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_web_page_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    """A page of another place can neither change the sandbox nor read it, for it gets no CORS header either."""
    for call in (
        client.post("/_sandbox/nugen/faults", json={"match": "", "kind": "html", "times": None}, headers=headers),
        client.post("/neevcloud/tenant/api/v1/auth/login", json={}, headers=headers),
        client.get("/_sandbox/nugen/world", headers=headers),
        client.options("/_sandbox/nugen/world", headers=headers),
    ):
        assert call.status_code == 403
        assert not [name for name in call.headers if name.startswith("access-control")]
    assert client.get("/_sandbox/nugen/world").json()["faults"] == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_could_send_is_no_control_request(client: httpx.Client, kind: str) -> None:
    """A write needs a content type that a browser asks leave for."""
    body = json.dumps({"match": "", "kind": "html"})
    got = client.post("/_sandbox/nugen/faults", content=body, headers={"content-type": kind})
    assert got.status_code == 415
    assert client.get("/_sandbox/nugen/world").json()["faults"] == []


@pytest.mark.parametrize(
    "rule",
    [
        {"match": "(", "kind": "html"},
        {"match": "", "kind": "status:nan"},
        {"match": "", "kind": "status:inf"},
        {"match": "", "kind": "status:99999"},
        {"match": "", "kind": "delay:inf"},
        {"match": "", "kind": "delay:-1"},
        {"match": "", "kind": "throttle:x"},
        {"match": "", "kind": "html", "times": "x"},
        [1],
        "x",
        None,
    ],
)
def test_a_rule_that_is_none_changes_nothing(client: httpx.Client, rule: object) -> None:
    """A wrong rule is a 400 that says so, never a sandbox that fails at the next request."""
    got = client.post("/_sandbox/nugen/faults", content=json.dumps(rule), headers=JSON)
    assert (got.status_code, "error" in got.json()) == (400, True)
    assert client.get("/_sandbox/nugen/world").json()["faults"] == []
    if isinstance(rule, dict):
        with pytest.raises((ValueError, TypeError)):
            Fault.parse(rule)


@pytest.mark.parametrize(
    "body", [b'{"speed": 0}', b'{"speed": -1}', b'{"speed": NaN}', b'{"speed": 1e999}', b"[" * 9999]
)
def test_a_clock_can_not_be_broken(client: httpx.Client, body: bytes) -> None:
    """A speed that is none is refused."""
    assert client.put("/_sandbox/nugen/knobs", content=body, headers=JSON).status_code == 400


@pytest.mark.parametrize(
    "line",
    [
        b"GET //[ HTTP/1.1",
        b"GET http://evil.example/_sandbox/requests HTTP/1.1",
        b"GET /%00%ff/../../etc/passwd HTTP/1.1",
        b"GET /nugen/../_sandbox HTTP/1.1",
        b"GET /..%2f..%2fx.json/world HTTP/1.1",
        b"GET /_sandbox/nugen.%2e%2e/world HTTP/1.1",
        b"GET /?" + b"a=&" * 10_000 + b" HTTP/1.1",
        b"BREW / HTTP/1.1",
    ],
)
def test_odd_request_lines_are_answered(server: LoopbackServer, line: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever stands in a request line, the answer is a 4xx, and nothing is printed."""
    at = urlsplit(server.url)
    with socket.create_connection((at.hostname, at.port), timeout=5) as raw:
        raw.sendall(line + b"\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        status = raw.makefile("rb").readline().split()[1]
    assert status[:1] == b"4"
    assert capfd.readouterr() == ("", "")
