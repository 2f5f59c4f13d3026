"""What has to arrive unharmed through every door, and what is freed when a client goes."""

import asyncio
from typing import Any

import pytest

from support.brokers import Brokers
from support.clients.every_door import DOORS
from support.peers import Broker, ToolSide, said, text_result
from support.sockets import PATIENCE

PING_INTERVAL = 1.0
TEXTS = {
    "Chinese": "汉" * 2000,
    "large": "x" * 900_000,
    "large Chinese": "汉" * 300_000,
    "odd": 'é\u2028\u2029\u0000\U0001f600\\"\r\n\ndata: x\n\n</script>',
}

pytestmark = pytest.mark.parametrize("door", DOORS)


async def progress(program: ToolSide, call: Any, steps: range) -> None:
    token = call["params"]["_meta"]["progressToken"]
    for step in steps:
        await program.notify("notifications/progress", progressToken=token, progress=step, message=f"步骤 {step}")


async def census(broker: Broker) -> dict[str, int]:
    """What comes and goes with peers. Deadlines are left out: one that was put off stays until it is due."""
    counts: dict[str, int] = (await broker.stats())["census"]
    del counts["deadlines"]
    return counts


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("streamed", [False, True], ids=["at once", "after progress"])
async def test_a_result_arrives_as_it_was(broker: Broker, door: str, kind: str, streamed: bool) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, DOORS[door](agent) as client:
        calling = asyncio.ensure_future(client.call("a", 1, "t" if streamed else None))
        call = await program.next("tools/call")
        if streamed:
            await progress(program, call, range(1))
        await program.answer(call, text_result(TEXTS[kind]))
        *before, answer = await calling
    unharmed = said(answer) == TEXTS[kind]
    assert unharmed
    assert len(before) == streamed


async def test_a_progress_stream_comes_in_order_and_before_its_answer(broker: Broker, door: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, DOORS[door](agent) as client:
        calling = asyncio.ensure_future(client.call("a", 1, "我的"))
        call = await program.next("tools/call")
        await progress(program, call, range(100))
        await program.answer(call, text_result("done"))
        *told, answer = await calling
    assert [one["params"] for one in told] == [
        {"progressToken": "我的", "progress": step, "message": f"步骤 {step}"} for step in range(100)
    ]
    assert said(answer) == "done"


async def test_a_call_that_is_given_up_is_cancelled_and_the_client_goes_on(broker: Broker, door: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, DOORS[door](agent) as client:
        calling = asyncio.ensure_future(client.call("a", 1, "t"))
        call = await program.next("tools/call")
        await progress(program, call, range(1))
        if client.give_up is not None:
            await client.give_up(1)
        else:
            calling.cancel()
        assert (await program.next("notifications/cancelled"))["params"]["requestId"] == call["id"]
        calling.cancel()
        await asyncio.wait({calling})
        await program.answer(call, text_result("nobody waits for this"))
        again = asyncio.ensure_future(client.call("a", 2))
        await program.answer(await program.next("tools/call"), text_result("again"))
        *_, answer = await again
        assert (answer["id"], said(answer)) == (2, "again")


async def test_a_closed_client_frees_everything(broker_with: Brokers, door: str) -> None:
    """A session without its DELETE is in http/streamable/test_streams.py."""
    broker = broker_with(ping_interval=PING_INTERVAL)
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program:
        before = await census(broker)
        async with DOORS[door](agent) as client:
            calls = [asyncio.ensure_future(client.call("a", number, "t")) for number in range(1, 4)]
            for _ in calls:
                await progress(program, await program.next("tools/call"), range(1))
            assert await census(broker) != before
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        async with asyncio.timeout(PATIENCE):
            while await census(broker) != before:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.02)
        for _ in calls:
            await program.next("notifications/cancelled")
