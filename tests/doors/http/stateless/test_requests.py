"""Streamable HTTP of the stateless era, 2026-07-28: every request stands for itself."""

import asyncio
import base64
import contextlib
import json

import pytest

from support.brokers import Brokers
from support.clients.mcp_http import McpClient, Stream, gone, mcp_client
from support.clients.stateless import PREFIX, RESOURCES, RESULTS, REVISION, ask, asking, heads, served
from support.peers import Broker, said, spelled, text_result, tool
from support.sockets import PATIENCE, Wire


def listening(client: McpClient, id_: object = 1, **asked: object) -> contextlib.AbstractAsyncContextManager[Stream]:
    message = asking("subscriptions/listen", id_, notifications=asked)
    return client.stream("POST", message, **heads(message))


# --- what is asked and answered ---


@pytest.mark.parametrize("path", ["/mcp_endpoint/mcp/", "/mcp_endpoint/call/", "/any/mcp"])
async def test_a_request_needs_nothing_before_it_and_leaves_nothing_behind(broker: Broker, path: str) -> None:
    agent = broker.agent()
    async with (
        agent.tool_side("加", introduction={"instructions": "Adds."}) as program,
        mcp_client(agent, path) as client,
    ):
        reply = await ask(client, asking("tools/call", "é😀", {"progressToken": "p", "own/x": 1}, name="加"))
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        assert "mcp-session-id" not in reply.headers
        answer = reply.json()
        assert (answer["id"], said(answer)) == ("é😀", "calc.加(null)")
        assert answer["result"]["resultType"] == "complete"
        assert answer["result"]["_meta"] == {f"{PREFIX}serverInfo": {"name": "calc", "version": "1"}}
        assert "ttlMs" not in answer["result"]
        call = await program.next("tools/call")
        assert call["params"]["_meta"]["own/x"] == 1
        assert not [name for name in call["params"]["_meta"] if name.startswith(PREFIX)]
        discovered = (await ask(client, asking("server/discover", 2))).json()["result"]
        assert discovered["supportedVersions"] == [REVISION, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
        assert discovered["capabilities"]["tools"] == {"listChanged": True}
        assert (discovered["instructions"], discovered["resultType"]) == ("Adds.", "complete")
        assert discovered["cacheScope"] == "private"
        assert await agent.links("device") == []
    assert [end for end in await agent.ends() if end["role"] == "device"] == []
    await gone(broker)


async def test_lists_reads_and_the_rest_are_routed_with_their_hints(broker: Broker) -> None:
    agent = broker.agent()
    async with served(agent) as program, mcp_client(agent) as client:
        for method, member in [
            ("tools/list", "tools"),
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ]:
            result = (await ask(client, asking(method))).json()["result"]
            assert len(result[member]) == 1
            assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (0, "private", "complete")
        read = (await ask(client, asking("resources/read", uri="note:1"))).json()["result"]
        assert (read["contents"][0]["text"], read["ttlMs"], read["cacheScope"]) == ("x", 5000, "private")
        got = (await ask(client, asking("prompts/get", name="greet"))).json()["result"]
        assert (got["messages"], got["resultType"]) == ([], "complete")
        ref = {"type": "ref/prompt", "name": "greet"}
        completed = await ask(client, asking("completion/complete", ref=ref), Mcp_Name=None)
        assert completed.json()["result"]["completion"] == {"values": ["a"]}
        assert program.waiting("resources/read") == 1


async def test_a_result_that_says_what_it_is_passes_as_it_was(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add", calls=False) as program, mcp_client(agent) as client:
        asked = asyncio.create_task(ask(client, asking("tools/call", name="add")))
        call = await program.next("tools/call")
        text = '{"resultType":"input_required","inputRequests":{},"x":1e2}'
        await program.send(spelled(id=call["id"], result=text))
        assert (await asked).text == spelled(id=1, result=text)


async def test_notifications_before_the_answer_make_it_a_stream(broker: Broker) -> None:
    agent = broker.agent()
    async with served(agent, "add", calls=False) as program, mcp_client(agent) as client:
        message = asking("tools/call", 0, {"progressToken": 7}, name="add")
        async with client.stream("POST", message, **heads(message)) as stream:
            pass  # left before the end
        calls = [await program.next("tools/call")]
        cancelled = await program.next("notifications/cancelled")
        assert cancelled["params"]["requestId"] == calls[0]["id"]

        async def answer() -> None:
            call = await program.next("tools/call")
            await program.notify("notifications/message", level="error", data="not asked for")
            token = call["params"]["_meta"]["progressToken"]
            for done in (1, 2):
                await program.notify("notifications/progress", progressToken=token, progress=done)
            await program.answer(call, text_result("done"))

        answering = asyncio.create_task(answer())
        async with client.stream("POST", message, **heads(message)) as stream:
            assert stream.response.headers["content-type"] == "text/event-stream"
            assert stream.response.headers["x-accel-buffering"] == "no"
            events = await stream.rest()
        await answering
        assert [event.id for event in events] == [""] * 3
        progress, answer_ = [event.frame for event in events[:2]], events[2].frame
        assert [one["params"] for one in progress] == [{"progressToken": 7, "progress": done} for done in (1, 2)]
        assert (answer_["id"], answer_["result"]["resultType"]) == (0, "complete")
    await gone(broker)


async def test_log_messages_come_only_if_they_were_asked_for_and_from_that_level_on(broker: Broker) -> None:
    agent = broker.agent()
    async with served(agent, "add", calls=False) as program, mcp_client(agent) as client:
        message = asking("tools/call", 1, {f"{PREFIX}logLevel": "warning"}, name="add")

        async def answer() -> None:
            call = await program.next("tools/call")
            assert (await program.next("logging/setLevel"))["params"] == {"level": "warning"}
            for level in ("info", "error"):
                await program.notify("notifications/message", level=level, data=level)
            await program.answer(call, text_result("done"))

        answering = asyncio.create_task(answer())
        async with client.stream("POST", message, **heads(message)) as stream:
            frames = [event.frame for event in await stream.rest()]
        await answering
        assert [frame.get("params", {}).get("level") for frame in frames] == ["error", None]


async def test_after_a_second_comments_keep_the_connection_alive(broker_with: Brokers) -> None:
    agent = broker_with(ping_interval="0.2").agent()
    async with agent.tool_side("add", calls=False) as program, mcp_client(agent) as client:
        message = asking("tools/call", name="add")
        async with client.stream("POST", message, **heads(message)) as stream:
            assert stream.response.headers["content-type"] == "text/event-stream"
            await stream.comment()
            await program.answer(await program.next("tools/call"), text_result("late"))
            [event] = await stream.rest()
        assert said(event.frame) == "late"


@pytest.mark.parametrize("early", [True, False], ids=["before the head", "in the stream"])
async def test_leaving_cancels_the_call(broker: Broker, early: bool) -> None:
    agent = broker.agent()
    async with agent.tool_side("add", calls=False) as program, mcp_client(agent) as client:
        message = asking("tools/call", 5, {"progressToken": 1}, name="add")
        asked = asyncio.create_task(ask(client, message))
        call = await program.next("tools/call")
        if not early:
            token = call["params"]["_meta"]["progressToken"]
            await program.notify("notifications/progress", progressToken=token, progress=1)
            await program.settled()
        asked.cancel()
        cancelled = await program.next("notifications/cancelled")
        assert cancelled["params"]["requestId"] == call["id"]
        with contextlib.suppress(asyncio.CancelledError):
            await asked
        report = await agent.report()
        assert report["calls_in_flight"] == 0
    await gone(broker)


async def test_one_agent_has_no_more_requests_than_devices(broker_with: Brokers) -> None:
    agent = broker_with(max_devices=2).agent()
    async with agent.tool_side("add", calls=False) as program, mcp_client(agent) as client:
        waiting = [asyncio.create_task(ask(client, asking("tools/call", n, name="add"))) for n in range(2)]
        calls = [await program.next("tools/call") for _ in waiting]
        refused = await ask(client, asking("tools/call", "third", name="add"))
        assert (refused.status_code, refused.json()["id"]) == (429, "third")
        assert refused.json()["error"]["data"]["reason"] == "too_many_devices"
        for call in calls:
            await program.answer(call, text_result("done"))
        assert [(await one).status_code for one in waiting] == [200, 200]
        assert (await ask(client, asking("tools/list"))).status_code == 200


# --- subscriptions/listen ---


async def test_a_stream_has_what_its_filter_asked_for_and_nothing_else(broker: Broker) -> None:
    agent = broker.agent()
    async with served(agent, calls=False) as program, mcp_client(agent) as client:
        asked = {"toolsListChanged": True, "resourceSubscriptions": ["note:1", "nothing:2"]}
        async with listening(client, "é", **asked) as stream:
            meta = {f"{PREFIX}subscriptionId": "é"}
            acknowledged = (await stream.event()).frame
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"]["_meta"] == meta
            granted = acknowledged["params"]["notifications"]
            assert granted["toolsListChanged"] is True
            assert "note:1" in granted["resourceSubscriptions"]
            assert "promptsListChanged" not in granted
            assert (await program.next("resources/subscribe"))["params"] == {"uri": "note:1"}
            program.results = RESULTS | {"prompts/list": {"prompts": []}}
            await program.notify("notifications/prompts/list_changed")
            await program.next("prompts/list")
            await program.notify("notifications/message", level="error", data="x")
            await program.notify("notifications/resources/updated", uri="note:2")
            await program.notify("notifications/resources/updated", uri="note:1")
            await program.change("add", "sub")
            frames = [(await stream.event()).frame for _ in range(2)]
            assert frames[0]["method"] == "notifications/resources/updated"
            assert frames[0]["params"] == {"uri": "note:1", "_meta": meta}
            assert frames[1]["method"] == "notifications/tools/list_changed"
            assert frames[1]["params"] == {"_meta": meta}
            assert (await broker.stats())["census"]["requests"] == 1
            assert len(await agent.links("device")) == 1
        assert (await program.next("resources/unsubscribe"))["params"] == {"uri": "note:1"}
    await gone(broker)


async def test_a_tool_side_that_does_not_grant_in_time_is_not_waited_for(broker: Broker) -> None:
    agent = broker.agent()
    results = {name: result for name, result in RESULTS.items() if name != "resources/subscribe"}
    asked = {"toolsListChanged": True, "resourceSubscriptions": ["note:1"]}
    async with (
        served(agent, results=results) as program,
        mcp_client(agent) as client,
        listening(client, **asked) as stream,
    ):
        granted = (await stream.event()).frame["params"]["notifications"]
        assert granted == {"toolsListChanged": True}
        request = await program.next("resources/subscribe")
        assert (await program.next("notifications/cancelled"))["params"]["requestId"] == request["id"]
        await program.notify("notifications/resources/updated", uri="note:1")
        await program.change("sub")
        assert (await stream.event()).frame["method"] == "notifications/tools/list_changed"


async def test_streams_and_requests_end_with_a_word_when_the_broker_stops(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with (
        served(agent, "add", calls=False) as program,
        mcp_client(agent) as client,
        listening(client, 9, toolsListChanged=True) as stream,
    ):
        await stream.event()
        asked = asyncio.create_task(ask(client, asking("tools/call", name="add")))
        await program.next("tools/call")
        broker.terminate()
        last = (await stream.rest())[-1].frame
        result = {"resultType": "complete", "_meta": {f"{PREFIX}subscriptionId": 9}}
        assert last == {"jsonrpc": "2.0", "id": 9, "result": result}
        assert (await asked).json()["error"]["code"] == -32003


# --- both eras ---


async def test_both_eras_share_one_url(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add"), mcp_client(agent) as old, mcp_client(agent) as new:
        await old.initialize()
        for _ in range(3):
            assert said((await old.call("add")).json()) == "calc.add({})"
            reply = await ask(new, asking("tools/call", name="add", arguments={}))
            assert said(reply.json()) == "calc.add({})"
            assert "resultType" not in (await old.call("add")).json()["result"]
        # A session's id means nothing here, and is not given out again.
        reply = await ask(new, asking("tools/list"), Mcp_Session_Id="x")
        assert (reply.status_code, "mcp-session-id" in reply.headers) == (200, False)
        await old.delete()
    await gone(broker)


async def test_one_tool_side_alone_under_its_own_names(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add", server_id="a"), agent.tool_side("add", server_id="b"):
        async with mcp_client(agent, "/mcp?provider=b") as client:
            result = (await ask(client, asking("tools/list"))).json()["result"]
            assert [one["name"] for one in result["tools"]] == ["add"]
        async with mcp_client(agent) as client:
            result = (await ask(client, asking("tools/list"))).json()["result"]
            assert [one["name"] for one in result["tools"]] == ["a__add", "b__add"]
            assert result["_meta"][f"{PREFIX}serverInfo"]["name"] == "mcp-endpoint"


# --- bad input ---

CALL = asking("tools/call", name="add", arguments={})
NO_META = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HALF = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {f"{PREFIX}protocolVersion": REVISION}}}
OLD = asking("tools/list", meta={f"{PREFIX}protocolVersion": "1900-01-01"})
NOTE = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}

BAD: dict[str, tuple[object, dict[str, str | None], int, int, str]] = {
    "no envelope": (NO_META, {}, 400, -32602, "no_envelope"),
    "no capabilities": (HALF, {}, 400, -32602, "no_envelope"),
    "capabilities that are none": (
        asking("tools/list", meta={f"{PREFIX}clientCapabilities": 1}),
        {},
        400,
        -32602,
        "no_envelope",
    ),
    "a bad log level": (asking("tools/list", meta={f"{PREFIX}logLevel": "loud"}), {}, 400, -32602, "no_envelope"),
    "an envelope without the header": (CALL, {"MCP-Protocol-Version": None}, 400, -32020, "header_mismatch"),
    "another version in the header": (
        CALL,
        {"MCP-Protocol-Version": "2025-11-25"},
        400,
        -32020,
        "header_mismatch",
    ),
    "no method in the header": (CALL, {"Mcp-Method": None}, 400, -32020, "header_mismatch"),
    "another method": (CALL, {"Mcp-Method": "Tools/Call"}, 400, -32020, "header_mismatch"),
    "no name": (CALL, {"Mcp-Name": None}, 400, -32020, "header_mismatch"),
    "another name": (CALL, {"Mcp-Name": "sub"}, 400, -32020, "header_mismatch"),
    "a malformed name": (CALL, {"Mcp-Name": "=?base64?YWRk=?="}, 400, -32020, "header_mismatch"),
    "an unknown version": (OLD, {"MCP-Protocol-Version": "1900-01-01"}, 400, -32022, "unsupported_version"),
    "an unknown version without an envelope": (
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"MCP-Protocol-Version": "1900-01-01"},
        400,
        -32022,
        "unsupported_version",
    ),
    "an unknown version of a notification": (
        NOTE,
        {"MCP-Protocol-Version": "1900-01-01"},
        400,
        -32022,
        "unsupported_version",
    ),
    "not JSON": ("{", {}, 400, -32700, "body_not_json"),
    "a batch": ([CALL], {}, 400, -32600, "not_one_message"),
    "an answer": ({"jsonrpc": "2.0", "id": 1, "result": {}}, {}, 400, -32600, "not_one_message"),
    "an id that is none": (CALL | {"id": None}, {}, 400, -32600, "not_one_message"),
    "another content type": (CALL, {"Content-Type": "text/plain"}, 415, -32600, "not_json_type"),
    "nothing accepted": (CALL, {"Accept": "text/html"}, 406, -32600, "not_acceptable"),
    "an unknown tool": (asking("tools/call", name="x"), {}, 400, -32602, "unknown_tool"),
    "an unknown resource": (asking("resources/read", uri="x:1"), {}, 400, -32602, "unknown_resource"),
    "a filter that is none": (asking("subscriptions/listen"), {}, 400, -32602, "bad_filter"),
    "a bad cursor": (asking("tools/list", cursor="x"), {}, 400, -32602, "bad_cursor"),
} | {
    method: (asking(method), {}, 404, -32601, "removed_method")
    for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe")
}


@pytest.mark.parametrize("what", BAD)
async def test_what_is_wrong_gets_the_status_and_the_code_of_the_specification(broker: Broker, what: str) -> None:
    message, headers, status, code, reason = BAD[what]
    agent = broker.agent()
    due = heads(message) if isinstance(message, dict) and "method" in message else {"MCP-Protocol-Version": REVISION}
    async with agent.tool_side("add"), agent.tool_side("other", server="o"), mcp_client(agent) as client:
        reply = await client.post(message, **(due | headers))
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["data"]["reason"]) == (status, code, reason)
        id_ = message.get("id") if isinstance(message, dict) and "method" in message else None
        # A head is refused before the body, and with it the id, is read.
        assert reply.json()["id"] == (None if status in (406, 415) else id_)
        if code == -32022:
            assert error["data"]["requested"] == "1900-01-01"
            assert REVISION in error["data"]["supported"]
    await gone(broker)


async def test_a_method_that_nobody_has_is_404(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add"), agent.tool_side("other", server="o"), mcp_client(agent) as client:
        reply = await ask(client, asking("own/method"))
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, -32601)


@pytest.mark.parametrize(("code", "status"), [(-32021, 400), (-32601, 404), (-32602, 400), (-32603, 200), (-5, 200)])
async def test_an_error_of_a_tool_side_has_the_status_of_its_code(broker: Broker, code: int, status: int) -> None:
    agent = broker.agent()
    async with agent.tool_side("add", calls=False) as program, mcp_client(agent) as client:
        asked = asyncio.create_task(ask(client, asking("tools/call", name="add")))
        call = await program.next("tools/call")
        error = {"code": code, "message": "m", "data": {"own": 1}}
        await program.send({"jsonrpc": "2.0", "id": call["id"], "error": error})
        reply = await asked
        assert (reply.status_code, reply.json()["error"]) == (status, error)


async def test_codes_of_the_broker_keep_their_meaning(broker_with: Brokers) -> None:
    agent = broker_with(offline_grace="60").agent()
    async with mcp_client(agent) as client:
        async with agent.tool_side("add", results=RESULTS, introduction=RESOURCES):
            pass
        await agent.ended("tool")
        for message in (asking("tools/call", name="add"), asking("resources/read", uri="note:1")):
            reply = await ask(client, message)
            assert (reply.status_code, reply.json()["error"]["code"]) == (200, -32001)
            assert reply.json()["error"]["data"]["reason"] == "tool_side_offline"
        deadlines = (await agent.broker.stats())["census"]["deadlines"]
        for _ in range(10):
            await ask(client, asking("tools/list"))
        assert (await agent.broker.stats())["census"]["deadlines"] == deadlines


async def test_a_notification_is_taken_and_means_nothing(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add", calls=False) as program, mcp_client(agent) as client:
        asked = asyncio.create_task(ask(client, asking("tools/call", 1, name="add")))
        call = await program.next("tools/call")
        told = await client.post(NOTE, MCP_Protocol_Version=REVISION)
        assert (told.status_code, told.content) == (202, b"")
        await program.answer(call, text_result("done"))
        assert said((await asked).json()) == "done"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_post_is_taken(broker: Broker, method: str) -> None:
    async with mcp_client(broker.agent()) as client:
        reply = await client.request(method, MCP_Protocol_Version=REVISION)
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST, OPTIONS")


async def test_a_routing_header_that_comes_twice_is_refused(broker: Broker) -> None:
    agent = broker.agent()
    body = json.dumps(asking("tools/call", name="a, a")).encode()
    async with agent.tool_side("add"), Wire.open(broker) as wire:
        head = (
            f"POST {agent.path('mcp')} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {REVISION}\r\n"
            f"Mcp-Method: tools/call\r\nMcp-Name: a\r\nMcp-Name: a\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        wire.write(head.encode() + body)
        reply = await wire.reply()
        assert json.loads(reply.body)["error"]["code"] == -32020


async def test_headers_of_arguments_are_held_against_the_tools_schema(broker: Broker) -> None:
    agent = broker.agent()
    properties = {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer"}}
    query = tool("query") | {"inputSchema": {"type": "object", "properties": properties}}
    async with agent.tool_side(query) as program, mcp_client(agent) as client:
        message = asking("tools/call", name="query", arguments={"region": "华北", "n": 1})
        good = f"=?base64?{base64.b64encode('华北'.encode()).decode()}?="
        for said_, status in [(good, 200), (None, 400), ("x", 400), ("=?base64?x?=", 400)]:
            reply = await ask(client, message, Mcp_Param_Region=said_)
            assert reply.status_code == status
            if status == 400:
                assert reply.json()["error"]["code"] == -32020
        bare = asking("tools/call", name="query", arguments={"region": None})
        assert (await ask(client, bare)).status_code == 200
        assert (await ask(client, bare, Mcp_Param_Region="x")).status_code == 400
        assert (await ask(client, bare, Mcp_Param_Other="x")).status_code == 200
        assert program.waiting("tools/call") == 3


async def test_a_page_may_send_the_headers_of_arguments(broker_with: Brokers) -> None:
    broker = broker_with(allowed_origins="https://console.example.com")
    asked = "content-type, Mcp-Param-Region,x-other, mcp-param-a b"
    async with mcp_client(broker.agent()) as client:
        reply = await client.request(
            "OPTIONS",
            Origin="https://console.example.com",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers=asked,
        )
        allowed = reply.headers["access-control-allow-headers"].split(", ")
        assert {"mcp-method", "mcp-name", "mcp-param-region"} <= set(allowed)
        assert "x-other" not in allowed


async def test_clients_that_are_gone_leave_nothing(broker_with: Brokers) -> None:
    broker = broker_with(ping_interval="0.5")
    agent = broker.agent()
    async with served(agent, "add", calls=False) as program:
        before = (await broker.stats())["census"]
        async with mcp_client(agent) as client, contextlib.AsyncExitStack() as streams:
            asked = {"resourceSubscriptions": ["note:1"]}
            open_ = [await streams.enter_async_context(listening(client, number, **asked)) for number in range(5)]
            for stream in open_:
                await stream.event()
            calls = [asyncio.create_task(ask(client, asking("tools/call", n, name="add"))) for n in range(5)]
            for _ in calls:
                await program.next("tools/call")
            assert (await broker.stats())["census"]["requests"] == 10
            for call in calls:
                call.cancel()
        await asyncio.wait(calls)
        for _ in calls:
            await program.next("notifications/cancelled")
        await program.next("resources/unsubscribe")
        assert program.waiting("resources/subscribe") == 1  # one for all five
        await gone(broker)
        async with asyncio.timeout(PATIENCE):
            while (await broker.stats())["census"]["tasks"] > before["tasks"]:
                continue


async def test_a_stream_that_is_not_read_is_cut_off(broker_with: Brokers) -> None:
    broker = broker_with(send_timeout="0.5", send_buffer="64KB", max_message_size="256KB")
    agent = broker.agent()
    body = json.dumps(asking("tools/call", 1, {"progressToken": 1}, name="add")).encode()
    async with agent.tool_side("add", calls=False) as program, Wire.open(broker, receive_buffer=4096) as wire:
        head = (
            f"POST {agent.path('mcp')} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {REVISION}\r\n"
            f"Mcp-Method: tools/call\r\nMcp-Name: add\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        wire.write(head.encode() + body)
        call = await program.next("tools/call")
        token = call["params"]["_meta"]["progressToken"]
        for number in range(200):
            if program.waiting("notifications/cancelled"):
                break
            text = "x" * 100_000
            await program.notify("notifications/progress", progressToken=token, progress=number, message=text)
        assert (await program.next("notifications/cancelled"))["params"]["requestId"] == call["id"]
    await gone(broker)


async def test_who_takes_json_alone_gets_the_answer_alone(broker: Broker) -> None:
    """Whatever is said before it, and however late it is."""
    agent = broker.agent()
    async with served(agent, "add", calls=False) as program, mcp_client(agent) as client:
        message = asking("tools/call", 0, {"progressToken": 7, f"{PREFIX}logLevel": "debug"}, name="add")
        asked = asyncio.create_task(ask(client, message, Accept="application/json"))
        call = await program.next("tools/call")
        token = call["params"]["_meta"]["progressToken"]
        await program.notify("notifications/progress", progressToken=token, progress=1)
        await program.notify("notifications/message", level="error", data="x")
        await program.settled()
        await program.answer(call, text_result("done"))
        reply = await asked
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        assert said(reply.json()) == "done"
        listen = asking("subscriptions/listen", 3, notifications={"toolsListChanged": True})
        refused = await ask(client, listen, Accept="application/json")
        assert (refused.status_code, refused.json()["error"]["data"]["reason"]) == (406, "not_acceptable")
        assert refused.json()["id"] == 3
    await gone(broker)


async def test_who_takes_streams_alone_gets_one(broker: Broker) -> None:
    agent = broker.agent()
    async with served(agent, "add"), mcp_client(agent) as client:
        message = asking("tools/call", 5, name="add")
        async with client.stream("POST", message, **(heads(message) | {"Accept": "text/event-stream"})) as stream:
            assert stream.response.headers["content-type"] == "text/event-stream"
            assert [said(event.frame) for event in await stream.rest()] == ["calc.add(null)"]
        unknown = await ask(client, asking("own/method"), Accept="text/event-stream")
        assert unknown.status_code in (200, 404)
    await gone(broker)


@pytest.mark.parametrize("accept", [None, "*/*", "application/*"])
async def test_an_absent_accept_is_anything(broker: Broker, accept: str | None) -> None:
    agent = broker.agent()
    async with served(agent, "add"), mcp_client(agent) as client:
        reply = await ask(client, asking("tools/call", name="add"), Accept=accept)
        assert said(reply.json()) == "calc.add(null)"
    await gone(broker)


async def test_a_handshake_is_one_whatever_version_its_header_names(broker: Broker) -> None:
    agent = broker.agent()
    async with mcp_client(agent) as client:
        reply = await client.initialize(MCP_Protocol_Version=REVISION)
        assert reply.status_code == 200
        await client.delete()
    await gone(broker)
