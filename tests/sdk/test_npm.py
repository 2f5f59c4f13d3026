"""The official TypeScript SDK, 1.x and 2.x, and MCP Inspector's CLI at every door, with npm's servers as tool sides."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.brokers import Brokers
from support.node import INSPECTOR, OF_INSPECTOR, needs_node, npm_server, ran
from support.paths import ROOT
from support.peers import Agent, Broker, ToolSide, text_result
from support.sdks import PATIENCE, anext_call, nothing_left, piped

WAYS = [
    ("1", "http", "mcp"),
    ("1", "http", "call"),
    ("1", "sse", "sse"),
    ("1", "ws", "call"),
    ("2", "http", "mcp"),
    ("2", "http", "call"),
    ("2", "sse", "sse"),
    ("2 stateless", "http", "mcp"),
    ("2 stateless", "http", "call"),
]
"""SDK, transport and door. 2.x has no WebSocket."""

pytestmark = needs_node


@contextlib.asynccontextmanager
async def served(agent: Agent, folder: Path) -> AsyncIterator[ToolSide]:
    """server-everything and server-filesystem dialled in by the bridge, and a scripted tool program."""
    (folder / "笔记.txt").write_text("读到了\n", "utf-8")
    async with (
        piped(agent, [*npm_server("server-everything"), "stdio"]),
        piped(agent, [*npm_server("server-filesystem"), str(folder)]),
        agent.tool_side("text", "wait", server="scripted", calls=False) as program,
    ):
        async with agent.device() as device, asyncio.timeout(PATIENCE):
            while not {"echo", "read_text_file", "text"} <= set(await device.names()):
                while "list_changed" not in await device.text():
                    continue
        playing = asyncio.create_task(play(program))
        try:
            yield program
        finally:
            playing.cancel()


async def play(program: ToolSide) -> None:
    """Say what `text` is asked to; to `wait` some progress and nothing else."""
    while True:
        call = await anext_call(program)
        if call["params"]["name"] == "text":
            arguments = call["params"]["arguments"]
            await program.answer(call, text_result(arguments["letter"] * arguments["size"]))
        else:
            token = call["params"]["_meta"]["progressToken"]
            await program.notify("notifications/progress", progressToken=token, progress=1)


@pytest.mark.parametrize(("sdk", "transport", "door"), WAYS)
async def test_an_sdk_client_uses_everything(
    broker: Broker, tmp_path: Path, sdk: str, transport: str, door: str
) -> None:
    agent = broker.agent()
    url = broker.url(agent.path(door), "ws" if transport == "ws" else "http")
    async with served(agent, tmp_path) as program:
        script = str(ROOT / "tests" / "npm" / "client.mjs")
        said = json.loads(await ran(script, sdk, transport, url, str(tmp_path / "笔记.txt"), home=tmp_path))
        await program.next("notifications/cancelled")
    tools = said.pop("tools")
    assert {"echo", "trigger-long-running-operation", "read_text_file", "text", "wait"} <= set(tools)
    assert said == {
        "progress": [1, 2, 3],
        "counted": "Long running operation completed. Duration: 0.3 seconds, Steps: 3.",
        "several": True,
        "read": "读到了\n",
        "givenUp": True,
        "texts": [True, True],
        "unknown": -32602,
        "prompts": True,
        "resources": True,
    }
    if sdk != "2 stateless":
        await nothing_left(agent)


@pytest.mark.parametrize(
    ("transport", "door", "options"),
    [
        ("http", "mcp", ()),
        ("http", "call", ()),
        ("sse", "sse", ()),
        ("http", "mcp", ("--protocol-era", "modern")),
    ],
    ids=["mcp", "call", "sse", "stateless"],
)
@pytest.mark.parametrize("where", ["url", "header"])
async def test_inspectors_cli_lists_and_calls(
    broker_with: Brokers, tmp_path: Path, transport: str, door: str, options: tuple[str, ...], where: str
) -> None:
    broker = broker_with(**OF_INSPECTOR)
    agent = broker.agent()
    path = agent.path(door) if where == "url" else f"/mcp_endpoint/{door}/"
    token = () if where == "url" else ("--header", f"Authorization: Bearer {agent.token}")
    asked = (str(INSPECTOR), "--cli", broker.url(path, "http"), "--transport", transport, *options, *token)
    async with agent.tool_side("add"):
        listed = json.loads(await ran(*asked, "--method", "tools/list", home=tmp_path))
        assert [tool["name"] for tool in listed["tools"]] == ["add"]
        call = ("--method", "tools/call", "--tool-name", "add", "--tool-arg", "x=1")
        called = json.loads(await ran(*asked, *call, home=tmp_path))
    assert called["content"][0]["text"] == 'calc.add({"x": 1})'
