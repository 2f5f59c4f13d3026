"""The ways to the everything-server: directly, through the broker, and through the broker in three parts."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from everything import PARTS
from relay import Relay
from support.paths import ROOT
from support.peers import Agent, Broker
from support.sockets import PATIENCE

SERVER = Path(__file__).with_name("everything.py")
SETTINGS: dict[str, object] = {"poll_after": 2, "ask_clients": "sampling, elicitation, roots"}
"""The broker's, where they differ from the shipped ones: a suite that looks at polling does not wait for a minute, and
the tools that ask their client may do so.
"""


@dataclass(frozen=True)
class Target:
    """Where a suite is sent to."""

    url: str
    with_header: str
    """The same for scenarios that leave out the query: here the token is added on the way."""


Setup = Callable[[Path], AbstractAsyncContextManager[Target]]


@contextlib.asynccontextmanager
async def directly(folder: Path) -> AsyncIterator[Target]:
    """The server alone, by its own Streamable HTTP."""
    with (folder / "server.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            sys.executable, str(SERVER), "--http", stdin=DEVNULL, stdout=PIPE, stderr=log
        )
        try:
            assert server.stdout is not None
            async with asyncio.timeout(PATIENCE):
                port = int(await server.stdout.readline())
            url = f"http://127.0.0.1:{port}/mcp"
            yield Target(url, url)
        finally:
            await ended(server)


@contextlib.asynccontextmanager
async def through_the_broker(folder: Path) -> AsyncIterator[Target]:
    """The server as one tool program."""
    async with relayed(folder, {}) as target:
        yield target


@contextlib.asynccontextmanager
async def in_three_parts(folder: Path) -> AsyncIterator[Target]:
    """Three tool programs that serve one part each, told apart by `server_id`."""
    async with relayed(folder, {part: ["--part", part] for part in PARTS}) as target:
        yield target


@contextlib.asynccontextmanager
async def relayed(folder: Path, parts: dict[str, list[str]]) -> AsyncIterator[Target]:
    """A broker, and the server or its parts dialled in by the bridge over WebSocket."""
    broker = await asyncio.to_thread(partial(Broker, folder, **SETTINGS))
    try:
        agent = broker.agent()
        async with contextlib.AsyncExitStack() as programs:
            for server_id, options in (parts or {"": []}).items():
                await programs.enter_async_context(bridged(agent, server_id, options, folder))
            await all_listed(agent)
            relay = await programs.enter_async_context(Relay(broker.host, broker.port, agent.token))
            path = agent.path("mcp")
            bare = path.partition("?")[0]
            yield Target(broker.url(path, "http"), f"http://{relay.host}:{relay.port}{bare}")
    finally:
        await asyncio.to_thread(broker.stop)
        (folder / "broker.log").write_text("\n".join(broker.lines), "utf-8")
    broker.check()


@contextlib.asynccontextmanager
async def bridged(agent: Agent, server_id: str, options: list[str], folder: Path) -> AsyncIterator[None]:
    """A stdio server dialled in as its users do it."""
    url = agent.broker.url(agent.path("mcp", **({"server_id": server_id} if server_id else {})))
    command = [str(ROOT / "main.py"), "pipe", url, "--", sys.executable, str(SERVER), *options]
    with (folder / f"bridge{server_id and '-' + server_id}.log").open("wb") as log:
        bridge = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=DEVNULL, stdout=log, stderr=STDOUT
        )
        try:
            yield
        finally:
            await ended(bridge)


async def all_listed(agent: Agent) -> None:
    """The broker has the tools of all parts: seen by a device that is told of every change."""
    wanted = {name for part in PARTS.values() for name in part.tools}
    async with agent.device() as device, asyncio.timeout(PATIENCE):
        while not wanted.issubset(await device.names()):
            while "list_changed" not in await device.text():
                continue


async def ended(process: asyncio.subprocess.Process) -> None:
    """End a program that this run has started."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


SETUPS: dict[str, Setup] = {"direct": directly, "broker": through_the_broker, "split": in_three_parts}
