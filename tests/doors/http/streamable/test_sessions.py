"""Streamable HTTP of the handshake era: sessions, and how requests are answered."""

import asyncio

import pytest

from support.brokers import Brokers
from support.clients.mcp_http import McpClient, end_of, initialize, mcp_client, progress
from support.peers import Broker, Frame, fault, said, spelled, text_result
from support.sockets import PATIENCE

PATHS = ["/mcp_endpoint/mcp/", "/mcp", "/any/prefix/mcp", "/mcp_endpoint/call/", "/call"]
REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25"]


# --- sessions ---


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_session_from_initialize_to_delete(broker: Broker, path: str, revision: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("add") as program, mcp_client(agent, path) as client:
        opened = await client.initialize(revision)
        assert opened.headers["content-type"] == "application/json"
        assert opened.json()["result"]["protocolVersion"] == revision
        assert len(client.session) > 30
        assert client.session.isascii()
        client.headers["MCP-Protocol-Version"] = revision
        listed = await client.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert [tool["name"] for tool in listed.json()["result"]["tools"]] == ["add"]
        reply = await client.call("add", "é😀", x=1)
        assert reply.headers["content-type"] == "application/json"
        assert reply.json()["id"] == "é😀"
        assert said(reply.json()) == 'calc.add({"x": 1})'
        assert program.waiting("tools/call") == 1
        session = client.session
        assert (await client.delete()).status_code == 204
        client.headers["Mcp-Session-Id"] = session
        again = await client.call("add")
        assert (again.status_code, again.json()["error"]["data"]["reason"]) == (404, "unknown_session")
    end = await end_of(agent)
    assert (end["reason"], end["alias"]) == ("peer_closed", "test")


@pytest.mark.parametrize("where", ["header", "query"])
async def test_the_token_in_a_header_or_in_the_url(broker: Broker, where: str) -> None:
    agent = broker.agent()
    path = "/mcp_endpoint/mcp/" if where == "header" else agent.path("mcp", device="d1", mac="aa:bb")
    async with mcp_client(agent, path) as client:
        if where == "query":
            del client.headers["Authorization"]
        assert (await client.initialize()).status_code == 200
        (link,) = await agent.links("device")
        assert link["device"] == ("d1" if where == "query" else None)
        assert link["mac"] == ("aa:bb" if where == "query" else None)
        assert (link["frames_in"], link["frames_out"], link["pending"]) == (2, 1, 0)
        assert link["protocol_version"] == "2025-11-25"
        counts = (await broker.json("/health"))["connections"]
        assert counts["robot_connections"] == (await broker.stats())["census"]["sessions"]
        await client.delete()


async def test_a_session_is_its_own_agents_alone(broker: Broker) -> None:
    mine, other = broker.agent(), broker.agent()
    async with mine.tool_side("add"), mcp_client(mine) as client, mcp_client(other) as thief:
        await client.initialize()
        thief.headers["Mcp-Session-Id"] = client.session
        for method, content in (("POST", client.calling("add")), ("GET", None), ("DELETE", None)):
            reply = await thief.request(method, content)
            assert reply.status_code == 404
            assert reply.json()["error"]["data"]["reason"] == "unknown_session"
        assert said((await client.call("add")).json()) == "calc.add({})"
        await client.delete()


async def test_an_agent_has_no_more_sessions_than_devices(broker_with: Brokers) -> None:
    agent = broker_with(max_devices=1).agent()
    async with agent.device(), mcp_client(agent) as client:
        reply = await client.initialize()
        assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (429, "too_many_devices")


async def test_a_session_with_an_open_stream_or_a_pending_call_is_not_idle(broker_with: Brokers) -> None:
    agent = broker_with(session_idle=2).agent()
    async with agent.tool_side("slow", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("GET"):
            await asyncio.sleep(2.5)
            assert (await client.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 200
        async with client.stream("POST", client.calling("slow", 1)) as stream:
            await stream.event()
            called = await program.next("tools/call")
        await asyncio.sleep(2.5)
        await program.answer(called, text_result("done"))
        assert (await end_of(agent))["reason"] == "session_idle"


# --- answers ---


async def test_what_a_tool_said_comes_as_it_was(broker: Broker) -> None:
    agent = broker.agent()
    text = "汉" * 2000
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        for result in (f'{{"content":[{{"type":"text","text":"{text}"}}],"n":1.0e2}}', f'{{"x":"{"y" * 900_000}"}}'):
            call = asyncio.create_task(client.call("a", 2**53 + 1))
            called = await program.next("tools/call")
            await program.send(spelled(id=called["id"], result=result))
            assert (await call).text == spelled(id=2**53 + 1, result=result)
        await client.delete()


async def test_a_large_result_with_line_breaks_arrives_through_a_stream(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("a", 1, token="t")) as stream:
            called = await program.next("tools/call")
            token = called["params"]["_meta"]["progressToken"]
            await program.notify("notifications/progress", **progress(token, 1))
            text = "汉" * 300_000
            result = f'\r\n{{"content":\n[{{"type":"text","text":"{text}"}}]}}\n'
            await program.send(spelled(id=called["id"], result=result))
            events = await stream.rest()
            assert stream.response.headers["content-type"] == "text/event-stream"
        assert said(events[-1].frame) == text
        await client.delete()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_notification_that_comes_first_makes_it_a_stream(broker: Broker, revision: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize(revision)
        async with client.stream("POST", client.calling("a", 1, token="t")) as stream:
            called = await program.next("tools/call")
            token = called["params"]["_meta"]["progressToken"]
            for done in range(3):
                await program.notify("notifications/progress", **progress(token, done))
            await program.answer(called, text_result("done"))
            primed, *events = [None, *await stream.rest()] if revision != "2025-11-25" else await stream.rest()
            if primed is not None:
                assert (primed.data, bool(primed.id), primed.retry) == ("", True, 500)
            assert [one.frame.get("params") for one in events[:3]] == [progress("t", done) for done in range(3)]
            assert said(events[3].frame) == "done"
            assert len({one.id for one in events}) == 4
        await client.delete()


async def test_after_a_second_an_answer_is_a_stream_with_keep_alive(broker_with: Brokers) -> None:
    agent = broker_with(ping_interval=0.3).agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("a", 1)) as stream:
            called = await program.next("tools/call")
            assert (await stream.event()).data == ""
            await stream.comment()
            await program.answer(called, text_result("done"))
            (event,) = await stream.rest()
            assert said(event.frame) == "done"
        await client.delete()


async def test_a_batch_is_answered_with_an_array_in_2025_03_26_only(broker: Broker) -> None:
    agent = broker.agent()
    batch: list[Frame] = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        McpClient.calling("add", "2"),
        {"jsonrpc": "2.0", "id": 3, "method": "nothing"},
    ]
    async with agent.tool_side("add"), agent.tool_side("sub", server_id="x"), mcp_client(agent) as client:
        await client.initialize("2025-03-26")
        reply = await client.post(batch)
        answers = {answer["id"]: answer for answer in reply.json()}
        assert answers.keys() == {1, "2", 3}
        assert said(answers["2"]) == "calc.add({})"
        assert fault(answers[3]) == (-32601, "no_such_method")
        told = await client.post([batch[1]])
        assert (told.status_code, told.content) == (202, b"")
        for bad in ([], [batch[0], batch[0]], [batch[0], 1]):
            assert (await client.post(bad)).status_code == 400
        await client.delete()
        await client.initialize("2025-06-18")
        assert (await client.post(batch)).status_code == 400
        await client.delete()


async def test_a_call_that_is_cancelled_ends_without_an_answer(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("a", 1)) as stream:
            called = await program.next("tools/call")
            await stream.event()
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
            assert (await client.post(cancel)).status_code == 202
            assert await stream.rest() == []
            assert (await program.next("notifications/cancelled"))["params"]["requestId"] == called["id"]
        reply = asyncio.create_task(client.call("a", 1))
        await program.answer(await program.next("tools/call"), text_result("again"))
        assert said((await reply).json()) == "again"
        await client.delete()


async def test_delete_cancels_what_is_under_way(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("a", 1)) as stream, client.stream("GET") as standing:
            await program.next("tools/call")
            await stream.event()
            waiting = asyncio.create_task(client.call("a", 2))
            await program.next("tools/call")
            await client.delete()
            assert await stream.rest() == []
            assert len(await standing.rest()) == 1, "nothing but the priming event"
            assert (await waiting).status_code == 404
        for _ in range(2):
            await program.next("notifications/cancelled")


async def test_an_id_in_flight_is_refused_and_the_first_is_answered(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        first = asyncio.create_task(client.call("a", 1))
        called = await program.next("tools/call")
        second = await client.call("a", 1)
        assert (second.status_code, second.json()["error"]["data"]["reason"]) == (400, "id_in_use")
        assert second.json()["id"] == 1
        await program.answer(called, text_result("one"))
        assert said((await first).json()) == "one"
        await client.delete()


# --- clients that take JSON alone, and versions ---


async def test_who_takes_json_alone_gets_the_answer_alone(broker: Broker) -> None:
    """Whatever is said before it, and however late it is."""
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        asked = asyncio.create_task(client.post(client.calling("a", 1, token="t"), Accept="application/json"))
        called = await program.next("tools/call")
        token = called["params"]["_meta"]["progressToken"]
        await program.notify("notifications/progress", **progress(token, 1))
        await program.settled()
        await asyncio.sleep(1.2)  # more than a second of silence
        await program.answer(called, text_result("done"))
        reply = await asked
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        assert said(reply.json()) == "done"
        await client.delete()


@pytest.mark.parametrize("accept", [None, "*/*", "application/*, */*;q=0.1", "application/json, text/event-stream"])
async def test_log_messages_make_no_stream_for_who_names_none(broker: Broker, accept: str | None) -> None:
    """Scripts send `*/*` or nothing, and read JSON: a tool that logs must not change the form of its answer."""
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        asked = asyncio.create_task(client.post(client.calling("a", 1), Accept=accept))
        called = await program.next("tools/call")
        await program.notify("notifications/message", level="info", data="half way")
        await program.settled()
        await program.answer(called, text_result("done"))
        reply = await asked
        named = accept is not None and "event-stream" in accept
        assert reply.headers["content-type"] == ("text/event-stream" if named else "application/json")
        assert ("half way" in reply.text, "done" in reply.text) == (named, True)
        await client.delete()


async def test_a_question_for_who_takes_json_alone_ends_the_call(broker_with: Brokers) -> None:
    agent = broker_with(ask_clients="elicitation").agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        opening = initialize()
        opening["params"]["capabilities"] = {"elicitation": {}}
        opened = await client.post(opening, Accept="application/json")
        client.headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        asked = asyncio.create_task(client.post(client.calling("a", 1), Accept="application/json"))
        called = await program.next("tools/call")
        params = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
        await program.send({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params})
        reply = await asked
        assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (406, "not_acceptable")
        assert reply.json()["id"] == 1
        assert (await program.next("notifications/cancelled"))["params"]["requestId"] == called["id"]
        assert (await client.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})).json()["result"] == {}
        await client.delete()


async def test_a_client_that_leaves_while_it_waits_in_silence_leaves_no_task(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        asked = asyncio.create_task(client.post(client.calling("a", 1), Accept="application/json"))
        called = await program.next("tools/call")
        asked.cancel()
        await asyncio.wait({asked})
        async with asyncio.timeout(PATIENCE):
            while (await broker.stats())["census"]["streams"]:  # noqa: ASYNC110  nothing tells of it
                await asyncio.sleep(0.02)
        assert program.waiting("notifications/cancelled") == 0, "losing a connection is not cancelling"
        await program.answer(called, text_result("late"))
        await client.delete()


VERSIONS = ["2027-01-01", "2026-07-28", "1999-01-01", "", "garbage", "2024-11-05", "2025-11-25, 2025-11-25", "1, 2"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_version_of_a_handshake_is_that_of_its_body(broker: Broker, version: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("a"), mcp_client(agent) as client:
        opened = await client.initialize("2025-06-18", MCP_Protocol_Version=None)
        assert opened.json()["result"]["protocolVersion"] == "2025-06-18"
        await client.delete()
        opened = await client.post(initialize("2025-06-18"), MCP_Protocol_Version=version)
        assert opened.json()["result"]["protocolVersion"] == "2025-06-18"
        client.headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        for same in ("", "2025-06-18", "2025-06-18, 2025-06-18"):
            reply = await client.post(client.calling("a"), MCP_Protocol_Version=same)
            assert said(reply.json()) == "calc.a({})"
        later = await client.post(client.calling("a"), MCP_Protocol_Version="2027-01-01")
        assert later.status_code == 400, "now it has been agreed on"
        assert later.json()["error"]["data"]["supported"][-1] == "2025-11-25"
        await client.delete()
        unknown = await client.initialize("2027-01-01", MCP_Protocol_Version=None)
        assert unknown.json()["result"]["protocolVersion"] == "2025-11-25"
        await client.delete()
