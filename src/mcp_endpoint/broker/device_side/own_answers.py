"""Requests of a client that the broker answers itself (docs/protocol.md, sections 9.3, 14 and 16)."""

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.agent_state import AgentState
from mcp_endpoint.broker.call import Caller
from mcp_endpoint.broker.tool_side.program import ToolProgram
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, XIAOZHI


def initialize(agent: AgentState, device: Caller, id_: bytes, key: bytes, raw: Raw | UnsetType) -> None:
    """`initialize`: take note of who the client is, and introduce the agent."""
    revision, device.client, capabilities = mcp.read_initialize(raw)
    device.abilities = _abilities_of(device, capabilities)
    device.protocol_version = revision if revision in mcp.REVISIONS else mcp.NEWEST
    device.link.send(wire.result(id_, _introduction(agent, device)), key)


def set_level(agent: AgentState, device: Caller, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
    """`logging/setLevel` is this client's wish; tool sides are asked for the lowest of all."""
    level = mcp.string((wire.members(raw) or {}).get("level"))
    if level not in mcp.LEVELS:
        device.fail(id_, Fault.BAD_PARAMS, member=f"level ({', '.join(mcp.LEVELS)})")
        return
    device.log_level = mcp.LEVELS.index(level)
    device.link.send(wire.result(id_, b"{}"), key)
    agent.renew_log_levels(now)


def list_tasks(agent: AgentState, device: Caller, id_: bytes, key: bytes, raw: Raw | UnsetType) -> None:
    """`tasks/list`: each as it was told of last."""
    cursor = (wire.members(raw) or {}).get("cursor", wire.NULL)
    asked = None if cursor == wire.NULL else mcp.string(cursor) or ""
    listed = agent.tasks.listed(device.peer.provider, asked)
    if listed is None:
        device.fail(id_, Fault.BAD_CURSOR)
    else:
        device.link.send(wire.result(id_, listed), key)


def _abilities_of(device: Caller, capabilities: Raw | UnsetType) -> frozenset[str]:
    """What a client says that it can be asked for."""
    if device.client.name in (XIAOZHI, CONSOLE):
        return frozenset()  # they say so, and only log what they are asked
    offered = wire.members(capabilities) or {}
    return frozenset(name for name in mcp.ASKS.values() if wire.members(offered.get(name, UNSET)) is not None)


def _introduction(agent: AgentState, device: Caller) -> bytes:
    """The result of `initialize`, in the words of the only tool side if there is just one."""
    live = agent.live_tools(device.peer.provider)
    server: object = {"name": "mcp-endpoint", "version": agent.broker.version}
    if len(live) == 1 and live[0].server_info is not None:
        server = Raw(live[0].server_info)
    told = [(tool.name, tool.instructions) for tool in live if tool.instructions]
    answer = {
        "protocolVersion": device.protocol_version,
        "capabilities": _capabilities(agent, live, device),
        "serverInfo": server,
    }
    if len(live) == 1 and told:
        answer["instructions"] = told[0][1]
    elif told:
        answer["instructions"] = "\n\n".join(f"# {name}\n{text}" for name, text in told)
    return encode(answer)


def _capabilities(agent: AgentState, live: list[ToolProgram], device: Caller) -> dict[str, object]:
    """What can be routed; all of it while tool sides may still come that the client would not hear of later."""
    everything = not live or any(tool.awaited(kind) for tool in agent.all_tools() for kind in Kind)
    there = {name for tool in live for name in tool.capabilities}
    there |= {kind.capability for kind in Kind if agent.catalogue[kind].definitions}
    known: dict[str, object] = {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "completions": {},
        "logging": {},
    }
    if device.does_tasks:
        known["tasks"] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    return {name: facts for name, facts in known.items() if everything or name in there or name == "tools"}
