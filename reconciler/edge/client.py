"""One HTTP client for all adapters: sends JSON, retries what is safe, and turns every failure into a ProviderError.

It knows no provider; a `Dialect` says how one speaks. It never follows a redirect, never lets a secret or a control
character into a message, and never repeats a request that may have created something.
"""

from __future__ import annotations

import json as jsonlib
import random as randomlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote, urlencode, urlsplit

from reconciler.core.values.duration import seconds
from reconciler.edge import failures
from reconciler.edge.bodies import parse
from reconciler.edge.failures import Exchange, Failure, header_request_id, plain_explain
from reconciler.edge.pace import LONGEST_RETRY_AFTER, Pace, backoff, line_waits, retry_after, was_answered
from reconciler.edge.scrub import Scrubber
from reconciler.edge.transport import AnswerError, open_transport, read_body
from reconciler.model import Json
from reconciler.provider import AccessError, Probed, RejectedError, UnreachableError, Wire
from reconciler.version import VERSION

if TYPE_CHECKING:
    import httpx

REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
MOST_RETRIES = 3  # of what failed; being throttled is bounded by time alone
RETRY_BUDGET = 60.0  # seconds from the first attempt within which a retry may still start
THROTTLE_BUDGET = 120.0  # the same while the provider throttles: being slow is no failure
_NO_ANSWER: Json = object()

Authorize = Callable[[bool], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `data` is None for an empty body; `headers` are looked up without regard to case."""

    status: int
    data: Json
    headers: Mapping[str, str]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider speaks: where its request id is, what an error body says, what counts as error or throttling."""

    request_id: Callable[[Mapping[str, str], Json], str | None] = field(
        default_factory=lambda: header_request_id("x-request-id", "request-id", "x-amzn-requestid")
    )
    explain: Callable[[int, Json], tuple[str | None, str]] = plain_explain
    error_in: Callable[[int, Json], bool] = lambda status, _data: status >= 400
    throttled: Callable[[int, Json], bool] = lambda status, _data: status == 429


class Client:
    """Talks to one base URL with one set of credentials; may be used by many threads at once.

    `authorize` gives the headers that authenticate: as they are, or by a call whose argument says that the last ones
    were refused. `sleep`, `random` (0 to 1), `monotonic` and `wall` (seconds since 1970) are for tests; without `sleep`
    a wait ends early when the client is closed.
    """

    def __init__(
        self,
        *,
        provider: str,
        base_url: str,
        dialect: Dialect,
        wire: Wire,
        authorize: Authorize | Mapping[str, str],
        timeout: float = 30.0,
        max_concurrency: int = 8,
        requests_per_second: float | None = None,
        ca_cert: str | None = None,
        secrets: Sequence[str] = (),
        sleep: Callable[[float], None] | None = None,
        random: Callable[[], float] = randomlib.random,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self.max_concurrency = max(1, max_concurrency)
        self.scrub = Scrubber([*secrets, *wire.secrets])
        self._dialect = dialect
        self._wire = wire
        self._authorize = authorize
        self._timeout = float(timeout)
        self._ca_cert = ca_cert
        self._closed = threading.Event()
        self._sleep = sleep or wire.sleep or self._pause
        self._random, self._monotonic, self._wall = random, monotonic, wall
        self._pace = Pace(self.max_concurrency, requests_per_second, monotonic)
        self._opening = threading.Lock()
        self._transport: Any = wire.transport
        self._base: httpx.URL | None = None
        self._extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)}

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Json = _NO_ANSWER,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        empty_ok: bool = False,
    ) -> Answer:
        """Send one request below the base URL and give its JSON answer.

        `path` starts with `/` and is sent as it is (quote ids with `segment`). `repeatable` (default: GET, HEAD, PUT
        and DELETE are) allows a retry after a failure that may have had an effect. `empty_ok`: a 2xx without a body is
        an answer (a 204 to a DELETE always is). Raises the errors of `reconciler.provider`:

        401 and 403 AccessError (a 401 once after `authorize(True)`) · 404 NotFoundError · 429 ThrottledError, retried
        for all methods, unless it can wait in a line (`pace.in_line`) · any other 4xx, and a redirect, RejectedError ·
        5xx UnavailableError · no connection UnreachableError, retried for all methods · a lost answer UnavailableError
        · a body that is not the promised JSON BadAnswerError. `effect` is "unknown" wherever something may have been
        done, by any of the tries.
        """
        raw = None if json is _NO_ANSWER else _encoded(json)
        target = f"{path}?{urlencode(params, errors='replace')}" if params else path
        exchange = Exchange(self.provider, method, f"{method} {path}", self.base_url, self.scrub)
        may_repeat = method in REPEATABLE if repeatable is None else repeatable
        started = self._monotonic()
        fresh, renewed, retries, done = False, False, 0, False
        while True:
            sent = self._exchange(exchange, target, raw, headers, fresh, empty_ok)
            if isinstance(sent, Answer):
                was_answered()
                return sent
            done = done or sent.error.effect == "unknown"
            if done:  # a later try that was refused says nothing of an earlier one whose answer was lost
                sent.error.effect = "unknown"
            fresh = sent.error.status == 401 and callable(self._authorize) and not renewed
            if fresh:
                renewed = True
                continue
            wait = self._wait(sent, may_repeat, retries, self._monotonic() - started)
            if wait is None:
                raise failures.tried(sent.error, retries + 1, self._monotonic() - started)
            retries += 1
            self._log(f"{self.provider}: retry {retries} of {exchange.what} in {wait:.2f} s: {sent.error.message}")
            self._sleep_before_retry(wait, throttled=sent.again == "when allowed")
            if self._closed.is_set():
                raise sent.error

    def ask(self, method: str, path: str, body: Json = None) -> Probed:
        """Send one request (without a body where `body` is None) and give what comes back, whatever it is: nothing is
        retried, followed or taken for an error. Raises ProviderError where no answer came."""
        raw = None if body is None else _encoded(body)
        exchange = Exchange(self.provider, method, f"{method} {path}", self.base_url, self.scrub)
        came = self._transfer(exchange, path, self._headers(raw, None, False), raw)
        if isinstance(came, Failure):
            raise came.error
        response, content, took = came
        self._log(f"{self.provider}: {exchange.what} {response.status_code} in {took * 1000:.0f} ms")
        text = self.scrub.hide(content[: 64 * failures.EXCERPT].decode("utf-8", "replace"))
        return Probed(self.scrub.clean(exchange.what, 200), response.status_code, text[: 16 * failures.EXCERPT], took)

    def close(self) -> None:
        """Close all connections; waits before a retry end, and nothing is sent any more."""
        self._closed.set()
        with self._opening:
            if self._transport is not None and self._wire.transport is None:
                self._transport.close()
            self._transport = None

    # --- one attempt ---------------------------------------------------------------------------------------------
    def _exchange(
        self,
        exchange: Exchange,
        target: str,
        raw: bytes | None,
        extra: Mapping[str, str] | None,
        fresh: bool,
        empty_ok: bool,
    ) -> Answer | Failure:
        came = self._transfer(exchange, target, self._headers(raw, extra, fresh), raw)
        return came if isinstance(came, Failure) else self._judge(exchange, *came, empty_ok)

    def _transfer(
        self, exchange: Exchange, target: str, headers: dict[str, str], raw: bytes | None
    ) -> tuple[httpx.Response, bytes, float] | Failure:
        """Send it once: the answer, its body and the seconds that it took."""
        import httpx

        request = self._request(exchange, target, raw, headers)
        if isinstance(request, Failure):
            return request
        delay = self._pace.delay()
        if delay:
            self._sleep(delay)
        with self._pace.slot:
            began = self._monotonic()
            transport = self._open()
            if transport is None:
                return Failure(UnreachableError(f"{self.provider}: the client is closed", provider=self.provider))
            try:
                response = transport.handle_request(request)
                try:
                    body = read_body(response, in_time=lambda: self._monotonic() - began < 2 * self._timeout)
                finally:
                    response.close()
            except AnswerError as error:
                return failures.bad_answer(exchange, f"is {error}", response, b"", None)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
                return failures.unreached(exchange, error, self._timeout)
            except (httpx.LocalProtocolError, httpx.UnsupportedProtocol) as error:
                return failures.unsendable(exchange, error)
            except httpx.TransportError as error:
                return failures.lost(exchange, error, self._timeout)
        return response, body, self._monotonic() - began

    def _request(
        self, exchange: Exchange, target: str, raw: bytes | None, headers: dict[str, str]
    ) -> httpx.Request | Failure:
        import httpx

        try:
            if self._base is None:
                self._base = httpx.URL(self.base_url)
            path = self._base.raw_path.rstrip(b"/") + target.encode("ascii")
            url = self._base.copy_with(raw_path=path)
            return httpx.Request(exchange.method, url, headers=headers, content=raw, extensions=self._extensions)
        except (httpx.InvalidURL, ValueError) as error:
            return failures.unsendable(exchange, error)

    def _headers(self, raw: bytes | None, extra: Mapping[str, str] | None, fresh: bool) -> dict[str, str]:
        """All headers of one request. Raises AccessError for a credential that can't stand in a header."""
        given = self._authorize(fresh) if callable(self._authorize) else self._authorize
        for name, value in given.items():
            self.scrub.learn(value)
            self.scrub.learn(value.rpartition(" ")[2])
            if not (value.isascii() and value.isprintable()):
                raise AccessError(
                    f"{self.provider}: the credential for the header {name} holds characters that no header may hold",
                    provider=self.provider,
                    hint="was a line break or a quotation mark copied along with it?",
                )
        headers = {"user-agent": f"reconciler/{VERSION}", "accept": "application/json", "accept-encoding": "gzip"}
        if raw is not None:
            headers["content-type"] = "application/json"
        return {**headers, **(extra or {}), **given}

    def _judge(
        self, exchange: Exchange, response: httpx.Response, body: bytes, took: float, empty_ok: bool
    ) -> Answer | Failure:
        status, headers = response.status_code, response.headers
        data, why = parse(body)
        request_id = self._dialect.request_id(headers, data)
        if request_id is not None:
            request_id = self.scrub.clean(str(request_id), 100)
        if self._wire.log is not None:
            self._log(
                f"{self.provider}: {exchange.what} {status} in {took * 1000:.0f} ms, request id {request_id or '-'}"
            )
        if 300 <= status < 400:
            return failures.redirected(exchange, response, request_id)
        if status >= 400 and (data is None or why):
            return self._foreign_error(exchange, response, body, request_id)
        if why:
            return failures.bad_answer(exchange, why, response, body, request_id)
        if data is not None and self._dialect.error_in(status, data):
            code, message = self._dialect.explain(status, data)
            return self._refused(exchange, response, data, code, message, request_id)
        if data is None and not body and not (empty_ok or (status == 204 and exchange.method == "DELETE")):
            return failures.bad_answer(exchange, "is empty", response, body, request_id)
        return Answer(status, data, headers, request_id)

    def _foreign_error(
        self, exchange: Exchange, response: httpx.Response, body: bytes, request_id: str | None
    ) -> Failure:
        """An error status without the provider's own error body, as a proxy in between gives it.

        Its 404 is no proof that an object is absent.
        """
        if response.status_code == 404:
            return failures.bad_answer(exchange, "is a 404 of something else", response, body, request_id)
        kind = self.scrub.clean(response.headers.get("content-type", "no content type"), 80)
        start = self.scrub.clean(body[: 16 * failures.EXCERPT].decode("utf-8", "replace"), failures.EXCERPT)
        return self._refused(exchange, response, None, None, f"{kind}: {start}" if start else "", request_id)

    def _refused(
        self,
        exchange: Exchange,
        response: httpx.Response,
        data: Json,
        code: str | None,
        message: str,
        request_id: str | None,
    ) -> Failure:
        return failures.refused(
            exchange,
            response.status_code,
            code,
            message,
            throttled=self._dialect.throttled(response.status_code, data),
            request_id=request_id,
            wait=retry_after(response.headers.get("retry-after"), self._wall),
        )

    # --- between attempts ----------------------------------------------------------------------------------------
    def _wait(self, failed: Failure, may_repeat: bool, retries: int, elapsed: float) -> float | None:
        """Seconds until the next attempt, None where there is none."""
        throttled = failed.again == "when allowed"
        allowed = throttled or failed.again == "always" or (failed.again == "if repeatable" and may_repeat)
        if not allowed or self._closed.is_set() or (retries >= MOST_RETRIES and not throttled):
            return None
        if throttled and line_waits():
            return None
        asked = failed.error.retry_after
        wait = backoff(retries, self._random)
        if asked is not None:
            wait = min(asked, LONGEST_RETRY_AFTER) + (0.1 + 0.1 * self._random() if asked == 0 else 0.0)
        return wait if elapsed + wait <= (THROTTLE_BUDGET if throttled else RETRY_BUDGET) else None

    def _sleep_before_retry(self, wait: float, *, throttled: bool) -> None:
        tell = self._wire.throttled if throttled else None
        if tell is None:
            self._sleep(wait)
            return
        tell(self.provider, True)
        try:
            self._sleep(wait)
        finally:
            tell(self.provider, False)

    def _open(self) -> Any:
        if self._transport is None:
            with self._opening:
                if self._transport is None and not self._closed.is_set():
                    self._transport = open_transport(
                        urlsplit(self.base_url),
                        connections=max(self._wire.pool_size, self.max_concurrency),
                        ca_cert=self._ca_cert,
                        longest=2 * self._timeout,
                    )
        return self._transport

    def _pause(self, seconds: float) -> None:
        self._closed.wait(seconds)

    def _log(self, line: str) -> None:
        if self._wire.log is not None:
            self._wire.log(self.scrub.hide(line))


class CommonOptions(TypedDict):
    """The arguments of `Client` that come from settings which every provider takes."""

    timeout: float
    max_concurrency: int
    requests_per_second: float | None
    ca_cert: str | None


def common_options(settings: Mapping[str, Json], max_concurrency: int) -> CommonOptions:
    """`Client` arguments from provider settings; `max_concurrency` is the type's own default."""
    rate = settings.get("requests_per_second")
    return {
        "timeout": seconds(settings.get("timeout") or 30.0),
        "max_concurrency": int(settings.get("max_concurrency") or max_concurrency),
        "requests_per_second": float(rate) if rate else None,
        "ca_cert": settings.get("ca_cert"),
    }


def segment(text: str) -> str:
    """`text` (an id, a name) as one segment of a path: slashes and everything unusual percent-encoded.

    Raises RejectedError for what would lead to another object wherever a path is tidied up on its way: nothing, and
    dots alone, which mean the same encoded (RFC 3986, 6.2.2.2); and for half characters, which nothing can encode.
    """
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted in ("", ".", ".."):
        raise RejectedError(f"{text!r} can't be sent as an id: it would lead to another place", provider="")
    return quoted


def _encoded(value: Json) -> bytes:
    return jsonlib.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
