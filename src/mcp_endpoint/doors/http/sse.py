"""HTTP+SSE (2024-11-05): a client reads one stream of events, and posts what it has to say to a URL named in it.

The session is the stream: it begins with a GET of `…/sse` and ends with it. The first event announces the URL, which
carries the session's own authority, since SDK clients post to exactly that one.
"""

import secrets
from collections.abc import Callable
from http import HTTPStatus

from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.http.access import METHODS, Client, agent_shown
from mcp_endpoint.doors.http.body import Refused, accepted_by, check_type, parse, read_body
from mcp_endpoint.doors.http.event_link import EventLink, EventLinks
from mcp_endpoint.doors.http.event_stream import event, write_events
from mcp_endpoint.doors.http.exchange import Exchange
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal

ID_BYTES = 32
"""Random bytes of a session's id: whoever knows it may post to the session."""


class SseLink(EventLink):
    """One client that reads."""

    def __init__(self, links: EventLinks, client: Client, connection: Connection) -> None:
        super().__init__(links, client.agent_id, client.peer, connection)
        self.id = secrets.token_urlsafe(ID_BYTES)
        # A relative reference: whatever prefix a proxy puts in front or takes away, it is the neighbour of `sse`.
        self._prelude = event(f"messages?sessionId={self.id}".encode(), name=b"endpoint")
        self.agent_id = client.agent_id

    def take(self) -> bytes:
        """The events that wait; the first one says where to post to."""
        prelude, self._prelude = self._prelude, b""
        return prelude + super().take()


class Sse:
    """The door: `stream` answers `…/sse`, `post` answers `…/messages`. Both raise Refused for what they do not take.

    `other_sessions` says how many of the sessions that `[mcp] max_sessions` allows are taken elsewhere.
    """

    def __init__(self, port_state: PortState, other_sessions: Callable[[], int]) -> None:
        self._port_state = port_state
        self._other_sessions = other_sessions
        self._links = EventLinks(port_state)
        self._sessions: dict[str, SseLink] = {}

    async def stream(self, exchange: Exchange, client: Client) -> None:
        """A session, as long as the client reads."""
        if exchange.method != "GET":
            raise Refused(Refusal.METHOD_NOT_TAKEN, headers=((b"allow", b"GET, OPTIONS"),))
        if not accepted_by(exchange).events:
            raise Refused(Refusal.NOT_ACCEPTABLE)
        port_state = self._port_state
        if self._other_sessions() + len(self._sessions) >= port_state.settings.mcp.max_sessions:
            raise Refused(Refusal.TOO_MANY_SESSIONS)
        if not port_state.admission.handshake(exchange.address):
            raise Refused(Refusal.TOO_MANY_HANDSHAKES, headers=((b"retry-after", b"30"),))
        link = SseLink(self._links, client, exchange.connection)
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
