"""Log messages of tool sides: how much they are asked to tell, and who hears it (docs/protocol.md, section 14)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.json import encode

from mcp_endpoint.wire.mcp import LEVELS
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, XIAOZHI

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.device_side import DeviceSide
    from mcp_endpoint.broker.tool_side import ToolSide

LEVEL_TIMEOUT = 10.0
"""Seconds a tool side has to answer `logging/setLevel`; nothing depends on the answer."""


def renew_levels(agent: "Agent", now: float) -> None:
    """Have every tool side that serves the agent log as much as the most curious client wants to hear."""
    for owner in (agent, *agent.sources):
        level = _lowest(owner)
        for tool in owner.tools:
            if level is not None and tool.log_level != level and "logging" in tool.capabilities:
                tool.log_level = level
                params = encode({"level": LEVELS[level]})
                tool.ask("logging/setLevel", params, lambda *_: None, now + LEVEL_TIMEOUT)


def _lowest(agent: "Agent") -> int | None:
    """The lowest level that any client of the agent, or of one it serves, asked for."""
    levels = [device.log_level for one in (agent, *agent.followers) for device in one.devices]
    return min((level for level in levels if level is not None), default=None)


def listeners(tool: "ToolSide", level: int) -> Iterator[tuple["DeviceSide", bytes | None]]:
    """Who is to hear a log message of a tool side, and the one request of theirs it may be about.

    Nothing in it says for which call it was written. So while calls are pending or tasks go on, only the agent hears it
    whose they all are; a client that asked for no level hears it only during calls of its own.
    """
    calling: dict[DeviceSide, list[bytes]] = {}
    for call in tool.pending.values():
        calling.setdefault(call.relay.device, []).append(call.key)
    agents = {device.agent for device in calling}
    if tool.registration is not None:
        agents |= tool.registration.begun.keys()
    agents = agents or {tool.agent}
    for device in agents.pop().devices if len(agents) == 1 else ():
        keys = calling.get(device, [])
        if device.log_level is None:
            wanted = bool(keys) and device.client.name not in (XIAOZHI, CONSOLE)
        else:
            wanted = level >= device.log_level
        provider = device.link.peer.provider
        if wanted and (provider is None or (tool.registration is not None and tool.registration.alias == provider)):
            yield device, keys[0] if len(keys) == 1 else None
