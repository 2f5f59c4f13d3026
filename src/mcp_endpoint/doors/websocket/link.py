"""The tool door and the device door: WebSocket, on any path whose last segment is `mcp` or `call`.

A protocol class for uvicorn's `ws=`, on the sans-I/O `ServerProtocol` of websockets: a frame goes from `data_received`
through the broker to the peer's `transport.write` without a task, a queue or a lock. This file reads and ends links;
`handshake` opens them, `sending` writes, `frames` cuts what arrives.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from loguru import logger
from uvicorn.server import ServerState
from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State

from mcp_endpoint.broker.link import Ended, Peer, Role, Session
from mcp_endpoint.broker.work_budget import MEASURED
from mcp_endpoint.doors.limits.addresses import UNKNOWN, Caller
from mcp_endpoint.doors.limits.credentials import agent_of
from mcp_endpoint.doors.limits.fairness import Share
from mcp_endpoint.doors.port_state import PortConfig
from mcp_endpoint.doors.traffic import traffic_of
from mcp_endpoint.doors.websocket.frames import FrameReader, LastFrames
from mcp_endpoint.doors.websocket.handshake import WebSocket, answer, peer_of
from mcp_endpoint.doors.websocket.sending import Sending
from mcp_endpoint.errors import End, Refusal

MAX_FRAGMENTS = 1024
"""Pieces one message may come in."""
REFUSED_PATIENCE = 1.0
"""Seconds that a peer has to close its side when it is refused or has done wrong."""


class WebSocketLink(Sending):
    """One WebSocket connection, and the broker's `Link` to its peer."""

    __slots__ = (
        "_cut",
        "_fragments",
        "_last",
        "_mark",
        "_pieces",
        "_reader",
        "_share",
        "_unfinished",
        "_waits",
        "_ws",
        "bytes_in",
        "caller",
        "frames_in",
        "heard",
        "last_frame",
        "peer",
        "pinged_at",
        "rtt_ms",
        "session",
    )

    def __init__(self, config: PortConfig, server_state: ServerState, app_state: Mapping[str, Caller] | None) -> None:
        super().__init__(config)
        self._ws = WebSocket(self._port_state.settings)
        self._reader: FrameReader | None = None
        self._last: LastFrames | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._share = Share()
        self._waits = False
        self._unfinished = 0
        self._mark = -1
        self._fragments: bytearray | None = None
        self._pieces = 0
        self.session: Session | None = None
        """What the broker made of this link, until it is told of the end."""
        self.caller = (app_state or {}).get("caller", UNKNOWN)
        self.peer = Peer("")
        self.heard = self.pinged_at = 0.0
        self.last_frame: float | None = None
        self.rtt_ms: float | None = None
        self.frames_in = self.bytes_in = 0

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over the transport; the request's head comes next, whole."""
        self._transport = transport
        transport.set_write_buffer_limits(high=self._port_state.settings.websocket.send_buffer)
        self._port_state.links[self] = None

    def data_received(self, data: bytes) -> None:
        """Work off the frames in `data`, as many as are this agent's in one turn of the loop."""
        if self._ended is not None:
            self._skip(data)
            return
        now = self.heard = self._port_state.loop.time()
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
        if self._ended is None:
            self._work(b"", now)
        if not self._waits and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wait(self) -> None:
        """There is more input than this turn allows: let the others have theirs, and read no more meanwhile."""
        if not self._waits and not self._transport.is_closing():
            self._waits = True
            self._transport.pause_reading()
            self._port_state.fairness.wait(self._share, self)

    def _work(self, data: bytes, now: float) -> None:
        """Work off frames, then write once to every peer they led to."""
        ws, reader, share = self._ws, self._reader, self._share
        outbox = self._port_state.outbox
        outbox.hold()
        try:
            if reader is None:
                self._open(data, now)
            else:
                events = reader.feed(data, share.left)
                share.left -= len(events) or 1
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
            self._broken(ws.parser_exc)
        self._write_protocol()

    def eof_received(self) -> bool:
        """The peer will send no more: let asyncio close the transport."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it. What refers to it in a circle is cut, so that it goes at once."""
        port_state = self._port_state
        port_state.gone(self)
        port_state.admission.leave(self)
        port_state.admission.uncount(self.caller)
        self.resume_writing()
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        self._note_end(Ended(End.CONNECTION_LOST, End.CONNECTION_LOST.code))
        self._tell_ended()
        self._reader = self._last = None
        self._out.clear()
        self._ws.forget()
        del self._ws  # the session may be kept for a while, and it keeps this object

    # --- the opening handshake ---

    def _open(self, head: bytes, now: float) -> None:
        """Take the request's head, which the HTTP door hands in whole."""
        self._ws.receive_data(head)
        why: Refusal | None = Refusal.BAD_HANDSHAKE
        for event in self._ws.events_received():
            assert isinstance(event, Request), "the first event is the request"
            outcome = answer(self._ws, event, draining=self._port_state.draining)
            if isinstance(outcome, Role):
                self._write_protocol()
                self._reader = FrameReader(self._ws, self._port_state.settings.websocket.max_message_size)
                query = parse_qsl(event.path.partition("?")[2])
                self.peer = peer_of(self.caller.shown, dict(query), event.headers)
                authorization = ", ".join(event.headers.get_all("Authorization"))
                self._admit(outcome, agent_of(self._port_state.tokens, query, authorization), now)
                return
            why = outcome
        self._linger()
        if why is not None:
            self._port_state.admission.refuse(self.caller, why, "handshake", penalty=True)

    def _admit(self, role: Role, agent_id: str | End, now: float) -> None:
        """Join the agent, or close with the reason clients know (docs/protocol.md, section 3.2)."""
        self._port_state.heartbeat.add(self, now)
        if isinstance(agent_id, End):
            self._refuse(agent_id, role)
            return
        joined = self._port_state.manager.join(role, agent_id, self, now)
        if isinstance(joined, End):
            self._refuse(joined, role)
        else:
            self.session = joined
            self._share = self._port_state.fairness.join(agent_id)

    def _refuse(self, end: End, role: Role) -> None:
        self._port_state.manager.refused(end, self._port_state.loop.time())
        self._port_state.admission.refuse(self.caller, end, f"{role} side", penalty=True)
        self._linger()
        self.close(end)

    def _linger(self) -> None:
        """This connection is being refused: until it is closed it is a stranger, and takes no place from a link."""
        self._port_state.gone(self)
        self._port_state.admission.enter(self)
        self._abort_after(min(REFUSED_PATIENCE, self._port_state.settings.websocket.close_timeout))

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
        size = len(data)
        self.bytes_in += size
        self.last_frame = now
        if size < MEASURED:  # nearly all are
            self.session.receive(data, now)
        else:
            self._port_state.fairness.work_off(self.session, data, now)

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
        limits, share, waiting = self._port_state.settings.websocket, self._share, self._port_state.unfinished
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
            self._shut(End.TOO_MUCH_UNFINISHED, REFUSED_PATIENCE)

    def _forget_input(self) -> None:
        """Nothing that is not whole yet is waited for any more."""
        self._port_state.unfinished.pop(self, None)
        self._share.unfinished -= self._unfinished
        self._unfinished = 0
        self._fragments = None

    def too_long(self) -> None:
        """The message that began `message_timeout` ago is not whole; unless the broker does not read just now."""
        if self._waits:
            self._port_state.unfinished[self] = (
                self._port_state.loop.time() + self._port_state.settings.websocket.message_timeout
            )
            return
        self._shut(End.MESSAGE_TIMEOUT, REFUSED_PATIENCE)

    # --- the broker's side: Link ---

    def fail(self, error: Exception) -> None:
        """Something that must not happen did, on this connection: log it, and end this connection alone."""
        logger.opt(exception=error).error("a link with {} failed inside the broker", self.peer.address)
        self.close(End.INTERNAL)
        if self._reader is None:
            self.abort()

    def close(self, end: End) -> None:
        """Send what is queued, then a close frame; a peer that does not answer it is cut off after `close_timeout`."""
        self._shut(end, self._port_state.settings.websocket.close_timeout)

    def _shut(self, end: End, patience: float) -> None:
        """Close a link that is open. From here on its peer's close frame is all that is read from it."""
        if self._ended is not None or self._ws.state is not State.OPEN:
            return
        self._ws.fail(end.code, end.wire)
        self._write(b"".join(self._ws.data_to_send()))
        self._note_end(Ended(end, end.code))
        self._abort_after(patience)
        if self._reader is not None:
            missing, rest = self._reader.leave()
            self._last = LastFrames(missing)
            self._skip(rest)

    def _skip(self, data: bytes) -> None:
        """Input of a link that has ended: its close frame completes the closing handshake, the rest counts no more."""
        if self._last is not None and self._last.feed(data):
            self._last = None
            self._transport.close()

    def _abort_after(self, seconds: float) -> None:
        if self._cut is None:
            self._cut = self._port_state.loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """Cut the connection off, whatever the peer does."""
        self._transport.abort()

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of the connection."""
        return traffic_of(self, self.rtt_ms)

    # --- heartbeat's side ---

    def ping(self, now: float) -> None:
        """Ask for a sign of life."""
        if self._ended is not None or self._ws.state is not State.OPEN:
            return
        self._ws.send_ping(b"%x" % int(now * 1000))
        self.pinged_at = now
        # The event loop's clock moves by milliseconds: an answer may come at the very time of its ping.
        self.heard = min(self.heard, now - 1e-6)
        self._write_protocol()

    def unheard(self) -> None:
        """The peer gave none; unless it is the broker that does not read just now."""
        if self._waits:
            self._port_state.heartbeat.add(self, self._port_state.loop.time())
            return
        self._shut(End.PING_TIMEOUT, REFUSED_PATIENCE)

    # --- ends ---

    def _write_protocol(self) -> None:
        """Write what ServerProtocol has to say."""
        writes = self._ws.data_to_send()
        if not writes:
            return
        self._write(b"".join(writes))
        if writes[-1] == SEND_EOF:
            # The closing handshake, or a refused one, is complete from this side.
            self._note_end(Ended(End.PROTOCOL_ERROR, End.PROTOCOL_ERROR.code))
            self._transport.close()
            self._abort_after(self._port_state.settings.websocket.close_timeout)

    def _broken(self, error: Exception) -> None:
        """ServerProtocol cannot read on. Its close frame has words of its own; ours has those of the table.

        The peer may still be sending: a close with unread input would reset the connection, and the frame be lost.
        """
        error.__traceback__ = None  # it refers back to ServerProtocol
        ended = _end_of(error)
        *writes, _, eof = self._ws.data_to_send()
        assert eof == SEND_EOF, "a close frame is followed by the end"
        close = Frame(Opcode.CLOSE, Close(ended.code, ended.end.wire).serialize())
        self._write(b"".join([*writes, close.serialize(mask=False)]))
        self._note_end(ended)
        if not self._transport.is_closing():
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        self._abort_after(REFUSED_PATIENCE)

    def _note_end(self, ended: Ended) -> None:
        """Keep the first reason, and tell the broker soon: not from within one of its own calls."""
        if self._ended is None:
            self._ended = ended
            self._forget_input()
            self._port_state.heartbeat.discard(self)
            self._port_state.loop.call_soon(self._tell_ended)

    def _tell_ended(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            assert self._ended is not None
            self._port_state.fairness.leave(session.agent_id)
            self._port_state.manager.ended(session, self, self._ended, self._port_state.loop.time())


def _end_of(error: Exception) -> Ended:
    """The typed end for what ServerProtocol refused to read, with its words for log and `/stats`."""
    end = End.PROTOCOL_ERROR
    if isinstance(error, PayloadTooBig):
        end = End.MESSAGE_TOO_BIG
    elif isinstance(error, UnicodeDecodeError):
        end = End.BAD_UTF8
    return Ended(end, end.code, str(error))
