"""What was sent to an HTTP session and may have been lost on the way, kept within bounds for a client that comes back.

An event is a frame under a stream's number and its own number on that stream; both are in its id, `STREAM-NUMBER`, so
that an id leads to its stream (specification, "Resumability and Redelivery").
"""

import re
from collections import Counter
from collections.abc import Callable

MAX_EVENTS = 1000
"""Events kept for one session: a client that is away for long is better served by a new session than by more."""

_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


def event_id(stream: int, number: int) -> str:
    """The id of an event."""
    return f"{stream}-{number}"


def read_event_id(text: str) -> tuple[int, int] | None:
    """Stream and number of an event; None if that is no id of ours."""
    match = _ID.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2]))


class EventStore:
    """The events kept for one session. `limit` gives the bytes they may have; the newest one is always kept."""

    __slots__ = ("_bytes", "_events", "_limit", "_streams")

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._events: dict[tuple[int, int], bytes] = {}
        self._bytes = 0
        self._streams: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._events)

    def keep(self, stream: int, number: int, frame: bytes) -> list[int]:
        """Keep an event; the streams of which nothing is kept any more, because older events had to go for it."""
        if (stream, number) in self._events:
            return []
        self._events[stream, number] = frame
        self._streams[stream] += 1
        self._bytes += len(frame)
        emptied = []
        while len(self._events) > MAX_EVENTS or (self._bytes > self._limit() and len(self._events) > 1):
            oldest = next(iter(self._events))
            self._bytes -= len(self._events.pop(oldest))
            self._streams[oldest[0]] -= 1
            if not self._streams[oldest[0]]:
                del self._streams[oldest[0]]
                emptied.append(oldest[0])
        return emptied

    def after(self, stream: int, number: int) -> list[tuple[int, bytes]]:
        """What is kept of a stream after the event with that number, in order."""
        return sorted((own, frame) for (of, own), frame in self._events.items() if of == stream and own > number)

    def has(self, stream: int) -> bool:
        """Whether anything of a stream is kept."""
        return stream in self._streams
