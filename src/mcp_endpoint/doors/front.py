"""What all connections of one port share."""

from asyncio import AbstractEventLoop, Event
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn

from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.doors.heartbeat import Heartbeat
from mcp_endpoint.doors.outbox import Outbox
from mcp_endpoint.settings import Settings
from mcp_endpoint.tokens import Tokens

if TYPE_CHECKING:
    from mcp_endpoint.doors.websocket import WebSocketLink


@dataclass(slots=True)
class Front:
    """The broker's public side: what a door needs to let peers in, and the links it let in."""

    settings: Settings
    manager: ConnectionManager
    tokens: Tokens
    loop: AbstractEventLoop
    outbox: Outbox
    heartbeat: Heartbeat
    draining: bool = False
    links: "dict[WebSocketLink, None]" = field(default_factory=dict)
    emptied: Event = field(default_factory=Event)
    """Set when the last link went away while draining."""

    def gone(self, link: "WebSocketLink") -> None:
        """A link's transport is closed."""
        self.links.pop(link, None)
        if self.draining and not self.links:
            self.emptied.set()

    def sweep(self, now: float) -> None:
        """Work off everything that is overdue; the app's one timer calls this."""
        self.manager.sweep(now)
        self.heartbeat.sweep(now)


class FrontConfig(uvicorn.Config):
    """uvicorn's configuration, by which its protocol classes find the front."""

    def __init__(self, front: Front, **options: Any) -> None:
        super().__init__(**options)
        self.front = front
