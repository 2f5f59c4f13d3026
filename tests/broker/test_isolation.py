"""One stalled tool side does not hold up the other agents."""

import asyncio
import contextlib

from support.brokers import Brokers
from support.peers import Device, said
from support.stalled import stalled

AGENTS, CALLS = 4, 100


async def test_a_stalled_tool_side_holds_nobody_else_up(new_broker: Brokers) -> None:
    broker = new_broker(ping_interval=0, send_timeout=600, send_buffer="1MB", call_timeout=600, max_calls=500)
    async with contextlib.AsyncExitStack() as stack:
        devices = []
        for _ in range(AGENTS):
            agent = broker.agent()
            await stack.enter_async_context(agent.tool_side("t"))
            devices.append(await stack.enter_async_context(agent.device()))
        victim = broker.agent()
        caller = await stack.enter_async_context(stalled(victim))
        await calls_of(devices, caller)
        (link,) = await victim.links("tool")
        assert link["pending"] > 60, "it was stalled all the time"
        assert await victim.ends() == []
        assert await caller.settled() == [], "none of its calls was answered"
        assert (await broker.get("/health")).status == 200


async def calls_of(devices: list[Device], caller: Device) -> None:
    """All calls are answered; meanwhile `caller` goes on calling its stalled tool side."""

    async def call_on(device: Device) -> None:
        for number in range(CALLS):
            assert said(await device.call("t", number, x=1)) == 'calc.t({"x": 1})'

    async def call_in_vain() -> None:
        for number in range(CALLS // 4):
            await caller.begin_call("t", f"in vain {number}", text="x" * 1000)
            await caller.settled()

    await asyncio.gather(*map(call_on, devices), call_in_vain())
