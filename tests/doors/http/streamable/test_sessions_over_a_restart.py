"""Clients over HTTP that keep the id of their session while the broker is restarted, as most do."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from support.brokers import Brokers
from support.clients.mcp_http import LIST_CHANGED, McpClient, end_of, initialize, mcp_client
from support.node import needs_node, node
from support.paths import PROGRAMS, ROOT
from support.peers import Agent, Frame, said
from support.sdks import CLIENT_PYTHON, PATIENCE, environ

PING: Frame = {"jsonrpc": "2.0", "id": 5, "method": "ping"}


async def restarted(client: McpClient, new_broker: Brokers, **settings: object) -> Agent:
    """The client's agent at the next run of its broker, to which the client speaks from here on."""
    client.agent.broker.terminate()
    assert client.agent.broker.wait() == 0
    agent = Agent(new_broker(**settings), client.agent.name)
    client.agent, client.url = agent, agent.broker.url("/mcp_endpoint/mcp/", "http")
    return agent


def reason(reply: object) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["data"]["reason"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_client_goes_on_with_its_session(new_broker: Brokers, revision: str) -> None:
    async with mcp_client(new_broker().agent()) as client:
        await client.initialize(revision)
        if revision != "2025-03-26":
            client.headers["MCP-Protocol-Version"] = revision
        for _ in range(2):  # two restarts
            agent = await restarted(client, new_broker)
            async with agent.tool_side("add"):
                assert said((await client.call("add", x=1)).json()) == 'calc.add({"x": 1})'
                assert (await client.post(PING)).json()["result"] == {}
                (link,) = await agent.links("device")
                assert link["protocol_version"] == revision
                assert (await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"})).status_code == 202
                assert (await client.post([PING])).status_code == (200 if revision == "2025-03-26" else 400)
                assert (await agent.broker.stats())["census"]["sessions"] == 1
        session = client.session
        assert (await client.delete()).status_code == 204
        client.headers["Mcp-Session-Id"] = session
        assert reason(await client.call("add")) == (404, "unknown_session")
        assert reason(await client.request("GET")) == (404, "unknown_session")
        assert reason(await client.request("DELETE")) == (404, "unknown_session")
    assert (await end_of(agent))["reason"] == "peer_closed"


async def test_its_streams_go_on_and_no_event_is_taken_for_another(new_broker: Brokers) -> None:
    async with mcp_client(new_broker().agent()) as client:
        await client.initialize()
        client.headers["MCP-Protocol-Version"] = "2025-11-25"
        async with client.agent.tool_side("a") as program, client.stream("GET") as stream:
            await stream.event()
            await program.change("a", "b")
            last = (await stream.event()).id
        async with client.stream("POST", client.calling("none", 1), Accept="text/event-stream") as stream:
            answered = (await stream.event()).id
        agent = await restarted(client, new_broker)
        async with agent.tool_side("a") as program:
            assert said((await client.call("a")).json()) == "calc.a({})"
            async with client.stream("GET", last=last) as stream:
                assert (await stream.event()).data == ""
                assert (await stream.event()).frame == LIST_CHANGED, "its list may be an old one"
                await program.change("a", "b")
                event = await stream.event()
                assert event.frame == LIST_CHANGED
            await program.change("a")
            async with client.stream("GET", last=event.id) as stream:
                await stream.event()
                assert (await stream.event()).frame == LIST_CHANGED
            assert reason(await client.request("GET", Last_Event_ID=answered)) == (400, "unknown_event")
        await client.delete()


async def test_nobody_else_has_anything_of_it(new_broker: Brokers) -> None:
    """Another agent, another key, an id that was made up, a bad token: as if there was no such session."""
    async with mcp_client(new_broker().agent()) as client:
        await client.initialize()
        session = client.session
        agent = await restarted(client, new_broker)
        other = Agent(agent.broker, "somebody else")
        async with mcp_client(other) as thief:
            for made_up in (session, session[:-1] + ("A" if session[-1] != "A" else "B"), "x" * 60, "x"):
                thief.headers["Mcp-Session-Id"] = made_up
                for method, content in (("POST", PING), ("GET", None), ("DELETE", None)):
                    assert reason(await thief.request(method, content)) == (404, "unknown_session")
            assert (await client.post(PING, Authorization="Bearer x")).status_code == 401
        assert (await agent.broker.stats())["census"]["sessions"] == 0
        assert (await client.post(PING)).json()["result"] == {}
        await client.delete()
    async with mcp_client(new_broker(key="b" * 32).agent()) as elsewhere:
        elsewhere.headers["Mcp-Session-Id"] = session
        assert reason(await elsewhere.post(PING)) == (404, "unknown_session")


async def test_what_has_ended_stays_ended(new_broker: Brokers) -> None:
    async with mcp_client(new_broker().agent()) as client:
        await client.initialize()
        ended = client.session
        await client.delete()
        client.headers["Mcp-Session-Id"] = ended
        assert reason(await client.post(PING)) == (404, "unknown_session"), "of this run"
        del client.headers["Mcp-Session-Id"]
        await client.initialize()
        session = client.session
        agent = await restarted(client, new_broker, session_idle=0.3)
        assert (await client.delete()).status_code == 204, "without having been used before"
        client.headers["Mcp-Session-Id"] = session
        assert reason(await client.post(PING)) == (404, "unknown_session")
        client.headers["Mcp-Session-Id"] = ended
        assert (await client.post(PING)).status_code == 200, "that it was ended is not known any more"
        assert (await end_of(agent))["reason"] == "session_idle"
        assert reason(await client.post(PING)) == (404, "unknown_session")


async def test_who_begins_anew_with_an_old_id_may(new_broker: Brokers) -> None:
    """Clients that never forget an id send it with `initialize` too, whether it was taken over meanwhile or not."""
    async with mcp_client(new_broker().agent()) as client:
        await client.initialize()
        agent = await restarted(client, new_broker)
        for before in (None, PING):
            if before is not None:
                assert (await client.post(before)).status_code == 200
            reply = await client.post(initialize())
            assert reply.status_code == 200
            assert reply.headers["mcp-session-id"] != client.session
            new = {"Mcp-Session-Id": reply.headers["mcp-session-id"]}
            assert (await client.post(PING, **new)).status_code == 200
            assert reason(await client.post(initialize(id_=6), **new)) == (400, "session_begun")
            assert (await client.request("DELETE", **new)).status_code == 204
            assert (await client.post(initialize(), **{"Mcp-Session-Id": "x"})).status_code == 200
        assert (await agent.broker.stats())["census"]["sessions"] == 2, "those of the made-up id"


async def test_taking_over_is_within_the_limits_of_beginning(new_broker: Brokers) -> None:
    async with mcp_client(new_broker().agent()) as client, mcp_client(client.agent) as second:
        await client.initialize()
        await second.initialize()
        agent = await restarted(client, new_broker, max_devices=1)
        assert (await client.post(PING)).status_code == 200
        second.url = client.url
        assert reason(await second.post(PING)) == (429, "too_many_devices")
        await client.delete()
        assert (await second.post(PING)).status_code == 200
        await second.delete()
    assert agent.broker.process.poll() is None
    async with mcp_client(agent) as client:
        await client.initialize()
        await restarted(client, new_broker, handshakes_per_minute=1, trusted_proxies="127.0.0.1")
        via = {"X-Forwarded-For": "192.0.2.1"}
        assert (await client.post(PING, Authorization="Bearer x", **via)).status_code == 401
        assert reason(await client.post(PING, **via)) == (429, "too_many_handshakes")
        assert (await client.post(PING)).status_code == 200
        await client.delete()


@pytest.mark.parametrize(
    "sdk",
    [
        "python 1.x",
        "python 2.x",
        pytest.param("typescript 1", marks=needs_node),
        pytest.param("typescript 2", marks=needs_node),
    ],
)
async def test_clients_of_the_official_sdks_go_on(new_broker: Brokers, sdk: str) -> None:
    """None of them begins a new session by itself."""
    language, _, version = sdk.partition(" ")
    agent = new_broker().agent()
    url = agent.broker.url(agent.path("mcp"), "http")
    if language == "python":
        python = str(CLIENT_PYTHON) if version == "1.x" else sys.executable
        command = [python, str(PROGRAMS / "sdk_restart_client.py"), url]
    else:
        command = [node(), str(ROOT / "tests" / "npm" / "restart.mjs"), version, url]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environ())
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        async with agent.tool_side("add"):
            assert await process.stdout.readline() == b"calc.add({})\n"
        agent.broker.terminate()
        assert await asyncio.to_thread(agent.broker.wait) == 0
        agent = Agent(new_broker(port=agent.broker.port), agent.name)
        async with agent.tool_side("add", server="next"):
            process.stdin.write(b"\n")
            out, err = await process.communicate()
    assert out == b"next.add({})\n", err.decode()
    assert process.returncode == 0
