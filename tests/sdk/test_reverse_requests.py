"""What a server of npm asks the official SDK's clients through the broker: their model, their user and their roots."""

import asyncio

from support.brokers import Brokers
from support.node import needs_node, npm_server
from support.sdks import PATIENCE, SDKS, client, piped


@needs_node
async def test_sdk_clients_are_asked_by_server_everything(broker_with: Brokers) -> None:
    broker = broker_with(ask_clients="sampling, elicitation, roots")
    agents = [broker.agent() for _ in SDKS]
    command = [*npm_server("server-everything"), "stdio"]
    async with piped(agents[0], command), piped(agents[1], command):
        for agent in agents:
            async with agent.device() as device, asyncio.timeout(PATIENCE):
                while "get-roots-list" not in await device.names():
                    while "list_changed" not in await device.text():
                        continue
        doors = zip(SDKS, agents, ("mcp", "sse"), strict=True)
        answers = await asyncio.gather(
            *(client(sdk, broker.url(agent.path(door), "http"), "asked") for sdk, agent, door in doors)
        )
    for said in answers:
        assert "a poem" in said["trigger-sampling-request"]
        assert "小明" in said["trigger-elicitation-request"]
        assert "file:///home/me/tea" in said["get-roots-list"]
