"""Everybody is cut off at once, again and again: all come back, and nothing is left over."""

import asyncio
import json
import os
import random
import socket
import struct
import sys
from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from conftest import Brokers
from mcp_endpoint.net.backoff import Backoff
from support.abuse import HEAD
from support.peers import Agent, Broker, spelled
from support.sockets import PATIENCE, TEXT, ws_frame

AGENTS, ROUNDS = 1000, 5
HELLO = '{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}'
TOOLS = '{"tools":[{"name":"t","inputSchema":{}}]}'
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for an end by RST."""


class Storming(asyncio.Protocol):
    """One light link: it knows the frames that it will get."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = b""
        self.upgraded = False
        self.ready = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HEAD.format(path=self.path, header="").encode())

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.upgraded:
            head, end, rest = self.data.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self.upgraded, self.data = True, rest
            self.opened()
        while len(self.data) >= 2:
            assert self.data[0] == 0x80 | TEXT
            start, length = 2, self.data[1]
            if length == 126:
                start, length = 4, int.from_bytes(self.data[2:4])
            if len(self.data) < start + length:
                return
            self.got(json.loads(self.data[start : start + length]))
            self.data = self.data[start + length :]

    def send(self, text: str) -> None:
        self.transport.write(ws_frame(TEXT, text.encode()))

    def opened(self) -> None:
        pass

    def got(self, frame: dict[str, object]) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class Program(Storming):
    def got(self, frame: dict[str, object]) -> None:
        match frame["method"]:
            case "initialize":
                self.send(spelled(id=frame["id"], result=HELLO))
            case "tools/list":
                self.send(spelled(id=frame["id"], result=TOOLS))
            case "tools/call":
                self.send(spelled(id=frame["id"], result='{"content":[]}'))


class Caller(Storming):
    """A device: it is ready when a call through its program is answered."""

    def opened(self) -> None:
        params = '{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"d","version":"1"}}'
        self.send(spelled(id=1, method='"initialize"', params=params))
        self.send(spelled(id=2, method='"tools/list"'))

    def got(self, frame: dict[str, object]) -> None:
        if frame.get("id") == 2:
            assert [one["name"] for one in frame["result"]["tools"]] == ["t"]  # type: ignore[index]
            self.send(spelled(id=3, method='"tools/call"', params='{"name":"t"}'))
        elif frame.get("id") == 3:
            assert "result" in frame, frame
            self.ready.set()


async def storm(broker: Broker, agents: list[Agent]) -> list[Storming]:
    """All programs and devices dial at the same moment; returns when every call is answered."""
    loop = asyncio.get_running_loop()
    links: list[Storming] = [Program(agent.path("mcp")) for agent in agents]
    devices = [Caller(agent.path("call")) for agent in agents]
    links += devices
    await asyncio.gather(*(loop.create_connection(lambda one=one: one, broker.host, broker.port) for one in links))  # type: ignore[misc]
    await asyncio.gather(*(device.ready.wait() for device in devices))
    return links


def descriptors(broker: Broker) -> int:
    return len(os.listdir(f"/proc/{broker.process.pid}/fd"))


def memory(broker: Broker) -> int:
    """Resident bytes."""
    pages = Path(f"/proc/{broker.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def all_gone(broker: Broker, census: dict[str, int]) -> None:
    """No more is left of anything than there was before; a deadline that nobody waits for runs out by itself."""
    until = monotonic() + PATIENCE
    while (left := (await broker.stats())["census"]) != census:
        assert monotonic() < until, left
        await asyncio.sleep(0.1)


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the descriptors of another process")
@pytest.mark.timeout(600)
async def test_a_thousand_tool_sides_and_devices_are_reset_at_once_five_times(new_broker: Brokers) -> None:
    broker = new_broker(max_connections=2 * AGENTS, offline_grace=0, tools_wait=0.5)
    agents = [broker.agent() for _ in range(AGENTS)]
    before, census = descriptors(broker), (await broker.stats())["census"]
    used: list[int] = []
    began = monotonic()
    for number in range(ROUNDS):
        lines = len(broker.lines)
        async with asyncio.timeout(30):
            links = await storm(broker, agents)
        counts = await broker.json("/stats")
        assert (counts["data"]["tool_connections"], counts["data"]["robot_connections"]) == (AGENTS, AGENTS)
        for link in links:
            link.reset()
        await broker.logged(r" side ended: ", lines, 2 * AGENTS)
        stats = await broker.stats()
        deadlines = {"deadlines": stats["census"]["deadlines"]}
        assert stats["census"] == census | deadlines
        assert stats["agents"] == {}
        assert stats["total_connections"] == 0
        assert descriptors(broker) <= before + 1, "that of the last request may still be closing"
        if number in (0, ROUNDS - 1):
            await all_gone(broker, census)
            used.append(memory(broker))
    assert monotonic() - began < 60
    assert stats["ended_by_reason"] == {"connection_lost": 2 * AGENTS * ROUNDS}
    assert stats["refused_by_reason"] == {}
    # The links of one round have 18 MB; four rounds that are not let go would show.
    assert used[1] - used[0] < 40_000_000, [f"{size:_}" for size in used]


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
