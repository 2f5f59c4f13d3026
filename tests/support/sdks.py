"""The official Python SDKs as peers: a 1.x client in .venv-mcp1, and servers dialled in by the bridge."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.paths import PROGRAMS, ROOT
from support.peers import Agent, ToolSide

CLIENT_PYTHON = ROOT / ".venv-mcp1" / "bin" / "python"
PATIENCE = 90.0
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


async def both_listed(agent: Agent) -> None:
    """Both servers have finished their handshake: seen by a device that is told of every change."""
    async with agent.device() as device, asyncio.timeout(PATIENCE):
        while sorted(await device.names()) != ["calculator", "count"]:
            while "list_changed" not in await device.text():
                continue


SDKS = {"1.x": str(CLIENT_PYTHON), "2.x": sys.executable}


async def client(sdk: str, url: str, what: str) -> Any:
    """What the client of an SDK printed."""
    script = str(PROGRAMS / "sdk_http_client.py")
    process = await asyncio.create_subprocess_exec(
        SDKS[sdk], script, url, what, stdout=PIPE, stderr=PIPE, env=environ()
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def anext_call(program: ToolSide) -> Any:
    """The next call; an SDK takes a while to start."""
    while not program.waiting("tools/call"):  # noqa: ASYNC110  its queues are bounded by less
        await asyncio.sleep(0.05)
    return await program.next("tools/call")


async def nothing_left(agent: Agent) -> None:
    """The client said that it is done, and its session is gone."""
    end = next(end for end in await agent.ended("device") if end["role"] == "device" and end["alias"] != "test")
    assert end["reason"] == "peer_closed"
    async with asyncio.timeout(PATIENCE):
        while (census := (await agent.broker.stats())["census"])["sessions"] + census["streams"] + census["callers"]:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.02)
