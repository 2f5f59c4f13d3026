"""A scripted client of the stateless era, 2026-07-28, and a tool side that has some of everything."""

import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from support.clients.mcp_http import McpClient
from support.peers import Agent, Frame, ToolSide

REVISION = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
META = {
    f"{PREFIX}protocolVersion": REVISION,
    f"{PREFIX}clientInfo": {"name": "modern", "version": "1"},
    f"{PREFIX}clientCapabilities": {},
}
RESOURCES = {
    "capabilities": {
        "tools": {},
        "prompts": {},
        "resources": {"subscribe": True, "listChanged": True},
        "logging": {},
    }
}
RESULTS: Frame = {
    "prompts/list": {"prompts": [{"name": "greet"}]},
    "prompts/get": {"messages": []},
    "resources/list": {"resources": [{"uri": "note:1", "name": "one"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "note:{n}", "name": "any"}]},
    "resources/read": {"contents": [{"uri": "note:1", "text": "x"}], "ttlMs": 5000},
    "resources/subscribe": {},
    "resources/unsubscribe": {},
    "completion/complete": {"completion": {"values": ["a"]}},
    "logging/setLevel": {},
}


def asking(method: str, id_: object = 1, meta: Frame | None = None, **params: object) -> Frame:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params | {"_meta": META | (meta or {})}}


def heads(message: Frame) -> dict[str, str | None]:
    """The headers that belong to a message."""
    params = message.get("params", {})
    name = params.get("name", params.get("uri"))
    found: dict[str, str | None] = {"MCP-Protocol-Version": REVISION, "Mcp-Method": message["method"]}
    if name is not None:
        plain = name.isascii() and name == name.strip()
        found["Mcp-Name"] = name if plain else f"=?base64?{base64.b64encode(name.encode()).decode()}?="
    return found


async def ask(client: McpClient, message: Frame, **headers: str | None) -> Any:
    return await client.post(message, **{**heads(message), **headers})


@contextlib.asynccontextmanager
async def served(agent: Agent, *tools: str | Frame, **behaviour: Any) -> AsyncIterator[ToolSide]:
    """A tool side that has some of everything."""
    whole = {"introduction": RESOURCES, "results": RESULTS} | behaviour
    async with agent.tool_side(*(tools or ("add",)), **whole) as program:
        yield program
