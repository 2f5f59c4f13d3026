"""A request on its way to a tool side: a device's, or one of the broker's own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw, Struct

from mcp_endpoint.errors import Fault
from mcp_endpoint.wire import envelope as wire

if TYPE_CHECKING:
    from mcp_endpoint.broker.relay import Relay
    from mcp_endpoint.broker.tasks import Task
    from mcp_endpoint.broker.timers import Timer
    from mcp_endpoint.broker.tool_side import ToolSide


class Call(Struct, gc=False, eq=False):
    """A device's request on its way to a tool side. It is pending on both until it has its one outcome."""

    relay: "Relay"
    id: bytes
    key: bytes
    name: str
    sent: float
    deadline: float
    progress_token: Raw | None = None
    is_tool_call: bool = True
    overdue: Fault = Fault.CALL_TIMED_OUT
    """What is said if it is not answered in time."""
    done: Callable[[bool], None] | None = None
    """Told whether it had a result, once it was answered."""
    rewrite: "Rewrite | None" = None
    """What its result is made into, where the client cannot have it as it is."""
    task: "Task | None" = None
    """The one whose result it waits for."""
    asks: int = 0
    """Requests of the tool side to the client that are taken to be made for it."""
    number: int = 0
    """Its id towards the tool side, which is its progress token there; 0 if it has none."""

    def renew(self, now: float) -> None:
        """Give it its time anew, where its client's time is so (`Link.call_timeout`)."""
        timeout = self.relay.device.link.call_timeout
        if timeout is not None:
            self.deadline = max(self.deadline, now + timeout)


Rewrite = Callable[[Call, "ToolSide", Raw, float], Raw]


class Asked(NamedTuple):
    """A request of the broker's own on its way; `answered` gets None when the deadline passes first."""

    answered: Callable[[wire.Envelope | None, float], None]
    timer: "Timer | None"
