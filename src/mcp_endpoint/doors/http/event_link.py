"""The broker's `Link` to a client that reads one stream of events: what such links have in common, whatever the era."""

import asyncio
from collections.abc import Mapping

from loguru import logger

from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Peer, Role
from mcp_endpoint.broker.work_budget import expected
from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.http.body import Refused
from mcp_endpoint.doors.http.event_stream import event
from mcp_endpoint.doors.port_state import LinkSet, PortState
from mcp_endpoint.doors.traffic import traffic_of
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.wire import envelope as wire


class EventLinks(LinkSet):
    """The links of one door whose clients read a stream of events, or wait for an answer."""

    def __init__(self, port_state: PortState) -> None:
        super().__init__(port_state)
        self._open: dict[EventLink, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, link: "EventLink") -> None:
        """One was let in."""
        self._open[link] = None

    def remove(self, link: "EventLink") -> None:
        """One is gone; safe to do twice."""
        self._open.pop(link, None)

    def counts(self) -> Mapping[str, int]:
        """How many requests are under way: those that wait for an answer, and streams."""
        return {"requests": len(self._open)}

    def close(self, role: Role, end: End) -> None:
        """End all of them if they are on that side."""
        if role is Role.DEVICE:
            for link in list(self._open):
                link.close(end)


class EventLink:
    """A device side, and an `EventSource` of its own. `leave` has to be called in the end."""

    def __init__(
        self, links: EventLinks, agent_id: str, peer: Peer, connection: Connection, id_: bytes = wire.NULL_ID
    ) -> None:
        port_state = self._port_state = links.port_state
        self._links = links
        self.last_frame: float | None = None
        self.connection = connection
        self.peer = peer
        self.heard = port_state.loop.time()
        self.ended: Ended | None = None
        self.wake = asyncio.Event()
        self.waiting: list[bytes] = []
        """Frames for the client."""
        self.queued = 0
        """Bytes of these."""
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0
        joined = port_state.manager.join(Role.DEVICE, agent_id, self, self.heard)
        if isinstance(joined, End):
            raise Refused(joined, id_)
        assert isinstance(joined, DeviceSide), "who joins as a device is one"
        self.side: DeviceSide | None = joined
        links.add(self)

    def hand(self, *frames: bytes) -> None:
        """Hand frames to the broker, and write once to every peer they led to."""
        outbox = self._port_state.outbox
        outbox.hold()
        try:
            for frame in frames:
                if self.side is not None and self.ended is None:
                    now = self.heard = self.last_frame = self._port_state.loop.time()
                    self.frames_in += 1
                    self.bytes_in += len(frame)
                    self._port_state.fairness.work_off(self.side, frame, now, expected(len(frame)))
        except Exception as error:  # noqa: BLE001  this client is told of its end, the others go on
            logger.opt(exception=error).error("a client's link from {} failed inside the broker", self.peer.address)
            self.close(End.INTERNAL)
        finally:
            outbox.release()

    # --- towards the client ---

    def put(self, frame: bytes) -> None:
        """One more frame for the client; it is ended if it leaves too much unread."""
        self.waiting.append(frame)
        self.queued += len(frame)
        self.wake.set()
        limits = self._port_state.settings.websocket
        if self.queued > limits.send_buffer + 2 * limits.max_message_size:
            self.close(End.SEND_OVERFLOW)
            self.connection.abort()

    @property
    def over(self) -> bool:
        """Whether nothing comes after what may be taken now."""
        return self.ended is not None

    def take(self) -> bytes:
        """The events that wait, spelled; without ids, since nothing can be resumed."""
        data = b"".join(map(event, self.waiting))
        self.waiting.clear()
        self.queued = 0
        return data

    # --- the broker's side: Link ---

    @property
    def call_timeout(self) -> float | None:
        """Seconds a call may take: these clients wait for longer than Xiaozhi does."""
        return self._port_state.settings.mcp.call_timeout

    def ping(self, now: float) -> None:
        """Nothing to ask: TCP tells of a client that is gone."""

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """Take a frame of the broker."""
        if self.ended is None:
            self.frames_out += 1
            self.bytes_out += len(frame)
            self.last_frame = self._port_state.loop.time()
            self.told(frame, about)

    def told(self, frame: bytes, about: bytes | None) -> None:
        """What becomes of a frame of the broker."""
        self.put(frame)

    def ending(self, end: End) -> None:
        """It is about to end without the client having asked for it: the last chance to say something."""

    def close(self, end: End) -> None:
        """End it for the reason given, which the client hears."""
        if self.ended is None:
            self.ending(end)
            self.ended = Ended(end, end.code)
            self.wake.set()
            self._port_state.loop.call_soon(self.leave)  # not from within one of the broker's own calls

    def leave(self) -> None:
        """The stream is over, or nobody reads it: what is pending is cancelled. Safe to do twice."""
        self._links.remove(self)
        if self.ended is None:
            self.ended = Ended(End.PEER_CLOSED, End.PEER_CLOSED.code)
        side, self.side = self.side, None
        if side is not None:
            self._port_state.manager.ended(side, self, self.ended, self._port_state.loop.time())

    def traffic(self) -> Mapping[str, float | int | None]:
        """What `/stats` shows of it."""
        return traffic_of(self)
