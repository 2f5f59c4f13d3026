"""What all connections of one port share, and what each door tells the port about the links it let in."""

from asyncio import AbstractEventLoop, all_tasks
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.link import Role
from mcp_endpoint.doors.limits.admission import Admission
from mcp_endpoint.doors.limits.fairness import Fairness
from mcp_endpoint.doors.outbox import Outbox
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tokens import Tokens


class LinkSet:
    """The links that one door let in, as the port sees them; every door registers the ones it has."""

    def __init__(self, port_state: "PortState") -> None:
        self.port_state = port_state
        port_state.link_sets.append(self)

    def counts(self) -> Mapping[str, int]:
        """How many there are of what comes and goes with them, for `/stats`; sets may share a name."""
        raise NotImplementedError

    def close(self, role: Role, end: End) -> None:
        """End the links of this side."""
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        """Work off what is overdue."""

    def reconfigure(self, settings: Settings, now: float) -> None:
        """Take over new settings; no link is dropped."""


@dataclass(slots=True)
class PortState:
    """The broker's public side: what a door needs to let peers in."""

    settings: Settings
    manager: ConnectionManager
    tokens: Tokens
    loop: AbstractEventLoop
    draining: bool = False
    """Whether the broker was asked to stop: nobody is let in any more."""
    link_sets: list[LinkSet] = field(default_factory=list)
    outbox: Outbox = field(init=False)
    admission: Admission = field(init=False)
    fairness: Fairness = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.loop)
        self.admission = Admission(lambda: self.settings.security, self.loop.time)
        self.fairness = Fairness(self.loop)

    def reconfigure(self, settings: Settings) -> None:
        """Take over new settings; no link is dropped."""
        now = self.loop.time()
        self.settings = settings
        for links in self.link_sets:
            links.reconfigure(settings, now)
        self.manager.reconfigure(settings, now)

    def close(self, role: Role, end: End) -> None:
        """End all links of one side."""
        for links in self.link_sets:
            links.close(role, end)

    def counts(self) -> dict[str, int]:
        """How much there is of what comes and goes with peers: all of it has to be gone when they are."""
        of_links: Counter[str] = Counter()
        for links in self.link_sets:
            of_links.update(links.counts())
        return {
            **of_links,
            "callers": self.admission.authenticated,
            "strangers": self.admission.unauthenticated,
            "addresses": self.admission.sources,
            "shares": len(self.fairness),
            "deadlines": len(self.manager.timers),
            "tasks": len(all_tasks(self.loop)),
        }

    def sweep(self, now: float) -> None:
        """Work off everything that is overdue; the app's one timer calls this."""
        self.manager.sweep(now)
        for links in self.link_sets:
            links.sweep(now)
