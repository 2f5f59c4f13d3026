"""Streamable HTTP of the handshake era (2025-03-26 to 2025-11-25): sessions, answers as JSON or streams, resumption.

A request is answered as JSON if its answer is the first thing there is to say about it, and soon; else with a stream
of events, which a client that loses it resumes by GET with `Last-Event-ID`. Losing it cancels nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from mcp_endpoint.doors.access import METHODS, Visitor
from mcp_endpoint.doors.body import Message, Refused, accepts, is_json, parse, read_body
from mcp_endpoint.doors.event_store import event_id, read_event_id
from mcp_endpoint.doors.event_stream import priming, write_events
from mcp_endpoint.doors.exchange import Exchange, Header
from mcp_endpoint.doors.front import Front
from mcp_endpoint.doors.http_session import HttpSession
from mcp_endpoint.doors.streams import STANDING, Reader
from mcp_endpoint.errors import End, Refusal
from mcp_endpoint.wire.mcp import REVISIONS
from mcp_endpoint.wire.stateless import has_envelope

BATCHES = "2025-03-26"
"""The one revision with batches."""
POLLING = "2025-11-25"
"""The first revision whose clients know events without data, and come back when a stream is closed (SEP-1699)."""
SOON = 1.0
"""Seconds within which an answer goes out as JSON. After them a client gets an event's id, to resume from."""
RETRY_MS = 500
"""After how many milliseconds a client shall come back to a stream that was closed or lost."""
JSON, EVENTS = "application/json", "text/event-stream"


Stateless = Callable[[Exchange, Visitor, Message], Awaitable[None]]
"""Answers a message that turns out to be of the other era by its body."""


class StreamableHttp:
    """The door: answers every request whose token was found good. Raises Refused for what it does not take."""

    def __init__(self, front: Front, stateless: Stateless) -> None:
        self._front = front
        self._stateless = stateless

    async def __call__(self, exchange: Exchange, visitor: Visitor) -> None:
        """Answer one request."""
        match exchange.method:
            case "POST":
                await self._post(exchange, visitor)
            case "GET":
                await self._get(exchange, visitor)
            case "DELETE":
                self._session(exchange, visitor).close(End.PEER_CLOSED)
                await exchange.reply(HTTPStatus.NO_CONTENT)
            case _:
                raise Refused(Refusal.METHOD_NOT_TAKEN, headers=((b"allow", METHODS),))

    def _session(self, exchange: Exchange, visitor: Visitor) -> HttpSession:
        """The session that a request belongs to."""
        id_ = exchange.headers.get("mcp-session-id")
        version = exchange.headers.get("mcp-protocol-version")
        if version is not None and version not in REVISIONS:
            raise Refused(Refusal.UNKNOWN_VERSION)
        if id_ is None:
            raise Refused(Refusal.NO_SESSION_ID)
        session = self._front.sessions.find(id_, visitor.agent_id)
        if session is None:
            raise Refused(Refusal.UNKNOWN_SESSION)
        self._front.sessions.used(session)
        return session

    # --- POST ---

    async def _post(self, exchange: Exchange, visitor: Visitor) -> None:
        if not accepts(exchange, JSON, EVENTS):
            raise Refused(Refusal.NOT_ACCEPTABLE)
        if not is_json(exchange):
            raise Refused(Refusal.NOT_JSON_TYPE)
        if "mcp-session-id" not in exchange.headers:
            await self._first(exchange, visitor)
            return
        session = self._session(exchange, visitor)
        body = await read_body(exchange, visitor.agent_id)
        messages, is_batch = parse(body, batches=session.revision == BATCHES)
        asked = [message for message in messages if message.key is not None]
        for message in asked:
            exchange.about(message.id)
            if message.envelope.method == "initialize":
                raise Refused(Refusal.SESSION_BEGUN, message.id)
            if message.key in session.pending:
                raise Refused(Refusal.ID_IN_USE, message.id)
        if session.ended is not None:  # while the body came
            raise Refused(_ended(session))
        if asked:
            await self._answer(exchange, session, session.ask(messages, exchange.connection), is_batch=is_batch)
        else:
            session.tell(messages)
            await exchange.reply(HTTPStatus.ACCEPTED)

    async def _first(self, exchange: Exchange, visitor: Visitor) -> None:
        """A request without a session: `initialize`, which begins one."""
        version = exchange.headers.get("mcp-protocol-version")
        if version is not None and version not in REVISIONS:
            raise Refused(Refusal.UNKNOWN_VERSION)
        [message], _ = parse(await read_body(exchange, visitor.agent_id))
        if has_envelope(message.envelope.params):
            await self._stateless(exchange, visitor, message)
            return
        if message.key is None or message.envelope.method != "initialize":
            raise Refused(Refusal.NO_SESSION_ID, message.id)
        if not self._front.admission.handshake(exchange.caller):
            raise Refused(Refusal.TOO_MANY_HANDSHAKES, message.id, ((b"retry-after", b"30"),))
        exchange.about(message.id)
        session = self._front.sessions.open(visitor)
        if not isinstance(session, HttpSession):
            raise Refused(session, message.id)
        named: Header = (b"mcp-session-id", session.id.encode())
        await self._answer(exchange, session, session.ask([message], exchange.connection), named)

    async def _answer(
        self, exchange: Exchange, session: HttpSession, reader: Reader, *headers: Header, is_batch: bool = False
    ) -> None:
        """Answer the requests of one POST."""
        stream = reader.stream
        try:
            await _settled(reader)
            if session.ended is not None and not stream.done:
                await exchange.refuse(_ended(session))
            elif stream.done and stream.last == stream.answers == len(reader.queue) > 0:
                frames = [frame for _, frame in reader.frames()]
                session.finished(stream)
                body = b"[%b]" % b",".join(frames) if is_batch else frames[0]
                await exchange.reply(HTTPStatus.OK, body, headers)
            else:
                await self._stream(exchange, session, reader, 0, headers)
        finally:
            reader.leave()
            self._front.sessions.used(session)

    async def _stream(
        self, exchange: Exchange, session: HttpSession, reader: Reader, after: int, headers: tuple[Header, ...] = ()
    ) -> None:
        """Answer with events, for as long as it is better than to have the client ask again."""
        stream = reader.stream
        poll_after = self._front.settings.mcp.poll_after
        poll = None
        if session.revision >= POLLING and not stream.done:
            reader.prelude = priming(event_id(stream.number, after), RETRY_MS)
            if poll_after and stream.number != STANDING:
                poll = self._front.loop.call_later(poll_after, reader.close)
        try:
            await write_events(exchange, reader, headers)
        finally:
            if poll is not None:
                poll.cancel()

    # --- GET ---

    async def _get(self, exchange: Exchange, visitor: Visitor) -> None:
        if not accepts(exchange, EVENTS):
            raise Refused(Refusal.NOT_ACCEPTABLE)
        session = self._session(exchange, visitor)
        last = exchange.headers.get("last-event-id")
        if last is None:
            stream = session.streams[STANDING]
            if stream.reader is not None:
                raise Refused(Refusal.SECOND_STREAM)
            after = stream.taken
        else:
            found = read_event_id(last)
            resumed = None if found is None else session.streams.get(found[0])
            if found is None or resumed is None or found[1] > resumed.last:
                raise Refused(Refusal.UNKNOWN_EVENT)
            stream, after = resumed, found[1]
        reader = stream.read(exchange.connection, after)
        try:
            await self._stream(exchange, session, reader, after)
        finally:
            reader.leave()
            self._front.sessions.used(session)


async def _settled(reader: Reader) -> None:
    """Wait until it is clear how a POST is to be answered: all answers are there, or something else, or it is late."""
    if reader.over:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SOON):
            while not reader.over and reader.stream.last == reader.stream.answers:
                reader.wake.clear()
                await reader.wake.wait()


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
