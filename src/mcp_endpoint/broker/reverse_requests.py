"""What tool sides ask a client: its model, its user, its roots (docs/protocol.md, section 15).

Nothing in MCP says for which call such a request is made. So it goes to a client only if that is the only one that has
a call in flight on the tool side and can serve it, where the settings of its agent allow it; never to a bystander.
"""

from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.errors import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.repair.error_objects import proper
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, XIAOZHI

if TYPE_CHECKING:
    from mcp_endpoint.broker.call import Call
    from mcp_endpoint.broker.device_side import DeviceSide
    from mcp_endpoint.broker.tool_side import ToolSide

ASKED_AT_ONCE = 0.5
"""Seconds for which a client that went away with a question may be meant by another: a tool side that wants to know
several things of it asks them at once. After them it waits, and what it asks is for somebody else.
"""
MOST_ASKED = 32
"""Requests of one tool side that wait for answers of clients."""


class ReverseRequest(NamedTuple):
    """A tool side's request on its way. `id` is as the tool side spelled it, `call` what it is taken to be made for."""

    tool: "ToolSide"
    id: bytes
    call: "Call"


class ReverseRequests:
    """What one client is asked by tool sides."""

    __slots__ = ("_asked", "_device", "_last")

    def __init__(self, device: "DeviceSide") -> None:
        self._device = device
        self._asked: dict[int, ReverseRequest] = {}
        self._last = 0

    def ask(
        self, tool: "ToolSide", id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, call: "Call", now: float
    ) -> None:
        """Send a request on, under an id of this link. The call has its time anew: a person may have to answer."""
        self._last += 1
        self._asked[self._last] = ReverseRequest(tool, id_, call)
        tool.reverse_requests[key] = (self._device, self._last)
        call.asks += 1
        call.renew(now)
        # params:null never reaches a client either: TypeScript programs ignore such a request.
        frame = wire.request(self._last, method, UNSET if raw == wire.NULL else raw)
        self._device.link.send(frame, call.key)

    def answered(self, envelope: wire.Envelope, now: float) -> bool:
        """The client answers; whether it was asked for that."""
        raw = b"" if envelope.id is UNSET else bytes(envelope.id)
        asked = self._take(int(raw)) if raw.isdigit() and len(raw) <= 10 else None
        if asked is None:
            return False
        asked.call.renew(now)
        if envelope.result is not UNSET and (envelope.result != wire.NULL or envelope.error is UNSET):
            frame = wire.result(asked.id, envelope.result)
        elif envelope.error is not UNSET and envelope.error != wire.NULL:
            frame = wire.error(asked.id, proper(envelope.error))
        else:
            frame = asked.tool.failure(asked.id, Fault.NO_ANSWER)
        asked.tool.link.send(wire.one_line(frame))
        return True

    def give_up(self, number: int, reason: Raw | None) -> None:
        """The tool side does not want to know any more."""
        question = self._take(number)
        if question is not None:
            self._tell_cancelled(number, question.call, reason)

    def call_over(self, call: "Call") -> None:
        """A call has its outcome: what was asked on its way is of no use any more."""
        for number in [number for number, asked in self._asked.items() if asked.call is call]:
            asked = self._take(number)
            assert asked is not None
            self._tell_cancelled(number, call, None)
            asked.tool.link.send(asked.tool.failure(asked.id, Fault.NO_ANSWER))

    def _tell_cancelled(self, number: int, call: "Call", reason: Raw | None) -> None:
        """On the stream of the call, where the question came."""
        params = {"requestId": number} | ({"reason": reason} if reason is not None else {})
        self._device.link.send(wire.notification(mcp.CANCELLED, encode(params)), call.key)

    def _take(self, number: int) -> ReverseRequest | None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.call.asks -= 1
            key = wire.id_key(asked.id)
            assert key is not None, "it had one when it was asked"
            asked.tool.reverse_requests.pop(key, None)
        return asked


def abilities_of(device: "DeviceSide", capabilities: Raw | UnsetType) -> frozenset[str]:
    """What a client says that it can be asked for."""
    if device.client.name in (XIAOZHI, CONSOLE):
        return frozenset()  # they say so, and only log what they are asked
    offered = wire.members(capabilities) or {}
    return frozenset(name for name in mcp.ASKS.values() if wire.members(offered.get(name, UNSET)) is not None)


def whom_to_ask(tool: "ToolSide", ability: str, params: Raw | UnsetType, now: float) -> "Call | None":
    """A call of the only client that can be asked, the one that it made last; None if there is none, or are several.

    What is asked for a task goes to who waits for the task's result. Else all calls and tasks on the tool side have to
    be one agent's: those that cannot be asked, too, for it may be meant for them.
    """
    task = _task_of(tool, params)
    found: Call | None = None
    clients, agents = set(), set() if tool.registration is None else set(tool.registration.begun)
    for call in tool.pending.values():
        device = call.relay.device
        agents.add(device.agent)
        if ability not in device.abilities or ability not in device.agent.limits.ask_clients:
            continue
        if task is not None and call.task is not task:
            continue
        if device.away_since is None:
            if found is not None and found.relay.device is not device:
                return None
            found = call
        elif now <= device.away_since + ASKED_AT_ONCE:
            clients.add(_client_of(device))
    if found is None or not clients <= {_client_of(found.relay.device)}:
        return None
    return found if task is not None or len(agents) == 1 else None


def _task_of(tool: "ToolSide", params: Raw | UnsetType) -> object | None:
    """The task that a request says it belongs to; something that is none of them if it is not known here."""
    if params is UNSET or b"related-task" not in bytes(params):
        return None
    meta = wire.members((wire.members(params) or {}).get("_meta", UNSET)) or {}
    related = wire.members(meta.get(mcp.RELATED_TASK, UNSET))
    if related is None:
        return None
    own = mcp.string(related.get("taskId"))
    return (tool.registration.tasks.get(own) if tool.registration is not None and own is not None else None) or related


def _client_of(device: "DeviceSide") -> object:
    """What tells a client from others: its link, or of one that has a link for each request all that is known of it."""
    peer = device.link.peer
    if not peer.brief:
        return device
    return device.agent, peer.address.rpartition(":")[0], peer.user_agent, device.client


def refuse_to_ask(tool: "ToolSide", id_: bytes, ability: str, params: Raw | UnsetType) -> None:
    """There is no client to ask. A stateless one that it can only be meant for hears that its request needs it.

    It says with each request what it can be asked, and there is an error for what it lacks (-32021); to the others the
    tool side says what it wants.
    """
    tool.link.send(tool.failure(id_, Fault.NOBODY_TO_ASK, ability=ability))
    others = tool.registration is not None and tool.registration.begun
    if len(tool.pending) != 1 or others or _task_of(tool, params) is not None:
        return
    (call,) = tool.pending.values()
    device = call.relay.device
    allowed = ability in device.agent.limits.ask_clients
    if allowed and call.is_tool_call and device.link.peer.brief and ability not in device.abilities:
        call.relay.lacks(call, tool, ability)
