"""HTTP+SSE (2024-11-05): a client reads one stream of events, and posts what it has to say to a URL named in it.

The session is the stream: it begins with a GET of `…/sse` and ends with it. The first event announces the URL, which
carries the session's own authority, since SDK clients post to exactly that one.
"""

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from mcp_endpoint.doors.http.access import METHODS, Visitor, agent_shown
from mcp_endpoint.doors.http.body import Refused, check_type, parse, read_body, taken
from mcp_endpoint.doors.http.event_link import EventLink
from mcp_endpoint.doors.http.event_stream import event, write_events
from mcp_endpoint.doors.http.exchange import Exchange
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors import End, Refusal

if TYPE_CHECKING:
    from mcp_endpoint.doors.http.connection import HttpDoor

ID_BYTES = 32
"""Random bytes of a session's id: whoever knows it may post to the session."""


class SseLink(EventLink):
    """One client that reads."""

    def __init__(self, port_state: PortState, visitor: Visitor, connection: "HttpDoor") -> None:
        super().__init__(port_state, visitor.agent_id, visitor.peer, connection)
        self.id = secrets.token_urlsafe(ID_BYTES)
        # A relative reference: whatever prefix a proxy puts in front or takes away, it is the neighbour of `sse`.
        self._prelude = event(f"messages?sessionId={self.id}".encode(), name=b"endpoint")
        self.agent_id = visitor.agent_id

    def take(self) -> bytes:
        """The events that wait; the first one says where to post to."""
        prelude, self._prelude = self._prelude, b""
        return prelude + super().take()


class Sse:
    """The door: `stream` answers `…/sse`, `post` answers `…/messages`. Both raise Refused for what they do not take."""

    def __init__(self, port_state: PortState) -> None:
        self._port_state = port_state
        self._sessions: dict[str, SseLink] = {}

    async def stream(self, exchange: Exchange, visitor: Visitor) -> None:
        """A session, as long as the client reads."""
        if exchange.method != "GET":
            raise Refused(Refusal.METHOD_NOT_TAKEN, headers=((b"allow", b"GET, OPTIONS"),))
        if not taken(exchange).events:
            raise Refused(Refusal.NOT_ACCEPTABLE)
        port_state = self._port_state
        if len(port_state.sessions) + len(self._sessions) >= port_state.settings.mcp.max_sessions:
            raise Refused(Refusal.TOO_MANY_SESSIONS)
        if not port_state.admission.handshake(exchange.caller):
            raise Refused(Refusal.TOO_MANY_HANDSHAKES, headers=((b"retry-after", b"30"),))
        link = SseLink(port_state, visitor, exchange.connection)
        self._sessions[link.id] = link
        try:
            await write_events(exchange, link)
        finally:
            del self._sessions[link.id]
            link.leave()

    async def post(self, exchange: Exchange) -> None:
        """One message of a session. Its id is authority enough, but a token that comes along must be the session's."""
        if exchange.method != "POST":
            raise Refused(Refusal.METHOD_NOT_TAKEN, headers=((b"allow", METHODS),))
        link = self._sessions.get(exchange.query.get("sessionId", exchange.query.get("session_id", "")))
        if link is None or not self._may(exchange, link):
            raise Refused(Refusal.UNKNOWN_SSE_SESSION)
        await self._port_state.fairness.request(link.agent_id)
        check_type(exchange)
        [message], _ = parse(await read_body(exchange, link.agent_id))
        if link.ended is not None:
            raise Refused(End.PEER_CLOSED, message.id)
        if not exchange.connection.let_in():
            raise Refused(Refusal.FULL, message.id)
        await exchange.reply(HTTPStatus.ACCEPTED)
        link.hand(message.frame)

    def _may(self, exchange: Exchange, link: SseLink) -> bool:
        return agent_shown(exchange) in (link.agent_id, End.MISSING_TOKEN)
