"""The streams of a client's session over HTTP, and the answers under way that their events go out with.

Every POST with requests has a **stream** of its own, for what is about them; what is about none goes to the standing
stream, which is read by GET. A **reader** is one answer that takes a stream's events. A stream whose reader is gone
goes on: what comes is kept, for a reader that resumes it.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mcp_endpoint.doors.http.event_stream import event
from mcp_endpoint.doors.http.streamable.event_store import event_id

if TYPE_CHECKING:
    from mcp_endpoint.doors.http.connection import HttpDoor
    from mcp_endpoint.doors.http.streamable.session import HttpSession

STANDING = 0
"""The number of the stream for what is about no request."""


class Reader:
    """One answer that takes a stream's events, over one connection: a `Source` of server-sent events."""

    __slots__ = ("_closed", "connection", "prelude", "queue", "stream", "wake")

    def __init__(self, stream: "Stream", connection: "HttpDoor", events: Iterable[tuple[int, bytes]] = ()) -> None:
        self.stream = stream
        self.connection = connection
        self.queue = deque(events)
        self.wake = asyncio.Event()
        self.prelude = b""
        """Goes out before the first event."""
        self._closed = False
        stream.session.queued += sum(len(frame) for _, frame in self.queue)

    @property
    def over(self) -> bool:
        """Whether nothing comes after what may be taken now."""
        return self._closed or self.stream.done

    def put(self, number: int, frame: bytes) -> None:
        """An event for it."""
        self.queue.append((number, frame))
        self.stream.session.queued += len(frame)
        self.wake.set()

    def take(self) -> bytes:
        """The events that wait, spelled with their ids. From here on they may be lost on the way, so they are kept."""
        parts, self.prelude = [self.prelude], b""
        for number, frame in self.frames():
            parts.append(event(frame, event_id(self.stream.number, number)))
            self.stream.keep(number, frame)
        return b"".join(parts)

    def frames(self) -> Iterable[tuple[int, bytes]]:
        """The events that wait, taken out of the queue."""
        while self.queue:
            number, frame = self.queue.popleft()
            self.stream.session.queued -= len(frame)
            self.stream.taken = max(self.stream.taken, number)
            yield number, frame

    def close(self) -> None:
        """End the answer after what waits; the stream may go on without it."""
        self._closed = True
        self.wake.set()

    def leave(self) -> None:
        """The answer is complete or its connection gone; safe to do twice."""
        stream = self.stream
        self._closed = True
        self.wake.set()
        if stream.reader is self:
            stream.reader = None
        while self.queue:
            number, frame = self.queue.popleft()
            stream.session.queued -= len(frame)
            stream.keep(number, frame)
        stream.session.forget([stream.number])


class Stream:
    """The events about the requests of one POST, or about none."""

    __slots__ = ("answers", "answers_only", "last", "logs", "number", "pending", "reader", "session", "taken")

    def __init__(
        self, session: "HttpSession", number: int, pending: Iterable[bytes] = (), *, answers_only: bool = False
    ) -> None:
        self.session = session
        self.answers_only = answers_only
        """Whether its client takes nothing else about its requests."""
        self.logs = True
        """Whether its client is told what tool programs log: one that reads no streams never asked for them."""
        self.number = number
        self.pending = set(pending)
        """The keys of its requests that have no answer yet."""
        self.last = 0
        """The number of its last event."""
        self.answers = 0
        """How many of its events are answers."""
        self.taken = 0
        """The number of the last event that a reader took."""
        self.reader: Reader | None = None

    @property
    def done(self) -> bool:
        """Whether its last answer is among its events."""
        return self.number != STANDING and not self.pending

    def put(self, frame: bytes) -> None:
        """One more event, for its reader or to be kept."""
        self.last += 1
        if self.reader is not None:
            self.reader.put(self.last, frame)
        else:
            self.keep(self.last, frame)

    def keep(self, number: int, frame: bytes) -> None:
        """Have the event ready for a client that comes back."""
        self.session.forget(self.session.store.keep(self.number, number, frame))

    def read(self, connection: "HttpDoor", after: int | None = None) -> Reader:
        """A reader for what comes after an event, or after all that was taken; one there was before has to go."""
        if self.reader is not None:
            self.reader.leave()
        events = self.session.store.after(self.number, self.taken if after is None else after)
        self.reader = Reader(self, connection, events)
        return self.reader

    def drop(self, key: bytes) -> None:
        """A request gets no answer any more."""
        self.pending.discard(key)
        if self.reader is not None:
            self.reader.wake.set()
        self.session.forget([self.number])
