"""A tool server that listens on a WebSocket: one frame a message, with the subprotocol `mcp` offered."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from loguru import logger
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    SecurityError,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.addresses import AllowedAddresses, Resolve, checked_addresses, look_up
from mcp_endpoint.net.errors import NetError
from mcp_endpoint.net.http_answer import HttpAnswer
from mcp_endpoint.net.http_client import tls_error_in
from mcp_endpoint.net.http_transport import check_literal_address
from mcp_endpoint.net.proxies import Proxy, Route, direct
from mcp_endpoint.net.socks import socks_connect
from mcp_endpoint.net.trust import default_tls
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.send_queue import QUEUE_BYTES, QUEUE_FRAMES, SendQueue
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.providers.source_output import Pacer, SourceOutput, end_tasks, secrets_of

FRAME_LIMIT = 4 * 1024 * 1024
OPEN_WITHIN = 10.0
PING_INTERVAL = 20.0
CLOSE_WITHIN = 3.0
_QUIET = logging.getLogger(__name__)
_QUIET.setLevel(logging.WARNING)  # below, the library tells URLs and headers, which may hold secrets
_TOO_BIG = 1009
_NOT_HERE = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class WebSocketSettings:
    """Where a server is and how to speak to it."""

    url: str = field(repr=False)
    """`ws://` or `wss://`; it may hold a secret in its query."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private: tuple[str, ...] = ()
    """Private networks, addresses and host names that may be connected to; loopback is private."""
    frame_limit: int = FRAME_LIMIT
    """Bytes of one message."""
    open_within: float = OPEN_WITHIN
    """Seconds for TCP, TLS and the upgrade, for each address of the host."""
    ping_interval: float = PING_INTERVAL
    """Seconds between pings, and until one must be answered."""
    unread_bytes: int = QUEUE_BYTES
    unread_frames: int = QUEUE_FRAMES
    """Frames that may wait while it does not read, and their bytes."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Whose certificates are trusted; None for the usual ones."""
    route: Route = field(default=direct, repr=False)
    """Which proxy leads where."""
    resolve: Resolve = field(default=look_up, repr=False)


class WebSocketSource:
    """One connection to a server."""

    def __init__(self, settings: WebSocketSettings) -> None:
        """Raises ValueError for bad `allow_private`."""
        self._settings = settings
        self._allowed = AllowedAddresses.of(settings.allow_private)
        self._output = SourceOutput(secrets_of(settings.url, settings.headers))
        self._queue = SendQueue(settings.unread_bytes, settings.unread_frames)
        self._connection: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Connect. Raises Stopped: UNREACHABLE, PRIVATE_ADDRESS, UNAUTHORIZED, HTTP_STATUS, REDIRECTED, NOT_MCP."""
        self._output.open(take, stopped)
        with as_stopped():
            connection = await self._connect()
        self._connection = connection
        self._tasks = [asyncio.create_task(self._read(connection)), asyncio.create_task(self._write(connection))]

    async def _connect(self) -> ClientConnection:
        """Raises Stopped and NetError."""
        try:
            parts = urlsplit(self._settings.url)
            host, port = parts.hostname, parts.port or (443 if parts.scheme == "wss" else 80)
        except ValueError:
            host, port = None, 0
        if not host or parts.scheme not in ("ws", "wss"):
            raise Stopped(StopReason.UNREACHABLE, "the URL cannot be used")
        proxy = self._settings.route(parts.scheme, host, port)
        if proxy is None:
            addresses = await checked_addresses(host, port, self._allowed, self._settings.resolve)
            ways: list[dict[str, Any]] = [{"host": address, "port": port} for address in addresses]
        else:
            check_literal_address(host, self._allowed)
            ways = [await self._through(proxy, host, port)]
        failure: Stopped | NetError = Stopped(StopReason.UNREACHABLE)
        for way in ways:
            try:
                return await self._dial(way)
            except InvalidStatus as error:
                raise _refused(error.response) from None
            except (ProxyError, InvalidProxy) as error:
                raise Stopped(
                    StopReason.PROXY_FAILED, f"{proxy.place if proxy else ''}: {quote_peer(str(error))}"
                ) from None
            except (TimeoutError, OSError) as error:
                detail = f"{type(error).__name__} after at most {self._settings.open_within:g} s"
                if proxy is not None:
                    detail = f"{proxy.place}: {detail}"
                why = StopReason.UNREACHABLE if proxy is None else StopReason.PROXY_FAILED
                failure = tls_error_in(error) or Stopped(why, detail)
            except (InvalidURI, SecurityError, ValueError):
                # What the library raises instead of following a redirect away from a given address.
                raise Stopped(StopReason.REDIRECTED) from None
            except (WebSocketException, EOFError) as error:
                raise Stopped(StopReason.NOT_MCP, f"no WebSocket: {type(error).__name__}") from None
        raise failure

    async def _through(self, proxy: Proxy, host: str, port: int) -> dict[str, Any]:
        """How the library is to connect by way of a proxy. Raises Stopped and NetError."""
        if proxy.scheme == "socks5":
            return {"sock": await self._socks(proxy, host, port)}
        user = f"{quote(proxy.user, safe='')}:{quote(proxy.password, safe='')}@" if proxy.user or proxy.password else ""
        scheme, _, place = proxy.place.partition("://")
        way = {"proxy": f"{scheme}://{user}{place}"}
        return way | ({"proxy_ssl": self._settings.tls or default_tls()} if scheme == "https" else {})

    async def _socks(self, proxy: Proxy, host: str, port: int) -> socket.socket:
        """A connection that leads to the host already."""
        loop, sock = asyncio.get_running_loop(), None

        async def read(count: int) -> bytes:
            assert sock is not None
            return await loop.sock_recv(sock, count)

        async def write(data: bytes) -> None:
            assert sock is not None
            await loop.sock_sendall(sock, data)

        try:
            async with asyncio.timeout(self._settings.open_within):
                (address, *_) = await checked_addresses(
                    proxy.host, proxy.port, lambda host, address: True, self._settings.resolve
                )
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
                sock.setblocking(False)
                await loop.sock_connect(sock, (address, proxy.port))
                await socks_connect(proxy, host, port, read, write)
                return sock
        except BaseException as error:
            if sock is not None:
                sock.close()
            if isinstance(error, OSError):  # a time-out is one
                raise Stopped(StopReason.PROXY_FAILED, f"{proxy.place}: {type(error).__name__}") from None
            raise

    async def _dial(self, way: dict[str, Any]) -> ClientConnection:
        settings = self._settings
        return await connect(
            settings.url,
            **{"proxy": None} | way,
            subprotocols=[Subprotocol("mcp")],
            additional_headers=dict(settings.headers),
            compression=None,
            logger=_QUIET,
            max_size=settings.frame_limit,
            open_timeout=settings.open_within,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_interval,
            close_timeout=CLOSE_WITHIN / 2,
            ssl=(settings.tls or default_tls()) if settings.url.lower().startswith("wss:") else None,
        )

    def send(self, frame: bytes) -> None:
        """Queue a frame; one that does not fit any more ends the source with TOO_MUCH_UNREAD."""
        if not self._output.shut and not self._queue.put(frame):
            self._output.end_soon(Stopped(StopReason.TOO_MUCH_UNREAD))

    async def close(self) -> None:
        """Close the connection, within 3 s; then it is cut off."""
        self._output.close()
        await end_tasks(*self._tasks)
        if self._connection is not None:
            try:
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self._connection.close()
            except TimeoutError:
                # The library waits as long as the peer does not read.
                self._connection.transport.abort()

    @property
    def said(self) -> Sequence[str]:
        """Nothing: a server elsewhere has no stderr that could be read."""
        return ()

    async def _read(self, connection: ClientConnection) -> None:
        pacer = Pacer()
        try:
            while True:
                await pacer.frame(self._output.frame(await connection.recv(decode=False)))
        except ConnectionClosed as closed:
            self._output.end(_lost(closed, self._settings.frame_limit))
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Reading from a tool server failed")
            self._output.end(Stopped(StopReason.INTERNAL))

    async def _write(self, connection: ClientConnection) -> None:
        # Its reader tells why a connection ended.
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = await self._queue.first()
                await connection.send(frame, text=True)
                self._queue.sent()


def _refused(response: Response) -> Stopped:
    status = response.status_code
    if status in _NOT_HERE:
        return Stopped(StopReason.REDIRECTED, f"HTTP {status}")
    if status < 400:
        return Stopped(StopReason.NOT_MCP, f"no WebSocket: HTTP {status}")
    answer = HttpAnswer.of(status, response.headers, bytes(response.body or b""))
    why = StopReason.UNAUTHORIZED if status in (401, 403) else StopReason.HTTP_STATUS
    return Stopped(why, quote_peer(answer.told()))


def _lost(closed: ConnectionClosed, limit: int) -> Stopped:
    if closed.sent is not None and closed.sent.code == _TOO_BIG and not closed.rcvd_then_sent:
        return Stopped(StopReason.FRAME_TOO_LONG, f"a frame over {limit} bytes")
    if closed.rcvd is not None:
        return Stopped(
            StopReason.CONNECTION_LOST, quote_peer(f"closed with {closed.rcvd.code} {closed.rcvd.reason}".strip())
        )
    if closed.sent is not None and "ping" in closed.sent.reason:
        return Stopped(StopReason.CONNECTION_LOST, "it does not answer pings")
    return Stopped(StopReason.CONNECTION_LOST)
