"""The tool door and the device door: WebSocket, on any path whose last segment is `mcp` or `call`.

A protocol class of asyncio, on the sans-I/O `ServerProtocol` of websockets: a frame goes from `data_received`
through the broker to the peer's `transport.write` without a task, a queue or a lock. This file opens links and reads;
`frames` cuts what arrives, `sending` writes, `closing` ends them.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from mcp_endpoint.broker.link import Ended, Role
from mcp_endpoint.broker.work_budget import MEASURED
from mcp_endpoint.doors.limits.addresses import ClientAddress
from mcp_endpoint.doors.limits.credentials import agent_of
from mcp_endpoint.doors.limits.fairness import Share
from mcp_endpoint.doors.traffic import traffic_of
from mcp_endpoint.doors.websocket.closing import REFUSED_PATIENCE, Closing
from mcp_endpoint.doors.websocket.frames import FrameReader
from mcp_endpoint.doors.websocket.handshake import answer, peer_of
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.doors.websocket.partial_message import PartialMessage, TooManyFragments
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal


class WebSocketLink(Closing):
    """One WebSocket connection, and the broker's `Link` to its peer."""

    __slots__ = ("_share", "bytes_in", "frames_in", "last_frame", "rtt_ms")

    def __init__(self, links: WebSocketLinks, address: ClientAddress) -> None:
        super().__init__(links, address)
        self._share = Share()
        self.last_frame: float | None = None
        self.rtt_ms: float | None = None
        self.frames_in = self.bytes_in = 0

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over the transport; the request's head comes next, whole."""
        self._transport = transport
        transport.set_write_buffer_limits(high=self._port_state.settings.websocket.send_buffer)
        self._links.add(self)

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
                if reader.unfinished or self._partial is not None:
                    self._count_partial(reader, now)
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

    # --- the opening handshake ---

    def _open(self, head: bytes, now: float) -> None:
        """Take the request's head, which `Connection` hands in whole."""
        self._ws.receive_data(head)
        why: Refusal | None = Refusal.BAD_HANDSHAKE
        for event in self._ws.events_received():
            assert isinstance(event, Request), "the first event is the request"
            outcome = answer(self._ws, event, draining=self._port_state.draining)
            if isinstance(outcome, Role):
                self._write_protocol()
                self._reader = FrameReader(self._ws, self._port_state.settings.websocket.max_message_size)
                query = parse_qsl(event.path.partition("?")[2])
                self.peer = peer_of(self.address.shown, dict(query), event.headers)
                authorization = ", ".join(event.headers.get_all("Authorization"))
                self._admit(outcome, agent_of(self._port_state.tokens, query, authorization), now)
                return
            why = outcome
        self._linger()
        if why is not None:
            self._port_state.admission.refuse(self.address, why, "handshake", penalty=True)

    def _admit(self, role: Role, agent_id: str | End, now: float) -> None:
        """Join the agent, or close with the reason clients know (docs/protocol.md, section 3.2)."""
        self._links.heartbeat.add(self, now)
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
        self._port_state.admission.refuse(self.address, end, f"{role} side", penalty=True)
        self._linger()
        self.close(end)

    def _linger(self) -> None:
        """It is being refused: until it is closed it counts as unauthenticated, and takes no place from a link."""
        self._links.remove(self)
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
                partial = self._partial = self._partial or PartialMessage(self._share)
                partial.begin(frame)
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
        if self._partial is None:
            return
        try:
            whole = self._partial.add(frame)
        except TooManyFragments:
            self.close(End.TOO_MANY_FRAGMENTS)
            return
        if whole is not None:
            self._text(whole, now)

    def _count_partial(self, reader: FrameReader, now: float) -> None:
        """Hold a message that is not whole yet to its deadline, and its agent to so many bytes of such messages."""
        if self._ended is not None:
            return
        partial = self._partial = self._partial or PartialMessage(self._share)
        if partial.count(reader.unfinished):
            self._links.message_begun(self, self.frames_in, now)
        else:
            self._links.message_over(self)
            self._partial = None
        limits = self._port_state.settings.websocket
        if self._share.unfinished > max(limits.max_unfinished, limits.max_message_size):
            self._shut(End.TOO_MUCH_UNFINISHED, REFUSED_PATIENCE)

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of the connection."""
        return traffic_of(self, self.rtt_ms)


def open_websocket(links: WebSocketLinks, address: ClientAddress) -> WebSocketLink | Refusal:
    """The link for a connection that asks for a WebSocket, if there is room for one more."""
    if len(links) >= links.port_state.settings.websocket.max_connections:
        return Refusal.FULL
    return WebSocketLink(links, address)
