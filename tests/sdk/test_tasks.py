"""Tasks of 2025-11-25 between the official SDKs: their clients, and a server that goes on with a call."""

import asyncio
import json
from pathlib import Path

from support.brokers import Brokers
from support.node import needs_node, npm_server, ran
from support.paths import ROOT
from support.peers import Agent
from support.sdks import PATIENCE, client, piped


@needs_node
async def test_sdk_clients_call_a_tool_of_server_everything_as_a_task(opening: Brokers, tmp_path: Path) -> None:
    """The one server dials in through the bridge, the other is opened by the broker."""
    command, *args = npm_server("server-everything")
    broker = opening(everything={"command": command, "args": [*args, "stdio"], "agents": ["opened"]})
    agent, opened = broker.agent(), Agent(broker, "opened")
    script = str(ROOT / "tests" / "npm" / "tasks.mjs")
    arguments = json.dumps({"topic": "茶"})
    async with piped(agent, [command, *args, "stdio"]):
        async with agent.device() as device, asyncio.timeout(PATIENCE):
            while "simulate-research-query" not in await device.names():
                while "list_changed" not in await device.text():
                    continue
        urls = [broker.url(one.path("mcp"), "http") for one in (agent, opened)]
        python, *typescript = await asyncio.gather(
            client("1.x", urls[0], "task"),
            *(ran(script, url, "simulate-research-query", arguments, home=tmp_path) for url in urls),
        )
    assert python == {
        "version": "2025-11-25",
        "statuses": ["completed", "working"],
        "result": True,
        "listed": [[True, "completed"]],
        "progress": [],
    }
    for printed in typescript:
        created, status, text = json.loads(printed)
        assert (created, status) == ("taskCreated", "taskStatus")
        assert "Research Report: 茶" in text
