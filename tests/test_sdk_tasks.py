"""Tasks of 2025-11-25 between the official SDKs: their clients, and a server that goes on with a call."""

import asyncio
import json
from pathlib import Path

from sources import needs_node, npm_server
from support import ROOT, Broker
from test_sdk import PATIENCE, piped
from test_sdk_http import client
from test_sdk_npm import ran


@needs_node
async def test_sdk_clients_call_a_tool_of_server_everything_as_a_task(broker: Broker, tmp_path: Path) -> None:
    agent = broker.agent()
    url = broker.url(agent.path("mcp"), "http")
    script = str(ROOT / "tests" / "npm" / "tasks.mjs")
    arguments = json.dumps({"topic": "茶"})
    async with piped(agent, [*npm_server("server-everything"), "stdio"]):
        async with agent.device() as device, asyncio.timeout(PATIENCE):
            while "simulate-research-query" not in await device.names():
                while "list_changed" not in await device.text():
                    continue
        python, typescript = await asyncio.gather(
            client("1.x", url, "task"), ran(script, url, "simulate-research-query", arguments, home=tmp_path)
        )
    assert python == {
        "version": "2025-11-25",
        "statuses": ["completed", "working"],
        "result": True,
        "listed": [[True, "completed"]],
        "progress": [],
    }
    created, status, text = json.loads(typescript)
    assert (created, status) == ("taskCreated", "taskStatus")
    assert "Research Report: 茶" in text
