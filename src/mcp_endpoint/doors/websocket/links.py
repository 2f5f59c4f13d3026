"""All WebSocket links of a port: they are pinged, and held to the time that one message may take."""

from asyncio import Event
from collections.abc import Mapping
from typing import Protocol

from mcp_endpoint.broker.link import Role, Session
from mcp_endpoint.doors.port_state import LinkSet, PortState
from mcp_endpoint.doors.websocket.heartbeat import Heartbeat
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.settings.schema import Settings


class OpenLink(Protocol):
    """A link as this set sees it."""

    session: Session | None
    """What the broker made of it; None while it opens, or if it is refused."""

    def close(self, end: End) -> None:
        """End it."""

    def message_overdue(self, number: int) -> None:
        """The message with this number was not whole in time."""


class WebSocketLinks(LinkSet):
    """The connections that were upgraded and not refused."""

    def __init__(self, port_state: PortState) -> None:
        super().__init__(port_state)
        limits = port_state.settings.websocket
        self.heartbeat = Heartbeat(limits.ping_interval, limits.ping_timeout)
        self.emptied = Event()
        """Set when the last link goes while the broker stops."""
        self._open: dict[OpenLink, None] = {}
        self._unfinished: dict[OpenLink, tuple[int, float]] = {}
        """Links in the middle of a message: its number, and until when it has to be whole; the earliest first."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, link: OpenLink) -> None:
        """A connection was upgraded."""
        self._open[link] = None

    def remove(self, link: OpenLink) -> None:
        """Its transport is closed, or it was refused; safe to do twice."""
        self._open.pop(link, None)
        if self.port_state.draining and not self._open:
            self.emptied.set()

    # --- messages that are not whole ---

    def message_begun(self, link: OpenLink, number: int, now: float) -> None:
        """The message with this number is under way on a link, from now on or for a while already."""
        known = self._unfinished.get(link)
        if known is None or known[0] != number:
            self._unfinished.pop(link, None)
            self._unfinished[link] = number, now + self.port_state.settings.websocket.message_timeout

    def message_over(self, link: OpenLink) -> None:
        """None is under way on a link; safe to do twice."""
        self._unfinished.pop(link, None)

    # --- the port's side: LinkSet ---

    def counts(self) -> Mapping[str, int]:
        """Links, those in the middle of a message, and those that are pinged."""
        return {"links": len(self._open), "unfinished": len(self._unfinished), "pinged": len(self.heartbeat)}

    def close(self, role: Role, end: End) -> None:
        """End the links of one side, and those that are on none yet."""
        for link in list(self._open):
            if link.session is None or link.session.role is role:
                link.close(end)

    def sweep(self, now: float) -> None:
        """Ping, and end what took too long."""
        self.heartbeat.sweep(now)
        while self._unfinished:
            link, (number, deadline) = next(iter(self._unfinished.items()))
            if deadline > now:
                break
            del self._unfinished[link]
            link.message_overdue(number)

    def reconfigure(self, settings: Settings, now: float) -> None:
        """Ping as the new settings have it."""
        self.heartbeat.change(settings.websocket.ping_interval, settings.websocket.ping_timeout, now)
