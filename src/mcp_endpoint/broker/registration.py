"""A tool side's place in its agent, and what is offered from there."""

from collections import deque
from typing import TYPE_CHECKING

from mcp_endpoint.broker.link import Ended
from mcp_endpoint.broker.offers.offer import Offers

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.device_side import DeviceSide
    from mcp_endpoint.broker.tasks import Task
    from mcp_endpoint.broker.timers import Timer
    from mcp_endpoint.broker.tool_side import ToolSide

RETURNS_KEPT = 100
NAMES_KEPT = 4096
"""Names of tools that were listed from a place, before those of earlier lists are forgotten."""


class Registration:
    """A tool side's place in its agent: it outlives the link, so that a program that reconnects finds its alias.

    `live` serves; `standby` are programs that look just like it (same identity, same tool names), newest first.
    """

    __slots__ = (
        "_deadline",
        "alias",
        "begun",
        "gone",
        "gone_at",
        "identity",
        "live",
        "offers",
        "own_names",
        "owner",
        "returns",
        "standby",
        "subscribers",
        "tasks",
        "withdrawn",
    )

    def __init__(self, owner: str, identity: str, alias: str) -> None:
        self.owner = owner
        """The agent whose token it came with."""
        self.identity = identity
        self.alias = alias
        self.offers: Offers = {}
        self.own_names: dict[str, str] = {}
        """Names that tools had in any list, and what their program calls them, if that is told (`Peer.own_names`)."""
        self.withdrawn = False
        """Whether its agent is to have its tool side no longer."""
        self.live: ToolSide | None = None
        self.standby: list[ToolSide] = []
        self.subscribers: dict[str, dict[DeviceSide, str]] = {}
        """Own URI of a resource → who wants to hear of its changes, and the URI they know it by."""
        self.tasks: dict[str, Task] = {}
        """By the tool side's own ids: calls that it goes on with, or went on with."""
        self.begun: dict[Agent, int] = {}
        """How many of them are not over, for each agent that has any."""
        self.gone: Ended | None = None
        """How the link that served last ended."""
        self.gone_at = 0.0
        self.returns: deque[float] = deque(maxlen=RETURNS_KEPT)
        """When it came back, monotonic seconds."""
        self._deadline: Timer | None = None

    def listed(self, tool: "ToolSide") -> None:
        """The tool side that serves from here said what it has."""
        self.offers = tool.offers
        names = tool.link.peer.own_names
        if names is not None:
            known = self.own_names if len(self.own_names) < NAMES_KEPT else {}
            self.own_names = {**known, **names()}

    def count_begun(self, agent: "Agent", more: int) -> None:
        """So many more of an agent's tasks here are not over."""
        count = self.begun.get(agent, 0) + more
        if count:
            self.begun[agent] = count
        else:
            del self.begun[agent]

    def wait_until(self, deadline: "Timer | None") -> None:
        """Keep it while it is away until that deadline, and no other; None: nobody is waited for."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline
