"""How the HTTP client connects: only to checked addresses, or through a proxy; httpx asks it for answers.

What keeps it from connecting ends in a `NetError` with its fault; all else in httpx's own errors.
"""

import contextlib
import socket
import ssl
import typing
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from ipaddress import ip_address
from types import TracebackType

import httpcore
import httpx

from mcp_endpoint.net.addresses import Address, AllowedAddresses, Resolve, checked_addresses, refused_address
from mcp_endpoint.net.errors import NetError, NetFault
from mcp_endpoint.net.proxies import Proxy, Route
from mcp_endpoint.net.socks import socks_connect

IDLE_CONNECTIONS = 10
IDLE = 1.5
"""Seconds after which an idle connection is not used again. Servers close theirs after 2 to 75 s, and a request that is
sent on one at that very moment is lost without anybody knowing whether it was seen."""

# A stream may be silent for hours; a peer that went without a word is found out by the system within two minutes.
KEEPALIVE: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
]
_PORTS = {"http": 80, "https": 443}


class CheckedTransport(httpx.AsyncBaseTransport):
    """httpx's own transport cannot be given a network backend; this one can, and is the same else."""

    def __init__(
        self, allowed: AllowedAddresses, resolve: Resolve, tls: ssl.SSLContext, connections: int, route: Route
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls
        self._connections = connections
        self._route = route
        self._pools: dict[Proxy | None, httpcore.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over a connection that leads to its URL."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = request.url
        proxy = self._route(url.scheme, url.host, url.port or _PORTS.get(url.scheme, 0))
        if proxy is not None:
            check_literal_address(url.host, self._allowed)
        with _httpx_errors():
            answer = await self._pool(proxy).handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(answer.stream, typing.AsyncIterable)
        if proxy is not None and answer.status == 407:
            await answer.aclose()
            raise NetError(NetFault.PROXY_FAILED, f"{proxy.place}: HTTP 407 Proxy Authentication Required")
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def _pool(self, proxy: Proxy | None) -> httpcore.AsyncConnectionPool:
        found = self._pools.get(proxy)
        if found is None:
            found = self._pools[proxy] = self._made(proxy)
        return found

    def _made(self, proxy: Proxy | None) -> httpcore.AsyncConnectionPool:
        if proxy is None:
            backend: httpcore.AsyncNetworkBackend = _Backend(self._resolve, self._allowed)
        elif proxy.scheme == "socks5":
            backend = _SocksBackend(proxy, self._resolve)
        else:
            return httpcore.AsyncHTTPProxy(
                proxy_url=httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/"),
                proxy_auth=(proxy.user.encode(), proxy.password.encode()) if proxy.user or proxy.password else None,
                ssl_context=self._tls,
                proxy_ssl_context=self._tls if proxy.scheme == "https" else None,
                max_connections=self._connections,
                max_keepalive_connections=IDLE_CONNECTIONS,
                keepalive_expiry=IDLE,
                network_backend=_ProxyBackend(proxy, self._resolve),
            )
        return httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=self._connections,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE,
            network_backend=backend,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def check_literal_address(host: str, allowed: AllowedAddresses) -> None:
    """A proxy looks names up, but an address that is spelled out is known before. Raises NetError."""
    address = _spelled(host)
    if address is not None and not allowed(host, address):
        raise refused_address(host, [str(address)])


def _spelled(host: str) -> Address | None:
    """The address that a host of a URL is, if it is one."""
    if host == "localhost" or host.endswith(".localhost"):
        return ip_address("127.0.0.1")
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        with contextlib.suppress(OSError):
            return ip_address(socket.inet_aton(host))  # 127.1 and 0x7f000001 are addresses, too
    return None


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to the checked addresses of a host; TLS still asks for the host's own name."""

    def __init__(self, resolve: Resolve, allowed: Callable[[str, Address], bool]) -> None:
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
        socket_options = [*(socket_options or ()), *KEEPALIVE]
        addresses = await checked_addresses(host, port, self._allowed, self._resolve)
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
        return await self._network.connect_tcp(addresses[-1], port, share, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _ProxyBackend(_Backend):
    """Connects to a proxy, wherever its owner has it."""

    def __init__(self, proxy: Proxy, resolve: Resolve) -> None:
        super().__init__(resolve, lambda host, address: True)
        self._proxy = proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await super().connect_tcp(self._proxy.host, self._proxy.port, timeout, local_address, socket_options)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, NetError) as error:
            detail = error.detail if isinstance(error, NetError) else str(error) or type(error).__name__
            raise NetError(NetFault.PROXY_FAILED, f"{self._proxy.place}: {detail[:100]}") from None


class _SocksBackend(_ProxyBackend):
    """Connects through a SOCKS proxy, which looks the name up itself."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)

        async def read(count: int) -> bytes:
            return await stream.read(count, timeout)

        async def write(data: bytes) -> None:
            await stream.write(data, timeout)

        try:
            await socks_connect(self._proxy, host, port, read, write)
        except BaseException as error:
            await stream.aclose()
            if isinstance(error, httpcore.TimeoutException | httpcore.NetworkError):
                raise NetError(NetFault.PROXY_FAILED, f"{self._proxy.place}: {type(error).__name__}") from None
            raise
        return stream


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
def _httpx_errors() -> Iterator[None]:
    """Errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error
