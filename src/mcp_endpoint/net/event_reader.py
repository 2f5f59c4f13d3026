"""Server-sent events: bytes in, events out, with a limit for each.

Pure. The libraries for this read a stream by whole lines of any length, and a peer must not choose how much is kept.
"""

import re
from dataclasses import dataclass

from mcp_endpoint.net.errors import NetError, NetFault

EVENT_LIMIT = 4 * 1024 * 1024
"""Bytes of one event: what fits into one frame."""
LONGEST_ID = 1024
"""Bytes of an event's id, which is sent back in a header; a longer one is as good as none."""
RETRY = 1.0
"""Seconds before a stream is opened again, where its server names none."""
LONGEST_RETRY = 60.0
SHORTEST_RETRY = 0.1

_BREAK = re.compile(rb"\r\n|\n|\r")
_HEADER_SAFE = re.compile(rb"[\x20-\x7e\x80-\xff]*")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. A field that it did not have is empty."""

    name: str
    data: bytes

    @property
    def is_message(self) -> bool:
        """Whether it carries a frame: a `message` event that is not empty, as those that only set an id are.

        Some servers call them otherwise; what has a frame of JSON-RPC is one.
        """
        if self.name in ("", "message"):
            return bool(self.data)
        return self.data.startswith(b"{") and b'"jsonrpc"' in self.data


class EventReader:
    """Reads one stream. `last_id` and `retry` are what the server said last, for opening the stream again."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._begun = False
        self._after_return = False
        self._line: list[bytes] = []
        self._name = ""
        self._data: list[bytes] = []
        self._held = 0
        self.last_id: str | None = None
        self.retry: float | None = None
        """Seconds, from 0.1 to 60."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes. Raises NetError (TOO_LONG)."""
        if not self._begun and chunk:
            self._begun = True
            chunk = chunk.removeprefix(_BOM)
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if chunk:
            self._after_return = chunk.endswith(b"\r")
        *lines, rest = _BREAK.split(chunk)
        events: list[Event] = []
        for part in lines:
            self._keep(part)
            line = b"".join(self._line)
            self._held -= len(line)
            self._line.clear()
            if line:
                self._field(line)
            elif self._data or self._name:
                events.append(Event(self._name, b"\n".join(self._data)))
                self._name, self._held = "", 0
                self._data.clear()
        self._keep(rest)
        return events

    def rest(self) -> Event | None:
        """The event that a stream ended in, where the blank line behind it is missing; it may have been cut off."""
        line = b"".join(self._line)
        if line:
            self._line.clear()
            self._held -= len(line)
            self._field(line)
        if not self._data:
            return None
        return Event(self._name, b"\n".join(self._data))

    def _keep(self, part: bytes) -> None:
        self._hold(len(part))
        if part:
            self._line.append(part)

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._limit:
            raise NetError(NetFault.TOO_LONG, f"an event over {self._limit} bytes")

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            # One more for the line break that will join it to the next.
            self._hold(len(value) + 1)
            self._data.append(value)
        elif name == b"event":
            self._name = value[:LONGEST_ID].decode(errors="replace")
        elif name == b"id" and len(value) <= LONGEST_ID and _HEADER_SAFE.fullmatch(value):
            self.last_id = value.decode("latin-1")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = min(max(int(value) / 1000, SHORTEST_RETRY), LONGEST_RETRY)
