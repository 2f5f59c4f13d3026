"""What all connections of one port share."""

from asyncio import AbstractEventLoop, Event, all_tasks
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

import uvicorn

from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.doors.http.stateless.input_required import InputRequiredRequests
from mcp_endpoint.doors.http.streamable.sessions import Sessions
from mcp_endpoint.doors.limits.admission import Admission
from mcp_endpoint.doors.limits.fairness import Fairness
from mcp_endpoint.doors.websocket.heartbeat import Heartbeat
from mcp_endpoint.doors.websocket.outbox import Outbox
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import Tokens

if TYPE_CHECKING:
    from mcp_endpoint.doors.http.connection import HttpDoor
    from mcp_endpoint.doors.http.event_link import EventLink
    from mcp_endpoint.doors.websocket.link import WebSocketLink


@dataclass(slots=True)
class PortState:
    """The broker's public side: what a door needs to let peers in, and the links it let in."""

    settings: Settings
    manager: ConnectionManager
    tokens: Tokens
    loop: AbstractEventLoop
    outbox: Outbox
    heartbeat: Heartbeat
    draining: bool = False
    links: "dict[WebSocketLink, None]" = field(default_factory=dict)
    """The connections that were upgraded and not refused."""
    unfinished: "dict[WebSocketLink, float]" = field(default_factory=dict)
    """Links in the middle of a message, and the moment until which it has to be whole; the earliest first."""
    callers: "dict[HttpDoor, None]" = field(default_factory=dict)
    """Connections over which a good token came with an HTTP request."""
    event_links: "dict[EventLink, None]" = field(default_factory=dict)
    """Requests without a session that have no answer yet, and clients that read one stream of events."""
    sessions: Sessions = field(init=False)
    admission: Admission = field(init=False)
    fairness: Fairness = field(init=False)
    input_required: InputRequiredRequests = field(init=False)
    emptied: Event = field(default_factory=Event)
    """Set when the last link went away while draining."""

    def __post_init__(self) -> None:
        self.sessions = Sessions(self)
        self.admission = Admission(lambda: self.settings.security, self.loop.time)
        self.fairness = Fairness(self.loop)
        self.input_required = InputRequiredRequests(self)

    def reconfigure(self, settings: Settings) -> None:
        """Take over new settings; no link is dropped."""
        now = self.loop.time()
        self.settings = settings
        self.heartbeat.change(settings.websocket.ping_interval, settings.websocket.ping_timeout, now)
        self.manager.reconfigure(settings, now)

    def gone(self, link: "WebSocketLink") -> None:
        """A link's transport is closed, or it was refused; safe to do twice."""
        self.links.pop(link, None)
        if self.draining and not self.links:
            self.emptied.set()

    def census(self) -> dict[str, int]:
        """How much there is of what comes and goes with peers: all of it has to be gone when they are."""
        return {
            "links": len(self.links),
            "callers": len(self.callers),
            "sessions": len(self.sessions),
            "requests": len(self.event_links),
            "streams": self.sessions.readers,
            "strangers": self.admission.strangers,
            "addresses": self.admission.sources,
            "shares": len(self.fairness),
            "unfinished": len(self.unfinished),
            "pinged": len(self.heartbeat),
            "deadlines": len(self.manager.timers),
            "tasks": len(all_tasks(self.loop)),
        }

    def sweep(self, now: float) -> None:
        """Work off everything that is overdue; the app's one timer calls this."""
        self.manager.sweep(now)
        self.heartbeat.sweep(now)
        self.sessions.sweep(now)
        while self.unfinished:
            link, deadline = next(iter(self.unfinished.items()))
            if deadline > now:
                break
            del self.unfinished[link]
            link.too_long()


class PortConfig(uvicorn.Config):
    """uvicorn's configuration, by which its protocol classes find the state; with `tls` the port speaks TLS."""

    def __init__(self, port_state: PortState, tls: SSLContext | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.port_state = port_state
        self._tls = tls

    def load(self) -> None:
        """As uvicorn has it, with our own TLS context."""
        super().load()
        self.ssl = self._tls
