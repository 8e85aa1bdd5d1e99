"""Opens connections and reads bodies: TLS, proxies, pool, compressed and oversized answers. Knows nothing of JSON.

httpx is imported only when a transport is opened.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult

from reconciler.diagnostics import Diagnostic, FileError

if TYPE_CHECKING:
    import httpx

LARGEST_ANSWER = 32 * 1024 * 1024


class AnswerError(Exception):
    """The body can't be taken: too large, too slow, or packed in a way that was not asked for."""


@cache
def tls_context(ca_cert: str | None) -> ssl.SSLContext:
    """The one TLS context for all connections that trust the same authorities (`ca_cert`: only those in that file).

    Making one costs about 30 ms. Raises FileError where the file is no set of certificates.
    """
    if ca_cert is None:
        import httpx

        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise FileError(
            Diagnostic(
                f"ca_cert {ca_cert} can't be used",
                detail=getattr(error, "strerror", None) or "it holds no PEM certificate",
                hint="give the path of a PEM file with the certificate of the authority that signed the server's",
            )
        ) from error


def open_transport(
    base: SplitResult, *, connections: int, ca_cert: str | None, longest: float = 60.0
) -> httpx.BaseTransport:
    """A pool of connections to one host, each exchange bounded by `longest` seconds in all.

    Proxies of the environment are used, but never for this machine itself.

    Raises FileError for a proxy or a `ca_cert` that can't be used.
    """
    import httpx

    from reconciler.edge.deadline import BoundedTransport

    context = tls_context(ca_cert) if base.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=5.0)
    proxy = _proxy(base)
    if proxy is not None:
        try:
            return BoundedTransport(longest, verify=tls_context(ca_cert), limits=limits, proxy=proxy)
        except (ValueError, ImportError) as error:
            raise FileError(
                Diagnostic(
                    f"the proxy that the environment names for {base.scheme} can't be used",
                    detail=f"it is no http:// or https:// URL ({type(error).__name__})",
                    hint=f"correct {base.scheme.upper()}_PROXY, or list {base.hostname} in NO_PROXY",
                )
            ) from error
    return BoundedTransport(longest, verify=context, limits=limits)


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine; a name that merely begins like one (`127.0.0.1.example`) is not."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _proxy(base: SplitResult) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    host = base.hostname or ""
    if is_loopback(host):
        return None
    proxies = getproxies()
    found = proxies.get(base.scheme) or proxies.get("all")
    if not found or proxy_bypass(host):
        return None
    return found if "://" in found else f"http://{found}"


def read_body(response: httpx.Response, *, in_time: Callable[[], bool], limit: int = LARGEST_ANSWER) -> bytes:
    """The whole body, unpacked. Raises AnswerError beyond `limit` bytes (packed or not) or once `in_time` says no."""
    headers = response.headers
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise AnswerError(f"larger than {limit >> 20} MiB")
    packed = headers.get("content-encoding", "identity").strip().lower()
    chunks = cast("Iterable[bytes]", response.stream)
    if packed not in ("", "identity"):
        return _unpack(chunks, packed, in_time, limit)
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        _check(size, limit, in_time)
        parts.append(chunk)
    return b"".join(parts)


def _unpack(chunks: Iterable[bytes], packed: str, in_time: Callable[[], bool], limit: int) -> bytes:
    """Unpack in steps bounded by what is still allowed, so that a small bomb never becomes a large one in memory."""
    if packed not in ("gzip", "x-gzip", "deflate"):
        raise AnswerError(f"packed as {packed[:20]!r}, which was not asked for")
    engine = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib by its header
    out = bytearray()
    try:
        for chunk in chunks:
            while chunk and not engine.eof:
                out += engine.decompress(chunk, limit + 1 - len(out))
                _check(len(out), limit, in_time)
                chunk = engine.unconsumed_tail
        out += engine.flush()
    except zlib.error as error:
        raise AnswerError(f"not what its content-encoding says ({packed})") from error
    if not engine.eof:
        raise AnswerError("packed, and ends in the middle")
    _check(len(out), limit, in_time)
    return bytes(out)


def _check(size: int, limit: int, in_time: Callable[[], bool]) -> None:
    if size > limit:
        raise AnswerError(f"larger than {limit >> 20} MiB")
    if not in_time():
        raise AnswerError("too slow: its end did not come in time")
