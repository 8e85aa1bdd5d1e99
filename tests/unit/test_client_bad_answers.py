"""The HTTP client against answers that are not what was promised, echoes of secrets, and TLS that fails."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest

from reconciler.diagnostics import FileError
from reconciler.edge.client import Client, Dialect
from reconciler.edge.transport import AnswerError, read_body, tls_context
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    NotFoundError,
    ProviderError,
    RejectedError,
    UnavailableError,
    UnreachableError,
    Wire,
)
from tests.support.certificates import certificate
from tests.support.clients import SECRET, failed, in_turn, served, told
from tests.support.hostile import GARBLED, HostileServer, answer


@pytest.mark.parametrize(
    ("body", "kind", "shows"),
    [
        (b"<!DOCTYPE html><p>Sign in</p>", "text/html", "<!DOCTYPE html><p>Sign in</p>"),
        (b"", "application/json", "empty"),
        (b'{"items": [1, 2', "application/json", '{"items": [1, 2'),
        (b"\xff\xfe\x00", "application/octet-stream", "octet-stream"),
        (b'{"a": NaN}', "application/json", "NaN"),
        (b'{"a": 1e999}', "application/json", "1e999"),
        (b"[" * 100_000, "application/json", "[["),
    ],
)
def test_what_is_not_json_is_an_error_that_shows_it(body: bytes, kind: str, shows: str) -> None:
    """Status, content type and the beginning are told; for a create the effect is unknown."""
    error, sent = failed(in_turn(answer(200, body, kind=kind)), "POST")
    assert isinstance(error, BadAnswerError)
    assert (error.effect, error.status, sent) == ("unknown", 200, 1)
    assert shows in told(error)
    assert kind.partition("/")[0] in told(error)
    assert len(error.diagnostics[0].detail) < 400


def test_an_empty_answer_is_fine_where_it_is_expected() -> None:
    """A 204 to a DELETE, and what the adapter says may be empty."""
    with served(in_turn(b"HTTP/1.1 204 X\r\n\r\n")) as (client, _, _):
        assert client.request("DELETE", "/things/1").data is None
    with served(in_turn(answer(200))) as (client, _, _):
        assert client.request("PUT", "/things/1", empty_ok=True).data is None


@pytest.mark.parametrize("body", [b"404 page not found", b"", b"<html>nginx</html>"])
def test_a_404_of_something_else_proves_no_absence(body: bytes) -> None:
    """Only the provider's own error body says that an object is gone; a proxy's 404 is a bad answer."""
    error, _ = failed(in_turn(answer(404, body, kind="text/plain")))
    assert isinstance(error, BadAnswerError)
    assert not isinstance(error, NotFoundError)


def test_a_redirect_is_told_and_not_followed() -> None:
    """Credentials never go to another place; the path and query of the target are not shown."""
    with HostileServer(in_turn(answer(200, {}))) as other:
        script = in_turn(answer(307, None, headers={"location": f"{other.url}/steal?code=abc"}))
        error, sent = failed(script, "POST")
        assert isinstance(error, RejectedError)
        assert (error.effect, sent, other.seen) == ("none", 1, [])
        assert other.url in error.message
        assert "abc" not in told(error)


def test_secrets_and_control_characters_never_come_out() -> None:
    """A server that echoes the token, with escapes for a terminal, shows neither in errors nor in the log."""
    quoted = "s3cret%2Ftok%26en"
    words = f"bad token {SECRET} also {quoted}\x1b[31m\u202e end"
    log: list[str] = []
    script = in_turn(
        answer(400, {"code": SECRET, "message": words}, headers={"x-request-id": SECRET}),
        answer(200, f"<p>{SECRET}</p>\x1b[2J".encode(), kind=f"text/{SECRET}"),
        answer(502, f"{words}".encode(), kind="text/plain"),
    )
    for _ in range(3):
        served_with = served(script, wire=Wire(log=log.append), secrets=(SECRET,))
        with served_with as (client, _, _), pytest.raises(ProviderError) as caught:
            client.request("POST", "/things", params={"key": SECRET})
        everything = told(caught.value) + repr(caught.value.request_id) + repr(caught.value.code) + "".join(log)
        for hidden in (SECRET, quoted, "\x1b", "\u202e"):
            assert hidden not in everything
    assert log


def test_a_credential_with_a_line_break_is_an_error_before_anything_is_sent() -> None:
    """Such a header would be refused by the library with the token in its text."""
    error, sent = failed(in_turn(answer(200, {})), authorize={"authorization": "Bearer abc\ndef"})
    assert isinstance(error, AccessError)
    assert sent == 0
    assert "abc" not in told(error)


def test_a_decompression_bomb_is_stopped() -> None:
    """64 MiB of zeros packed into 64 KiB are given up at the limit."""
    bomb = gzip.compress(b" " * (64 << 20), 9)
    error, _ = failed(in_turn(answer(200, bomb, headers={"content-encoding": "gzip"})))
    assert isinstance(error, BadAnswerError)
    assert "32 MiB" in error.message


def test_a_body_larger_than_the_limit_is_not_read() -> None:
    """A length beyond the limit is refused before the body comes."""
    head = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{}"
    error, _ = failed(in_turn(head))
    assert isinstance(error, BadAnswerError)


@pytest.mark.parametrize("head", [b"transfer-encoding: chunked", b"connection: close"])
def test_a_body_of_no_declared_length_is_given_up_at_the_limit(head: bytes) -> None:
    """It is refused while it is read: its end, which never comes as it should, is not waited for."""
    piece = b" " * (1 << 20)
    framed = b"%x\r\n%s\r\n" % (len(piece), piece) if b"chunked" in head else piece
    error, sent = failed(
        in_turn(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n" + head + b"\r\n\r\n" + 36 * framed)
    )
    assert isinstance(error, BadAnswerError)
    assert "32 MiB" in error.message
    assert sent == 1


def test_what_is_beyond_the_limit_is_not_kept() -> None:
    """Of an answer without an end no more is taken than shows that it is too large."""
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b" " * 1000

    response = httpx.Response(200, stream=cast("httpx.SyncByteStream", endless()))
    with pytest.raises(AnswerError, match="larger than"):
        read_body(response, in_time=lambda: True, limit=10_000)
    assert len(taken) == 11


def test_packed_answers_are_unpacked() -> None:
    """gzip is asked for and understood; a packing that is none is an error."""
    packed = gzip.compress(b'{"a": 1}')
    with served(in_turn(answer(200, packed, headers={"content-encoding": "gzip"}))) as (client, server, _):
        assert client.request("GET", "/things").data == {"a": 1}
        assert server.seen[0].headers["accept-encoding"] == "gzip"
    for encoding, body in (("gzip", b"not gzip"), ("gzip", packed[:-4]), ("br", b"x")):
        error, _ = failed(in_turn(answer(200, body, headers={"content-encoding": encoding})))
        assert isinstance(error, BadAnswerError)


def test_tls_failures_are_explained(tmp_path: Path) -> None:
    """http on an https endpoint, and a ca_cert that is none, say what to do; neither is tried again."""
    with HostileServer(in_turn(answer(200, {}))) as server:
        url = server.url.replace("http:", "https:")
        waits: list[float] = []
        wire = Wire(sleep=waits.append)
        client = Client(provider="acme", base_url=url, dialect=Dialect(), wire=wire, authorize={})
        with pytest.raises(UnreachableError, match="no trusted connection") as caught:
            client.request("GET", "/")
        client.close()
        assert "http://" in told(caught.value)
        assert waits == []
        (tmp_path / "ca.pem").write_text("not a certificate")
        for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
            client = Client(
                provider="acme", base_url=url, dialect=Dialect(), wire=wire, authorize={}, ca_cert=str(path)
            )
            with pytest.raises(FileError, match="ca_cert"):
                client.request("GET", "/")


def test_a_create_is_not_repeated_where_its_answer_was_damaged(tmp_path: Path) -> None:
    """It arrived, whatever became of the answer's encryption: sent once, and its effect is not known."""
    cert, context = certificate(tmp_path)
    with HostileServer(lambda _: GARBLED, tls=context) as server:
        client = Client(
            provider="acme", base_url=server.url, dialect=Dialect(), wire=Wire(sleep=lambda _: None), authorize={},
            ca_cert=cert,
        )  # fmt: skip
        with pytest.raises(UnavailableError, match="broke the connection") as caught:
            client.request("POST", "/things", json={})
        client.close()
    assert caught.value.effect == "unknown"
    assert len(server.seen) == 1


def test_an_untrusted_certificate_is_explained_and_ca_cert_trusts_it(tmp_path: Path) -> None:
    """A certificate of one's own authority is refused with the setting that helps, and taken with it."""
    cert, context = certificate(tmp_path)
    with HostileServer(in_turn(answer(200, {"a": 1})), tls=context) as server:
        waits: list[float] = []
        for ca_cert in (None, cert):
            client = Client(
                provider="acme",
                base_url=server.url,
                dialect=Dialect(),
                wire=Wire(sleep=waits.append),
                authorize={},
                ca_cert=ca_cert,
            )
            if ca_cert is None:
                with pytest.raises(UnreachableError, match="no trusted connection") as caught:
                    client.request("GET", "/")
                assert "ca_cert" in told(caught.value)
                assert waits == []
            else:
                assert client.request("GET", "/").data == {"a": 1}
            client.close()


@pytest.mark.parametrize(
    ("name", "expired", "words"),
    [
        ("IP:127.0.0.1", True, ("its certificate is out of date", "clock")),
        ("DNS:elsewhere.example", False, ("its certificate does not fit", "name the host as the certificate does")),
    ],
)
def test_a_certificate_that_is_not_good_now_and_here_is_refused(
    tmp_path: Path, name: str, expired: bool, words: tuple[str, ...]
) -> None:
    """Of an authority that is trusted, but out of date, or of another host: said at once, not tried again, and nothing
    of the request is sent."""
    cert, context = certificate(tmp_path, name=name, expired=expired)
    waits: list[float] = []
    with HostileServer(in_turn(answer(200, {})), tls=context) as server:
        options = {"wire": Wire(sleep=waits.append), "authorize": {"authorization": SECRET}, "ca_cert": cert}
        client = Client(provider="acme", base_url=server.url, dialect=Dialect(), **options)  # type: ignore[arg-type]
        with pytest.raises(UnreachableError, match="no trusted connection") as caught:
            client.request("POST", "/", json={})
        client.close()
        assert all(word in told(caught.value) for word in words), told(caught.value)
        assert (caught.value.effect, waits, server.seen) == ("none", [], [])


def test_one_tls_context_serves_all_clients() -> None:
    """Making one is slow, so clients that trust the same authorities share it, and it verifies."""
    context = tls_context(None)
    assert context is tls_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
