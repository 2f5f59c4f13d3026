"""The one place that makes an HTTP client for a provider: limits, timeouts, checked addresses, the proxy of its entry.

What goes wrong ends in a `Stopped` with its reason. Whoever uses the client sends with `send`, which follows a redirect
only within the same host, and reads bodies with `read_body`, which has a limit.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import httpx

from mcp_endpoint.providers.addresses import Allowed, Resolve, look_up
from mcp_endpoint.providers.http_transport import CheckedTransport
from mcp_endpoint.providers.proxies import Route, direct
from mcp_endpoint.providers.source import Stopped, Why
from mcp_endpoint.providers.trust import usual_tls

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
WRITE_TIMEOUT = 30.0
MOST_CONNECTIONS = 100
MOST_REDIRECTS = 3
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
DETAIL = 200
"""Bytes of a peer's own words that are kept for the reason of an error."""

_PORTS = {"http": 80, "https": 443}
for _library in ("httpx", "httpcore"):
    # Below, they tell of each request its whole URL, and headers of answers: both may hold secrets.
    logging.getLogger(_library).setLevel(logging.WARNING)


@dataclass(frozen=True)
class HttpLimits:
    """How an HTTP client of a provider is bounded; durations in seconds."""

    connect: float = CONNECT_TIMEOUT
    read: float | None = READ_TIMEOUT
    """The longest silence while an answer is read; None where something else bounds it."""
    write: float = WRITE_TIMEOUT
    connections: int = MOST_CONNECTIONS
    """Connections at a time; who finds none free waits for at most `connect`."""


@dataclass(frozen=True)
class HttpSettings:
    """How a provider connects to its URL."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request; they may hold secrets."""
    allowed: Allowed = field(default_factory=Allowed)
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
            settings.allowed, settings.resolve, settings.tls or usual_tls(), limits.connections, settings.route
        ),
        follow_redirects=False,
        trust_env=False,
    )


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Send a request; the answer's body is not read yet. Close the answer in the end.

    A redirect is followed at most three times, and only to the same host over the same or a safer scheme: 307 and 308
    with any method, others only for GET and HEAD. Raises Stopped: REDIRECTED for any other redirect, UNREACHABLE,
    PRIVATE_ADDRESS or CONNECTION_LOST.
    """
    for _ in range(MOST_REDIRECTS + 1):
        try:
            response = await client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise explained(error) from error
        following = response.next_request
        if following is None:
            return response
        await response.aclose()
        if not same_origin(request.url, following.url):
            raise Stopped(Why.REDIRECTED, f"from {request.url.host} to {following.url.scheme}://{following.url.host}")
        if following.method != request.method:
            raise Stopped(Why.REDIRECTED, f"HTTP {response.status_code} would turn {request.method} into a GET")
        request = following
    raise Stopped(Why.REDIRECTED, f"more than {MOST_REDIRECTS} times")


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

    Raises Stopped: NOT_MCP for a longer one or one in several compressions, CONNECTION_LOST if it is cut short or slow.
    """
    try:
        async with asyncio.timeout(within):
            return b"".join([chunk async for chunk in body_chunks(response, most)])
    except TimeoutError:
        raise Stopped(Why.CONNECTION_LOST, f"the answer was not complete within {within:g} s") from None
    finally:
        await response.aclose()


async def body_chunks(response: httpx.Response, most: int | None = None) -> AsyncIterator[bytes]:
    """The body piece by piece, decoded; with `most` only so many bytes. Raises Stopped as `read_body` does."""
    if "," in response.headers.get("content-encoding", ""):
        raise Stopped(Why.NOT_MCP, "its answer is compressed more than once")
    count = 0
    try:
        async for chunk in response.aiter_bytes():
            count += len(chunk)
            if most is not None and count > most:
                raise Stopped(Why.NOT_MCP, f"its answer is longer than {most} bytes")
            yield chunk
    except httpx.HTTPError as error:
        raise explained(error) from error


async def words_of(response: httpx.Response) -> str:
    """The beginning of an error's body, for a reason; closes the answer. Never raises for what the peer does."""
    body = b""
    with contextlib.suppress(Stopped, TimeoutError):
        async with asyncio.timeout(1):
            async for chunk in body_chunks(response):
                body += chunk[:DETAIL]
                if len(body) >= DETAIL:
                    break
    await response.aclose()
    return body[:DETAIL].decode(errors="replace").strip()


async def drained(response: httpx.Response) -> None:
    """Read what is left of an answer that is of no interest, so that its connection can be used again; closes it.

    It is given a second and 64 KB. Never raises for what the peer does.
    """
    try:
        async with asyncio.timeout(1):
            async for _ in body_chunks(response, 65536):
                pass
    except (Stopped, TimeoutError, httpx.StreamError):
        pass
    finally:
        await response.aclose()


def explained(error: Exception) -> Stopped:
    """The reason for what httpx raised; its text holds host names at most, never a header or a query."""
    name = type(error).__name__
    match error:
        case httpx.ProxyError():
            return Stopped(Why.PROXY_FAILED, str(error)[:DETAIL] or name)
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return refused_tls(error) or Stopped(Why.UNREACHABLE, str(error.__cause__ or error)[:DETAIL] or name)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return Stopped(Why.UNREACHABLE, "the URL cannot be used")
        case _:
            return Stopped(Why.CONNECTION_LOST, name)


def refused_tls(error: BaseException | None) -> Stopped | None:
    """The reason of an error that began with TLS; None for any other."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return Stopped(Why.CERTIFICATE, error.verify_message)
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return Stopped(Why.UNREACHABLE, "it does not speak TLS on this port; is http:// or ws:// meant?")
        error = error.__cause__ or error.__context__
    return None
