"""SIGTERM: /health says so first, then 1012 to all, and an end within close_timeout + 1 s whoever reads."""

import asyncio
import json
import signal

import pytest

from support.brokers import Brokers
from support.clock import takes
from support.peers import said, spelled
from support.sockets import CLOSE, PATIENCE, TEXT, Wire


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_everybody_is_told_and_the_exit_code_is_zero(new_broker: Brokers, number: signal.Signals) -> None:
    broker = new_broker(close_timeout=600)
    agent = broker.agent()
    async with agent.tool_side("t") as program, agent.device() as device:
        assert said(await device.call("t"))
        broker.process.send_signal(number)
        assert await program.closed() == (1012, "服务重启")
        assert await device.closed() == (1012, "服务重启")
        assert await asyncio.to_thread(broker.wait) == 0
    ends = [line for line in broker.lines if " side ended: " in line]
    assert len(ends) == 2
    assert all("(restart, code 1012)" in line for line in ends)
    assert broker.lines[-1].endswith("stopped")


async def test_health_says_so_while_links_are_being_closed(new_broker: Brokers) -> None:
    broker = new_broker(close_timeout=600)
    agent = broker.agent()
    async with Wire.open(broker) as silent, Wire.open(broker) as kept:
        await silent.upgrade(agent.path("call"))
        broker.terminate()
        assert (await silent.frame()) == (CLOSE, (1012).to_bytes(2) + "服务重启".encode())
        for path in ("/health", f"/mcp_endpoint/health?key={broker.key}"):
            reply = await broker.get(path)
            assert reply.status == 503
            assert json.loads(reply.body)["status"] == "draining"
            assert "success" not in reply.body
        assert b" 503 " in await kept.upgrade(agent.path("mcp"))
        silent.send_frame(CLOSE, (1012).to_bytes(2))
        assert await asyncio.to_thread(broker.wait) == 0


@pytest.mark.parametrize("buffered", [False, True], ids=["silent", "reads nothing"])
async def test_a_peer_that_does_not_answer_cannot_delay_the_end(new_broker: Brokers, buffered: bool) -> None:
    broker = new_broker(close_timeout=0.5, send_timeout=600)
    agent = broker.agent()
    async with agent.tool_side("t") as program, Wire.open(broker, 4096) as wire:
        program.say = lambda call: "x" * 1_000_000  # type: ignore[method-assign]
        await wire.upgrade(agent.path("call"))
        if buffered:
            for id_ in range(8):
                call = spelled(id=id_, method='"tools/call"', params='{"name":"t"}')
                wire.send_frame(TEXT, call.encode())
            for _ in range(8):
                await program.next("tools/call")
            await program.settled()
        with takes(0.0 if buffered else 0.5, PATIENCE):
            broker.terminate()
            assert await asyncio.to_thread(broker.wait) == 0


async def test_connections_that_never_became_links_cannot_delay_it_either(new_broker: Brokers) -> None:
    broker = new_broker(close_timeout=0.5)
    async with Wire.open(broker) as mute, Wire.open(broker) as half, Wire.open(broker) as kept:
        half.write(b"GET /call/ HTTP/1.1\r\nHost:")
        kept.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await kept.reply()).status == 200
        broker.terminate()
        assert await asyncio.to_thread(broker.wait) == 0
        assert await mute.rest() == b""


async def test_two_signals_are_as_good_as_one(new_broker: Brokers) -> None:
    broker = new_broker(close_timeout=0.5)
    agent = broker.agent()
    async with agent.device() as device:
        broker.terminate()
        broker.terminate()
        assert (await device.closed())[0] in (1012, 1006)
        assert await asyncio.to_thread(broker.wait) == 0
