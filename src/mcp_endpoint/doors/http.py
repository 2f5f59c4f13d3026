"""What every connection goes through before it is a WebSocket or an HTTP request: its head, within limits.

A subclass of uvicorn's httptools protocol, for its `http=`.
"""

from asyncio import AbstractEventLoop, TimerHandle, Transport
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mcp_endpoint.doors.addresses import UNKNOWN
from mcp_endpoint.doors.front import FrontConfig
from mcp_endpoint.errors import Refusal

MAX_HEAD = 32 * 1024
"""Bytes a request's line and headers may have."""
RETRY_AFTER = 30
"""Seconds after which somebody with too many connections or handshakes should come back."""


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
        self._cut: TimerHandle | None = None
        self.caller = UNKNOWN

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The time for the first head runs from here, unless the address has too many connections already."""
        super().connection_made(transport)
        admission = self._front.admission
        self.caller = admission.direct(transport.get_extra_info("peername"))
        admission.enter(self)
        if admission.count(self.caller):
            self._time_head()
        else:
            self._refuse(Refusal.ADDRESS_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._front.admission.leave(self)
        self._front.admission.uncount(self.caller)
        self._head_done()
        self._read_on()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Cut the connection off."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """The peer does not read its answers: it has `send_timeout` seconds to do so."""
        super().pause_writing()
        self._cut_after(self._front.settings.websocket.send_timeout)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._read_on()

    def _cut_after(self, seconds: float) -> None:
        if self._cut is None:
            self._cut = self.loop.call_later(seconds, self.abort)

    def _read_on(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

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
            self._refuse(Refusal.HEAD_TIMEOUT)

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
            self._refuse(Refusal.HEAD_TOO_LONG)

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
            self._refuse(Refusal.HEAD_TOO_LONG)
            return
        if self.caller.proxy:
            self.scope["client"] = (self._front.admission.behind(self.caller, self.headers).shown, 0)
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
        front, admission = self._front, self._front.admission
        room = True
        if self.caller.proxy:
            self.caller = admission.behind(self.caller, self.headers)
            room = admission.count(self.caller)
        if not room:
            self._refuse(Refusal.ADDRESS_FULL)
        elif not admission.handshake(self.caller):
            self._refuse(Refusal.TOO_MANY_HANDSHAKES)
        elif len(front.links) >= front.settings.websocket.max_connections:
            self._refuse(Refusal.FULL)
        else:
            # The link takes over from here: uvicorn makes it, and will not tell this object of the connection's end.
            admission.leave(self)
            self.app_state = self.app_state | {"caller": self.caller}
            super().handle_websocket_upgrade()

    def _refuse(self, why: Refusal) -> None:
        """Say why the connection is not let in, without an app, and close."""
        self._front.admission.refuse(self.caller, why)
        status = HTTPStatus(why.status)
        body = f"{why.en} / {why.zh}\n".encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            head += f"Retry-After: {RETRY_AFTER}\r\n"
        self.transport.write(f"{head}\r\n".encode() + body)
        self.transport.close()
        self._cut_after(self._front.settings.websocket.close_timeout)
