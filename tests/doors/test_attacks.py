"""One peer abuses the broker in every way there is, and the calls of the others are all answered meanwhile."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from support.brokers import Brokers
from support.paths import PROGRAMS, TESTS
from support.peers import Agent, Broker, Device, said
from support.servers.opened import flooding
from support.sockets import PATIENCE

CALLS = 10
"""Calls of each honest agent, again and again while the attack goes on."""
STRIDES = 10
"""An attack is long enough when it has told of its progress so many times."""
WHILE_IT_GOES_ON = 600.0
"""Seconds that an attack may take for it, however busy the machine is."""
ATTACKER = "192.0.2.66"

pytestmark = pytest.mark.timeout(2 * WHILE_IT_GOES_ON)


Progress = Callable[[], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def abuse(how: str, broker: Broker, path: str) -> AsyncIterator[Progress]:
    """The attack goes on during the block; the progress comes whenever it has made some more steps."""
    script = str(PROGRAMS / "abuse.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, script, how, broker.host, str(broker.port), path, f"X-Forwarded-For: {ATTACKER}"),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline
        assert process.returncode is None, "it went on all the time"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        async with asyncio.timeout(PATIENCE):
            await process.communicate()


async def honest(broker: Broker, stack: contextlib.AsyncExitStack) -> list[Device]:
    """The devices of four agents that have a tool side each."""
    devices = []
    for _ in range(4):
        agent = broker.agent()
        await stack.enter_async_context(agent.tool_side("t"))
        devices.append(await stack.enter_async_context(agent.device()))
    return devices


async def calls_of(devices: list[Device]) -> None:
    """Calls of each device, one after the other, and each of them answered."""

    async def call_on(device: Device) -> None:
        for number in range(CALLS):
            assert said(await device.call("t", number, x=1)) == 'calc.t({"x": 1})'

    await asyncio.gather(*map(call_on, devices))


async def suffer(broker: Broker, how: str, path: str, shows: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
    """Four honest agents call while the attack goes on, and are answered; what `/stats` says afterwards.

    The attack goes on until `/stats` shows what it leads to. How much of it is worked off between two of their calls
    is counted in limits/test_fairness.py.
    """
    async with contextlib.AsyncExitStack() as stack:
        devices = await honest(broker, stack)
        async with abuse(how, broker, path) as progress, asyncio.timeout(WHILE_IT_GOES_ON):
            strides = 0
            while strides < STRIDES or not shows(await broker.stats()):
                steps = asyncio.ensure_future(progress())
                while not steps.done():
                    await calls_of(devices)
                assert steps.result(), "the attacker gave up"
                strides += 1
        assert [await device.settled() for device in devices] == [[]] * 4
        return await broker.stats()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("how", "reason"), [("calls", "too_many_calls"), ("pings", None), ("junk", "not_json")])
async def test_a_flood_of_frames(new_broker: Brokers, how: str, reason: str | None) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("t", calls=False):
        shown = (lambda stats: stats["errors_by_reason"].get(reason, 0) > 100) if reason else bool
        stats = await suffer(broker, how, agent.path("call"), shown)
    assert set(stats["ended_by_reason"]) <= {"peer_closed", "connection_lost"}, "nobody is closed for being busy"


@pytest.mark.parametrize("how", ["posts", "batches"])
async def test_a_flood_of_requests_over_http(new_broker: Brokers, how: str) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("t"):
        stats = await suffer(broker, how, agent.path("mcp"))
    assert "full" not in stats["refused_by_reason"]


async def test_a_flood_of_tool_definitions(new_broker: Brokers) -> None:
    broker = new_broker()
    await suffer(broker, "lists", broker.agent().path("mcp"))


async def test_a_flood_of_more_tool_definitions_than_allowed(new_broker: Brokers) -> None:
    broker = new_broker()
    path = broker.agent().path("mcp")
    stats = await suffer(broker, "definitions", path, lambda stats: "too_many_tools" in stats["notes_by_reason"])
    assert stats["notes_by_reason"]["too_many_tools"] == 1, "once for each link"


async def test_a_flood_of_huge_messages(new_broker: Brokers) -> None:
    broker = new_broker()
    path = broker.agent().path("call")
    await suffer(broker, "huge", path, lambda stats: stats["ended_by_reason"].get("message_too_big", 0) > 3)


async def test_a_flood_of_large_messages_that_are_allowed(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("t"):
        stats = await suffer(broker, "large", agent.path("call"))
    assert set(stats["ended_by_reason"]) <= {"peer_closed", "connection_lost"}, "nobody is closed for it"


@pytest.mark.parametrize(("how", "door"), [("members", "call"), ("bodies", "mcp")])
async def test_a_flood_of_messages_that_take_long(new_broker: Brokers, how: str, door: str) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("t"):
        stats = await suffer(broker, how, agent.path(door))
    assert set(stats["ended_by_reason"]) <= {"peer_closed", "connection_lost"}, "nobody is closed for it"


async def test_a_flood_of_connections(new_broker: Brokers) -> None:
    broker = new_broker(max_handshakes=50)
    stats = await suffer(
        broker, "connections", "/call/", lambda stats: stats["refused_by_reason"].get("pushed_out", 0) > 50
    )
    assert stats["census"]["strangers"] <= 50


async def test_a_flood_of_bad_tokens(new_broker: Brokers) -> None:
    broker = new_broker(trusted_proxies="127.0.0.1", handshakes_per_minute=60)
    began = monotonic()
    stats = await suffer(
        broker,
        "tokens",
        "/call/?token=bad",
        lambda stats: stats["refused_by_reason"].get("too_many_handshakes", 0) > 50,
    )
    reasons = stats["refused_by_reason"]
    assert 5 <= reasons["bad_token"] <= 7 + (monotonic() - began) / 11, "eleven handshakes each"
    refusals = {one["reason"]: one for one in stats["refusals"]}
    assert {one["address"] for one in refusals.values()} == {ATTACKER}
    assert refusals["bad_token"]["count"] == reasons["bad_token"]
    lines = [line for line in broker.lines if "refused a " in line]
    assert len(lines) < 10, "the log is told at powers of ten"


async def test_a_flood_of_messages_that_never_end(new_broker: Brokers) -> None:
    broker = new_broker(max_unfinished="4MB")
    path = broker.agent().path("call")
    await suffer(broker, "unfinished", path)
    async with abuse("unfinished", broker, path):
        await broker.logged(r"\(too_much_unfinished, code 1013\)")


@pytest.mark.parametrize("flood", [{"chunks": 300, "errors": 0}, {"chunks": 0, "errors": 15}], ids=["frames", "stderr"])
async def test_a_flood_from_a_server_that_the_broker_opened(opening: Brokers, flood: dict[str, int]) -> None:
    broker = opening({"call_timeout": 3600}, flood=flooding())
    async with contextlib.AsyncExitStack() as stack:
        attacker = await stack.enter_async_context(Agent(broker, "attacker").device("XiaozhiMCPEndpointClient"))
        assert await attacker.names() == ["flood"]
        devices = await honest(broker, stack)
        await attacker.begin_call("flood", "flood", **flood)
        await calls_of(devices)
        async with asyncio.timeout(WHILE_IT_GOES_ON):
            assert "result" in await attacker.reply("flood")
