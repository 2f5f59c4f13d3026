"""Scripted MCP clients that differ in nothing but the door they come by."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from support.clients.mcp_http import McpClient, Stream, initialize, mcp_client
from support.clients.sse import reading
from support.clients.stateless import asking, heads
from support.peers import Agent, Frame


@dataclass(frozen=True)
class Client:
    """One client that has introduced itself, where its door wants that."""

    ask: Callable[[Frame], Awaitable[list[Frame]]]
    """All frames about a request up to its answer. To cancel it drops the request's connection, if it has one."""
    give_up: Callable[[object], Awaitable[None]] | None
    """Say that the request with this id is given up; None where dropping its connection says so."""

    async def call(self, tool: str, id_: object = 1, token: object = None) -> list[Frame]:
        """Call a tool; a token asks for progress."""
        return await self.ask(McpClient.calling(tool, id_, token))

    async def names(self) -> list[str]:
        """The names of the tools it is shown."""
        *_, answer = await self.ask({"jsonrpc": "2.0", "id": "list", "method": "tools/list"})
        return [tool["name"] for tool in answer["result"]["tools"]]


@contextlib.asynccontextmanager
async def by_websocket(agent: Agent) -> AsyncIterator[Client]:
    async with agent.device() as device:

        async def ask(message: Frame) -> list[Frame]:
            await device.send(message)
            return await until_answered(device.frame)

        yield Client(ask, lambda id_: device.send(cancelled(id_)))


@contextlib.asynccontextmanager
async def by_session(agent: Agent, **query: str) -> AsyncIterator[Client]:
    """Streamable HTTP of the handshake era; the session is ended by DELETE."""
    async with mcp_client(agent, agent.path("mcp", **query)) as client:
        await client.initialize()

        async def ask(message: Frame) -> list[Frame]:
            async with client.stream("POST", message) as stream:
                return await all_frames(stream)

        async def give_up(id_: object) -> None:
            assert (await client.post(cancelled(id_))).status_code == 202

        yield Client(ask, give_up)
        await client.delete()


@contextlib.asynccontextmanager
async def stateless(agent: Agent, **query: str) -> AsyncIterator[Client]:
    async with mcp_client(agent, agent.path("mcp", **query)) as client:

        async def ask(message: Frame) -> list[Frame]:
            params = message.get("params", {})
            message = asking(message["method"], message["id"], params.get("_meta"), **params)
            async with client.stream("POST", message, **heads(message)) as stream:
                return await all_frames(stream)

        yield Client(ask, None)


@contextlib.asynccontextmanager
async def by_sse(agent: Agent, **query: str) -> AsyncIterator[Client]:
    async with reading(agent, agent.path("sse", **query)) as client:
        await client.ask(0, "initialize", initialize()["params"])
        await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

        async def ask(message: Frame) -> list[Frame]:
            assert (await client.post(message)).status_code == 202
            return await until_answered(frames.get)

        async def give_up(id_: object) -> None:
            assert (await client.post(cancelled(id_))).status_code == 202

        # Requests that are given up must not end the stream that all of them are read from.
        frames: asyncio.Queue[Frame] = asyncio.Queue()
        reading_on = asyncio.create_task(pump(client.frame, frames))
        try:
            yield Client(ask, give_up)
        finally:
            reading_on.cancel()
            await asyncio.wait({reading_on})


HTTP = {"session": by_session, "stateless": stateless, "sse": by_sse}
DOORS = {"websocket": by_websocket} | HTTP


def cancelled(id_: object) -> Frame:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}}


async def pump(frame: Callable[[], Awaitable[Frame]], frames: asyncio.Queue[Frame]) -> None:
    while True:
        frames.put_nowait(await frame())


async def until_answered(frame: Callable[[], Awaitable[Frame]]) -> list[Frame]:
    """The next frames, with an answer as the last one."""
    frames = [await frame()]
    while "method" in frames[-1]:
        frames.append(await frame())
    return frames


async def all_frames(stream: Stream) -> list[Frame]:
    """The frames of an answer by Streamable HTTP, be it JSON or events; events without data are left out."""
    if stream.response.headers["content-type"] == "application/json":
        return [json.loads(await stream.response.aread())]
    return [event.frame for event in await stream.rest() if event.data]
