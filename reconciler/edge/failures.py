"""Turns what can go wrong with one HTTP exchange into a ProviderError that says what, whether it had an effect, and
what to do next. Decides also whether sending again can help. Sends nothing itself.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from reconciler.core.values.duration import text as duration
from reconciler.edge.scrub import Scrubber, shorten
from reconciler.model import Json
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    NotFoundError,
    ProviderError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
)

if TYPE_CHECKING:
    import httpx

EXCERPT = 200  # characters of an answer that is not what was promised

Again = Literal["never", "if repeatable", "always", "when allowed"]
"""Whether sending again can help: "always" means nothing was done, "when allowed" that the server said to wait."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One exchange that did not give what was asked for."""

    error: ProviderError
    again: Again = "never"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a failure needs to know of the request: `what` is `METHOD path` for the reader."""

    provider: str
    method: str
    what: str
    base_url: str
    scrub: Scrubber

    @property
    def lost(self) -> Literal["none", "unknown"]:
        """The effect of a request whose answer is not known."""
        return "none" if self.method in ("GET", "HEAD") else "unknown"


def unreached(exchange: Exchange, error: Exception, timeout: float) -> Failure:
    """No connection: nothing was sent."""
    place = _place(exchange.base_url)
    tls = _cause(error, ssl.SSLError)
    if tls is not None:
        detail, hint, again = _tls(tls)
        summary = f"no trusted connection to {place}"
        return Failure(_unreachable(exchange, summary, detail, hint), again)
    name = _class_names(error)
    detail = exchange.scrub.clean(str(error))
    hint = "is the endpoint right, and can this machine reach it?"
    if "ConnectTimeout" in name or "PoolTimeout" in name:
        detail = f"no connection within {timeout:g} s"
    if "ProxyError" in name:
        return Failure(_unreachable(exchange, f"the proxy gives no connection to {place}", detail, hint), "always")
    return Failure(_unreachable(exchange, f"can't connect to {place}", detail, hint), "always")


def unsendable(exchange: Exchange, error: Exception) -> Failure:
    """The request itself can't be sent: its URL or a header is not valid HTTP."""
    return Failure(_unreachable(exchange, f"can't send {exchange.what}", exchange.scrub.clean(str(error)), ""))


def lost(exchange: Exchange, error: Exception, timeout: float) -> Failure:
    """The request went out, the answer did not come (whole)."""
    if "Timeout" in type(error).__name__:
        how = f"did not answer {exchange.what} within {timeout:g} s"
    else:
        how = f"broke the connection before its answer to {exchange.what} was complete"
    tls = _cause(error, ssl.SSLError)
    detail, hint = exchange.scrub.clean(str(error)), ""
    if tls is not None:
        detail, hint, _ = _tls(tls)  # the request may have arrived, whatever is wrong with its answer
    failed = UnavailableError(
        f"{exchange.provider} {how}", provider=exchange.provider, effect=exchange.lost, detail=detail, hint=hint
    )
    return Failure(failed, "if repeatable")


def bad_answer(exchange: Exchange, why: str, response: httpx.Response, body: bytes, request_id: str | None) -> Failure:
    """The answer is not the JSON that was promised: its status, content type and beginning are told."""
    kind = exchange.scrub.clean(response.headers.get("content-type", "no content type"), 80)
    start = exchange.scrub.clean(body[: 16 * EXCERPT].decode("utf-8", "replace"), EXCERPT)
    told = f"status {response.status_code}, {kind}" + (f", begins: {start}" if start else ", empty")
    error = BadAnswerError(
        f"{exchange.provider} gave an answer to {exchange.what} that {why}",
        provider=exchange.provider,
        effect=exchange.lost,
        status=response.status_code,
        request_id=request_id,
        detail=told,
        hint="is the endpoint right, and is nothing (a proxy, a login page) in between?",
    )
    return Failure(error)


def redirected(exchange: Exchange, response: httpx.Response, request_id: str | None) -> Failure:
    """A redirect: never followed, as the credentials would go along."""
    target = _place(response.headers.get("location", ""))
    error = RejectedError(
        f"{exchange.provider} redirects {exchange.what} to {exchange.scrub.clean(target, 200)}, which is not followed",
        provider=exchange.provider,
        effect="unknown" if response.status_code == 303 and exchange.lost == "unknown" else "none",
        status=response.status_code,
        request_id=request_id,
        detail="credentials are sent to the configured endpoint alone",
        hint="if that is where the provider is, give it as `endpoint`",
    )
    return Failure(error)


def refused(
    exchange: Exchange,
    status: int,
    code: str | None,
    message: str,
    *,
    throttled: bool,
    request_id: str | None,
    wait: float | None,
) -> Failure:
    """An error answer in the provider's own form, or an empty or foreign one (then `message` is its beginning)."""
    code = exchange.scrub.clean(code, 100) if code else None
    words = exchange.scrub.clean(message, 600).rstrip(".") or "no reason given"
    label = f"{status} {code}" if code and code != str(status) else str(status)

    def made(kind: type[ProviderError], how: str, effect: Literal["none", "unknown"], hint: str = "") -> ProviderError:
        return kind(
            shorten(f"{exchange.provider} {how} {exchange.what}: {words} ({label})", 900),
            provider=exchange.provider,
            effect=effect,
            status=status,
            code=code,
            request_id=request_id,
            hint=hint,
            retry_after=wait,
        )

    if throttled:
        return Failure(made(ThrottledError, "throttles", "none", _THROTTLED_HINT), "when allowed")
    if status in (401, 403):
        return Failure(made(AccessError, "denies", "none", _access_hint(status)))
    if status == 404:
        return Failure(made(NotFoundError, "does not know", "none"))
    if status >= 500 or status == 408:
        again: Again = "never" if status in (501, 505) else "if repeatable"
        return Failure(made(UnavailableError, "failed at", exchange.lost, _DOWN_HINT), again)
    return Failure(made(RejectedError, "refuses", "none"))


def tried(error: ProviderError, times: int, elapsed: float) -> ProviderError:
    """The error, saying how often and for how long (seconds) it was tried, where that was more than once."""
    if times > 1:
        (diagnostic,) = error.diagnostics
        told = f"tried {times} times within {duration(ceil(elapsed))}"
        detail = f"{diagnostic.detail}; {told}" if diagnostic.detail else told
        error.diagnostics = (replace(diagnostic, detail=detail),)
    return error


def _access_hint(status: int) -> str:
    if status == 401:
        return "are the credentials set, complete and still valid?"
    return "the credentials are known but lack a right on this"


def _unreachable(exchange: Exchange, summary: str, detail: str, hint: str) -> UnreachableError:
    return UnreachableError(f"{exchange.provider}: {summary}", provider=exchange.provider, detail=detail, hint=hint)


def _tls(error: ssl.SSLError) -> tuple[str, str, Again]:
    """What a TLS failure means, what to do, and whether trying again can help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or str(error)
        if error.verify_code in (18, 19, 20, 21):  # self-signed, or the issuer is not known here
            return f"its certificate is not trusted: {why}", _CA_HINT, "never"
        if error.verify_code in (9, 10):
            return f"its certificate is out of date: {why}", "is the clock of this machine right?", "never"
        return (
            f"its certificate does not fit: {why}",
            "does the endpoint name the host as the certificate does?",
            "never",
        )
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"the server does not speak TLS ({reason})", "should the endpoint begin with http:// instead?", "never"
    hint = "does the endpoint speak TLS at all?" if "EOF" in reason else ""
    return f"TLS failed ({reason})", hint, "always"


_DOWN_HINT = "the trouble is the provider's: run the same command again when it is over"
_THROTTLED_HINT = (
    "run it again later, or ask for less at once: `requests_per_second`, `max_concurrency` of the provider"
)
_CA_HINT = "where the authority is your own, give its certificate as `ca_cert`"


def _cause(error: BaseException | None, kind: type[ssl.SSLError]) -> ssl.SSLError | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, kind):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def _class_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _place(url: str) -> str:
    """Scheme, host and port of a URL: never its path, query or user part."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "another path"
    except ValueError:
        return "an unreadable address"


def plain_explain(_status: int, data: Json) -> tuple[str | None, str]:
    """Code and message of the common error form `{"code", "message"}`, also under `error`; never raises."""
    inner = data.get("error", data) if isinstance(data, Mapping) else data
    if isinstance(inner, Mapping):
        code, message = inner.get("code"), inner.get("message")
        return (str(code) if code is not None else None), str(message or "")
    return None, str(inner) if isinstance(inner, str) else ""


RequestId = Callable[[Mapping[str, str], Json], str | None]


def header_request_id(*names: str) -> RequestId:
    """Finds the request id in the first of these headers that is there."""

    def find(headers: Mapping[str, str], _data: Json) -> str | None:
        return next((headers[name] for name in names if name in headers), None)

    return find
