"""A tool server behind a URL that speaks HTTP+SSE, the older transport (2024-11-05).

One stream of events stays open and brings everything that the server says; its first event names the URL to which
frames are POSTed. There is nothing to go on with: when the stream ends, so does the session.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
from loguru import logger
from msgspec import UNSET, Raw

from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.addresses import AllowedAddresses, Resolve, look_up
from mcp_endpoint.net.event_reader import EVENT_LIMIT, Event, EventReader
from mcp_endpoint.net.http_client import (
    HttpLimits,
    HttpSettings,
    Sending,
    body_chunks,
    drain,
    make_client,
    same_origin,
    send,
)
from mcp_endpoint.net.proxies import Route, direct
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.send_queue import QUEUE_BYTES, QUEUE_FRAMES, SendQueue
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.providers.source_output import Pacer, SourceOutput, end_tasks, secrets_of
from mcp_endpoint.providers.transports.http_answers import (
    EVENTS,
    JSON,
    Refusal,
    answer_to,
    failure,
    frames_in,
    media_type,
    refused,
)
from mcp_endpoint.wire import envelope

OPEN_WITHIN = 30.0
POST_WITHIN = 60.0
MOST_BEFORE = 100
"""Events before the one that names the URL for frames."""
_NOT_THERE = (404, 405)
_NO_STREAM = (400, *_NOT_THERE, 406)
"""What a server of the newer transport says of a stream that is asked for before a session."""
_PERHAPS_NEWER = Bilingual(
    '请检查 url 的路径；若对方使用 Streamable HTTP，请写 "type": "http"',
    'check the path of its url; if it speaks Streamable HTTP, write "type": "http"',
)


@dataclass(frozen=True)
class SseSettings:
    """Where a server is and how to speak to it."""

    url: str = field(repr=False)
    """It may hold a secret in its query."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private: tuple[str, ...] = ()
    """Private networks, addresses and host names that may be connected to; loopback is private."""
    event_limit: int = EVENT_LIMIT
    """Bytes of one event."""
    open_within: float = OPEN_WITHIN
    """Seconds until the server must have named the URL for frames."""
    post_within: float = POST_WITHIN
    """Seconds that it may take to accept a frame."""
    unread_bytes: int = QUEUE_BYTES
    unread_frames: int = QUEUE_FRAMES
    """Frames that may wait until it accepts them, and their bytes."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Whose certificates are trusted; None for the usual ones."""
    route: Route = field(default=direct, repr=False)
    """Which proxy leads where."""
    resolve: Resolve = field(default=look_up, repr=False)


class SseSource:
    """One session with a server: its stream is open, or the session is over."""

    def __init__(self, settings: SseSettings, sending: Sending = send) -> None:
        """`sending` may sign requests, as `OAuth.send` does. Raises ValueError for bad `allow_private`."""
        self._settings = settings
        limits = HttpLimits(read=settings.post_within, connections=4)
        allowed = AllowedAddresses.of(settings.allow_private)
        self._sending = sending
        self._client = make_client(
            HttpSettings(settings.headers, allowed, settings.tls, settings.route, limits, settings.resolve)
        )
        self._output = SourceOutput(secrets_of(settings.url, settings.headers))
        self._queue = SendQueue(settings.unread_bytes, settings.unread_frames)
        self._stream: httpx.Response | None = None
        self._events: AsyncGenerator[Event, None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._posts: list[httpx.URL] = []
        """The URLs that frames may go to, until the first of them is known to be right."""
        self._elsewhere = ""
        """Where the server itself says that frames go, if that is not where its stream comes from."""
        self._taken = False
        """Whether it has taken a frame."""

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Open the stream and wait for the URL for frames.

        Raises Stopped: UNREACHABLE, PRIVATE_ADDRESS, UNAUTHORIZED, HTTP_STATUS, NOT_MCP, REDIRECTED, CONNECTION_LOST.
        """
        self._output.open(take, stopped)
        try:
            async with asyncio.timeout(self._settings.open_within):
                events = self._events = self._heard(await self._connect())
                named = await self._named(events)
        except TimeoutError:
            raise Stopped(
                StopReason.UNREACHABLE, f"no endpoint event within {self._settings.open_within:g} s"
            ) from None
        except Stopped as why:
            told = self._output.clean(why)
            if isinstance(why, Refusal) and why.status in _NO_STREAM:
                told.todo = _PERHAPS_NEWER
            raise told from None
        if named is None:
            raise Stopped(StopReason.NOT_MCP, "it does not name the endpoint for frames")
        self._posts = self._places(named)
        self._tasks = [asyncio.create_task(self._read(events)), asyncio.create_task(self._write())]

    async def _connect(self) -> httpx.Response:
        limits = httpx.Timeout(self._client.timeout)
        limits.read = None
        try:
            request = self._client.build_request(
                "GET", self._settings.url, headers={"Accept": EVENTS, "Cache-Control": "no-store"}, timeout=limits
            )
        except (httpx.InvalidURL, ValueError, TypeError):
            raise Stopped(StopReason.UNREACHABLE, "the URL or a header cannot be used") from None
        with as_stopped():
            self._stream = response = await self._sending(self._client, request)
        if response.status_code >= 300:
            await refused(response, None, greeted=False)
        if media_type(response) != EVENTS:
            raise Stopped(
                StopReason.NOT_MCP, quote_peer(f"HTTP {response.status_code}, {media_type(response) or 'no body'}")
            )
        return response

    async def _named(self, events: AsyncIterator[Event]) -> bytes | None:
        """What the event says that names the URL for frames; some servers send a ping before it."""
        for _ in range(MOST_BEFORE):
            event = await anext(events, None)
            if event is None or event.name == "endpoint":
                return None if event is None else event.data
        return None

    def _places(self, data: bytes) -> list[httpx.URL]:
        """The URLs that the one for frames can mean, the likeliest first; all are on the server the stream comes from.

        A server behind a proxy often does not know its own scheme, name and port, nor the path it stands under.
        """
        assert self._stream is not None
        here = self._stream.request.url
        try:
            target = here.join(data.decode().strip())
        except (httpx.InvalidURL, ValueError):
            raise Stopped(StopReason.NOT_MCP, "the endpoint for frames is no URL") from None
        if target.scheme not in ("http", "https"):
            raise Stopped(StopReason.NOT_MCP, "the endpoint for frames is no URL of HTTP")
        places = [target if same_origin(here, target) else here.copy_with(raw_path=target.raw_path)]
        if not same_origin(here, target):
            self._elsewhere = quote_peer(f"frames would go to {target.scheme}://{target.netloc.decode()}")
        stem = here.raw_path.partition(b"?")[0].rpartition(b"/")[0]
        if stem and not target.raw_path.startswith(stem + b"/"):
            places.append(here.copy_with(raw_path=stem + target.raw_path))
        return places

    def send(self, frame: bytes) -> None:
        """Queue a frame; one that does not fit any more ends the source with TOO_MUCH_UNREAD."""
        if not self._output.shut and not self._queue.put(frame):
            self._output.end_soon(Stopped(StopReason.TOO_MUCH_UNREAD))

    async def close(self) -> None:
        """Close the stream, which ends the session."""
        self._output.close()
        await end_tasks(*self._tasks)
        if self._events is not None:
            await self._events.aclose()
        if self._stream is not None:
            await self._stream.aclose()
        await self._client.aclose()

    @property
    def said(self) -> Sequence[str]:
        """Nothing: a server elsewhere has no stderr that could be read."""
        return ()

    async def _heard(self, response: httpx.Response) -> AsyncGenerator[Event, None]:
        reader, pacer = EventReader(self._settings.event_limit), Pacer()
        with as_stopped():
            async for chunk in body_chunks(response):
                for event in reader.feed(chunk):
                    yield event
                    await pacer.frame()

    async def _read(self, events: AsyncIterator[Event]) -> None:
        pacer = Pacer()
        try:
            async for event in events:
                if event.is_message:
                    await pacer.frame(self._output.frame(event.data))
            self._output.end(Stopped(StopReason.CONNECTION_LOST, "it closed the stream"))
        except Stopped as why:
            self._output.end(why)
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Reading from a tool server failed")
            self._output.end(Stopped(StopReason.INTERNAL))

    async def _write(self) -> None:
        """POST one frame after the other, so that they arrive in order."""
        try:
            while True:
                frame = await self._queue.first()
                await self._post(frame)
                self._queue.sent()
        except Stopped as why:
            self._output.end(why)
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Writing to a tool server failed")
            self._output.end(Stopped(StopReason.INTERNAL))

    async def _post(self, frame: bytes) -> None:
        """POST a frame; a request that is refused is answered with an error. Raises Stopped: the session is over."""
        id_ = _request_id(frame)
        response = await self._posted(frame)
        if response.status_code < 300:
            self._taken = True
            if id_ is None or media_type(response) != JSON:
                await drain(response)
                return
            # Some servers answer here, and not on the stream.
            for one in await frames_in(response, self._settings.event_limit, self._settings.post_within):
                answer = answer_to(one, id_, has_state=True)
                if answer is not None:
                    self._output.frame(answer)
            return
        try:
            self._output.frame(await refused(response, id_, greeted=self._taken, has_state=self._taken, named=True))
        except Refusal as why:
            if not self._taken and why.status in _NOT_THERE and self._elsewhere:
                raise Stopped(StopReason.REDIRECTED, self._elsewhere) from None
            if why.why is not StopReason.HTTP_STATUS or (not self._taken and why.status in _NOT_THERE):
                raise
            if id_ is not None:
                self._output.frame(failure(id_, self._output.clean(why)))

    async def _posted(self, frame: bytes) -> httpx.Response:
        """The answer to a frame; the first one tells which URL is meant: who does not know a URL has done nothing."""
        while True:
            request = self._client.build_request(
                "POST", self._posts[0], content=frame, headers={"Content-Type": JSON, "Accept": f"{JSON}, {EVENTS}"}
            )
            with as_stopped():
                response = await self._sending(self._client, request)
            if self._taken or response.status_code not in _NOT_THERE or len(self._posts) == 1:
                return response
            await response.aclose()
            del self._posts[0]


def _request_id(frame: bytes) -> bytes | None:
    try:
        head = envelope.read(frame)
    except ValueError:
        return None
    return bytes(head.id) if isinstance(head.id, Raw) and head.method is not UNSET else None
