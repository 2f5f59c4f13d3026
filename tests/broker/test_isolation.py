"""One stalled tool side does not slow the other agents down."""

import asyncio
import contextlib
from statistics import median
from time import perf_counter

import pytest

from conftest import Brokers
from support.peers import Agent, Broker, Device, said, spelled
from support.sockets import TEXT, Wire

pytestmark = pytest.mark.alone

AGENTS, ROUNDS, CALLS = 4, 5, 150
HELLO = '{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"w","version":"1"}}'


async def test_a_stalled_tool_side_holds_nobody_else_up(new_broker: Brokers) -> None:
    broker = new_broker(send_timeout=60, send_buffer="1MB", call_timeout=60, max_calls=500)
    async with contextlib.AsyncExitStack() as stack:
        devices = []
        for _ in range(AGENTS):
            agent = broker.agent()
            await stack.enter_async_context(agent.tool_side("t"))
            devices.append(await stack.enter_async_context(agent.device()))
        await p99_of(devices)
        quiet = [await p99_of(devices) for _ in range(ROUNDS)]
        victim = broker.agent()
        wire = await stack.enter_async_context(Wire.open(broker, 4096))
        caller = await stack.enter_async_context(victim.device())
        await stall(victim, wire, caller)
        stalled = [await p99_of(devices, caller) for _ in range(ROUNDS)]
        (link,) = await victim.links("tool")
        assert link["pending"] > 60, "it was stalled all the time"
        assert await victim.ends() == []
        await no_answers(broker, caller)
    assert median(stalled) < 0.050, f"{stalled} s"
    assert median(stalled) < 5 * median(quiet), f"{stalled} s, without it {quiet} s"


async def stall(agent: Agent, wire: Wire, caller: Device) -> None:
    """A tool side that reads no more after its handshake, with 6 MB of calls on the way to it."""
    await wire.upgrade(agent.path("mcp"))
    wire.send_frame(TEXT, spelled(id=1, result=HELLO).encode())
    wire.send_frame(TEXT, spelled(id=2, result='{"tools":[{"name":"t","inputSchema":{}}]}').encode())
    assert await caller.names() == ["t"]
    for number in range(60):
        await caller.begin_call("t", number, text="x" * 100_000)
    await caller.settled()


async def p99_of(devices: list[Device], caller: Device | None = None) -> float:
    """Seconds within which 99 of 100 calls are answered; meanwhile `caller` goes on calling its stalled tool side."""
    times: list[float] = []

    async def call_on(device: Device) -> None:
        for number in range(CALLS):
            began = perf_counter()
            answer = await device.call("t", number, x=1)
            times.append(perf_counter() - began)
            assert said(answer) == 'calc.t({"x": 1})'

    async def call_in_vain(device: Device) -> None:
        for number in range(CALLS // 4):
            await device.begin_call("t", f"{id(times)} {number}", text="x" * 1000)
            await device.settled()

    await asyncio.gather(*map(call_on, devices), *([] if caller is None else [call_in_vain(caller)]))
    return sorted(times)[len(times) * 99 // 100]


async def no_answers(broker: Broker, caller: Device) -> None:
    assert await caller.settled() == []
    assert (await broker.get("/health")).status == 200
