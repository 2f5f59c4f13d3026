"""What every connection goes through before it is a WebSocket or an HTTP request: its head, within limits.

A subclass of uvicorn's httptools protocol, for its `http=`.
"""

from asyncio import AbstractEventLoop, TimerHandle, Transport
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mcp_endpoint.doors.front import FrontConfig

MAX_HEAD = 32 * 1024
"""Bytes a request's line and headers may have."""


class HttpDoor(HttpToolsProtocol):
    """One connection until it is upgraded: `handshake_timeout` and MAX_HEAD for every head, room for WebSockets."""

    def __init__(
        self,
        config: FrontConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._front = config.front
        self._head_bytes = 0
        self._head_pending = True
        self._message_ended = False
        self._head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The time for the first head runs from here."""
        super().connection_made(transport)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._head_done()
        super().connection_lost(exc)

    def _time_head(self) -> None:
        self._head_timer = self.loop.call_later(self._front.settings.websocket.handshake_timeout, self._head_late)

    def _head_done(self) -> None:
        self._head_pending = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._answer(HTTPStatus.REQUEST_TIMEOUT, "The request's head did not arrive in time.")

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head is too long already."""
        self._message_ended = False
        super().data_received(data)
        if not self._head_pending or self.transport.is_closing():
            return
        # A piece in which an earlier message ended is not the head's alone, and is left to `on_headers_complete`.
        if not self._message_ended:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too long.")

    def on_message_begin(self) -> None:
        """A head begins: the first of the connection, or one more on a kept-alive one."""
        super().on_message_begin()
        self._head_pending = True
        self._head_bytes = 0
        if self._head_timer is None:
            self._time_head()

    def on_headers_complete(self) -> None:
        """The head is whole; one that came in a single long piece is measured here."""
        self._head_done()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too long.")
            return
        super().on_headers_complete()
        if self.cycle is not None and any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        ):
            # No page here reads a body, so one that trickles in must not hold the connection after its answer.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """What follows in the same piece of input belongs to the next message."""
        self._message_ended = True
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Upgrade if there is room for one more WebSocket; other requests go on being answered."""
        if self.transport.is_closing():
            return
        if len(self._front.links) >= self._front.settings.websocket.max_connections:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "The broker is full ([websocket] max_connections).")
            return
        super().handle_websocket_upgrade()

    def _answer(self, status: HTTPStatus, text: str) -> None:
        """Answer without an app, and close."""
        body = f"{text}\n".encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
