"""Streamable HTTP of the handshake era (2025-03-26 to 2025-11-25): sessions, answers as JSON or streams, resumption.

A request is answered as JSON if its answer is the first thing there is to say about it, and soon; else with a stream
of events, which a client that loses it resumes by GET with `Last-Event-ID`. Losing it cancels nothing.
"""

import asyncio
import contextlib
from http import HTTPStatus

from mcp_endpoint.doors.http.access import METHODS, Client
from mcp_endpoint.doors.http.body import Post, Refused, accepted_by
from mcp_endpoint.doors.http.event_stream import priming, write_events
from mcp_endpoint.doors.http.exchange import Exchange, Header
from mcp_endpoint.doors.http.streamable.event_store import event_id, read_event_id
from mcp_endpoint.doors.http.streamable.session import HttpSession
from mcp_endpoint.doors.http.streamable.sessions import Sessions
from mcp_endpoint.doors.http.streamable.streams import STANDING, Reader
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.wire.mcp import REVISIONS

BATCHES = "2025-03-26"
"""The one revision with batches."""
POLLING = "2025-11-25"
"""The first revision whose clients know events without data, and come back when a stream is closed (SEP-1699)."""
SOON = 1.0
"""Seconds within which an answer goes out as JSON. After them a client gets an event's id, to resume from."""
RETRY_MS = 500
"""After how many milliseconds a client shall come back to a stream that was closed or lost."""


class StreamableHttp:
    """The door: answers every request whose token was found good. Raises Refused for what it does not take."""

    def __init__(self, port_state: PortState) -> None:
        self._port_state = port_state
        self.sessions = Sessions(port_state)

    async def __call__(self, exchange: Exchange, client: Client) -> None:
        """Answer one request that is no POST."""
        match exchange.method:
            case "GET":
                await self._get(exchange, client)
            case "DELETE":
                self._delete(exchange, client)
                await exchange.reply(HTTPStatus.NO_CONTENT)
            case _:
                raise Refused(Refusal.METHOD_NOT_TAKEN, headers=((b"allow", METHODS),))

    def _id(self, exchange: Exchange) -> str:
        """The id of the session that a request belongs to, whose version has to be one of a session's."""
        version = exchange.single("mcp-protocol-version")
        if version is not None and version not in REVISIONS:
            raise Refused(Refusal.UNKNOWN_VERSION, facts={"supported": REVISIONS})
        id_ = exchange.single("mcp-session-id")
        if id_ is None:
            raise Refused(Refusal.NO_SESSION_ID)
        return id_

    def _session(self, exchange: Exchange, client: Client) -> HttpSession:
        """The session that a request belongs to; one of an earlier run is taken over."""
        sessions, id_ = self.sessions, self._id(exchange)
        session: HttpSession | Refusal | End | None = sessions.find(id_, client.agent_id)
        if session is None and self._port_state.draining:
            raise Refused(Refusal.RESTARTING)
        if session is None and sessions.may_take_over(id_, client.agent_id):
            if not self._port_state.admission.handshake(exchange.address):
                raise Refused(Refusal.TOO_MANY_HANDSHAKES, headers=((b"retry-after", b"30"),))
            # Every revision but the oldest over HTTP says itself in the header (2025-06-18, "Transports").
            session = sessions.take_over(client, id_, exchange.single("mcp-protocol-version") or BATCHES)
        if not isinstance(session, HttpSession):
            raise Refused(session or Refusal.UNKNOWN_SESSION)
        sessions.used(session)
        return session

    def _delete(self, exchange: Exchange, client: Client) -> None:
        sessions, id_ = self.sessions, self._id(exchange)
        session = sessions.find(id_, client.agent_id)
        if session is not None:
            session.close(End.PEER_CLOSED)
        elif sessions.may_take_over(id_, client.agent_id):
            sessions.give_up(id_)
        else:
            raise Refused(Refusal.UNKNOWN_SESSION)

    # --- POST ---

    async def post(self, exchange: Exchange, client: Client, posted: Post) -> None:
        """Answer one POST."""
        first = posted.messages[0]
        if first.key is not None and first.envelope.method == "initialize" and not posted.is_batch:
            await self._begin(exchange, client, posted)
            return
        if exchange.single("mcp-session-id") is None:
            raise Refused(Refusal.NO_SESSION_ID, first.id)
        session = self._session(exchange, client)
        if posted.is_batch and session.revision != BATCHES:
            raise Refused(Refusal.NOT_ONE_MESSAGE)
        asked = [message for message in posted.messages if message.key is not None]
        for message in asked:
            exchange.about(message.id)
            if message.envelope.method == "initialize":
                raise Refused(Refusal.SESSION_BEGUN, message.id)
            if message.key in session.pending:
                raise Refused(Refusal.ID_IN_USE, message.id)
        if asked:
            await self._answer(exchange, session, posted)
        else:
            session.tell(posted.messages)
            await exchange.reply(HTTPStatus.ACCEPTED)

    async def _begin(self, exchange: Exchange, client: Client, posted: Post) -> None:
        """`initialize` begins a session, whatever version the header names: it is agreed on just now.

        A client that begins anew may still send the id of a session that is none any more.
        """
        [message] = posted.messages
        exchange.about(message.id)
        old = self.sessions.find(exchange.single("mcp-session-id") or "", client.agent_id)
        if old is not None and not old.taken_over:
            raise Refused(Refusal.SESSION_BEGUN, message.id)
        if not self._port_state.admission.handshake(exchange.address):
            raise Refused(Refusal.TOO_MANY_HANDSHAKES, message.id, ((b"retry-after", b"30"),))
        session = self.sessions.open(client)
        if not isinstance(session, HttpSession):
            raise Refused(session, message.id)
        if old is not None:
            old.close(End.PEER_CLOSED)
        await self._answer(exchange, session, posted, (b"mcp-session-id", session.id.encode()))

    async def _answer(self, exchange: Exchange, session: HttpSession, posted: Post, *headers: Header) -> None:
        """Answer the requests of one POST."""
        takes = posted.takes
        reader = session.ask(posted.messages, exchange.connection, takes)
        stream = reader.stream
        try:
            if takes.json and not await _settled(exchange, reader, SOON if takes.streams else None):
                return
            if session.ended is not None and not stream.done:
                await exchange.refuse(_ended(session))
            elif takes.json and stream.done and stream.last == stream.answers == len(reader.queue) > 0:
                frames = [frame for _, frame in reader.frames()]
                session.streams.drop(stream)
                body = b"[%b]" % b",".join(frames) if posted.is_batch else frames[0]
                await exchange.reply(HTTPStatus.OK, body, headers)
            elif takes.events:
                await self._stream(exchange, session, reader, 0, headers)
            else:
                if stream.reader is reader:  # nobody resumed it
                    session.give_up(stream)
                await exchange.refuse(Refusal.NOT_ACCEPTABLE)
        finally:
            reader.leave()
            self.sessions.used(session)

    async def _stream(
        self, exchange: Exchange, session: HttpSession, reader: Reader, after: int, headers: tuple[Header, ...] = ()
    ) -> None:
        """Answer with events, for as long as it is better than to have the client ask again."""
        stream = reader.stream
        poll_after = self._port_state.settings.mcp.poll_after
        poll = None
        if session.revision >= POLLING and not stream.done:
            reader.prelude = priming(event_id(stream.number, after), RETRY_MS)
            if poll_after and stream.number != STANDING:
                poll = self._port_state.loop.call_later(poll_after, reader.close)
        try:
            await write_events(exchange, reader, headers)
        finally:
            if poll is not None:
                poll.cancel()

    # --- GET ---

    async def _get(self, exchange: Exchange, client: Client) -> None:
        """A stream, which takes the place of one that is being read: a client whose connection died does not wait."""
        if not accepted_by(exchange).events:
            raise Refused(Refusal.NOT_ACCEPTABLE)
        session = self._session(exchange, client)
        last = exchange.single("last-event-id")
        if last is None:
            stream = session.streams.standing
            after = stream.taken
        else:
            found = read_event_id(last)
            resumed = None if found is None else session.streams.find(found[0])
            if found is None or resumed is None or found[1] > resumed.last:
                raise Refused(Refusal.UNKNOWN_EVENT)
            stream, after = resumed, found[1]
        reader = stream.read(exchange.connection, after)
        try:
            await self._stream(exchange, session, reader, after)
        finally:
            reader.leave()
            self.sessions.used(session)


async def _settled(exchange: Exchange, reader: Reader, patience: float | None) -> bool:
    """Wait until it is clear how a POST is to be answered: all answers are there, or something else, or it is late.

    Without a limit it may be that the client leaves meanwhile: False.
    """
    if reader.over:
        return True
    leaving = asyncio.ensure_future(exchange.gone()) if patience is None else None
    if leaving is not None:
        leaving.add_done_callback(lambda _: reader.wake.set())
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not reader.over and reader.stream.last == reader.stream.answers:
                    if leaving is not None and leaving.done():
                        return False
                    reader.wake.clear()
                    await reader.wake.wait()
        return True
    finally:
        if leaving is not None:
            leaving.cancel()


def _ended(session: HttpSession) -> Refusal | End:
    """What becomes of a request whose session ended without an answer to it."""
    assert session.ended is not None
    match session.ended.end:
        case End.RESTART:
            return Refusal.RESTARTING
        case End.INTERNAL:
            return End.INTERNAL
        case _:
            return Refusal.UNKNOWN_SESSION
