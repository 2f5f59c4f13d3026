"""A tool server behind a URL that speaks Streamable HTTP, of either era.

Each frame is a POST of its own; the answer to a request comes on the answer to its POST, as JSON or as a stream of
events. A session that the server has forgotten is made anew, and what it refused for that is asked again: nobody has
done it. No call is sent twice else. A server of the stateless era has its frames translated.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import httpx
from loguru import logger
from msgspec import UNSET, Raw

from mcp_endpoint.net.http_client import Sending, send
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.providers.source_output import SourceOutput, end_tasks, secrets_of
from mcp_endpoint.providers.transports.http_answers import Refusal, failure, session_is_unknown
from mcp_endpoint.providers.transports.stateless import Post, Stateless
from mcp_endpoint.providers.transports.streamable_http.handshake import Handshake
from mcp_endpoint.providers.transports.streamable_http.session import Session, StreamableHttpSettings
from mcp_endpoint.providers.transports.streamable_http.streams import standing
from mcp_endpoint.wire import envelope, mcp
from mcp_endpoint.wire.envelope import Envelope, members
from mcp_endpoint.wire.repair.answers import repaired

__all__ = ["StreamableHttpSettings", "StreamableHttpSource"]

GOODBYE = 2.0
"""Seconds that ending the session may take."""
STRIKES = 3
"""Requests in a row that fail before the source is given up."""

SESSIONS = 3
"""Sessions in which a request is tried: behind a proxy that shares them out, each server knows its own alone."""
NOTICED = 5.0
"""Seconds after which a server has noticed that it is initialized, even if it never answers that."""
SELDOM = 10.0
"""Seconds between two times that the broker is told to look at all lists again."""

_FATAL = {
    StopReason.UNREACHABLE,
    StopReason.CERTIFICATE,
    StopReason.PROXY_FAILED,
    StopReason.REDIRECTED,
    StopReason.PRIVATE_ADDRESS,
    StopReason.FAKE_ADDRESS,
    StopReason.INTERNAL,
}
_ABOUT_THE_SESSION = {StopReason.SESSION_LOST, StopReason.UNAUTHORIZED}
_BROKEN = {502, 503, 504}
"""Statuses of a server that is not there, behind a proxy that is."""


class StreamableHttpSource:
    """One session with a server. It connects with the first frame, which is the broker's `initialize`."""

    def __init__(self, settings: StreamableHttpSettings, sending: Sending = send) -> None:
        """`sending` may sign requests, as `OAuth.send` does. Raises ValueError for bad `allow_private`."""
        self._settings = settings
        self._output = SourceOutput(secrets_of(settings.url, settings.headers))
        self._session = Session(settings, sending)
        self._handshake = Handshake(self._session)
        self._renewal: asyncio.Task[None] | None = None
        self._told_of_changes = float("-inf")
        self._awaited: dict[bytes, asyncio.Future[None]] = {}
        self._heard: deque[bytes] = deque(maxlen=64)
        """Ids of answers that came on the standing stream, perhaps before the request was accepted."""
        self._stateless: Stateless | None = None
        self._strikes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[bytes, asyncio.Task[None]] = {}
        self._gate: asyncio.Task[None] | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Be ready for frames. Nothing is connected yet."""
        self._output.open(take, stopped)

    def send(self, frame: bytes) -> None:
        """POST a frame. Over `most_in_flight`, a request is answered with an error, anything else ends the source."""
        if self._output.shut:
            return
        try:
            head = envelope.read(frame)
        except ValueError:
            return
        id_ = bytes(head.id) if isinstance(head.id, Raw) and head.method is not UNSET else None
        if len(self._tasks) >= self._settings.most_in_flight:
            why = Stopped(StopReason.TOO_MUCH_UNREAD, f"{len(self._tasks)} frames are not answered")
            if id_ is None:
                self._output.end_soon(why)
            else:
                self._output.frame_soon(failure(id_, why))
            return
        if id_ is None:
            task = self._start(lambda: self._tell(head, frame))
        else:
            task = self._calls[id_] = self._start(lambda: self._request(id_, head, frame))
            task.add_done_callback(lambda done: self._calls.pop(id_, None))
        if head.method in ("initialize", mcp.INITIALIZED):
            # Whatever comes after these must not overtake them.
            self._gate = task
            self._greeting = task if id_ is not None else self._greeting

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._after_gate(work, self._gate))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _after_gate(
        self, work: Callable[[], Coroutine[Any, Any, None]], gate: "asyncio.Task[None] | None"
    ) -> None:
        if gate is not None and not gate.done():
            await asyncio.wait({gate}, timeout=None if gate is self._greeting else NOTICED)
        try:
            await work()
        except Stopped as why:
            self._output.end(why)
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Talking to a tool server failed")
            self._output.end(Stopped(StopReason.INTERNAL))

    async def close(self) -> None:
        """Drop what is in flight and end the session, within 2 s, where there is one."""
        self._output.close()
        await end_tasks(self._listening, self._renewal, *self._tasks)
        try:
            if self._session.has_id:
                async with asyncio.timeout(GOODBYE):
                    await (await self._session.http("DELETE")).aclose()
        except (Stopped, TimeoutError):
            pass
        finally:
            await self._session.close()

    @property
    def said(self) -> Sequence[str]:
        """Nothing: a server elsewhere has no stderr that could be read."""
        return ()

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _request(self, id_: bytes, head: Envelope, frame: bytes) -> None:
        """Send a request and pass its answer on, or an error in its place."""
        try:
            if head.method == "initialize":
                answers, self._stateless = await self._handshake.greet(id_, head, frame)
                self._session.greeted = True
                for answer in answers:
                    self._output.frame(answer)
            elif self._stateless is not None:
                await self._translated(self._stateless, id_, head)
            else:
                await self._asked(id_, head, frame)
            self._strikes = 0
        except Stopped as why:
            # A server that says no in good order is there; one of its tools may be broken.
            self._strikes += not isinstance(why, Refusal) or why.status in _BROKEN
            # In the stateless era nothing but a call itself tells of the key.
            one_call = head.method == "tools/call" and self._stateless is None
            fatal = why.why in _FATAL or (why.why in _ABOUT_THE_SESSION and not one_call)
            if head.method == "initialize" or fatal or self._strikes >= STRIKES:
                raise
            self._output.frame(failure(id_, self._output.clean(why)))

    async def _asked(self, id_: bytes, head: Envelope, frame: bytes) -> None:
        """Ask within the session, and again in a new one where it is lost: then nobody has done what was asked for."""
        repeatable = head.method != "tools/call"
        for attempt in range(SESSIONS):
            if self._renewal is not None and not self._renewal.done():
                await asyncio.wait({self._renewal})
            number = self._session.number
            try:
                answered = await self._session.ask(id_, frame, self._output.frame, repeatable=repeatable)
            except Stopped as why:
                lost = why.why is StopReason.SESSION_LOST or (why.why is StopReason.UNAUTHORIZED and attempt == 0)
                if not lost or attempt == SESSIONS - 1:
                    answer = why.answer if isinstance(why, Refusal) and why.why is StopReason.SESSION_LOST else None
                    if answer is None or repeatable:
                        raise
                    self._output.frame(answer)
                    return
                await self._renewed(number)
                if not repeatable and isinstance(why, Refusal) and why.status >= 500:
                    raise  # it may have been done all the same
            else:
                self._handshake.keep(id_, head, frame)
                if not answered:
                    await self._answered_elsewhere(id_)
                return

    async def _renewed(self, number: int) -> None:
        """Have another session than the one with this number. Raises Stopped, which ends the source."""
        if self._session.number == number and (self._renewal is None or self._renewal.done()):
            # Of its own: whoever wants it may be cancelled, and others wait for it.
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._renewal is not None:
            await asyncio.shield(self._renewal)

    async def _renew(self) -> None:
        try:
            told = await self._handshake.again()
        except Stopped as why:
            self._output.end(why)
            raise
        self._listen()
        if self._seldom:
            self._told_of_changes = asyncio.get_running_loop().time()
            for frame in told:
                self._output.frame(frame)

    async def _answered_elsewhere(self, id_: bytes) -> None:
        """Wait for an answer on the standing stream, to a request that was accepted without one."""
        listening = self._listening
        if id_ in self._heard:
            return
        came = self._awaited[id_] = asyncio.get_running_loop().create_future()
        try:
            if listening is not None:
                either: set[asyncio.Future[None]] = {came, listening}
                await asyncio.wait(either, timeout=self._settings.silence, return_when=asyncio.FIRST_COMPLETED)
            if not came.done():
                raise Stopped(StopReason.NOT_MCP, "it accepted the request without an answer")
        finally:
            del self._awaited[id_]

    def _hears(self, frame: bytes) -> float:
        """A frame of the standing stream."""
        try:
            head = envelope.read(frame)
        except ValueError:
            head = Envelope()
        if head.method is UNSET and isinstance(head.id, Raw):
            self._heard.append(bytes(head.id))
            came = self._awaited.get(bytes(head.id))
            if came is not None and not came.done():
                came.set_result(None)
        if isinstance(head.error, Raw) and self._says_it_is_lost(head):
            number = self._session.number
            self._start(lambda: self._renewed(number))
            return 0.0
        return self._output.frame(frame)

    def _says_it_is_lost(self, head: Envelope) -> bool:
        """Whether an error that answers nothing is about the session, and not the same again of a new one."""
        if isinstance(head.id, Raw) and bytes(head.id) != envelope.NULL_ID:
            return False
        message = mcp.string((members(head.error) or {}).get("message")) or ""
        return session_is_unknown(message) and self._seldom

    @property
    def _seldom(self) -> bool:
        """Whether the last new session is a while ago: what a stream says of one is not to go round in circles."""
        return asyncio.get_running_loop().time() - self._told_of_changes > SELDOM

    async def _translated(self, stateless: Stateless, id_: bytes, head: Envelope) -> None:
        post = stateless.outgoing(id_, head)
        method = str(head.method)
        if isinstance(post, Post):
            await self._session.ask(
                id_, post.frame, lambda frame: self._output.frame(stateless.incoming(frame, method)), post.headers
            )
            return
        self._output.frame(post)
        if "subscribe" in method:
            self._listen()

    # -- everything else ---------------------------------------------------------------------------------------------

    async def _tell(self, head: Envelope, frame: bytes) -> None:
        """Send a notification, or an answer to a request of the server. That one is lost ends nothing by itself."""
        call = self._cancelled(head)
        if self._stateless is None:
            try:
                await self._session.tell(frame, repeatable=head.method is not UNSET)
            except Stopped as why:
                if why.why in _FATAL:
                    raise
        if call is not None:
            # In the stateless era this is the cancellation; before, it frees the connection.
            call.cancel()
        if head.method == mcp.INITIALIZED:
            self._listen()

    def _cancelled(self, head: Envelope) -> "asyncio.Task[None] | None":
        if head.method != mcp.CANCELLED:
            return None
        return self._calls.get(bytes((members(head.params) or {}).get("requestId", b"")))

    def _listen(self) -> None:
        """Hear what the server says unasked; begins anew where it is heard already."""
        self._listening = asyncio.create_task(self._hear(self._listening))

    async def _hear(self, before: "asyncio.Task[None] | None") -> None:
        await end_tasks(before)
        try:
            if self._stateless is None:
                number = self._session.number
                try:
                    await standing(self._session.stream, self._hears, self._settings, self._session.pacer)
                except Stopped as why:
                    if why.why is not StopReason.SESSION_LOST:
                        raise
                    if self._seldom:
                        self._start(lambda: self._renewed(number))
                return
            stateless, post = self._stateless, self._stateless.listens()
            if post is None:
                return

            async def listen(last_id: str | None) -> httpx.Response:
                return await self._session.http("POST", post.frame, post.headers, endless=True)

            def heard(frame: bytes) -> None:
                for one in repaired(frame):
                    method = envelope.read(one).method
                    if method in mcp.CHANGED or method == mcp.RESOURCE_UPDATED:
                        self._output.frame(one)

            def gap() -> None:
                for frame in stateless.missed():
                    self._output.frame(frame)

            await standing(listen, heard, self._settings, self._session.pacer, gap)
        except Stopped as why:
            self._output.end(why)
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Listening to a tool server failed")
            self._output.end(Stopped(StopReason.INTERNAL))
