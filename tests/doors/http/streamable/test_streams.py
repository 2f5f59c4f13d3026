"""Streamable HTTP of the handshake era: streams, their resumption, and how sessions and connections end."""

import asyncio

import pytest

from support.brokers import Brokers
from support.clients.mcp_http import LIST_CHANGED, McpClient, end_of, gone, initialize, mcp_client, progress
from support.peers import Broker, Frame, fault, said, text_result
from support.sockets import Wire

# --- the standing stream, and what is resumed ---


async def test_the_standing_stream_has_what_is_about_no_request(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a") as program, mcp_client(agent) as client:
        await client.initialize()
        await program.change("a", "b")
        async with client.stream("GET") as stream:
            assert (await stream.event()).data == "", "the priming event"
            assert (await stream.event()).frame == LIST_CHANGED, "it came before anybody asked"
            await program.change("a", "b", "c")
            assert (await stream.event()).frame == LIST_CHANGED
        await client.delete()


@pytest.mark.parametrize("knows", ["nothing", "the last event", "an empty id"])
async def test_the_newest_stream_takes_the_place_of_one_that_is_not_heard_of(broker: Broker, knows: str) -> None:
    """As after a Wi-Fi that was gone: the older connection is still open here. Each event comes once."""
    agent = broker.agent()
    async with agent.tool_side("a") as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("GET") as older:
            await older.event()
            await program.change("a", "b")
            seen = await older.event()
            assert seen.frame == LIST_CHANGED
            last = {"nothing": None, "the last event": seen.id, "an empty id": ""}[knows]
            async with client.stream("GET", last=last) as newer:
                assert newer.status == 200
                assert (await newer.event()).data == ""
                assert await older.rest() == [], "it is ended"
                await program.change("a")
                event = await newer.event()
                assert (event.frame, event.id == seen.id) == (LIST_CHANGED, False)
                async with client.stream("GET", last=event.id) as newest:
                    await newest.event()
                    assert await newer.rest() == []
                    await program.change("c")
                    assert (await newest.event()).frame == LIST_CHANGED
        await client.delete()
    await gone(broker)


async def test_a_stream_that_nobody_reads_any_more_keeps_nothing_from_the_next(broker: Broker) -> None:
    """The older connection does not read at all; what was for it and is known to be lost comes again."""
    agent = broker.agent()
    async with agent.tool_side("a") as program, mcp_client(agent) as client, Wire.open(broker) as wire:
        await client.initialize()
        head = "".join(f"{name}: {value}\r\n" for name, value in client.headers.items())
        wire.write(f"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{head}\r\n".encode())
        await wire.head()
        primed = (await wire.reader.readuntil(b"\nretry")).decode().partition("id: ")[2].partition("\n")[0]
        await program.change("a", "b")
        async with client.stream("GET", last=primed) as stream:
            assert (await stream.event()).data == ""
            assert (await stream.event()).frame == LIST_CHANGED
        await client.delete()


async def test_a_standing_stream_that_was_lost_goes_on_where_it_broke_off(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("a") as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("GET") as stream:
            await stream.event()
            await program.change("a", "b")
            seen = await stream.event()
            await program.change("a")
            lost = await stream.event()
        await program.change("a", "c")
        async with client.stream("GET", last=seen.id) as stream:
            events = [await stream.event() for _ in range(3)]
            assert events[0].data == ""
            assert events[1].id == lost.id
            assert [one.frame for one in events[1:]] == [LIST_CHANGED] * 2
            await program.change("a")
            assert (await stream.event()).frame == LIST_CHANGED
        await client.delete()


async def test_a_call_goes_on_without_its_client_and_each_event_comes_once(broker: Broker) -> None:
    """The connection is cut in the middle of the answer, twice; then the stream is read to its end."""
    agent = broker.agent()
    seen: list[Frame] = []
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("a", 1, token="t")) as stream:
            called = await program.next("tools/call")
            token = called["params"]["_meta"]["progressToken"]
            last = (await stream.event()).id
            await program.notify("notifications/progress", **progress(token, 0))
            seen.append((first := await stream.event()).frame)
            last = first.id
        await program.notify("notifications/progress", **progress(token, 1))
        await program.settled()
        async with client.stream("GET", last=last) as stream:
            await stream.event()
            await program.notify("notifications/progress", **progress(token, 2))
            for _ in range(2):
                seen.append((event := await stream.event()).frame)
                last = event.id
        await program.notify("notifications/progress", **progress(token, 3))
        await program.answer(called, text_result("done"))
        await program.settled()
        assert program.waiting("notifications/cancelled") == 0
        async with client.stream("GET", last=last) as stream:
            seen += [one.frame for one in await stream.rest()]
        async with client.stream("GET", last=last) as stream:
            assert len(await stream.rest()) == 2, "it may be asked for again"
        assert [frame["params"] for frame in seen[:-1]] == [progress("t", done) for done in range(4)]
        assert said(seen[-1]) == "done"
        await client.delete()
    await gone(broker)


async def test_a_waiting_client_is_told_to_poll(broker_with: Brokers) -> None:
    agent = broker_with(poll_after=0.2).agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("a", 1)) as stream:
            called = await program.next("tools/call")
            (primed,) = await stream.rest()
        assert (primed.data, primed.retry) == ("", 500)
        async with client.stream("GET", last=primed.id) as stream:
            (again,) = await stream.rest()
            assert (again.data, again.id) == ("", primed.id)
        async with client.stream("GET", last=primed.id) as stream:
            await stream.event()
            await program.answer(called, text_result("done"))
            (event,) = await stream.rest()
            assert said(event.frame) == "done"
        await client.delete()


async def test_older_clients_are_not_told_to_poll(broker_with: Brokers) -> None:
    agent = broker_with(poll_after=0.2, ping_interval=1).agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize("2025-06-18")
        async with client.stream("POST", client.calling("a", 1)) as stream:
            called = await program.next("tools/call")
            await stream.comment()
            await program.answer(called, text_result("done"))
            (event,) = await stream.rest()
            assert said(event.frame) == "done"
        await client.delete()


# --- ends ---


async def test_closed_clients_leave_nothing_but_their_sessions(new_broker: Brokers) -> None:
    broker = new_broker(ping_interval=1)
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program:
        async with mcp_client(agent) as client:
            await client.initialize()
            async with client.stream("GET"), client.stream("POST", client.calling("a", 1)) as stream:
                await stream.event()
                assert (await broker.stats())["census"]["streams"] == 2
        await gone(broker, sessions=1)
        await program.answer(await program.next("tools/call"), text_result("done"))
        await program.settled()
        await gone(broker, sessions=1)


async def test_a_stream_that_is_not_read_is_cut_off_and_its_session_goes_on(broker_with: Brokers) -> None:
    broker = broker_with(send_timeout=0.5, send_buffer="64KB", max_message_size="1MB")
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize("2025-06-18")
        async with Wire.open(broker, receive_buffer=4096) as wire:
            wire.write(raw(client, McpClient.calling("a", 1, token="t")))
            called = await program.next("tools/call")
            token = called["params"]["_meta"]["progressToken"]
            for done in range(8):
                await program.notify(
                    "notifications/progress", progressToken=token, progress=done, message="x" * 500_000
                )
            await broker.logged("unread_answer")
        assert (await client.post({"jsonrpc": "2.0", "id": 2, "method": "ping"})).json()["result"] == {}
        await client.delete()


async def test_a_session_whose_reader_takes_nothing_ends_when_too_much_waits(broker_with: Brokers) -> None:
    broker = broker_with(send_timeout=600, send_buffer="64KB", max_message_size="1MB")
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize("2025-06-18")
        async with Wire.open(broker, receive_buffer=4096) as wire:
            wire.write(raw(client, McpClient.calling("a", 1, token="t")))
            called = await program.next("tools/call")
            token = called["params"]["_meta"]["progressToken"]
            for done in range(20):
                await program.notify(
                    "notifications/progress", progressToken=token, progress=done, message="x" * 500_000
                )
            assert (await end_of(agent))["reason"] == "send_overflow"
            await program.next("notifications/cancelled")
        assert (await client.call("a")).status_code == 404
    await gone(broker)


async def test_stopping_tells_clients_over_http(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("GET") as standing, client.stream("POST", client.calling("a", 1)) as stream:
            await program.next("tools/call")
            await stream.event()
            waiting = asyncio.create_task(client.call("a", 2))
            await program.next("tools/call")
            await standing.event()
            broker.terminate()
            (event,) = await stream.rest()
            assert fault(event.frame) == (-32003, "tool_side_lost")
            assert fault((await waiting).json()) == (-32003, "tool_side_lost")
            await standing.rest()
    assert await asyncio.to_thread(broker.wait) == 0
    assert [line for line in broker.lines if "device side ended" in line and "(restart, code 1012)" in line]


def raw(client: McpClient, message: Frame) -> bytes:
    """A POST by hand."""
    request = client.http.build_request("POST", client.url, **client._of(message, {}))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"POST {request.url.raw_path.decode()} HTTP/1.1\r\n{head}\r\n".encode() + request.content


async def test_one_connection_carries_many_requests(broker: Broker) -> None:
    agent = broker.agent()
    async with agent.tool_side("add"), mcp_client(agent) as client, Wire.open(broker) as wire:
        await client.initialize()
        for number in range(5):
            wire.write(raw(client, McpClient.calling("add", number)))
            reply = await wire.reply()
            assert (reply.status, "connection" in reply.headers) == (200, False)
        for number in range(5):
            wire.write(raw(client, McpClient.calling("add", number)))
        for _ in range(5):
            assert (await wire.reply()).status == 200
        await client.delete()


async def test_a_token_is_in_no_line_of_the_log(new_broker: Brokers) -> None:
    broker = new_broker(log_level="DEBUG")
    agent = broker.agent()
    async with agent.tool_side("add"), mcp_client(agent, agent.path("mcp")) as client:
        await client.initialize()
        await client.call("add")
        async with client.stream("GET"):
            pass
        await client.delete()
        session = client.headers.get("Mcp-Session-Id", "none")
    async with mcp_client(agent, "/mcp/?token=not-a-token-at-all") as client:
        client.headers.clear()
        assert (await client.post(initialize())).status_code == 401
    broker.stop()
    text = "\n".join(broker.lines)
    assert "POST /mcp_endpoint/mcp/?" in text
    for secret in (agent.token, agent.token[:20], "not-a-token", session):
        assert secret not in text
