"""What MCP clients over HTTP have that devices have not: one tool side alone, and more time."""

import asyncio
from time import monotonic

import pytest

from support.brokers import Brokers
from support.clients.every_door import HTTP
from support.clock import takes
from support.peers import Broker, fault, said, text_result
from support.sockets import PATIENCE

pytestmark = pytest.mark.parametrize("door", HTTP)


async def test_provider_shows_one_tool_side_alone_under_its_own_names(broker: Broker, door: str) -> None:
    agent = broker.agent()
    both = {"server": "calc", "calls": True}
    async with (
        agent.tool_side("add", "开灯", server_id="one", **both),
        agent.tool_side("add", "sub", server_id="two", **both) as other,
    ):
        async with HTTP[door](agent) as client:
            assert sorted(await client.names()) == ["one__add", "sub", "two__add", "开灯"]
        async with HTTP[door](agent, provider="two") as client:
            assert await client.names() == ["add", "sub"]
            for tool in ("add", "sub"):
                (answer,) = await client.call(tool)
                assert said(answer) == f"calc.{tool}({{}})"
                await other.next("tools/call")
            (answer,) = await client.call("开灯")
            assert fault(answer) == (-32602, "unknown_tool")
            assert "add, sub。" in answer["error"]["data"]["details"], "nobody else's are named"
            await other.change("add", "mul")
            assert await client.names() == ["add", "mul"]


async def test_a_provider_that_is_not_there_has_nothing(broker_with: Brokers, door: str) -> None:
    agent = broker_with(tools_wait=0.2).agent()
    async with agent.tool_side("add", server_id="one"), HTTP[door](agent, provider="nobody") as client:
        assert await client.names() == []
        (answer,) = await client.call("add")
        assert "error" in answer


async def test_progress_renews_the_time_a_call_may_take(broker_with: Brokers, door: str) -> None:
    broker = broker_with(call_timeout=600, mcp_call_timeout=2)
    agent = broker.agent()
    async with agent.tool_side("slow", calls=False) as program, HTTP[door](agent) as client:
        began = monotonic()
        calling = asyncio.ensure_future(client.call("slow", token="t"))
        call = await program.next("tools/call")
        token, steps = call["params"]["_meta"]["progressToken"], 0
        while monotonic() - began < 2.5:
            await program.notify("notifications/progress", progressToken=token, progress=steps)
            await program.settled()
            await asyncio.sleep(0.05)
            steps += 1
        await program.answer(call, text_result("done"))
        *told, answer = await calling
        assert (len(told), said(answer)) == (steps, "done")
        with takes(2, PATIENCE):
            calling = asyncio.ensure_future(client.call("slow"))
            await program.next("tools/call")
            *_, answer = await calling
        assert fault(answer) == (-32003, "call_timed_out")
