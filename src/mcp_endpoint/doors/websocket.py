"""The tool door and the device door: WebSocket, on any path whose last segment is `mcp` or `call`.

A protocol class for uvicorn's `ws=`, on the sans-I/O `ServerProtocol` of websockets: a frame goes from `data_received`
through the broker to the peer's `transport.write` without a task, a queue or a lock. Frames towards peers are never
masked, fragmented or compressed, so their header is written here; everything else a connection sends (handshake, ping,
pong, close) is ServerProtocol's.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from loguru import logger
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.exceptions import InvalidState, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from mcp_endpoint.broker.link import Ended, Peer, Role, Session
from mcp_endpoint.doors.addresses import UNKNOWN, Caller
from mcp_endpoint.doors.frames import FrameReader
from mcp_endpoint.doors.front import FrontConfig
from mcp_endpoint.doors.turns import Share
from mcp_endpoint.errors import End, Refusal
from mcp_endpoint.tokens import TokenError

MAX_FRAGMENTS = 1024
"""Pieces one message may come in (contract, section 4)."""
DOORS = {"mcp": Role.TOOL, "call": Role.DEVICE}
"""Last segment of the path → side."""
REFUSED_PATIENCE = 1.0
"""Seconds a refused peer has to close its side."""
REFUSALS = {404: Refusal.NO_DOOR, 403: Refusal.FOREIGN_ORIGIN}
"""What a handshake was refused for, by the status of its answer; the rest are bad handshakes."""

_SHORT = [bytes((0x81, length)) for length in range(126)]
_quiet = logging.getLogger("mcp_endpoint.websocket")
_quiet.setLevel(logging.WARNING)


def role_of(path: str) -> Role | None:
    """Which door a path leads to; reverse proxies may put any prefix in front (contract, section 1)."""
    return DOORS.get(unquote(path).rstrip("/").rpartition("/")[2])


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("mcp") if "mcp" in offered else None


class WebSocketLink(asyncio.Protocol):
    """One WebSocket connection, and the broker's `Link` to its peer."""

    __slots__ = (
        "_cut",
        "_ended",
        "_fragments",
        "_front",
        "_limit",
        "_mark",
        "_out",
        "_pieces",
        "_queued",
        "_reader",
        "_share",
        "_slow",
        "_told",
        "_transport",
        "_unfinished",
        "_waits",
        "_ws",
        "bytes_in",
        "bytes_out",
        "caller",
        "frames_in",
        "frames_out",
        "heard",
        "last_frame",
        "peer",
        "pinged_at",
        "rtt_ms",
        "session",
    )

    def __init__(self, config: FrontConfig, server_state: ServerState, app_state: Mapping[str, Caller] | None) -> None:
        front = self._front = config.front
        limits = front.settings.websocket
        origins = front.settings.security.allowed_origins
        self._ws = ServerProtocol(
            origins=None if "*" in origins else [*map(Origin, origins), None],
            select_subprotocol=_select_subprotocol,
            max_size=limits.max_message_size,
            logger=_quiet,
        )
        self._reader: FrameReader | None = None
        self._transport: asyncio.Transport
        self._out: list[bytes] = []
        self._queued = 0
        self._limit = limits.send_buffer + 2 * limits.max_message_size
        self._slow: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._share = Share()
        self._waits = False
        self._unfinished = 0
        self._mark = -1
        self._fragments: bytearray | None = None
        self._pieces = 0
        self._ended: Ended | None = None
        self._told = False
        self.session: Session | None = None
        self.caller = (app_state or {}).get("caller", UNKNOWN)
        self.peer = Peer("")
        self.heard = self.pinged_at = 0.0
        self.last_frame: float | None = None
        self.rtt_ms: float | None = None
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over the transport; uvicorn hands in the request's head next."""
        self._transport = transport
        transport.set_write_buffer_limits(high=self._front.settings.websocket.send_buffer)
        self._front.links[self] = None

    def data_received(self, data: bytes) -> None:
        """Work off the frames in `data`, as many as are this agent's in one turn of the loop."""
        now = self.heard = self._front.loop.time()
        share = self._share
        if share.tick != now:
            share.renew(now)
        if (share.left <= 0 or self._waits) and self._reader is not None:
            self._reader.keep(data)
            self._wait()
        else:
            self._work(data, now)

    def go_on(self, now: float) -> None:
        """It is this link's turn: work off input that was left over."""
        self._waits = False
        if self._transport.is_closing():
            return
        self._work(b"", now)
        if not self._waits:
            self._transport.resume_reading()

    def _wait(self) -> None:
        """There is more input than this turn allows: let the others have theirs, and read no more meanwhile."""
        if not self._waits and not self._transport.is_closing():
            self._waits = True
            self._transport.pause_reading()
            self._front.turns.wait(self._share, self)

    def _work(self, data: bytes, now: float) -> None:
        """Work off frames, then write once to every peer they led to."""
        ws, reader, share = self._ws, self._reader, self._share
        outbox = self._front.outbox
        outbox.hold()
        try:
            if reader is None:
                self._open(data, now)
            else:
                events = reader.feed(data, share.left)
                # A large piece of a message is a turn's worth of work.
                share.left = 0 if reader.more else share.left - (len(events) or 1)
                for event in events:
                    if isinstance(event, bytes):
                        self._text(event, now)
                    else:
                        self._other_frame(event, now)
                if reader.unfinished or self._unfinished or self._fragments is not None:
                    self._count_unfinished(reader, now)
                if reader.more:
                    self._wait()
        except Exception as error:  # noqa: BLE001  this connection ends with a typed reason, the others go on
            self.fail(error)
        finally:
            outbox.release()
        if ws.parser_exc is not None:
            self._note_end(_end_of(ws.parser_exc))
        self._write_protocol()

    def eof_received(self) -> bool:
        """The peer will send no more: let asyncio close the transport."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        front = self._front
        front.gone(self)
        front.heartbeat.discard(self)
        front.admission.leave(self)
        front.admission.uncount(self.caller)
        self._forgive()
        if self._cut is not None:
            self._cut.cancel()
        self._forget_unfinished()
        if self.session is not None:
            front.turns.leave(self.session.agent_id)
        self._note_end(Ended(End.CONNECTION_LOST, End.CONNECTION_LOST.code))
        self._tell_ended()

    def pause_writing(self) -> None:
        """More than `send_buffer` bytes wait for the peer: it has `send_timeout` seconds to read on."""
        if self._slow is None:
            self._slow = self._front.loop.call_later(self._front.settings.websocket.send_timeout, self._too_slow)

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._forgive()

    def _forgive(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        self._slow = None
        self.close(End.SLOW_READER)

    # --- the opening handshake ---

    def _open(self, head: bytes, now: float) -> None:
        """Take the request's head, which uvicorn hands in whole."""
        self._ws.receive_data(head)
        for event in self._ws.events_received():
            assert isinstance(event, Request), "the first event is the request"
            self._handshake(event, now)

    def _handshake(self, event: Request, now: float) -> None:
        path, _, query = event.path.partition("?")
        role = role_of(path)
        response = self._ws.accept(event)
        restarting = False
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            if self._front.draining:
                restarting = True
                response = self._ws.reject(HTTPStatus.SERVICE_UNAVAILABLE, "The broker is restarting; come back.\n")
            elif role is None:
                text = "There is no door here. Tool programs dial …/mcp/?token=…, devices …/call/?token=…\n"
                response = self._ws.reject(HTTPStatus.NOT_FOUND, text)
        self._ws.send_response(response)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and role is not None:
            self._write_protocol()
            self._reader = FrameReader(self._ws, self._front.settings.websocket.max_message_size)
            self._admit(role, dict(parse_qsl(query)), event.headers, now)
        else:
            self._linger()
            if not restarting:
                why = REFUSALS.get(response.status_code, Refusal.BAD_HANDSHAKE)
                self._front.admission.refuse(self.caller, why, "handshake", penalty=True)

    def _admit(self, role: Role, query: Mapping[str, str], headers: Headers, now: float) -> None:
        """Read the token and join the agent, or close with the reason clients know (contract, section 2)."""
        self.peer = Peer(
            address=self.caller.shown,
            server_id=query.get("server_id", "")[:64] or None,
            user_agent=(headers.get_all("User-Agent") or [""])[0][:200] or None,
            device=query.get("device", "")[:64] or None,
            mac=query.get("mac", "")[:64] or None,
            wants_caller=query.get("caller") == "1",
        )
        self._front.heartbeat.add(self, now)
        token = query.get("token", "")
        try:
            agent_id = self._front.tokens.read(token)
        except TokenError:
            self._refuse(End.BAD_TOKEN if token else End.MISSING_TOKEN, role)
            return
        joined = self._front.manager.join(role, agent_id, self, now)
        if isinstance(joined, End):
            self._refuse(joined, role)
        else:
            self.session = joined
            self._share = self._front.turns.join(agent_id)

    def _refuse(self, end: End, role: Role) -> None:
        self._front.manager.refused(end, self._front.loop.time())
        self._front.admission.refuse(self.caller, end, f"{role} side", penalty=True)
        self._linger()
        self.close(end)

    def _linger(self) -> None:
        """This connection is being refused: until it is closed it is a stranger, and takes no place from a link."""
        self._front.gone(self)
        self._front.admission.enter(self)
        self._abort_after(min(REFUSED_PATIENCE, self._front.settings.websocket.close_timeout))

    # --- frames from the peer ---

    def _text(self, data: bytes, now: float) -> None:
        if self._ended is not None or self.session is None:
            return
        if not data.isascii():
            try:
                str(data, "utf-8")
            except UnicodeDecodeError:
                self.close(End.BAD_UTF8)
                return
        self.frames_in += 1
        self.bytes_in += len(data)
        self.last_frame = now
        self.session.receive(data, now)

    def _other_frame(self, frame: Frame, now: float) -> None:
        match frame.opcode:
            case Opcode.TEXT:
                self._fragments, self._pieces = bytearray(frame.data), 1
            case Opcode.CONT:
                self._continued(frame, now)
            case Opcode.BINARY:
                self.close(End.BINARY_FRAME)
            case Opcode.PONG:
                if self.pinged_at:
                    self.rtt_ms = round((now - self.pinged_at) * 1000, 1)
                    self.pinged_at = 0.0
            case Opcode.CLOSE:
                close = self._ws.close_rcvd
                assert close is not None, "a close frame was received"
                self._note_end(Ended(End.PEER_CLOSED, int(close.code), close.reason))

    def _continued(self, frame: Frame, now: float) -> None:
        if self._fragments is None:
            return
        self._pieces += 1
        if self._pieces > MAX_FRAGMENTS:
            self._fragments = None
            self.close(End.TOO_MANY_FRAGMENTS)
            return
        self._fragments += frame.data
        if frame.fin:
            whole, self._fragments = bytes(self._fragments), None
            self._text(whole, now)

    def _count_unfinished(self, reader: FrameReader, now: float) -> None:
        """Hold a message that is not whole yet to its deadline, and its agent to so many bytes of such messages."""
        if self._ended is not None:
            return
        limits, share, waiting = self._front.settings.websocket, self._share, self._front.unfinished
        size = reader.unfinished + (0 if self._fragments is None else len(self._fragments))
        begun = self._fragments is not None or size > 0
        share.unfinished += size - self._unfinished
        self._unfinished = size
        if not begun:
            waiting.pop(self, None)
        elif self not in waiting or self._mark != self.frames_in:
            waiting.pop(self, None)
            waiting[self] = now + limits.message_timeout
            self._mark = self.frames_in
        if share.unfinished > max(limits.max_unfinished, limits.max_message_size):
            self._give_up(End.TOO_MUCH_UNFINISHED)

    def _forget_unfinished(self) -> None:
        self._front.unfinished.pop(self, None)
        self._share.unfinished -= self._unfinished
        self._unfinished = 0

    def _give_up(self, end: End) -> None:
        """End a link whose message is not worth waiting for: nothing more is read from it."""
        self._forget_unfinished()
        self._fragments = None
        if self._reader is not None:
            self._reader.discard()
        self._shut(end, patience=REFUSED_PATIENCE)

    def too_long(self) -> None:
        """The message that began `message_timeout` ago is not whole."""
        self._give_up(End.MESSAGE_TIMEOUT)

    # --- the broker's side: Link ---

    def send(self, frame: bytes) -> None:
        """Queue one text frame; it is written when the input that led to it is worked off."""
        if self._ended is not None:
            return
        length = len(frame)
        if length < 126:
            header = _SHORT[length]
        elif length < 65_536:
            header = b"\x81\x7e" + length.to_bytes(2)
        else:
            header = b"\x81\x7f" + length.to_bytes(8)
        if not self._out:
            self._front.outbox.add(self)
        self._out.append(header)
        self._out.append(frame)
        self._queued += length
        self.frames_out += 1
        self.bytes_out += length
        if self._queued > self._limit or (
            self._slow is not None and self._queued + self._transport.get_write_buffer_size() > self._limit
        ):
            self._note_end(Ended(End.SEND_OVERFLOW, End.SEND_OVERFLOW.code))
            self._out.clear()
            self._transport.abort()

    def flush(self) -> None:
        """Write what is queued, in one write."""
        if self._out:
            out, self._out = self._out, []
            self._queued = 0
            self._transport.write(b"".join(out))

    def fail(self, error: Exception) -> None:
        """Something that must not happen did, on this connection: log it, and end this connection alone."""
        logger.opt(exception=error).error("a link with {} failed inside the broker", self.peer.address)
        self.close(End.INTERNAL)
        if self._reader is None:
            self.abort()

    def close(self, end: End) -> None:
        """Send what is queued, then a close frame; a peer that does not answer it is cut off after `close_timeout`."""
        self._shut(end, self._front.settings.websocket.close_timeout)

    def _shut(self, end: End, patience: float) -> None:
        if self._ended is not None or self._ws.state is not State.OPEN:
            return
        self.flush()
        self._note_end(Ended(end, end.code))
        self._ws.send_close(end.code, end.wire)
        self._write_protocol()
        self._abort_after(patience)

    def _abort_after(self, seconds: float) -> None:
        if self._cut is None:
            self._cut = self._front.loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """Cut the connection off, whatever the peer does."""
        self._transport.abort()

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of the connection."""
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "last_frame": self.last_frame,
            "ping_rtt_ms": self.rtt_ms,
        }

    # --- heartbeat's side ---

    def ping(self, now: float) -> None:
        """Ask for a sign of life."""
        try:
            self._ws.send_ping(b"%x" % int(now * 1000))
        except InvalidState:
            return
        self.pinged_at = now
        # The event loop's clock moves by milliseconds: an answer may come at the very time of its ping.
        self.heard = min(self.heard, now - 1e-6)
        self._write_protocol()

    def unheard(self) -> None:
        """The peer gave none."""
        self._shut(End.PING_TIMEOUT, patience=1.0)

    # --- ends ---

    def _write_protocol(self) -> None:
        """Write what ServerProtocol has to say, after the frames that were queued before it."""
        writes = self._ws.data_to_send()
        if not writes:
            return
        self.flush()
        closing = writes[-1] == SEND_EOF
        self._transport.write(b"".join(writes))
        if closing:
            # The closing handshake, or a refused one, is complete from this side.
            self._note_end(Ended(End.PROTOCOL_ERROR, End.PROTOCOL_ERROR.code))
            self._transport.close()
            self._abort_after(self._front.settings.websocket.close_timeout)

    def _note_end(self, ended: Ended) -> None:
        """Keep the first reason, and tell the broker soon: not from within one of its own calls."""
        if self._ended is None:
            self._ended = ended
            self._front.loop.call_soon(self._tell_ended)

    def _tell_ended(self) -> None:
        if self.session is not None and not self._told:
            self._told = True
            assert self._ended is not None
            self._front.manager.ended(self.session, self, self._ended, self._front.loop.time())


def _end_of(error: Exception) -> Ended:
    """The typed end for what ServerProtocol refused to read; it has sent its own close frame."""
    if isinstance(error, PayloadTooBig):
        return Ended(End.MESSAGE_TOO_BIG, End.MESSAGE_TOO_BIG.code)
    if isinstance(error, EOFError):
        return Ended(End.CONNECTION_LOST, End.CONNECTION_LOST.code)
    if isinstance(error, UnicodeDecodeError):
        return Ended(End.BAD_UTF8, End.BAD_UTF8.code)
    return Ended(End.PROTOCOL_ERROR, End.PROTOCOL_ERROR.code, str(error))
