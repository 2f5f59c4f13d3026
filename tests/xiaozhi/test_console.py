"""The management console: its byte sequence, and its question "is it connected now?" (docs/protocol.md, 7.3)."""

import json

import pytest

from support.clock import takes
from support.peers import Agent, Broker, Device, fault, tool

HELLO = (
    '{"jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":'
    '{"roots":{"listChanged":false},"sampling":{}},"clientInfo":{"name":"xz-mcp-broker","version":"0.0.1"}},"id":1}'
)
READY = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
LIST = '{"jsonrpc":"2.0","method":"tools/list","params":null,"id":2}'


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


async def greet(device: Device) -> None:
    """The console waits for the answer to id 1 before it goes on."""
    await device.send(HELLO)
    answer = json.loads(await device.text())
    assert answer["id"] == 1
    assert "result" in answer
    assert "error" not in answer
    await device.send(READY)


async def listed(device: Device) -> list[str]:
    await device.send(LIST)
    answer = await device.frame()
    assert answer["id"] == 2
    assert "error" not in answer
    assert "nextCursor" not in answer["result"]
    return [one["name"] for one in answer["result"]["tools"]]


async def test_its_byte_sequence(agent: Agent) -> None:
    async with agent.tool_side("t", "u") as program, agent.device(None) as device:
        seen = len(program.texts)
        await greet(device)
        assert await listed(device) == ["t", "u"]
        await program.settled()
        assert len(program.texts) == seen + 1, "params:null never reaches a tool side"
        assert not any("null" in text for text in program.texts)


async def test_it_is_shown_live_tool_sides_only(agent: Agent) -> None:
    async with (
        agent.tool_side("t") as program,
        agent.tool_side("u", server="other"),
        agent.device() as other,
        agent.device(None) as device,
    ):
        await greet(device)
        assert await listed(device) == ["t", "u"]
        await program.connection.close()
        await agent.ended("tool")
        assert await listed(device) == ["u"]
        assert await other.names() == ["t", "u"], "the others see what is away for a while"
        assert fault(await device.call("t")) == (-32001, "tool_side_offline")


async def test_with_nothing_connected_it_waits_one_second_at_most(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device(None) as device:
        await program.connection.close()
        await agent.ended("tool")
        await greet(device)
        with takes(0.9, 8):
            assert await listed(device) == []


async def test_what_connects_within_that_second_is_shown(agent: Agent) -> None:
    async with agent.device(None) as device:
        await greet(device)
        await device.send(LIST)
        assert await device.settled() == []
        async with agent.tool_side("t"):
            assert [one["name"] for one in (await device.reply(2))["result"]["tools"]] == ["t"]


async def test_it_gets_one_page_below_its_buffer_whatever_there_is(agent: Agent) -> None:
    tools = [tool(f"t{number}", description="x" * 100_000) for number in range(25)]
    async with agent.tool_side(*tools), agent.device(None) as device:
        await greet(device)
        await device.send(LIST)
        text = await device.text()
        assert len(text.encode()) < 1_048_576
        device.unread.append(text)
        page = (await device.reply(2))["result"]
        assert len(page["tools"]) == 10


async def test_it_is_told_of_no_changes(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device(None) as device:
        await greet(device)
        assert await listed(device) == ["t"]
        await program.change("u")
        assert await device.settled() == []
        assert await listed(device) == ["u"]
