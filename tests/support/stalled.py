"""A tool side that reads no more, and a device that goes on calling it."""

import contextlib
from collections.abc import AsyncIterator

from support.peers import Agent, Device, spelled
from support.sockets import TEXT, Wire

HELLO = '{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"w","version":"1"}}'


@contextlib.asynccontextmanager
async def stalled(agent: Agent) -> AsyncIterator[Device]:
    """The device of an agent whose tool side reads nothing after its handshake, with 6 MB of calls on the way to it."""
    async with Wire.open(agent.broker, 4096) as wire, agent.device() as caller:
        await wire.upgrade(agent.path("mcp"))
        wire.send_frame(TEXT, spelled(id=1, result=HELLO).encode())
        wire.send_frame(TEXT, spelled(id=2, result='{"tools":[{"name":"t","inputSchema":{}}]}').encode())
        assert await caller.names() == ["t"]
        for number in range(60):
            await caller.begin_call("t", number, text="x" * 100_000)
        await caller.settled()
        yield caller
