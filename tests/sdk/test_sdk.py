"""The official SDKs at both ends: a 1.x client over WebSocket, and 2.x servers dialled in through `pipe`."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

from support.paths import ROOT
from support.peers import Agent, Broker

CLIENT_PYTHON = ROOT / ".venv-mcp1" / "bin" / "python"
PATIENCE = 40.0
"""Seconds that importing an SDK may take on a busy machine."""


def environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    return kept | {"NO_PROXY": "*"}


@contextlib.asynccontextmanager
async def piped(agent: Agent, server: Path | list[str]) -> AsyncIterator[None]:
    """A stdio server dialled in by the bridge, as users do it: a command, or a Python program."""
    command = server if isinstance(server, list) else [sys.executable, str(server)]
    pipe = [str(ROOT / "main.py"), "pipe", agent.tool_url, "--", *command]
    bridge = await asyncio.create_subprocess_exec(sys.executable, *pipe, stdout=PIPE, stderr=STDOUT, env=environ())
    try:
        yield
    finally:
        bridge.terminate()
        async with asyncio.timeout(PATIENCE):
            said, _ = await bridge.communicate()
        assert b"Traceback" not in said, said.decode()
        assert agent.token.encode() not in said


async def test_an_sdk_client_calls_sdk_servers_through_the_bridge(broker: Broker) -> None:
    assert CLIENT_PYTHON.exists(), (
        "The environment of the official 1.x client is missing: run `make test`, or `make .venv-mcp1/stamp` first."
    )
    agent = broker.agent()
    async with (
        piped(agent, ROOT / "examples" / "calculator.py"),
        piped(agent, ROOT / "tests" / "support" / "sdk_server.py"),
    ):
        await both_listed(agent)
        script = str(ROOT / "tests" / "support" / "sdk_client.py")
        client = await asyncio.create_subprocess_exec(
            str(CLIENT_PYTHON), script, agent.device_url, stdout=PIPE, stderr=PIPE, env=environ()
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await client.communicate()
        assert client.returncode == 0, err.decode()
        said = json.loads(out)
        links = (await agent.report())["links"]
    assert said["unknown"], "an unknown tool is an error the SDK raises"
    assert "9**9**9" not in said["refused"]
    del said["unknown"], said["refused"]
    assert said == {
        "server": "mcp-endpoint",
        "version": "2025-11-25",
        "tools": ["calculator", "count"],
        "product": "16900000000",
        "product failed": False,
        "refused failed": True,
        "counted": "counted to 3",
        "progress": [[1, 3, "步骤 1"], [2, 3, "步骤 2"], [3, 3, "步骤 3"]],
        "several": [str(number + 1) for number in range(20)],
    }
    assert {link["info"]["name"] for link in links} == {"Calculator", "Counter"}
    (end, *_) = await agent.ended("device")
    assert end["reason"] == "peer_closed"


async def both_listed(agent: Agent) -> None:
    """Both servers have finished their handshake: seen by a device that is told of every change."""
    async with agent.device() as device, asyncio.timeout(PATIENCE):
        while sorted(await device.names()) != ["calculator", "count"]:
            while "list_changed" not in await device.text():
                continue
