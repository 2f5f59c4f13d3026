"""The streams of a client's session over HTTP, and the answers under way that their events go out with.

Every POST with requests has a **stream** of its own, for what is about them; what is about none goes to the standing
stream, which is read by GET. A **reader** is one answer that takes a stream's events. A stream whose reader is gone
goes on: what comes is kept, for a reader that resumes it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.http.event_stream import event
from mcp_endpoint.doors.http.streamable.event_store import EventStore, event_id

STANDING = 0
"""The number of the stream for what is about no request."""


class Reader:
    """One answer that takes a stream's events, over one connection: an `EventSource`."""

    __slots__ = ("_closed", "connection", "prelude", "queue", "stream", "wake")

    def __init__(self, stream: "Stream", connection: Connection, events: Iterable[tuple[int, bytes]] = ()) -> None:
        self.stream = stream
        self.connection = connection
        self.queue = deque(events)
        self.wake = asyncio.Event()
        self.prelude = b""
        """Goes out before the first event."""
        self._closed = False
        stream.streams.queued += sum(len(frame) for _, frame in self.queue)

    @property
    def over(self) -> bool:
        """Whether nothing comes after what may be taken now."""
        return self._closed or self.stream.done

    def put(self, number: int, frame: bytes) -> None:
        """An event for it."""
        self.queue.append((number, frame))
        self.stream.streams.queued += len(frame)
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
            self.stream.streams.queued -= len(frame)
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
            stream.streams.queued -= len(frame)
            stream.keep(number, frame)
        stream.streams.forget([stream.number])


class Stream:
    """The events about the requests of one POST, or about none."""

    __slots__ = ("answers", "answers_only", "last", "logs", "number", "pending", "reader", "streams", "taken")

    def __init__(
        self,
        streams: "Streams",
        number: int,
        pending: Iterable[bytes] = (),
        *,
        answers_only: bool = False,
        logs: bool = True,
    ) -> None:
        self.streams = streams
        self.answers_only = answers_only
        """Whether its client takes nothing else about its requests."""
        self.logs = logs
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
        self.streams.forget(self.streams.store.keep(self.number, number, frame))

    def read(self, connection: Connection, after: int | None = None) -> Reader:
        """A reader for what comes after an event, or after all that was taken; one there was before has to go."""
        if self.reader is not None:
            self.reader.leave()
        events = self.streams.store.after(self.number, self.taken if after is None else after)
        self.reader = Reader(self, connection, events)
        return self.reader

    def drop(self, key: bytes) -> None:
        """A request gets no answer any more."""
        self.pending.discard(key)
        if self.reader is not None:
            self.reader.wake.set()
        self.streams.forget([self.number])


class Streams:
    """The streams of one session, and what is kept of them; `limit` gives the bytes that this may have."""

    __slots__ = ("_by_number", "_last", "queued", "standing", "store")

    def __init__(self, limit: Callable[[], int]) -> None:
        self.store = EventStore(limit)
        self.queued = 0
        """Bytes that wait for readers."""
        self.standing = Stream(self, STANDING)
        self._by_number = {STANDING: self.standing}
        self._last = STANDING
        """The number of the stream that was opened last."""

    @property
    def readers(self) -> list[Reader]:
        """The answers that take events now."""
        return [stream.reader for stream in self._by_number.values() if stream.reader is not None]

    def count_from(self, number: int) -> None:
        """Number streams and events from here on, in a session that has none yet."""
        self._last = self.standing.last = self.standing.taken = number

    def open(self, pending: Iterable[bytes], *, answers_only: bool, logs: bool) -> Stream:
        """A stream for the requests with these keys."""
        self._last += 1
        stream = self._by_number[self._last] = Stream(self, self._last, pending, answers_only=answers_only, logs=logs)
        return stream

    def find(self, number: int) -> Stream | None:
        """The stream with this number, if it is not forgotten."""
        return self._by_number.get(number)

    def drop(self, stream: Stream) -> None:
        """Nothing of a stream is wanted any more: its answer is on its way without an event's id."""
        self._by_number.pop(stream.number, None)

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget those of these streams of which nothing comes, and nothing is kept that could be resumed."""
        for number in numbers:
            stream = self._by_number.get(number)
            if stream is not None and stream.done and stream.reader is None and not self.store.has(number):
                del self._by_number[number]
