"""Health, counters and banner, byte for byte where a program reads them (docs/protocol.md, section 6)."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from mcp_endpoint import __version__
from support.brokers import Brokers
from support.peers import KEY, Broker, said
from support.sockets import PATIENCE, Wire

RIGHT = (
    '{"result":{"status":"success","connections":{"tool_connections":%d,"robot_connections":%d,"total_connections":%d,'
    '"robot_connections_by_agent":%s}},"error":null,"id":null,"jsonrpc":"2.0"}'
)
WRONG = (
    '{"result":null,"error":{"code":-32004,"message":"密钥验证失败","data":{"details":"提供的密钥无效或缺失"}},'
    '"id":null,"jsonrpc":"2.0"}'
)
BANNER = (
    '{"result":{"message":"MCP Endpoint Server","version":"'
    + __version__
    + '","status":"running"},"error":null,"id":null,"jsonrpc":"2.0"}'
)
COUNTS = {"tool_connections", "robot_connections", "total_connections"}


@pytest.fixture
def alone(new_broker: Brokers) -> Broker:
    """A broker that no other test counts on."""
    return new_broker()


async def test_the_consoles_health_counts_links(alone: Broker) -> None:
    path = f"/mcp_endpoint/health?key={KEY}"
    reply = await alone.get(path)
    assert (reply.status, reply.body) == (200, RIGHT % (0, 0, 0, "{}"))
    assert reply.headers["content-type"] == "application/json"
    agent, other = alone.agent(), alone.agent()
    async with agent.tool_side("t"), agent.device(), agent.device(), other.tool_side("t"):
        by_agent = json.dumps({agent.id: 2}, separators=(",", ":"))
        assert (await alone.get(path)).body == RIGHT % (2, 2, 4, by_agent)
    for one, role, count in ((agent, "tool", 1), (agent, "device", 2), (other, "tool", 1)):
        await one.ended(role, count)
    assert (await alone.get(path)).body == RIGHT % (0, 0, 0, "{}")


@pytest.mark.parametrize(
    "path",
    [
        f"/health?key={KEY}",
        f"/mcp_endpoint/health/?key={KEY}",
        f"/any/prefix/health?key={KEY}",
        f"/any/prefix/mcp_endpoint/health?x=1&key={KEY}",
    ],
)
async def test_the_consoles_health_behind_any_proxy(broker: Broker, path: str) -> None:
    reply = await broker.get(path)
    assert reply.status == 200
    assert json.loads(reply.body)["result"]["status"] == "success"


@pytest.mark.parametrize(
    "path",
    [
        "/mcp_endpoint/health",
        "/mcp_endpoint/health?key=",
        "/mcp_endpoint/health?key=wrong",
        f"/mcp_endpoint/health?key={KEY.upper()}",
        f"/mcp_endpoint/health?key={KEY}0",
        f"/mcp_endpoint/health?KEY={KEY}",
        "/mcp_endpoint/health?key=%C3%A9%F0%9F%98%80",
        "/mcp_endpoint/health?key=%FF",
        "/health?key=",
        "/p/health?key=wrong",
    ],
)
async def test_a_wrong_key_is_200_without_the_word(broker: Broker, path: str) -> None:
    reply = await broker.get(path)
    assert (reply.status, reply.body) == (200, WRONG)
    assert "success" not in reply.body


@pytest.mark.parametrize("path", ["/health", "/health/", "/any/prefix/health"])
async def test_liveness(broker: Broker, path: str) -> None:
    reply = await broker.get(path)
    body = json.loads(reply.body)
    assert reply.status == 200
    assert set(body) == {"status", "version", "uptime", "connections"}
    assert body["status"] == "healthy"
    assert body["version"] == __version__
    assert 0 <= body["uptime"] < 3600
    assert set(body["connections"]) == COUNTS


@pytest.mark.parametrize("path", ["/", "/mcp_endpoint/", "/mcp_endpoint", "/p/mcp_endpoint/"])
async def test_the_banner(broker: Broker, path: str) -> None:
    reply = await broker.get(path)
    assert (reply.status, reply.body) == (200, BANNER)


@pytest.mark.parametrize("path", ["/health", "/mcp_endpoint/health", "/stats", "/", "/mcp_endpoint/"])
async def test_head_requests_are_answered(broker: Broker, path: str) -> None:
    async with Wire.open(broker) as wire:
        wire.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            assert (await wire.head()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/stats", "/p/stats", "/stats?key=wrong", "/stats?key="])
async def test_stats_are_counts_only_without_the_key(broker: Broker, path: str) -> None:
    async with broker.agent().tool_side("t"):
        body = await broker.json(path)
        assert body["status"] == "success"
        assert set(body["data"]) == COUNTS | {"version", "uptime"}
        assert body["data"]["tool_connections"] >= 1


async def test_stats_with_the_key_in_either_place(broker: Broker) -> None:
    for reply in (
        await broker.json(f"/stats?key={KEY}"),
        await broker.json("/stats", Authorization=f"Bearer {KEY}"),
        await broker.json("/stats", Authorization=f"bearer  {KEY}"),
    ):
        assert {"agents", "ended", "ended_by_reason", "refused_by_reason"} <= set(reply["data"])
    assert "agents" not in (await broker.json("/stats", Authorization=f"Basic {KEY}"))["data"]
    assert "agents" not in (await broker.json("/stats?key=wrong", Authorization=f"Bearer {KEY}"))["data"]


async def test_stats_tell_of_every_link_what_an_operator_wants_to_know(broker: Broker) -> None:
    agent = broker.agent()
    began = datetime.now(UTC)
    async with (
        agent.tool_side("t", "u", server_id="my calc", calls=False) as program,
        agent.device("tester", user_agent_header="agent/1"),
        agent.device("tester") as device,
    ):
        await device.begin_call("t", 1)
        await program.next("tools/call")
        report = await agent.report()
        assert report["calls_in_flight"] == 1
        assert report["tools"] == ["t", "u"]
        assert report["offline"] == []
        tool, idle, calling = report["links"]
        keys = {
            *("role", "agent", "alias", "peer", "server_id", "user_agent", "info", "protocol_version", "since"),
            *("last_frame", "frames_in", "frames_out", "bytes_in", "bytes_out", "ping_rtt_ms", "pending"),
            *("drops", "errors", "notes", "id"),
        }
        assert set(calling) == keys | {"device", "mac", "last_call"}
        assert set(tool) == keys | {*("tools", "prompts", "resources", "resourceTemplates", "standby", "definitions")}
        assert (tool["role"], tool["alias"], tool["server_id"]) == ("tool", "my_calc", "my calc")
        assert tool["info"] == {"name": "calc", "version": "1"}
        assert (tool["pending"], tool["tools"]) == (1, 2)
        assert (tool["frames_in"], tool["frames_out"]) == (3, 5)
        assert tool["bytes_out"] == sum(len(text) for text in program.texts)
        assert (calling["alias"], calling["pending"], calling["frames_in"], calling["frames_out"]) == (
            "tester",
            1,
            3,
            1,
        )
        assert calling["protocol_version"] == "2024-11-05"
        assert idle["user_agent"] == "agent/1"
        assert idle["agent"] == agent.id
        assert re.fullmatch(r"127\.0\.0\.1:\d+", calling["peer"])
        for moment in (calling["since"], calling["last_frame"]):
            assert timedelta(seconds=-1) < datetime.fromisoformat(moment) - began < timedelta(seconds=30)


async def test_errors_and_notes_are_counted_by_reason_of_the_link_and_of_the_whole_run(alone: Broker) -> None:
    agent, other = alone.agent(), alone.agent()
    async with agent.tool_side("t") as program, agent.device() as device, other.device() as second:
        await program.send("loading")
        await program.send({"jsonrpc": "2.0", "id": 1, "method": "tasks/list"})
        assert "error" in await program.next("answer")
        for caller in (device, device, second):
            await caller.call("nope")
        await device.request("server/discover")
        tool, link = (await agent.report())["links"]
        assert tool["errors"] == {"no_such_method": 1}
        assert link["errors"] == {"unknown_tool": 2, "no_such_method": 1}
    stats = await alone.stats()
    assert stats["errors_by_reason"] == {"no_such_method": 2, "unknown_tool": 2, "never_connected": 1}
    assert stats["notes_by_reason"] == {"prints_to_stdout": 1}


async def test_links_that_ended_are_remembered_with_their_reasons_200_of_them(alone: Broker) -> None:
    agent = alone.agent()
    for number in range(203):
        async with agent.device(None) as device:
            await device.connection.close(1000, f"nr {number}")
    await agent.ended("device", 203)
    stats = await alone.stats()
    assert [end["detail"] for end in stats["ended"]] == [f"nr {number}" for number in range(202, 2, -1)]
    end = stats["ended"][0]
    assert set(end) == {"role", "agent", "alias", "peer", "since", "ended", "reason", "code", "detail"}
    assert (end["reason"], end["code"]) == ("peer_closed", 1000)
    assert stats["ended_by_reason"] == {"peer_closed": 203}
    assert stats["agents"] == {}


async def test_no_secret_reaches_the_log_and_peers_words_cannot_forge_lines(new_broker: Brokers) -> None:
    broker = new_broker(log_level="TRACE", debug="true")
    agent = broker.agent()
    name = "evil\n2026-01-01 ERROR forged \x1b[31m"
    async with agent.tool_side("t", server=name), agent.device(name) as device:
        assert said(await device.call("t"))
    for path in (f"/health?key={KEY}", f"/stats?key={KEY}", f"/x?token={agent.token}"):
        await broker.get(path)
        await broker.get(path, Authorization=f"Bearer {KEY}")
    await agent.ended("tool")
    await agent.ended("device")
    broker.stop()
    text = "\n".join(broker.lines)
    assert "evil" in text
    assert "/health" in text, "requests are logged at this level"
    for secret in (KEY, agent.token, agent.token[:20]):
        assert secret not in text
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ +\S|    ", line) for line in broker.lines)
    assert "\x1b" not in text
