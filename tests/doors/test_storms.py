"""Everybody is cut off at once, again and again: all come back, and nothing is left over."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from mcp_endpoint.net.backoff import Backoff
from support.brokers import Brokers
from support.light_links import LightDevice, LightLink, LightProgram
from support.peers import Agent, Broker

AGENTS, ROUNDS = 1000, 3
A_STORM = 120.0
"""Seconds that a round may take, however busy the machine is."""


class Caller(LightDevice):
    """A device that has come back when a call through its program is answered."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.answered = asyncio.Event()

    def got(self, frame: bytes) -> None:
        super().got(frame)
        message = json.loads(frame)
        if message.get("id") == 2 and self.ready.is_set():
            self.ask(3, "tools/call", {"name": "t"})
        elif message.get("id") == 3:
            assert "result" in message, message
            self.answered.set()


async def storm(broker: Broker, agents: list[Agent]) -> list[LightLink]:
    """All programs and devices dial at the same moment; returns when every call is answered."""
    loop = asyncio.get_running_loop()
    links: list[LightLink] = [LightProgram(agent.path("mcp")) for agent in agents]
    devices = [Caller(agent.path("call")) for agent in agents]
    links += devices
    await asyncio.gather(*(loop.create_connection(lambda one=one: one, broker.host, broker.port) for one in links))  # type: ignore[misc]
    await asyncio.gather(*(device.answered.wait() for device in devices))
    return links


def descriptors(broker: Broker) -> int:
    return len(os.listdir(f"/proc/{broker.process.pid}/fd"))


def memory(broker: Broker) -> int:
    """Resident bytes."""
    pages = Path(f"/proc/{broker.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def all_gone(broker: Broker, census: dict[str, int]) -> None:
    """No more is left of anything than there was before; a deadline that nobody waits for runs out by itself."""
    until = monotonic() + A_STORM
    while (left := (await broker.stats())["census"]) != census:
        assert monotonic() < until, left
        await asyncio.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the descriptors of another process")
@pytest.mark.timeout(ROUNDS * 2 * A_STORM)
async def test_a_thousand_tool_sides_and_devices_are_reset_at_once_and_come_back(new_broker: Brokers) -> None:
    broker = new_broker(max_connections=2 * AGENTS, offline_grace=0, tools_wait=0.5)
    agents = [broker.agent() for _ in range(AGENTS)]
    before, census = descriptors(broker), (await broker.stats())["census"]
    used: list[int] = []
    for _ in range(ROUNDS):
        async with asyncio.timeout(A_STORM):
            links = await storm(broker, agents)
        counts = await broker.json("/stats")
        assert (counts["data"]["tool_connections"], counts["data"]["robot_connections"]) == (AGENTS, AGENTS)
        for link in links:
            link.reset()
        await all_gone(broker, census)
        stats = await broker.stats()
        assert stats["agents"] == {}
        assert stats["total_connections"] == 0
        assert descriptors(broker) <= before + 1, "that of the last request may still be closing"
        used.append(memory(broker))
    assert stats["ended_by_reason"] == {"connection_lost": 2 * AGENTS * ROUNDS}
    assert stats["refused_by_reason"] == {}
    # The links of one round have 18 MB; two rounds that are not let go would show.
    assert used[-1] - used[0] < 30_000_000, [f"{size:_}" for size in used]


def test_our_own_clients_spread_their_return() -> None:
    """A thousand bridges lose their broker at once, and it stays away for ten seconds: their waves are no walls."""
    chance = random.Random(20261120).random
    moments: list[list[float]] = []
    for _ in range(1000):
        backoff, moment, tries = Backoff(chance=chance), 0.0, list[float]()
        while moment < 10:
            moment += backoff.failed(3600 if not tries else 0, useful=not tries)
            tries.append(moment)
        moments.append(tries)
    first = Counter(int(tries[0] * 10) for tries in moments)
    assert max(first.values()) < 300, "of 1,000 in any tenth of a second, half a second of jitter long"
    back = Counter(int(tries[-1] * 10) for tries in moments)
    assert max(back.values()) < 60, "when the broker is there again, they come over several seconds"
    assert len(back) > 30
