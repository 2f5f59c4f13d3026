"""How a WebSocket link ends: the first reason counts, its peer hears it, and the broker is told once."""

import asyncio
from collections.abc import Mapping

from loguru import logger
from websockets.exceptions import PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import SEND_EOF, State

from mcp_endpoint.broker.link import Ended, Peer, Session
from mcp_endpoint.doors.limits.addresses import ClientAddress
from mcp_endpoint.doors.websocket.frames import FrameReader, LastFrames
from mcp_endpoint.doors.websocket.handshake import WebSocket
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.doors.websocket.partial_message import PartialMessage
from mcp_endpoint.doors.websocket.sending import Sending
from mcp_endpoint.errors.close_codes import End

REFUSED_PATIENCE = 1.0
"""Seconds that a peer has to close its side when it is refused or has done wrong."""


class Closing(Sending):
    """What a link has beside its way out: the protocol's state, and the end."""

    __slots__ = (
        "_abort_timer",
        "_last",
        "_partial",
        "_reader",
        "_waits",
        "_ws",
        "address",
        "heard",
        "peer",
        "pinged_at",
        "session",
    )

    def __init__(self, links: WebSocketLinks, address: ClientAddress) -> None:
        super().__init__(links)
        self._ws = WebSocket(self._port_state.settings)
        self._reader: FrameReader | None = None
        """None until the link is open."""
        self._last: LastFrames | None = None
        self._partial: PartialMessage | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._waits = False
        """Whether the broker does not read on just now, since its agent has had its turn."""
        self.session: Session | None = None
        """What the broker made of this link, until it is told of the end."""
        self.address = address
        self.peer = Peer("")
        self.heard = self.pinged_at = 0.0

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of the connection; who reads counts too."""
        raise NotImplementedError

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
        if self._abort_timer is None:
            self._abort_timer = self._port_state.loop.call_later(seconds, self.abort)

    def abort(self) -> None:
        """Cut the connection off, whatever the peer does."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it. What refers to it in a circle is cut, so that it goes at once."""
        self._links.remove(self)
        self._port_state.admission.leave(self)
        self._port_state.admission.uncount(self.address)
        self.resume_writing()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        self._note_end(Ended(End.CONNECTION_LOST, End.CONNECTION_LOST.code))
        self._tell_ended()
        self._reader = self._last = None
        self._out.clear()
        self._ws.forget()
        del self._ws  # the session may be kept for a while, and it keeps this object

    # --- what takes too long: WebSocketLinks and the heartbeat call these ---

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
        now = self._port_state.loop.time()
        if self._waits:
            self._links.heartbeat.add(self, now)
        else:
            self._shut(End.PING_TIMEOUT, REFUSED_PATIENCE)

    def message_overdue(self, number: int) -> None:
        """The message that began `message_timeout` ago is not whole; unless the broker does not read just now."""
        if self._waits:
            self._links.message_begun(self, number, self._port_state.loop.time())
        else:
            self._shut(End.MESSAGE_TIMEOUT, REFUSED_PATIENCE)

    # --- the protocol's own words ---

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

    # --- the reason ---

    def _note_end(self, ended: Ended) -> None:
        """Keep the first reason, and tell the broker soon: not from within one of its own calls."""
        if self._ended is None:
            self._ended = ended
            self._links.message_over(self)
            if self._partial is not None:
                self._partial.forget()
                self._partial = None
            self._links.heartbeat.discard(self)
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
