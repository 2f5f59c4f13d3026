"""What every connection goes through before it is a WebSocket or an HTTP request: its head, within limits.

A subclass of uvicorn's httptools protocol, for its `http=`. It stands beside the doors, not in one of them: which of
them a connection is for, only its head says.
"""

import contextlib
import socket
from asyncio import AbstractEventLoop, Protocol, TimerHandle, Transport
from collections.abc import Callable
from http import HTTPStatus
from ssl import SSLContext
from typing import Any
from weakref import ref

import uvicorn
from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from loguru import logger
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from mcp_endpoint.doors.limits.addresses import UNKNOWN, ClientAddress
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.refusals import Refusal

MAX_HEAD = 32 * 1024
"""Bytes a request's line and headers may have."""
MAX_PIPELINED = 16
"""Requests of one connection that may wait for the answer to an earlier one."""
KEPT_OPEN = 75
"""Seconds that a connection with a token is kept open between requests.

Clients and proxies give theirs up sooner (httpx after 5, nginx after 60). Were it the other way round, a call could go
out on a connection that is just being closed.
"""
RETRY_AFTER = 30
"""Seconds after which somebody with too many connections or handshakes should come back."""


WebSocketFactory = Callable[[ClientAddress], Protocol | Refusal]
"""Makes what takes over a connection from this address that asks for a WebSocket, or says why it may not have one.

It is handed the transport, the request's head, and what follows.
"""


class PortConfig(uvicorn.Config):
    """uvicorn's configuration, by which its protocol classes find the state; with `tls` the port speaks TLS."""

    def __init__(
        self, port_state: PortState, open_websocket: WebSocketFactory, tls: SSLContext | None = None, **options: Any
    ) -> None:
        super().__init__(http=Connection, ws="none", **options)
        self.port_state = port_state
        self.open_websocket = open_websocket
        self._tls = tls

    def load(self) -> None:
        """As uvicorn has it, with our own TLS context."""
        super().load()
        self.ssl = self._tls


class _Enough(Exception):
    """Raised within the parser to stop it: this connection is not read any more."""


class _Flow(FlowControl):
    """uvicorn's flow control, which asks a connection that is gone to be read on."""

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            super().pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One connection until it is a WebSocket: `handshake_timeout` and MAX_HEAD for every head, room for WebSockets."""

    def __init__(
        self,
        config: PortConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._port_state = config.port_state
        self._open_websocket = config.open_websocket
        self._authenticated = False
        self._head_bytes = 0
        self._head_pending = True
        self._message_ended = False
        self._head_timer: TimerHandle | None = None
        self._abort_timer: TimerHandle | None = None
        self._reads_no_more = False
        """Whether nothing counts any more that comes in."""
        self._kept_alive = False
        """Whether the request whose body comes now lets the connection go on after its answer."""
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered; uvicorn keeps the last one that came."""
        self.address = UNKNOWN

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The time for the first head runs from here, unless the address has too many connections already."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        admission = self._port_state.admission
        self.address = admission.direct(transport.get_extra_info("peername"))
        admission.enter(self)
        if admission.count(self.address):
            self._time_head()
        else:
            self._refuse(Refusal.ADDRESS_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._port_state.admission.leave(self)
        self._port_state.admission.uncount(self.address)
        self._head_done()
        self._unset_keepalive_if_required()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._drop_answers()
        super().connection_lost(exc)

    def _drop_answers(self) -> None:
        """Nobody waits for what is still to be answered."""
        self._reads_no_more = True
        for cycle in (self._answering, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self.flow.resume_writing()

    def abort(self) -> None:
        """Cut the connection off."""
        self.transport.abort()

    # --- for the doors that answer requests with a token ---

    def let_in(self) -> bool:
        """A good token came with a request. False if there are too many such connections.

        It may hold as much unread data as a WebSocket before `send_timeout` runs.
        """
        limits = self._port_state.settings.websocket
        if not self._authenticated:
            if not self._port_state.admission.authenticate(self, limits.max_connections):
                return False
            self._authenticated = True
            self.timeout_keep_alive = KEPT_OPEN
            self.transport.set_write_buffer_limits(high=limits.send_buffer)
        return True

    def watch_for_silence(self) -> None:
        """A long answer begins: have TCP end the connection if what is sent goes unacknowledged for a ping's time."""
        limits, sock = self._port_state.settings.websocket, self.transport.get_extra_info("socket")
        if limits.ping_interval and sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(1000 * (limits.ping_interval + limits.ping_timeout))
            with contextlib.suppress(OSError, ValueError):  # the peer may have left while it waited for its turn
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    # --- asyncio's side ---

    def pause_writing(self) -> None:
        """The peer does not read its answers: it has `send_timeout` seconds to do so."""
        super().pause_writing()
        self._cut_unread()

    def resume_writing(self) -> None:
        """It reads again. Once everything is said, only the end of it counts."""
        super().resume_writing()
        if self._abort_timer is not None and not self.transport.is_closing():
            self._abort_timer.cancel()
            self._abort_timer = None

    def _cut_unread(self) -> None:
        if self._abort_timer is None:
            self._abort_timer = self.loop.call_later(self._port_state.settings.websocket.send_timeout, self._unread)

    def _unread(self) -> None:
        self._port_state.admission.refuse(self.address, Refusal.UNREAD_ANSWER)
        self.abort()

    def on_response_complete(self) -> None:
        """A connection that is closed after its answer waits for no longer than `send_timeout` until that is read."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._cut_unread()

    def timeout_keep_alive_handler(self) -> None:
        """The same for one that is closed because no other request came."""
        super().timeout_keep_alive_handler()
        self._cut_unread()

    def _time_head(self) -> None:
        self._head_timer = self.loop.call_later(self._port_state.settings.websocket.handshake_timeout, self._head_late)

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
        if self._reads_no_more:
            return
        self._unset_keepalive_if_required()
        self._message_ended = False
        try:
            rest = self._parse(data)
        except HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, _Enough):
                if not isinstance(cause, HttpParserError | UnicodeDecodeError):
                    logger.opt(exception=error).error("a request of {} failed inside the broker", self.address.shown)
                self._refuse(Refusal.NOT_HTTP)
            return
        except HttpParserError:
            self._refuse(Refusal.NOT_HTTP)
            return
        if rest is not None:
            self._upgrade(rest)
        if self._reads_no_more or not self._head_pending or self.transport.is_closing():
            return
        # A piece in which an earlier message ended is not the head's alone, and is left to `on_headers_complete`.
        if not self._message_ended:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self._refuse(Refusal.HEAD_TOO_LONG)

    def _should_upgrade_to_ws(self) -> bool:
        return True  # by `open_websocket`, not by a class of uvicorn's

    def _parse(self, data: bytes) -> bytes | None:
        """Hand input to the parser; what follows the head of a WebSocket handshake, if it is one."""
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if self._should_upgrade():
                    return data
                # An offer to speak another protocol, which is not taken up: what follows is the next request.
            else:
                return None

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
        if len(self.pipeline) >= MAX_PIPELINED:
            self._overdone()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            self._refuse(Refusal.HEAD_TOO_LONG)
            raise _Enough
        if self.parser.should_upgrade() and self._should_upgrade():
            self._check_upgrade()
        if self.address.proxy:
            self.scope["client"] = (self._port_state.admission.behind(self.address, self.headers).shown, 0)
        self.scope["state"]["connection"] = ref(self)  # this object has the scope, and must go without the collector
        super().on_headers_complete()
        if self.cycle is not None and any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self.headers
        ):
            # Most pages read no body, and one that trickles in must not hold the connection after its answer: it goes
            # on only if the body was whole before the answer began.
            self._kept_alive = self.cycle.keep_alive
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is whole. What follows in the same piece of input belongs to the next message."""
        self._message_ended = True
        if self._kept_alive:
            self._kept_alive = False
            if not self.cycle.response_started and not self._port_state.draining:
                self.cycle.keep_alive = True
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _overdone(self) -> None:
        """Too many requests wait: answer these, close after the last, and read no more."""
        self._port_state.admission.refuse(self.address, Refusal.TOO_MANY_PIPELINED)
        self.cycle.keep_alive = False
        self._reads_no_more = True
        raise _Enough

    def _check_upgrade(self) -> None:
        """A WebSocket is opened by a GET of HTTP/1.1 without a body, and not while answers are due (RFC 6455, 4.1)."""
        if self.parser.get_method() != b"GET":
            self._refuse(Refusal.NOT_GET)
        elif self.parser.get_http_version() != "1.1":
            self._refuse(Refusal.OLD_HTTP)
        elif (self.cycle is not None and not self.cycle.response_complete) or any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        ):
            self._refuse(Refusal.BAD_HANDSHAKE)
        else:
            return
        raise _Enough

    def _upgrade(self, rest: bytes) -> None:
        """Upgrade if there is room for one more WebSocket; other requests go on being answered.

        `rest` came in one piece with the head. The peer need not wait for the answer before it sends its first frame.
        """
        if self.transport.is_closing():
            return
        admission = self._port_state.admission
        room = True
        if self.address.proxy:
            self.address = admission.behind(self.address, self.headers)
            room = admission.count(self.address)
        if not room:
            self._refuse(Refusal.ADDRESS_FULL)
        elif not admission.handshake(self.address):
            self._refuse(Refusal.TOO_MANY_HANDSHAKES)
        elif isinstance(link := self._open_websocket(self.address), Refusal):
            self._refuse(link)
        else:
            # The link takes over from here: this object will not be told of the connection's end.
            admission.leave(self)
            self.connections.discard(self)
            self._reads_no_more = True
            self.parser = None  # type: ignore[assignment]  # it refers back to this object
            lines = [b"GET %s HTTP/1.1" % self.url, *(b"%s: %s" % header for header in self.headers), b"", b""]
            link.connection_made(self.transport)
            link.data_received(b"\r\n".join(lines))
            self.transport.set_protocol(link)
            if rest:
                link.data_received(rest)

    def _refuse(self, why: Refusal) -> None:
        """Say why the connection is not let in, without an app, and close."""
        self._port_state.admission.refuse(self.address, why)
        self._drop_answers()
        status = HTTPStatus(why.status)
        body = f"{why.en} / {why.zh}\n".encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        )
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            head += f"Retry-After: {RETRY_AFTER}\r\n"
        elif status is HTTPStatus.METHOD_NOT_ALLOWED:
            head += "Allow: GET\r\n"
        self.transport.write(f"{head}\r\n".encode() + body)
        self.transport.close()
        if self._abort_timer is None:
            self._abort_timer = self.loop.call_later(self._port_state.settings.websocket.close_timeout, self.abort)
