"""Events of Streamable HTTP kept in memory, so that a client can take up a stream where it was cut."""

from collections import deque
from itertools import count

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage


class RecentEvents(EventStore):
    """The last `limit` events of all streams; `None` marks the beginning of a stream."""

    def __init__(self, limit: int = 1000) -> None:
        self._events: deque[tuple[int, str, JSONRPCMessage | None]] = deque(maxlen=limit)
        self._numbers = count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event and give its id."""
        number = next(self._numbers)
        self._events.append((number, stream_id, message))
        return str(number)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what followed this event on its stream, and say which that is."""
        stream = next((stream for number, stream, _ in self._events if str(number) == last_event_id), None)
        later = [event for event in self._events if event[1] == stream and event[0] > int(last_event_id)]
        for number, _, message in later:
            if message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
