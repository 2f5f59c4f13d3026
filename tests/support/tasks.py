"""Tasks of MCP 2025-11-25: a tool side that makes its calls tasks, and a client that knows them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from support.peers import Agent, Device, Frame, ToolSide, tool

REVISION = "2025-11-25"
CAPABILITY = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
INTRODUCTION = {"protocolVersion": REVISION, "capabilities": {"tools": {}, "tasks": CAPABILITY}}
COOK = tool("cook", execution={"taskSupport": "optional"})
RELATED = "io.modelcontextprotocol/related-task"


def task(id_: str, status: str = "working", **more: object) -> Frame:
    stamp = "2026-11-25T12:00:00Z"
    return {"taskId": id_, "status": status, "createdAt": stamp, "lastUpdatedAt": stamp, "ttl": 60_000} | more


@contextlib.asynccontextmanager
async def client(agent: Agent, revision: str = REVISION, name: str = "test") -> AsyncIterator[Device]:
    async with agent.device(None) as device:
        device.capabilities = await greeted(device, revision, name)  # type: ignore[attr-defined]
        yield device


async def greeted(device: Device, revision: str, name: str) -> Frame:
    """Shake hands; the capabilities that the broker claims."""
    info = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
    answer = await device.request("initialize", info)
    await device.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    capabilities = answer["result"]["capabilities"]
    assert isinstance(capabilities, dict)
    return capabilities


def cook(agent: Agent, **more: Any) -> Any:
    return agent.tool_side(COOK, **{"introduction": INTRODUCTION | more.pop("introduction", {}), "calls": False} | more)


async def begun(device: Device, program: ToolSide, own: str, tool: str = "cook", **meta: object) -> str:
    """The id under which a client knows the task that its call has become."""
    params = {"name": tool, "arguments": {}, "task": {"ttl": 60_000}} | ({"_meta": meta} if meta else {})
    await device.send({"jsonrpc": "2.0", "id": f"begin {own}", "method": "tools/call", "params": params})
    call = await program.next("tools/call")
    assert call["params"]["task"] == {"ttl": 60_000}
    await program.answer(call, {"task": task(own, token=call["params"].get("_meta", {}).get("progressToken"))})
    made = (await device.reply(f"begin {own}"))["result"]["task"]
    assert made == task(made["taskId"], token=made["token"]), "the rest is as the tool side said it"
    return str(made["taskId"])
