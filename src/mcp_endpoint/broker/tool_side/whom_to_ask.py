"""Which client a tool side's request is for: its model, its user, its roots (docs/protocol.md, section 15).

Nothing in MCP says for which call such a request is made. So it goes to a client only if that is the only one that has
a call in flight on the tool side and can serve it, where the settings of its agent allow it; never to a bystander.
"""

from msgspec import UNSET, Raw, UnsetType

from mcp_endpoint.broker.call import AgentWithDevices, Call, Caller
from mcp_endpoint.broker.tool_side.program import ToolProgram
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

ASKED_AT_ONCE = 0.5
"""Seconds for which a client that went away with a question may be meant by another: a tool side that wants to know
several things of it asks them at once. After them it waits, and what it asks is for somebody else.
"""


def whom_to_ask(tool: ToolProgram, ability: str, params: Raw | UnsetType, now: float) -> Call | None:
    """A call of the only client that can be asked, the one that it made last; None if there is none, or are several.

    What is asked for a task goes to who waits for the task's result. Else all calls and tasks on the tool side have to
    be one agent's: those that cannot be asked, too, for it may be meant for them.
    """
    task = _task_of(tool, params)
    found: Call | None = None
    clients: set[object] = set()
    agents: set[AgentWithDevices] = set() if tool.registration is None else set(tool.registration.begun)
    for call in tool.pending.values():
        device = call.caller
        agents.add(device.agent)
        if ability not in device.abilities or not device.may_be_asked(ability):
            continue
        if task is not None and call.task is not task:
            continue
        if device.away_since is None:
            if found is not None and found.caller is not device:
                return None
            found = call
        elif now <= device.away_since + ASKED_AT_ONCE:
            clients.add(_client_of(device))
    if found is None or not clients <= {_client_of(found.caller)}:
        return None
    return found if task is not None or len(agents) == 1 else None


def _task_of(tool: ToolProgram, params: Raw | UnsetType) -> object | None:
    """The task that a request says it belongs to; something that is none of them if it is not known here."""
    if params is UNSET or b"related-task" not in bytes(params):
        return None
    meta = wire.members((wire.members(params) or {}).get("_meta", UNSET)) or {}
    related = wire.members(meta.get(mcp.RELATED_TASK, UNSET))
    if related is None:
        return None
    own = mcp.string(related.get("taskId"))
    return (tool.registration.tasks.get(own) if tool.registration is not None and own is not None else None) or related


def _client_of(device: Caller) -> object:
    """What tells a client from others: its link, or of one that has a link for each request all that is known of it."""
    peer = device.peer
    if not peer.stateless:
        return device
    return device.agent, peer.address.rpartition(":")[0], peer.user_agent, device.client


def refuse_to_ask(tool: ToolProgram, id_: bytes, ability: str, params: Raw | UnsetType) -> None:
    """There is no client to ask. A stateless one that it can only be meant for hears that its request needs it.

    It says with each request what it can be asked, and there is an error for what it lacks (-32021); to the others the
    tool side says what it wants.
    """
    tool.link.send(tool.failure(id_, Fault.NOBODY_TO_ASK, ability=ability))
    others = tool.registration is not None and tool.registration.begun
    if len(tool.pending) != 1 or others or _task_of(tool, params) is not None:
        return
    (call,) = tool.pending.values()
    device = call.caller
    if device.may_be_asked(ability) and call.is_tool_call and device.peer.stateless and ability not in device.abilities:
        device.lacks(call, ability)
