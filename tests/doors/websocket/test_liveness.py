"""Pings and half-open peers, over bare sockets: a client library would answer by itself."""

from time import monotonic

import pytest

from support.brokers import Brokers
from support.clock import takes
from support.peers import Agent, Broker, fault, spelled
from support.sockets import CLOSE, PING, PONG, TEXT, Wire

LIST = spelled(id=1, method='"ping"').encode()


@pytest.fixture
def agent(broker_with: Brokers) -> Agent:
    return broker_with(ping_interval=0.2, ping_timeout=30).agent()


@pytest.mark.parametrize("door", ["mcp", "call"])
async def test_a_peer_that_answers_pings_lives_and_its_round_trip_is_measured(agent: Agent, door: str) -> None:
    async with Wire.open(agent.broker) as wire:
        began = monotonic()
        await wire.upgrade(agent.path(door))
        if door == "mcp":
            assert (await wire.frame())[0] == TEXT
        for _ in range(5):
            opcode, payload = await wire.frame()
            assert opcode == PING
            wire.send_frame(PONG, payload)
        assert 0.9 < monotonic() - began < 5 * 30, "five pings, 0.2 s apart; 30 s by default"
        wire.send_frame(PING, b"settled")
        while await wire.frame() != (PONG, b"settled"):
            continue
        (link,) = await agent.links("tool" if door == "mcp" else "device")
        assert 0 <= link["ping_rtt_ms"] < 30_000
        assert await agent.ends() == []


@pytest.mark.parametrize("door", ["mcp", "call"])
async def test_a_half_open_peer_is_reaped_in_time(broker_with: Brokers, door: str) -> None:
    """And it is cut off, although it never answers the close frame."""
    agent = broker_with(ping_interval=0.2, ping_timeout=0.3, close_timeout=5).agent()
    role = "tool" if door == "mcp" else "device"
    async with Wire.open(agent.broker) as wire:
        with takes(0.5, 10):
            await wire.upgrade(agent.path(door))
            (end,) = await agent.ended(role)
        assert (end["reason"], end["code"]) == ("ping_timeout", 1011)
        assert (await wire.close_frame())[0] == 1011
        await wire.rest()


async def test_a_half_open_tool_side_takes_its_calls_along(broker_with: Brokers) -> None:
    agent = broker_with(ping_interval=0.2, ping_timeout=2).agent()
    async with agent.device() as device, Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("mcp"))
        await wire.frame()
        hello = '{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"w","version":"1"}}'
        wire.send_frame(TEXT, spelled(id=1, result=hello).encode())
        wire.send_frame(TEXT, spelled(id=2, result='{"tools":[{"name":"t","inputSchema":{}}]}').encode())
        await device.request("tools/list")
        answer = await device.call("t")
        assert fault(answer) == (-32003, "tool_side_lost")


async def test_any_byte_is_a_sign_of_life(agent: Agent) -> None:
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        for _ in range(5):
            while (await wire.frame())[0] != PING:
                continue
            wire.send_frame(TEXT, LIST)
        assert await agent.ends() == []


async def test_unasked_pongs_and_other_payloads_are_no_error(agent: Agent) -> None:
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        wire.send_frame(PONG, b"")
        wire.send_frame(PONG, b"x" * 125)
        wire.send_frame(PING, b"")
        while (frame := await wire.frame())[0] == PING:
            continue
        assert frame == (PONG, b"")


async def test_without_an_interval_nobody_is_pinged(broker_with: Brokers) -> None:
    agent = broker_with(ping_interval=0, ping_timeout=0.05).agent()
    patient = broker_with(ping_interval=0.2, ping_timeout=30).agent()
    async with Wire.open(agent.broker) as wire, Wire.open(patient.broker) as clock:
        await wire.upgrade(agent.path("call"))
        await clock.upgrade(patient.path("call"))
        for _ in range(3):
            opcode, payload = await clock.frame()
            assert opcode == PING
            clock.send_frame(PONG, payload)
        wire.send_frame(PING, b"settled")
        assert await wire.frame() == (PONG, b"settled")


async def test_a_close_is_answered_and_its_words_are_kept(broker: Broker) -> None:
    agent = broker.agent()
    async with Wire.open(broker) as wire:
        await wire.upgrade(agent.path("call"))
        payload = (4321).to_bytes(2) + "再见\n".encode()
        wire.send_frame(CLOSE, payload)
        assert await wire.frame() == (CLOSE, payload)
        assert await wire.rest() == b""
        (end,) = await agent.ended("device")
        assert (end["reason"], end["code"], end["detail"]) == ("peer_closed", 4321, "再见\n")
        line = await broker.logged(f"device side ended: agent {agent.id}")
        assert "再见\\n" in line, "escaped, on one line"


async def test_a_lost_connection_is_noticed_without_pings(broker: Broker) -> None:
    agent = broker.agent()
    async with Wire.open(broker) as wire:
        await wire.upgrade(agent.path("call"))
    (end,) = await agent.ended("device")
    assert (end["reason"], end["code"]) == ("connection_lost", 1006)
