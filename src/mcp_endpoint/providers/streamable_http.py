"""A tool server behind a URL that speaks Streamable HTTP, of either era.

Each frame is a POST of its own; the answer to a request comes on the answer to its POST, as JSON or as a stream of
events. A session that the server has forgotten ends the source: the next one greets anew, and no call is sent twice.
A server that refuses the handshake is asked whether it speaks the stateless era; then frames are translated.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import httpx
from loguru import logger
from msgspec import UNSET, Raw

from mcp_endpoint.providers.http_answers import failure
from mcp_endpoint.providers.http_client import Sending, send
from mcp_endpoint.providers.http_session import Session, StreamableHttpSettings
from mcp_endpoint.providers.http_streams import standing
from mcp_endpoint.providers.outlet import Outlet, end_tasks, secrets_of
from mcp_endpoint.providers.source import Stopped, Take, Why
from mcp_endpoint.providers.stateless import Post, Stateless
from mcp_endpoint.redaction import quote_peer
from mcp_endpoint.wire import envelope, mcp
from mcp_endpoint.wire.envelope import Envelope, members

__all__ = ["StreamableHttpSettings", "StreamableHttpSource"]

GOODBYE = 2.0
"""Seconds that ending the session may take."""
STRIKES = 3
"""Requests in a row that fail before the source is given up."""

_FATAL = {Why.UNAUTHORIZED, Why.SESSION_LOST, Why.UNREACHABLE, Why.REDIRECTED, Why.PRIVATE_ADDRESS, Why.INTERNAL}


class StreamableHttpSource:
    """One session with a server. It connects with the first frame, which is the broker's `initialize`."""

    def __init__(self, settings: StreamableHttpSettings, sending: Sending = send) -> None:
        """`sending` may sign requests, as `OAuth.send` does. Raises ValueError for bad `allow_private`."""
        self._settings = settings
        self._outlet = Outlet(secrets_of(settings.url, settings.headers))
        self._session = Session(settings, sending)
        self._stateless: Stateless | None = None
        self._strikes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[bytes, asyncio.Task[None]] = {}
        self._gate: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, take: Take, stopped: Callable[[Stopped], None]) -> None:
        """Be ready for frames. Nothing is connected yet."""
        self._outlet.open(take, stopped)

    def send(self, frame: bytes) -> None:
        """POST a frame. Over `most_in_flight`, a request is answered with an error, anything else ends the source."""
        if self._outlet.shut:
            return
        try:
            head = envelope.read(frame)
        except ValueError:
            return
        id_ = bytes(head.id) if isinstance(head.id, Raw) and head.method is not UNSET else None
        if len(self._tasks) >= self._settings.most_in_flight:
            why = Stopped(Why.TOO_MUCH_UNREAD, f"{len(self._tasks)} frames are not answered")
            if id_ is None:
                self._outlet.end_soon(why)
            else:
                self._outlet.frame_soon(failure(id_, why))
            return
        if id_ is None:
            task = self._start(lambda: self._tell(head, frame))
        else:
            task = self._calls[id_] = self._start(lambda: self._request(id_, head, frame))
            task.add_done_callback(lambda done: self._calls.pop(id_, None))
        if head.method in ("initialize", mcp.INITIALIZED):
            # Whatever comes after these must not overtake them.
            self._gate = task

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._after_gate(work, self._gate))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _after_gate(
        self, work: Callable[[], Coroutine[Any, Any, None]], gate: "asyncio.Task[None] | None"
    ) -> None:
        if gate is not None and not gate.done():
            await asyncio.wait({gate})
        try:
            await work()
        except Stopped as why:
            self._outlet.end(why)
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Talking to a tool server failed")
            self._outlet.end(Stopped(Why.INTERNAL))

    async def close(self) -> None:
        """Drop what is in flight and end the session, within 2 s, where there is one."""
        self._outlet.close()
        await end_tasks(self._listening, *self._tasks)
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
                await self._initialize(id_, head, frame)
            elif self._stateless is not None:
                await self._translated(self._stateless, id_, head)
            else:
                await self._session.ask(id_, frame, self._outlet.frame)
            self._strikes = 0
        except Stopped as why:
            self._strikes += 1
            if not self._session.greeted or why.why in _FATAL or self._strikes >= STRIKES:
                raise
            self._outlet.frame(failure(id_, self._outlet.clean(why)))

    async def _initialize(self, id_: bytes, head: Envelope, frame: bytes) -> None:
        """Greet the server; where it refuses, ask whether it is one of the stateless era."""
        answers: list[bytes] = []
        refusal: Stopped | None = None
        try:
            await self._session.ask(id_, frame, answers.append)
            refusal = self._welcomed(answers)
        except Stopped as why:
            if why.why not in (Why.HTTP_STATUS, Why.NOT_MCP):
                raise
            refusal = why
        if refusal is not None:
            greeting = await self._discovered(id_, head)
            if greeting is None:
                raise refusal
            answers = [greeting]
        self._session.greeted = True
        for answer in answers:
            self._outlet.frame(answer)

    def _welcomed(self, answers: Sequence[bytes]) -> Stopped | None:
        """Take the revision out of the answer; it stands in a header of all that follows."""
        answer = envelope.read(answers[-1])
        result = members(answer.result)
        if result is None:
            error = bytes(answer.error).decode(errors="replace") if isinstance(answer.error, Raw) else ""
            return Stopped(Why.NOT_MCP, quote_peer(f"it refused initialize: {error}"))
        version = mcp.text(result.get("protocolVersion"))
        if version in mcp.REVISIONS:
            self._session.speak(version)
        return None

    async def _discovered(self, id_: bytes, head: Envelope) -> bytes | None:
        """The answer to `initialize` if the server speaks the stateless era."""
        stateless = Stateless(head.params if isinstance(head.params, Raw) else b"{}")
        question = stateless.discover()
        answers: list[bytes] = []
        try:
            await self._session.ask(b'"discover"', question.frame, answers.append, question.headers)
        except Stopped:
            return None
        greeting = stateless.greeting(id_, answers[-1])
        if greeting is not None:
            self._stateless = stateless
            self._session.forget()
        return greeting

    async def _translated(self, stateless: Stateless, id_: bytes, head: Envelope) -> None:
        post = stateless.outgoing(id_, head)
        method = str(head.method)
        if isinstance(post, Post):
            await self._session.ask(
                id_, post.frame, lambda frame: self._outlet.frame(stateless.incoming(frame, method)), post.headers
            )
            return
        self._outlet.frame(post)
        if "subscribe" in method:
            self._listen()

    # -- everything else ---------------------------------------------------------------------------------------------

    async def _tell(self, head: Envelope, frame: bytes) -> None:
        """Send a notification, or an answer to a request of the server. That one is lost ends nothing by itself."""
        call = self._cancelled(head)
        if self._stateless is None:
            try:
                await self._session.tell(frame)
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
                pace, in_session = self._session.pace, self._session.has_id
                await standing(self._session.stream, self._outlet.frame, self._settings, pace, in_session)
                return
            stateless, post = self._stateless, self._stateless.listens()
            if post is None:
                return

            async def listen(last_id: str | None) -> httpx.Response:
                return await self._session.http("POST", post.frame, post.headers, endless=True)

            def heard(frame: bytes) -> None:
                head = envelope.read(frame)
                if head.method in mcp.CHANGED or head.method == mcp.RESOURCE_UPDATED:
                    self._outlet.frame(frame)

            def gap() -> None:
                for frame in stateless.missed():
                    self._outlet.frame(frame)

            await standing(listen, heard, self._settings, self._session.pace, False, gap)
        except Stopped as why:
            self._outlet.end(why)
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Listening to a tool server failed")
            self._outlet.end(Stopped(Why.INTERNAL))
