"""The HTTP+SSE door (2024-11-05) by hand: the stream, the URL it names, and what each bad request gets."""

import asyncio
import socket
import struct

import httpx
import pytest

from support.brokers import Brokers
from support.clients.mcp_http import initialize
from support.clients.sse import SseClient, reading
from support.peers import Agent, Broker, text_result
from support.sockets import PATIENCE


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


@pytest.mark.parametrize("path", ["/sse", "/sse/", "/mcp_endpoint/sse", "/a/prefix/sse"])
async def test_a_session_is_the_stream_and_its_url_is_a_neighbour(agent: Agent, path: str) -> None:
    async with agent.tool_side("t"), reading(agent, path) as client:
        assert client.url.path.endswith("/messages")
        assert agent.token not in str(client.url)
        answer = await client.ask(1, "initialize", initialize("2024-11-05")["params"])
        assert answer["result"]["protocolVersion"] == "2024-11-05"
        assert (await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"})).status_code == 202
        assert [tool["name"] for tool in (await client.ask(2, "tools/list"))["result"]["tools"]] == ["t"]
        called = await client.ask(3, "tools/call", {"name": "t", "arguments": {"x": 1}})
        assert called["result"]["content"][0]["text"] == 'calc.t({"x": 1})'
        (link,) = await agent.links("device")
        assert link["frames_in"] == 4
        assert (await agent.broker.stats())["census"]["requests"] == 1
    assert next(end for end in await agent.ended("device") if end["role"] == "device")["reason"] == "peer_closed"
    assert (await agent.broker.stats())["census"]["requests"] == 0


async def test_the_token_may_stand_in_the_url_and_two_clients_hear_their_own(agent: Agent) -> None:
    url = agent.broker.url(agent.path("sse"), "http")
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http, http.stream("GET", url) as response:
        assert response.status_code == 200
    async with agent.tool_side("t"), reading(agent) as one, reading(agent) as two:
        for client in (one, two):
            await client.ask(1, "initialize", initialize()["params"])
        assert one.url != two.url
        assert (await two.post({"jsonrpc": "2.0", "id": 5, "method": "ping"})).status_code == 202
        assert (await one.ask(6, "ping"))["id"] == 6
        assert (await two.frame())["id"] == 5


async def test_notifications_and_large_texts_arrive_whole(agent: Agent) -> None:
    text = "汉" * 2000 + "x" * 900_000
    async with agent.tool_side("t", calls=False) as program, reading(agent) as client:
        await client.ask(1, "initialize", initialize()["params"])
        await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        params = {"name": "t", "_meta": {"progressToken": "p"}}
        await client.post({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        call = await program.next("tools/call")
        await program.notify(
            "notifications/progress", progressToken=call["params"]["_meta"]["progressToken"], progress=1
        )
        await program.answer(call, text_result(text))
        assert (await client.frame())["params"] == {"progressToken": "p", "progress": 1}
        assert (await client.frame())["result"]["content"][0]["text"] == text
        await program.change("u")
        assert (await client.frame())["method"] == "notifications/tools/list_changed"


async def test_a_client_that_leaves_cancels_its_calls(agent: Agent) -> None:
    async with agent.tool_side("t", calls=False) as program:
        async with reading(agent) as client:
            await client.ask(1, "initialize", initialize()["params"])
            await client.post({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "t"}})
            call = await program.next("tools/call")
        assert (await program.next("notifications/cancelled"))["params"]["requestId"] == call["id"]


async def test_comments_keep_the_stream_alive(broker_with: Brokers) -> None:
    agent = broker_with(ping_interval=0.2).agent()
    async with reading(agent) as client:
        async with asyncio.timeout(PATIENCE):
            async for line in client.lines:
                if line.startswith(":"):
                    break


async def test_what_is_bad_is_refused_with_its_reason(agent: Agent) -> None:
    other = agent.broker.agent()
    async with reading(agent) as client:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

        def reason(reply: httpx.Response) -> tuple[int, str]:
            return reply.status_code, reply.json()["error"]["data"]["reason"]

        assert reason(await client.post("{")) == (400, "body_not_json")
        assert reason(await client.post("[]")) == (400, "not_one_message")
        assert reason(await client.post("x" * 5_000_000)) == (413, "body_too_big")
        typed = await client.http.post(client.url, content="{}", headers={"Content-Type": "text/plain"})
        assert reason(typed) == (415, "not_json_type")
        assert reason(await client.http.get(client.url)) == (405, "method_not_taken")
        stranger = await client.post(ping, Authorization=f"Bearer {other.token}")
        assert reason(stranger) == (404, "unknown_sse_session"), "as if it did not exist"
        assert reason(await client.post(ping, Authorization="Bearer junk")) == (404, "unknown_sse_session")
        assert reason(await client.post(ping, Origin="https://evil.example")) == (403, "foreign_origin")
        assert (await client.post(ping, Authorization=f"Bearer {agent.token}")).status_code == 202
        assert (await client.frame())["id"] == 1
        base = agent.broker.url("/messages", "http")
        for query in ("", "?sessionId=", "?sessionId=nope"):
            assert reason(await client.http.post(base + query, json=ping)) == (404, "unknown_sse_session")
        sse = agent.broker.url("/sse", "http")
        assert reason(await client.http.get(sse)) == (401, "missing_token")
        assert reason(await client.http.get(sse + "?token=junk")) == (401, "bad_token")
        bearer = {"Authorization": f"Bearer {agent.token}"}
        assert reason(await client.http.post(sse, json=ping, headers=bearer)) == (405, "method_not_taken")
    assert reason(await _late(client, ping)) == (404, "unknown_sse_session")


async def _late(client: SseClient, message: object) -> httpx.Response:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        return await http.post(client.url, json=message)


async def test_no_more_streams_than_sessions_are_allowed(broker_with: Brokers) -> None:
    agent = broker_with(max_sessions=1).agent()
    async with reading(agent), httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        reply = await http.get(agent.broker.url(agent.path("sse"), "http"))
        assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (503, "too_many_sessions")


async def test_a_restart_ends_the_stream(new_broker: Brokers) -> None:
    broker = new_broker()
    async with reading(broker.agent()) as client:
        await client.ask(1, "initialize", initialize()["params"])
        broker.terminate()
        async with asyncio.timeout(PATIENCE):
            async for _ in client.lines:
                continue
    assert broker.wait() == 0


async def test_clients_that_are_gone_before_their_turn_are_no_trouble(broker: Broker) -> None:
    """They reset the connection while they wait: nothing is left of them, and nothing is logged as a fault."""
    agent = broker.agent()
    head = f"GET {agent.path('sse')} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
    socks = [socket.create_connection((broker.host, broker.port), timeout=PATIENCE) for _ in range(100)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(head)
    for sock in socks:
        sock.close()
    async with asyncio.timeout(PATIENCE):
        while (census := (await broker.stats())["census"])["callers"] or census["strangers"] > 1:
            continue
