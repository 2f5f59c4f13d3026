"""The one place that makes an HTTP client for a provider: limits, timeouts, checked addresses, no proxies.

What goes wrong ends in a `Stopped` with its reason. Whoever uses the client sends with `send`, which follows a redirect
only within the same host, and reads bodies with `read_body`, which has a limit.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

import httpcore
import httpx

from mcp_endpoint.providers.addresses import Allowed, Resolve, checked_addresses, look_up
from mcp_endpoint.providers.source import Stopped, Why

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
WRITE_TIMEOUT = 30.0
MOST_CONNECTIONS = 100
MOST_REDIRECTS = 3
DETAIL = 200
"""Bytes of a peer's own words that are kept for the reason of an error."""

# A stream may be silent for hours; a peer that went without a word is found out by the system within two minutes.
_KEEPALIVE: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
]
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
    """Replaces the usual checks of certificates."""
    limits: HttpLimits = field(default_factory=HttpLimits)
    resolve: Resolve = field(default=look_up, repr=False)


Sending = Callable[[httpx.AsyncClient, httpx.Request], Awaitable[httpx.Response]]
"""How a request is sent: `send`, or something around it that signs requests."""


def make_client(settings: HttpSettings) -> httpx.AsyncClient:
    """An HTTP client that connects only to allowed addresses, and asks neither the environment nor .netrc.

    Compressed answers are not asked for: a small body could become any size. Close it in the end.
    """
    limits = settings.limits
    headers = httpx.Headers({"User-Agent": "mcp-endpoint", "Accept-Encoding": "identity"})
    headers.update(settings.headers)
    return httpx.AsyncClient(
        headers=headers,
        timeout=httpx.Timeout(connect=limits.connect, read=limits.read, write=limits.write, pool=limits.connect),
        transport=_CheckedTransport(settings),
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
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            cause = error.__cause__ or error
            return Stopped(Why.UNREACHABLE, str(cause)[:DETAIL] or name)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return Stopped(Why.UNREACHABLE, "the URL cannot be used")
        case _:
            return Stopped(Why.CONNECTION_LOST, name)


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the checked addresses of a host; TLS still asks for the host's own name."""

    def __init__(self, allowed: Allowed, resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        socket_options = [*(socket_options or ()), *_KEEPALIVE]
        addresses = await checked_addresses(host, port, self._allowed, self._resolve)
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
        return await self._network.connect_tcp(addresses[-1], port, share, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _CheckedTransport(httpx.AsyncBaseTransport):
    """httpx's own transport cannot be given a network backend; this one can, and is the same else."""

    def __init__(self, settings: HttpSettings) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=settings.tls or httpx.create_ssl_context(trust_env=False),
            max_connections=settings.limits.connections,
            max_keepalive_connections=10,
            keepalive_expiry=30.0,
            network_backend=_CheckedBackend(settings.allowed, settings.resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = request.url
        with _httpx_errors():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(answer.stream, typing.AsyncIterable)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _httpx_errors():
            await self._answer.aclose()


@contextlib.contextmanager
def _httpx_errors() -> typing.Iterator[None]:
    """Errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error
