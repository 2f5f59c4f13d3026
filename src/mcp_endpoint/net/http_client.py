"""The one place that makes an HTTP client: limits, timeouts, checked addresses, the proxy that its settings name.

What goes wrong ends in a `NetError` with its fault. Whoever uses the client sends with `send`, which follows a redirect
only within the same host, and reads bodies with `read_body`, which has a limit.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import httpx

from mcp_endpoint.net.addresses import AllowedAddresses, Resolve, look_up
from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.net.http_transport import CheckedTransport
from mcp_endpoint.net.proxies import Route, direct
from mcp_endpoint.net.trust import default_tls

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
WRITE_TIMEOUT = 30.0
MOST_CONNECTIONS = 100
MOST_REDIRECTS = 3
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
REPEATABLE = "repeatable"
"""Extension of a request that may be sent twice."""
ERROR_LIMIT = 64 * 1024
"""Bytes of the body of an error."""
ERROR_WITHIN = 10.0
DETAIL = 200
"""Bytes of a peer's own words that are kept for the reason of an error."""

_PORTS = {"http": 80, "https": 443}
for _library in ("httpx", "httpcore"):
    # Below, they tell of each request its whole URL, and headers of answers: both may hold secrets.
    logging.getLogger(_library).setLevel(logging.WARNING)


@dataclass(frozen=True)
class HttpLimits:
    """How an HTTP client is bounded; durations in seconds."""

    connect: float = CONNECT_TIMEOUT
    read: float | None = READ_TIMEOUT
    """The longest silence while an answer is read; None where something else bounds it."""
    write: float = WRITE_TIMEOUT
    connections: int = MOST_CONNECTIONS
    """Connections at a time; who finds none free waits for at most `connect`."""


@dataclass(frozen=True)
class HttpSettings:
    """How a client connects to its URLs."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request; they may hold secrets."""
    allowed: AllowedAddresses = field(default_factory=AllowedAddresses)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Whose certificates are trusted; None for the usual ones."""
    route: Route = field(default=direct, repr=False)
    """Which proxy leads where."""
    limits: HttpLimits = field(default_factory=HttpLimits)
    resolve: Resolve = field(default=look_up, repr=False)


Sending = Callable[[httpx.AsyncClient, httpx.Request], Awaitable[httpx.Response]]
"""How a request is sent: `send`, or something around it that signs requests."""


def make_client(settings: HttpSettings) -> httpx.AsyncClient:
    """An HTTP client that connects only to allowed addresses, and does not ask .netrc.

    Compressed answers are not asked for: a small body could become any size. Close it in the end.
    """
    limits = settings.limits
    headers = httpx.Headers({"User-Agent": "mcp-endpoint", "Accept-Encoding": "identity"})
    headers.update(settings.headers)
    return httpx.AsyncClient(
        headers=headers,
        timeout=httpx.Timeout(connect=limits.connect, read=limits.read, write=limits.write, pool=limits.connect),
        transport=CheckedTransport(
            settings.allowed, settings.resolve, settings.tls or default_tls(), limits.connections, settings.route
        ),
        follow_redirects=False,
        trust_env=False,
    )


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Send a request; the answer's body is not read yet. Close the answer in the end.

    A redirect is followed at most three times, and only on the same host: see `_followed`. What may be done twice (GET,
    HEAD, OPTIONS, and what is marked as REPEATABLE) is sent again if the connection ends before the answer begins.
    Raises NetError: REDIRECTED for any other redirect, UNREACHABLE, CERTIFICATE, PROXY_FAILED, PRIVATE_ADDRESS,
    FAKE_ADDRESS or CONNECTION_LOST.
    """
    for _ in range(MOST_REDIRECTS + 1):
        response = await _sent(client, request)
        following = response.next_request
        if following is None:
            return response
        await response.aclose()
        request = _followed(request, following, response.status_code)
    raise NetError(NetFault.REDIRECTED, f"more than {MOST_REDIRECTS} times")


async def _sent(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    repeatable = request.method in ("GET", "HEAD", "OPTIONS") or bool(request.extensions.get(REPEATABLE))
    while True:
        try:
            return await client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if not repeatable:
                raise as_net_error(error) from error
            repeatable = False
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise as_net_error(error) from error


def _followed(request: httpx.Request, following: httpx.Request, status: int) -> httpx.Request:
    """The request that a redirect asks for. Raises NetError (REDIRECTED).

    It stays on the origin it was meant for, or goes to https there. A server behind a proxy often does not know its own
    scheme, port or name: where it only wants a slash at the end, or says http for https, its own origin is meant, and
    nothing leaves that. A slash, or https, changes nothing of what is asked for, so a POST stays one.
    """
    here, there = request.url, following.url
    slash = there.path != here.path and there.path.rstrip("/") == here.path.rstrip("/")
    if not same_origin(here, there):
        unaware = here.host == there.host and (here.scheme, there.scheme) == ("https", "http")
        unaware = unaware and _port(there) in (80, _port(here))
        if there.scheme not in _PORTS or not (slash or unaware):
            raise NetError(NetFault.REDIRECTED, f"from {_origin(here)} to {_origin(there)}")
        there = here.copy_with(raw_path=there.raw_path)
    if there.path.rstrip("/") == here.path.rstrip("/"):
        if here.query and not there.query:
            there = there.copy_with(query=here.query)
    elif following.method != request.method:
        raise NetError(NetFault.REDIRECTED, f"HTTP {status} would turn {request.method} into a GET")
    return httpx.Request(
        request.method, there, headers=request.headers, stream=request.stream, extensions=request.extensions
    )


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}"


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether what was meant for `one` may be sent to `other`: the same host, port and scheme, or https for http."""
    if one.host != other.host:
        return False
    safer = (one.scheme, _port(one), other.scheme, _port(other)) == ("http", 80, "https", 443)
    return safer or (one.scheme, _port(one)) == (other.scheme, _port(other))


def _port(url: httpx.URL) -> int | None:
    return url.port or _PORTS.get(url.scheme)


async def read_body(response: httpx.Response, most: int, within: float) -> bytes:
    """The body of an answer, which is closed then; at most `most` bytes, within so many seconds.

    Raises NetError: TOO_LONG, ENCODED_TWICE, CONNECTION_LOST if it is cut short or slow.
    """
    try:
        async with asyncio.timeout(within):
            return b"".join([chunk async for chunk in body_chunks(response, most)])
    except TimeoutError:
        raise NetError(NetFault.CONNECTION_LOST, f"the answer was not complete within {within:g} s") from None
    finally:
        await response.aclose()


async def body_chunks(response: httpx.Response, most: int | None = None) -> AsyncIterator[bytes]:
    """The body piece by piece, decoded; with `most` only so many bytes. Raises NetError as `read_body` does."""
    if "," in response.headers.get("content-encoding", ""):
        raise NetError(NetFault.ENCODED_TWICE, "its answer is compressed more than once")
    count = 0
    try:
        async for chunk in response.aiter_bytes():
            count += len(chunk)
            if most is not None and count > most:
                raise NetError(NetFault.TOO_LONG, f"its answer is longer than {most} bytes")
            yield chunk
    except httpx.HTTPError as error:
        raise as_net_error(error) from error


async def error_body(response: httpx.Response) -> bytes:
    """The beginning of the body of an error; closes the answer. Never raises for what the peer does."""
    body = b""
    with contextlib.suppress(NetError, TimeoutError):
        async with asyncio.timeout(ERROR_WITHIN):
            async for chunk in body_chunks(response):
                body += chunk[: ERROR_LIMIT - len(body)]
                if len(body) >= ERROR_LIMIT:
                    break
    await response.aclose()
    return body


async def drain(response: httpx.Response) -> None:
    """Read what is left of an answer that is of no interest, so that its connection can be used again; closes it.

    It is given a second and 64 KB. Never raises for what the peer does.
    """
    try:
        async with asyncio.timeout(1):
            async for _ in body_chunks(response, 65536):
                pass
    except (NetError, TimeoutError, httpx.StreamError):
        pass
    finally:
        await response.aclose()


def as_net_error(error: Exception) -> NetError:
    """The fault of what httpx raised; its text holds host names at most, never a header or a query."""
    name = type(error).__name__
    match error:
        case httpx.ProxyError():
            return NetError(NetFault.PROXY_FAILED, str(error)[:DETAIL] or name)
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return tls_error_in(error) or NetError(NetFault.UNREACHABLE, str(error.__cause__ or error)[:DETAIL] or name)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return NetError(NetFault.UNREACHABLE, "the URL cannot be used")
        case _:
            return NetError(NetFault.CONNECTION_LOST, name)


def tls_error_in(error: BaseException | None) -> NetError | None:
    """The fault of an error that began with TLS; None for any other."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return NetError(NetFault.CERTIFICATE, error.verify_message)
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return NetError(NetFault.NO_TLS, "it does not speak TLS on this port")
        error = error.__cause__ or error.__context__
    return None
