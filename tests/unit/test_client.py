"""The HTTP client: what it sends, what it repeats, how it waits, and what its errors say."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from reconciler.edge.client import Client, Dialect, common_options, segment
from reconciler.edge.pace import in_line
from reconciler.provider import (
    AccessError,
    NotFoundError,
    ProviderError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    Wire,
)
from tests.support.clients import SECRET, failed, in_turn, served, told
from tests.support.hostile import HostileServer, Seen, answer


def test_a_good_answer_comes_back_with_its_request_id() -> None:
    """JSON, status, headers without regard to case, and the request id are what a caller gets."""
    with served(in_turn(answer(200, {"a": [1]}, headers={"X-Request-Id": "req-7"}))) as (client, server, _):
        got = client.request("POST", "/things", params={"page": 2, "q": "a b"}, json={"name": "ü"})
    assert (got.status, got.data, got.request_id) == (200, {"a": [1]}, "req-7")
    assert got.headers["x-request-id"] == "req-7"
    (seen,) = server.seen
    assert seen.path == "/base/things?page=2&q=a+b"
    assert seen.body == '{"name":"ü"}'.encode()
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("status", "kind", "effect"),
    [
        (400, RejectedError, "none"),
        (401, AccessError, "none"),
        (403, AccessError, "none"),
        (404, NotFoundError, "none"),
        (409, RejectedError, "none"),
        (422, RejectedError, "none"),
        (500, UnavailableError, "unknown"),
        (503, UnavailableError, "unknown"),
    ],
)
def test_each_class_of_error_tells_whether_something_was_done(status: int, kind: type, effect: str) -> None:
    """A create that was refused did nothing; one that met a 5xx may have; neither is sent again."""
    error, sent = failed(in_turn(answer(status, {"code": "oops", "message": "It broke."})), "POST")
    assert type(error) is kind
    assert (error.effect, error.status, error.code, sent) == (effect, status, "oops", 1)
    assert "It broke (" in error.message
    assert "POST /things" in error.message
    assert error.provider == error.diagnostics[0].provider == "acme.eu"


def test_an_error_carries_the_request_id() -> None:
    """Support asks for it."""
    error, _ = failed(in_turn(answer(400, {"code": "x", "message": "y"}, headers={"x-request-id": "abc"})))
    assert error.request_id == error.diagnostics[0].request_id == "abc"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_safe_to_repeat_is_repeated(method: str) -> None:
    """503, a cut connection and a half answer in between are not noticed; waits grow and are jittered."""
    half = answer(200, {"a": 1})[:-3]
    script = in_turn(answer(503, {"message": "later"}), None, half, answer(200, {"a": 1}))
    with served(script) as (client, server, waits):
        assert client.request(method, "/things").data == {"a": 1}
    assert len(server.seen) == 4
    assert waits == sorted(waits)
    assert 0 < waits[0] < waits[-1]


@pytest.mark.parametrize("ruin", [None, answer(200, {"a": 1})[:-3], answer(502, b"<html>", kind="text/html")])
def test_a_create_is_never_repeated_when_its_answer_is_lost(ruin: bytes | None) -> None:
    """Lost, half or a gateway's error: sent once, and the effect is unknown."""
    error, sent = failed(in_turn(ruin), "POST")
    assert isinstance(error, UnavailableError)
    assert (error.effect, sent) == ("unknown", 1)


def test_a_search_by_post_may_be_repeated_when_the_adapter_says_so() -> None:
    """`repeatable=True` is the adapter's word that nothing comes into being by it."""
    with served(in_turn(None, answer(200, {}))) as (client, server, _):
        client.request("POST", "/search", repeatable=True)
    assert len(server.seen) == 2


def test_retries_end() -> None:
    """A server that stays broken is given up after a few attempts."""
    error, sent = failed(in_turn(answer(503, {"message": "no"})))
    assert isinstance(error, UnavailableError)
    assert error.effect == "none"
    assert sent == 4
    (told,) = error.diagnostics
    assert "tried 4 times within " in told.detail
    assert "run the same command again" in told.hint


def test_a_try_that_was_refused_says_nothing_of_one_that_was_lost() -> None:
    """A DELETE is cut after its effect, and its repetition denied: whether anything was done is not known."""
    error, sent = failed(in_turn(None, answer(403, {"message": "no"})), "DELETE")
    assert isinstance(error, AccessError)
    assert (error.effect, sent) == ("unknown", 2)


def test_no_connection_is_retried_even_for_a_create() -> None:
    """A refused connection did nothing, so it may be tried again."""
    with HostileServer(in_turn(None)) as server:
        url = server.url
    waits: list[float] = []
    client = Client(provider="acme", base_url=url, dialect=Dialect(), wire=Wire(sleep=waits.append), authorize={})
    with pytest.raises(UnreachableError) as caught:
        client.request("POST", "/things", json={})
    assert caught.value.effect == "none"
    assert len(waits) == 3
    assert url in told(caught.value)


def test_throttling_waits_as_long_as_the_server_says() -> None:
    """Retry-After in seconds or as a date is honoured, for creates too, since nothing was done."""
    at = 1_800_000_000.0
    date = formatdate(at + 7, usegmt=True)
    script = in_turn(
        answer(429, {"message": "slow"}, headers={"retry-after": "3"}),
        answer(429, {"message": "slow"}, headers={"retry-after": date}),
        answer(429, {"message": "slow"}, headers={"retry-after": "86400"}),
        answer(429, {"message": "slow"}, headers={"retry-after": "soon"}),
        answer(201, {"id": 1}),
    )
    with served(script, wall=lambda: at) as (client, server, waits):
        assert client.request("POST", "/things").data == {"id": 1}
    assert waits[:3] == [3.0, 7.0, 30.0]
    assert 0 < waits[3] <= 8
    assert len(server.seen) == 5


def test_a_wait_that_the_server_asked_for_is_told_while_it_lasts() -> None:
    """Its beginning and its end, with the provider's key; a wait for a server that fails is not its wish."""
    told: list[object] = []
    wire = Wire(sleep=told.append, throttled=lambda key, begins: told.append((key, begins)))
    slow = answer(429, {"message": "slow"}, headers={"retry-after": "3"})
    with served(in_turn(slow, answer(503, {}), answer(200, {})), wire=wire) as (client, _, _):
        client.request("GET", "/things")
    assert told[:3] == [("acme.eu", True), 3.0, ("acme.eu", False)]
    assert len(told) == 4


def test_throttling_without_end_is_an_error_in_the_end() -> None:
    """The time spent on one request is bounded; the error says how long the server wants us to wait."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    error, sent = failed(
        in_turn(answer(429, {"message": "slow"}, headers={"retry-after": "20"})),
        wire=Wire(sleep=sleep),
        monotonic=lambda: now[0],
    )
    assert isinstance(error, ThrottledError)
    assert (error.effect, error.retry_after) == ("none", 20.0)
    assert 4 < sent < 10


def test_who_comes_out_of_a_line_does_not_wait_in_the_client() -> None:
    """Throttled, the request is back in its line at once: the line sends less, as late as was asked for."""
    script = in_turn(answer(429, {"message": "slow"}, headers={"retry-after": "20"}))
    with served(script) as (client, server, waits):
        with pytest.raises(ThrottledError) as caught:
            in_line(lambda: client.request("POST", "/things"))()
        assert (caught.value.retry_after, len(server.seen), waits) == (20.0, 1, [])


def test_what_is_half_done_is_not_begun_anew() -> None:
    """The second page is throttled: the client waits for it, as the first would have to be read again otherwise; the
    next job of the same thread begins in its line again."""
    slow = answer(429, {"message": "slow"}, headers={"retry-after": "3"})
    script = in_turn(answer(200, {}), slow, answer(200, {}), slow)

    def both() -> None:
        client.request("GET", "/1")
        client.request("GET", "/2")

    with served(script) as (client, server, waits):
        in_line(both)()
        assert ([seen.path for seen in server.seen], waits) == (["/base/1", "/base/2", "/base/2"], [3.0])
        with pytest.raises(ThrottledError):
            in_line(both)()
        assert waits == [3.0]


def test_a_refused_token_is_renewed_once() -> None:
    """On a 401 the adapter is asked for fresh credentials, once; the next 401 is the answer."""
    asked: list[bool] = []

    def authorize(fresh: bool) -> dict[str, str]:
        asked.append(fresh)
        return {"authorization": f"Bearer token-{len(asked)}"}

    with served(in_turn(answer(401, {}), answer(200, {})), authorize=authorize) as (client, server, _):
        client.request("POST", "/things")
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer token-1", "Bearer token-2"]
    asked.clear()
    error, sent = failed(in_turn(answer(401, {})), authorize=authorize)
    assert isinstance(error, AccessError)
    assert (asked, sent) == ([False, True], 2)


def test_no_more_in_flight_than_allowed() -> None:
    """`max_concurrency` holds for all threads together; a wait before a retry takes no place."""
    guard, now, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(3, timeout=10)

    def script(seen: Seen) -> bytes:
        with guard:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait()
        with guard:
            now[0] -= 1
        return answer(200, {})

    with served(script, max_concurrency=3) as (client, _, _), ThreadPoolExecutor(9) as pool:
        list(pool.map(lambda i: client.request("GET", f"/{i}"), range(9)))
    assert most[0] == 3


def test_requests_per_second_spreads_requests() -> None:
    """Beyond a burst of one second, each further request waits for its turn."""
    now = [100.0]
    with served(in_turn(answer(200, {})), requests_per_second=2.0, monotonic=lambda: now[0]) as (client, _, waits):
        for _ in range(5):
            client.request("GET", "/things")
    assert waits == pytest.approx([0.5, 1.0, 1.5])


def test_closing_ends_a_wait() -> None:
    """A client that is closed in the middle of a long backoff gives up at once, and sends nothing any more."""
    waiting = threading.Event()

    def log(line: str) -> None:
        if "retry" in line:
            waiting.set()

    script = in_turn(answer(429, {"message": "slow"}, headers={"retry-after": "30"}))
    with served(script, wire=Wire(log=log)) as (client, server, _), ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.request, "GET", "/things")
        assert waiting.wait(10)
        client.close()
        assert isinstance(future.exception(timeout=10), ThrottledError)
        with pytest.raises(UnreachableError):
            client.request("GET", "/things")
    assert len(server.seen) == 1


def test_closing_in_the_middle_of_an_answer_is_a_lost_answer() -> None:
    """Who closes while others read gives them a provider error with a truthful effect, not a crash."""
    asked, closed = threading.Event(), threading.Event()

    def script(seen: Seen) -> bytes:
        asked.set()
        closed.wait(10)
        return answer(200, {})

    with served(script) as (client, _, _), ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.request, "POST", "/things")
        assert asked.wait(10)
        client.close()
        closed.set()
        error = future.exception(timeout=10)
    assert error is None or (isinstance(error, ProviderError) and error.effect == "unknown")


def test_the_dialect_decides_what_is_an_error() -> None:
    """A code inside a 200, and throttling under another status, are the provider's business."""
    dialect = Dialect(
        error_in=lambda status, data: "code" in data,
        throttled=lambda status, data: data.get("code") == "Throttling",
        explain=lambda status, data: (data["code"], "said so"),
    )
    script = in_turn(answer(200, {"code": "Throttling"}), answer(200, {"code": "Nope"}))
    error, sent = failed(script, "POST", dialect=dialect)
    assert isinstance(error, RejectedError)
    assert (error.code, sent) == ("Nope", 2)


def test_ids_can_not_leave_their_segment() -> None:
    """An id with slashes, line breaks or a question mark stays one segment of the path."""
    with served(in_turn(answer(200, {}))) as (client, server, _):
        for text in ("../x", "...", "a/b?c#d", "ü", "a\r\nhost: evil", "//evil.example", "%2e%2e", "@evil"):
            client.request("GET", f"/things/{segment(text)}")
    assert [seen.path.removeprefix("/base/things/") for seen in server.seen] == [
        "..%2Fx",
        "...",
        "a%2Fb%3Fc%23d",
        "%C3%BC",
        "a%0D%0Ahost%3A%20evil",
        "%2F%2Fevil.example",
        "%252e%252e",
        "%40evil",
    ]
    assert {seen.headers["host"] for seen in server.seen} == {server.url.removeprefix("http://")}


@pytest.mark.parametrize("text", ["", ".", "..", "a\ud800"])
def test_ids_that_mean_another_place_are_not_sent(text: str) -> None:
    """Nothing, and dots alone, lead to the list or above it once a proxy tidies the path up, encoded or not."""
    with pytest.raises(RejectedError, match="can't be sent as an id"):
        segment(text)


def test_common_settings_become_client_options() -> None:
    """`timeout` is a duration; what is not set takes the type's default."""
    assert common_options({"timeout": "1m", "max_concurrency": 3, "requests_per_second": 5}, 8) == {
        "timeout": 60.0,
        "max_concurrency": 3,
        "requests_per_second": 5.0,
        "ca_cert": None,
    }
    assert common_options({}, 8)["max_concurrency"] == 8
