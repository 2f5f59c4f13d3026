"""Streamable HTTP: real servers of both eras, and scripted ones that behave badly."""

import asyncio
import contextlib
import json

import pytest

from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.transports.streamable_http import streams as http_streams
from mcp_endpoint.providers.transports.streamable_http.client import StreamableHttpSettings, StreamableHttpSource
from support.node import needs_node
from support.peers import PATIENCE
from support.servers.http_peers import HELLO, LOOPBACK, Exchange, Script, everything, free_port, greeting, scripted, sdk
from support.servers.sources import talking


def source(url: str, **settings: object) -> StreamableHttpSource:
    everything = {"allow_private": LOOPBACK} | settings
    return StreamableHttpSource(StreamableHttpSettings(url, **everything))  # type: ignore[arg-type]


async def end_of(script: Script, **settings: object) -> Stopped:
    """Why a source ends that greets a scripted server."""
    async with scripted(script) as url, talking(source(url, **settings)) as talk:
        talk.ask("initialize", protocolVersion="2025-11-25")
        return await talk.end()


# -- real servers ------------------------------------------------------------------------------------------------------


@needs_node
async def test_server_everything() -> None:
    async with everything("streamableHttp") as served, talking(source(f"{served.url}/mcp")) as talk:
        assert (await talk.greet())["serverInfo"]["name"]
        assert "echo" in await talk.tools()
        assert "你好" in await talk.call("echo", message="你好")


@pytest.mark.parametrize("mode", ["streamable", "json", "stateless"])
async def test_a_server_of_the_sdk(mode: str) -> None:
    async with sdk(mode) as served, talking(source(f"{served.url}/mcp")) as talk:
        hello = await talk.greet("2025-06-18")
        assert hello["serverInfo"]["name"] == "Counter"
        assert hello["instructions"] == "Counts."
        assert hello["protocolVersion"] == "2025-06-18"
        assert (await talk.request("ping"))["result"] == {}
        listed = (await talk.request("tools/list"))["result"]
        assert "count" in [tool["name"] for tool in listed["tools"]]
        assert "resultType" not in listed
        assert await talk.call("count", steps=3) == "counted to 3"
        note = (await talk.request("resources/read", uri="note://one"))["result"]
        assert note["contents"][0]["text"] == "a note"
        prompt = (await talk.request("prompts/get", name="greet", arguments={"name": "你"}))["result"]
        assert "Greet 你" in json.dumps(prompt, ensure_ascii=False)
        assert (await talk.request("no/such"))["error"]["code"] == -32601
        calls = [talk.ask("tools/call", name="count", arguments={"steps": steps}) for steps in range(20)]
        texts = [(await talk.answer(call))["result"]["content"][0]["text"] for call in reversed(calls)]
        assert texts == [f"counted to {steps}" for steps in reversed(range(20))]


@pytest.mark.parametrize("mode", ["streamable", "stateless"])
async def test_progress_comes_before_the_answer(mode: str) -> None:
    async with sdk(mode) as served, talking(source(f"{served.url}/mcp")) as talk:
        await talk.greet()
        number = talk.ask("tools/call", name="count", arguments={"steps": 2}, _meta={"progressToken": 9})
        await talk.answer(number)
        progress = [frame["params"] for frame in talk.passed if frame.get("method") == "notifications/progress"]
        assert [(step["progressToken"], step["progress"]) for step in progress] == [(9, 1), (9, 2)]


@pytest.mark.parametrize("mode", ["streamable", "stateless"])
async def test_a_changed_list_is_told(mode: str) -> None:
    async with sdk(mode) as served, talking(source(f"{served.url}/mcp")) as talk:
        await talk.greet()
        await talk.tools()
        # In the stateless era what changes before the listening began is not told.
        async with asyncio.timeout(PATIENCE):
            while True:
                await talk.call("grow")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await talk.notified("notifications/tools/list_changed")
                        break
        assert "grown" in await talk.tools()


@pytest.mark.parametrize("mode", ["streamable", "stateless"])
async def test_a_cancelled_call_ends_at_the_server(mode: str) -> None:
    async with sdk(mode) as served, talking(source(f"{served.url}/mcp")) as talk:
        await talk.greet()
        number = talk.ask("tools/call", name="hang", arguments={}, _meta={"progressToken": 1})
        await talk.notified("notifications/progress")
        talk.send(method="notifications/cancelled", params={"requestId": number})
        assert await talk.call("was_cancelled") == "cancelled"


async def test_an_argument_that_goes_into_a_header() -> None:
    async with sdk("stateless") as served, talking(source(f"{served.url}/mcp")) as talk:
        await talk.greet()
        await talk.tools()
        assert await talk.call("region", where="eu") == "eu: eu"
        assert (await talk.call("region", where="东")).startswith("东: =?base64?")


async def test_a_restarted_server_is_greeted_anew_and_the_call_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    # However long the new one takes to start.
    monkeypatch.setattr(http_streams, "STANDING_TRIES", 1000)
    async with sdk("streamable") as served, talking(source(f"{served.url}/mcp")) as talk:
        await talk.greet()
        await talk.tools()
        await served.kill()
        async with sdk("streamable", served.port):
            assert await talk.call("count", steps=1) == "counted to 1"
            await talk.notified("notifications/tools/list_changed")
            assert "count" in await talk.tools()


async def test_a_killed_server_is_noticed_though_nothing_is_asked() -> None:
    async with sdk("streamable") as served, talking(source(f"{served.url}/mcp")) as talk:
        await talk.greet()
        await talk.tools()
        await served.kill()
        assert (await talk.end()).why is StopReason.UNREACHABLE


async def test_a_server_that_starts_slowly_is_not_there_before() -> None:
    port = free_port()
    async with talking(source(f"http://127.0.0.1:{port}/mcp")) as talk:
        talk.ask("initialize")
        assert (await talk.end()).why is StopReason.UNREACHABLE
    async with sdk("json", port), talking(source(f"http://127.0.0.1:{port}/mcp")) as talk:
        await talk.greet()


# -- the handshake -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, StopReason.UNAUTHORIZED),
        (403, StopReason.UNAUTHORIZED),
        (404, StopReason.HTTP_STATUS),
        (500, StopReason.HTTP_STATUS),
    ],
)
async def test_a_refusal(status: int, why: StopReason) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, b"go\x1baway", "text/plain")

    end = await end_of(script)
    assert end.why is why
    assert str(status) in end.detail
    assert "\x1b" not in end.detail


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>", "text/html"), (b"", ""), (b"no", "application/json"), (b'{"id":77}', "application/json")],
)
async def test_something_else_than_mcp(body: bytes, kind: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, body, kind)

    assert (await end_of(script)).why is StopReason.NOT_MCP


async def test_a_body_over_the_limit() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"x" * 2000)

    end = await end_of(script, event_limit=1000)
    assert (end.why, "longer than 1000 bytes" in end.detail) == (StopReason.FRAME_TOO_LONG, True)
    assert all(end.todo)


async def test_a_refused_initialize_is_told_in_the_servers_words() -> None:
    async def script(exchange: Exchange) -> None:
        frame = json.loads(exchange.body)
        error = {"code": -32001, "message": "license expired"}
        await exchange.answer(200, json.dumps({"jsonrpc": "2.0", "id": frame.get("id"), "error": error}).encode())

    end = await end_of(script)
    assert "license expired" in end.detail
    assert "own words" in end.todo.en
    assert "path of its url" not in end.todo.en


async def test_a_redirect_to_another_host() -> None:
    hosts: list[str] = []

    async def script(exchange: Exchange) -> None:
        hosts.append(exchange.headers["host"])
        await exchange.answer(307, Location="http://127.0.0.2/mcp")

    assert (await end_of(script)).why is StopReason.REDIRECTED
    assert len(hosts) == 1


async def test_a_redirect_within_the_host() -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.path == "/":
            await exchange.answer(307, Location="/mcp/")
        elif exchange.method == "POST":
            await greeting(nothing)(exchange)

    async with scripted(script) as url, talking(source(url)) as talk:
        assert await talk.greet() == HELLO


async def test_a_private_address() -> None:
    assert (await end_of(nothing, allow_private=())).why is StopReason.PRIVATE_ADDRESS
    with pytest.raises(ValueError, match="no address"):
        source("http://x", allow_private=("10.0.0.1/8",))


async def test_a_url_that_is_none() -> None:
    for url in ("http://", "ftp://127.0.0.1/", "http://[", "http://127.0.0.1:99999/", "http://a\x00b/"):
        async with talking(source(url)) as talk:
            talk.ask("initialize")
            assert (await talk.end()).why is StopReason.UNREACHABLE


async def test_secrets_that_a_peer_repeats_are_cut() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(500, f"{exchange.path} {exchange.headers['authorization']}".encode(), "text/plain")

    async with scripted(script) as url:
        there = f"{url}/mcp?api=sesame-open"
        async with talking(source(there, headers={"Authorization": "Bearer open-the-door"})) as talk:
            talk.ask("initialize")
            end = await talk.end()
    assert end.detail.startswith("HTTP 500 Internal Server Error: /mcp?api=***")
    assert "door" not in end.detail


async def test_settings_show_no_secrets() -> None:
    settings = StreamableHttpSettings("https://x/?key=abc", {"Authorization": "def"})
    assert "abc" not in repr(settings)
    assert "def" not in repr(settings)


async def nothing(exchange: Exchange) -> None:
    await exchange.answer(405)


# -- the session -------------------------------------------------------------------------------------------------------


async def test_session_version_and_own_headers_stand_in_each_request_and_delete_ends_it() -> None:
    seen: list[Exchange] = []
    heard = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        seen.append(exchange)
        if exchange.method == "POST":
            await exchange.result({})
        else:
            heard.set()
            await exchange.answer(405)

    greeted = greeting(script, Mcp_Session_Id="s1")
    async with scripted(greeted) as url, talking(source(url, headers={"Authorization": "Bearer t"})) as talk:
        await talk.greet()
        assert (await talk.request("ping"))["result"] == {}
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
    assert {exchange.method for exchange in seen} == {"POST", "GET", "DELETE"}
    for exchange in seen:
        assert exchange.headers["mcp-session-id"] == "s1"
        assert exchange.headers["mcp-protocol-version"] == "2025-06-18"
        assert exchange.headers["authorization"] == "Bearer t"


async def test_one_failed_request_is_answered_and_ends_nothing() -> None:
    answers = iter([(500, b"oops"), (200, b"{"), (200, None), (502, b""), (502, b""), (502, b"")])

    async def script(exchange: Exchange) -> None:
        if exchange.method != "POST":
            await exchange.answer(405)
            return
        status, body = next(answers)
        if body is None:
            await exchange.result({})
        else:
            await exchange.answer(status, body)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        first = await talk.request("tools/list")
        assert first["error"]["data"] == {"reason": "http_status"}
        assert "HTTP 500 Internal Server Error: oops" in first["error"]["message"]
        assert (await talk.request("tools/list"))["error"]["data"] == {"reason": "not_mcp"}
        assert (await talk.request("tools/list"))["result"] == {}
        assert "error" in await talk.request("tools/list")
        assert "error" in await talk.request("tools/list")
        talk.ask("tools/list")
        end = await talk.end()
        assert (end.why, end.detail) == (StopReason.HTTP_STATUS, "HTTP 502 Bad Gateway")


async def test_a_json_rpc_error_with_a_status_is_the_answer() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "bad", "x": 1}})

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        for _ in range(5):
            answer = await talk.request("tools/call", name="x")
            assert answer["error"] == {"code": -32602, "message": "bad", "x": 1}


async def test_frames_are_passed_on_as_the_bytes_they_came_in() -> None:
    odd = b'{ "jsonrpc":"2.0","id":2, "result":{"a":1.0,"b":"\\u4f60"},"extra":[ ] }'

    async def script(exchange: Exchange) -> None:
        if exchange.method == "POST":
            await exchange.stream("event: other\ndata: {}", f"data: {odd.decode()}")
        else:
            await exchange.answer(405)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        talk.ask("x")
        assert await talk.bytes() == odd


async def test_a_batch_is_taken_apart_and_the_answer_comes_last() -> None:
    async def script(exchange: Exchange) -> None:
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        await exchange.answer(200, [{"jsonrpc": "2.0", "id": exchange.frame["id"], "result": {}}, note])

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.request("x")
        assert [frame["method"] for frame in talk.passed] == ["notifications/message"]


# -- streams -----------------------------------------------------------------------------------------------------------


def result_event(exchange: Exchange, number: int | None = None, id_: str = "") -> str:
    answer = {"jsonrpc": "2.0", "id": number or exchange.frame["id"], "result": {}}
    return (f"id: {id_}\n" if id_ else "") + f"event: message\ndata: {json.dumps(answer)}"


async def test_a_stream_that_breaks_off_is_gone_on_with() -> None:
    places: list[str] = []

    async def script(exchange: Exchange) -> None:
        place = exchange.headers.get("last-event-id")
        if exchange.method == "POST":
            await exchange.stream("id: e1\nretry: 100\ndata:", 'id: e2\ndata: {"jsonrpc":"2.0","method":"m"}')
        elif place is None:
            await exchange.answer(405)
        else:
            places.append(place)
            if place == "e2":
                await exchange.stream("id: e3\ndata:")
            else:
                await exchange.stream(result_event(exchange, 2))

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("x"))["result"] == {}
        assert [frame["method"] for frame in talk.passed] == ["m"]
    assert places == ["e2", "e3"]


async def test_a_stream_that_ends_without_its_answer() -> None:
    posts: list[str] = []

    async def script(exchange: Exchange) -> None:
        if exchange.method == "POST":
            posts.append(exchange.frame["method"])
            await exchange.stream('data: {"jsonrpc":"2.0","method":"m"}')
        else:
            await exchange.answer(405)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("x"))["error"]["data"] == {"reason": "connection_lost"}
    assert posts == ["x"], "never sent twice"


async def test_a_server_that_cannot_go_on_has_lost_the_session() -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.method == "POST":
            await exchange.stream("id: e1\nretry: 100\ndata:")
        else:
            await exchange.answer(404 if "last-event-id" in exchange.headers else 405)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        talk.ask("x")
        assert (await talk.end()).why is StopReason.SESSION_LOST


async def test_an_event_over_the_limit_fails_its_request() -> None:
    async def script(exchange: Exchange) -> None:
        await (exchange.stream("data: " + "x" * 2000) if exchange.method == "POST" else exchange.answer(405))

    async with scripted(greeting(script)) as url, talking(source(url, event_limit=1000)) as talk:
        await talk.greet()
        assert (await talk.request("x"))["error"]["data"] == {"reason": "frame_too_long"}


async def test_an_event_of_4_mb() -> None:
    async def script(exchange: Exchange) -> None:
        answer = {"jsonrpc": "2.0", "id": exchange.frame["id"], "result": {"text": "x" * (4 * 1024 * 1024 - 100)}}
        await exchange.stream(f"data: {json.dumps(answer)}")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert len((await talk.request("x"))["result"]["text"]) == 4 * 1024 * 1024 - 100


async def test_a_server_that_hangs_fails_the_request_in_time() -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.frame["method"] == "streamed":
            await exchange.stream(": still here")
        await exchange.gone()

    async with scripted(greeting(script)) as url, talking(source(url, silence=0.1)) as talk:
        await talk.greet()
        assert (await talk.request("silent"))["error"]["data"] == {"reason": "connection_lost"}
        assert (await talk.request("streamed"))["error"]["data"] == {"reason": "connection_lost"}


async def test_the_standing_stream_is_opened_again_where_it_was() -> None:
    places: list[str | None] = []
    held = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.method != "GET":
            await exchange.answer(202)
            return
        places.append(exchange.headers.get("last-event-id"))
        if len(places) <= 2:
            frame = json.dumps({"jsonrpc": "2.0", "method": f"m{len(places)}"})
            await exchange.stream(f"id: e{len(places)}\nretry: 100\ndata: {frame}")
        else:
            await exchange.stream()
            await held.wait()

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.notified("m1")
        await talk.notified("m2")
    assert places[:2] == [None, "e1"]


async def test_requests_of_the_server_are_answered_by_post() -> None:
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(exchange: Exchange) -> None:
        if exchange.method == "GET":
            await exchange.stream('data: {"jsonrpc":"2.0","id":"s1","method":"ping"}')
            await exchange.gone()
        elif "result" in exchange.frame:
            answered.set_result(exchange.body)
            await exchange.answer(202)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.notified("ping")
        talk.source.send(b'{"jsonrpc":"2.0","id":"s1","result":{}}')
        async with asyncio.timeout(PATIENCE):
            assert await answered == b'{"jsonrpc":"2.0","id":"s1","result":{}}'


async def test_too_many_in_flight() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.gone()

    async with scripted(greeting(script)) as url, talking(source(url, most_in_flight=3)) as talk:
        await talk.greet()
        numbers = [talk.ask("x") for _ in range(10)]
        assert (await talk.answer(numbers[-1]))["error"]["data"] == {"reason": "too_much_unread"}
        for _ in range(10):
            talk.send(method="y")
        assert (await talk.end()).why is StopReason.TOO_MUCH_UNREAD
