"""Scripted MCP clients that differ in nothing but the door they come by."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from mcp_http import McpClient, Stream, initialize, mcp_client
from support import Agent, Frame
from test_sse import reading
from test_stateless import asking, heads


@dataclass(frozen=True)
class Client:
    """One client that has introduced itself, where its door wants that."""

    call: Callable[..., Awaitable[list[Frame]]]
    """`call(tool, id, token=None)`: all frames up to the answer. To cancel it drops its connection, if it has one."""
    give_up: Callable[[object], Awaitable[None]] | None
    """Say that a call with this id is given up; None where dropping the call's connection says so."""


@contextlib.asynccontextmanager
async def by_websocket(agent: Agent) -> AsyncIterator[Client]:
    async with agent.device() as device:

        async def call(tool: str, id_: object, token: object = None) -> list[Frame]:
            await device.send(McpClient.calling(tool, id_, token))
            return await until_answered(device.frame)

        yield Client(call, lambda id_: device.send(cancelled(id_)))


@contextlib.asynccontextmanager
async def by_session(agent: Agent) -> AsyncIterator[Client]:
    """Streamable HTTP of the handshake era; the session is ended by DELETE."""
    async with mcp_client(agent) as client:
        await client.initialize()

        async def call(tool: str, id_: object, token: object = None) -> list[Frame]:
            async with client.stream("POST", McpClient.calling(tool, id_, token)) as stream:
                return await all_frames(stream)

        async def give_up(id_: object) -> None:
            assert (await client.post(cancelled(id_))).status_code == 202

        yield Client(call, give_up)
        await client.delete()


@contextlib.asynccontextmanager
async def stateless(agent: Agent) -> AsyncIterator[Client]:
    async with mcp_client(agent) as client:

        async def call(tool: str, id_: object, token: object = None) -> list[Frame]:
            message = asking("tools/call", id_, {} if token is None else {"progressToken": token}, name=tool)
            async with client.stream("POST", message, **heads(message)) as stream:
                return await all_frames(stream)

        yield Client(call, None)


@contextlib.asynccontextmanager
async def by_sse(agent: Agent) -> AsyncIterator[Client]:
    async with reading(agent) as client:
        await client.ask(0, "initialize", initialize()["params"])
        await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

        async def call(tool: str, id_: object, token: object = None) -> list[Frame]:
            assert (await client.post(McpClient.calling(tool, id_, token))).status_code == 202
            return await until_answered(frames.get)

        async def give_up(id_: object) -> None:
            assert (await client.post(cancelled(id_))).status_code == 202

        # Calls that are given up must not end the stream that all of them are read from.
        frames: asyncio.Queue[Frame] = asyncio.Queue()
        reading_on = asyncio.create_task(pump(client.frame, frames))
        try:
            yield Client(call, give_up)
        finally:
            reading_on.cancel()
            await asyncio.wait({reading_on})


DOORS = {"websocket": by_websocket, "session": by_session, "stateless": stateless, "sse": by_sse}


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
