"""Who hears what a tool program logs (docs/protocol.md, section 14)."""

from collections.abc import Iterator

from mcp_endpoint.broker.call import AgentWithDevices, Caller
from mcp_endpoint.broker.tool_side.program import ToolProgram
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, XIAOZHI


def listeners(tool: ToolProgram, level: int) -> Iterator[tuple[Caller, bytes | None]]:
    """Who is to hear a log message of a tool side, and the one request of theirs it may be about.

    Nothing in it says for which call it was written. So while calls are pending or tasks go on, only the agent hears it
    whose they all are; a client that asked for no level hears it only during calls of its own.
    """
    calling: dict[Caller, list[bytes]] = {}
    for call in tool.pending.values():
        calling.setdefault(call.caller, []).append(call.key)
    agents: set[AgentWithDevices] = {device.agent for device in calling}
    if tool.registration is not None:
        agents |= tool.registration.begun.keys()
    agents = agents or {tool.agent}
    for device in agents.pop().devices if len(agents) == 1 else ():
        keys = calling.get(device, [])
        if device.log_level is None:
            wanted = bool(keys) and device.client.name not in (XIAOZHI, CONSOLE)
        else:
            wanted = level >= device.log_level
        provider = device.peer.provider
        if wanted and (provider is None or (tool.registration is not None and tool.registration.alias == provider)):
            yield device, keys[0] if len(keys) == 1 else None
