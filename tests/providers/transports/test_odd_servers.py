"""Servers over Streamable HTTP as they are in the world: POST alone, forgetful, oddly labelled, redirected, failing."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_endpoint.net.trust import tls_trusting
from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.transports.http_answers import session_is_unknown
from mcp_endpoint.providers.transports.streamable_http import streams as http_streams
from mcp_endpoint.providers.transports.streamable_http.client import StreamableHttpSettings, StreamableHttpSource
from support.certificates import make_pair
from support.servers.http_peers import HELLO, LOOPBACK, Exchange, Script, greeting, scripted
from support.servers.sources import talking
from support.sockets import PATIENCE

DONE = {"content": [{"type": "text", "text": "done"}]}


def source(url: str, **settings: object) -> StreamableHttpSource:
    everything = {"allow_private": LOOPBACK} | settings
    return StreamableHttpSource(StreamableHttpSettings(url, **everything))  # type: ignore[arg-type]


async def end_of(script: Script, path: str = "", **settings: object) -> Stopped:
    """Why a source ends that greets a scripted server."""
    async with scripted(script) as url, talking(source(url + path, **settings)) as talk:
        talk.ask("initialize", protocolVersion="2025-11-25")
        return await talk.end()


# --- no stream of its own ---

Refuse = Callable[[Exchange], Awaitable[None]]


def refuse(status: int, body: bytes = b"", kind: str = "text/plain") -> Refuse:
    return lambda exchange: exchange.answer(status, body, kind)


async def hang(exchange: Exchange) -> None:
    await exchange.gone()


async def close(exchange: Exchange) -> None:
    """Close without a word."""


@pytest.mark.parametrize(
    "refusal",
    [
        *map(refuse, (400, 401, 403, 404, 405, 406, 410, 415, 429, 501, 204)),
        refuse(404, b'{"error":"Session not found"}', "application/json"),
        refuse(200, b"<html>hi</html>", "text/html"),
        refuse(200, b'{"ok":true}', "application/json"),
        refuse(200),
        refuse(500, b"oops"),
        refuse(302),
        hang,
        close,
    ],
)
async def test_a_server_that_takes_post_alone(refusal: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_streams, "RETRY", 0.01, raising=False)
    asked = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.method == "GET":
            asked.set()
            await refusal(exchange)
        elif exchange.method == "DELETE":
            await exchange.answer(405)
        else:
            await exchange.result(DONE)

    async with scripted(greeting(script, Mcp_Session_Id="s1")) as url, talking(source(url)) as talk:
        await talk.greet()
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
        for _ in range(3):
            assert await talk.call("t") == "done"
        assert not talk.ended


# --- a lost session ---


class Forgetful:
    """A server that forgets each session after `lasts` requests, and says so by `tells`."""

    def __init__(self, tells: Refuse, lasts: int = 1, named: bool = True, hello: Any = HELLO) -> None:
        self.tells, self.lasts, self.named, self.hello = tells, lasts, named, hello
        self.sessions = 0
        self.used = 0
        self.done: list[str] = []
        self.sent: list[str] = []
        self.kept: list[str] = []

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.method != "POST":
            await exchange.answer(405)
            return
        method = exchange.frame["method"]
        if method == "initialize":
            assert "mcp-session-id" not in exchange.headers
            self.sessions += 1
            self.used = 0
            await exchange.result(self.hello, **({"MCP_SESSION_ID": f"s{self.sessions}"} if self.named else {}))
        elif method.startswith("notifications/"):
            await exchange.answer(202)
        elif method in ("logging/setLevel", "resources/subscribe"):
            self.kept.append(f"{self.sessions} {method}")
            await exchange.result({})
        else:
            self.sent.append(exchange.frame["params"]["name"] if method == "tools/call" else method)
            self.used += 1
            if self.used > self.lasts:
                await self.tells(exchange)
            else:
                self.done.append(self.sent[-1])
                await exchange.result(DONE if method == "tools/call" else {"tools": []})


def tells(status: int, error: object = None, kind: str = "application/json", text: bytes = b"") -> Refuse:
    """An HTTP answer that says that the session is lost; `error` in a JSON-RPC error with the request's id."""

    async def tell(exchange: Exchange) -> None:
        frame = {"jsonrpc": "2.0", "id": exchange.frame["id"], "error": error}
        await exchange.answer(status, frame if error is not None else text, kind)

    return tell


async def on_a_stream(exchange: Exchange) -> None:
    error = {"code": -32001, "message": "Session not found"}
    frame = json.dumps({"jsonrpc": "2.0", "id": exchange.frame["id"], "error": error})
    await exchange.stream(": wait", f"event: message\ndata: {frame}")


async def without_an_id(exchange: Exchange) -> None:
    error = {"code": -32000, "message": "Bad Request: No valid session ID provided"}
    await exchange.answer(200, {"jsonrpc": "2.0", "id": None, "error": error})


NOT_FOUND = {"code": -32001, "message": "Session not found"}
LOST = [
    tells(404),
    tells(404, NOT_FOUND),
    tells(410),
    tells(400, {"code": -32000, "message": "Bad Request: No valid session ID provided"}),
    tells(400, {"code": -32000, "message": "Bad Request: Server not initialized"}),
    tells(400, text=b"Missing session ID", kind="text/plain"),
    tells(401, text=b'{"error":"session not found"}'),
    tells(401, text=b"Session expired", kind="text/plain"),
    tells(401),
    tells(403, text=b'{"message":"Invalid session"}'),
    tells(422, text=b'{"detail":"Unknown session"}'),
    tells(200, NOT_FOUND),
    tells(200, {"code": -32600, "message": "Session not found"}),
    tells(200, {"code": -32600, "message": "session expired or does not exist"}),
    tells(200, {"code": -32603, "message": "会话不存在"}),
    tells(404, text=b"<html><title>404 Not Found</title>", kind="text/html"),
    on_a_stream,
    without_an_id,
]


@pytest.mark.parametrize("told", LOST)
async def test_a_lost_session_is_made_anew_and_the_call_is_done_once(told: Refuse) -> None:
    server = Forgetful(told)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        assert await talk.call("first") == "done"
        assert await talk.call("second") == "done"
        await talk.notified("notifications/tools/list_changed")
        assert not talk.ended
    assert server.sessions == 2
    assert server.done == ["first", "second"]


@pytest.mark.parametrize("told", [tells(400, text=b"Server not initialized"), tells(200, NOT_FOUND)])
async def test_a_session_without_an_id_can_be_lost_too(told: Refuse) -> None:
    server = Forgetful(told, named=False)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        for name in ("a", "b", "c"):
            assert await talk.call(name) == "done"
    assert server.done == ["a", "b", "c"]


async def test_what_the_session_was_told_is_told_to_the_next_one() -> None:
    server = Forgetful(
        tells(404), lasts=0, hello=HELLO | {"capabilities": {"tools": {}, "logging": {}, "resources": {}}}
    )
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.request("logging/setLevel", level="debug")
        await talk.request("resources/subscribe", uri="a://1")
        server.lasts = 1
        server.used = 5
        assert await talk.call("x") == "done"
        await talk.notified("notifications/tools/list_changed")
        await talk.notified("notifications/resources/list_changed")
    assert server.kept == [f"{n} {method}" for n in (1, 2) for method in ("logging/setLevel", "resources/subscribe")]


async def test_calls_at_a_time_share_one_new_session() -> None:
    server = Forgetful(tells(404), lasts=20)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        server.used = 100
        calls = [talk.ask("tools/call", name=f"t{number}") for number in range(10)]
        for call in calls:
            assert (await talk.answer(call))["result"] == DONE
    assert server.sessions == 2
    assert sorted(server.done) == sorted(f"t{number}" for number in range(10))


async def test_a_server_that_forgets_at_once_has_its_word_passed_on() -> None:
    server = Forgetful(tells(200, NOT_FOUND), lasts=0)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("tools/call", name="x"))["error"] == NOT_FOUND
        assert not talk.ended
    assert len(server.sent) == 3, "bounded"


async def test_a_tool_that_speaks_of_sessions_of_its_own() -> None:
    told: dict[str, object] = {"content": [{"type": "text", "text": "Session not found"}], "isError": True}
    server = Forgetful(lambda exchange: exchange.result(told), lasts=0)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("tools/call", name="x"))["result"] == told
    assert (server.sessions, server.sent) == (1, ["x"])


async def test_a_broken_server_that_speaks_of_the_session_may_have_done_it() -> None:
    server = Forgetful(tells(500, text=b"session not found"))
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.call("first")
        assert (await talk.request("tools/call", name="second"))["error"]["data"] == {"reason": "session_lost"}
        assert await talk.call("third") == "done"
    assert server.sent == ["first", "second", "third"], "never sent twice"


async def test_another_server_than_before_is_opened_from_the_start() -> None:
    server = Forgetful(tells(404))
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.call("first")
        server.hello = HELLO | {"capabilities": {"tools": {}, "prompts": {}}}
        talk.ask("tools/call", name="second")
        assert (await talk.end()).why is StopReason.SESSION_LOST


async def test_a_key_that_is_refused_when_it_greets_anew() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(401 if keys else 200, {"jsonrpc": "2.0", "id": 1, "result": HELLO})
        keys.append(1)

    keys: list[int] = []
    async with scripted(script) as url, talking(source(url)) as talk:
        await talk.request("initialize")
        talk.ask("tools/call", name="x")
        end = await talk.end()
    assert end.why is StopReason.UNAUTHORIZED
    assert all("headers" in words for words in end.sentences())


async def test_a_tool_that_wants_another_key_ends_its_call_alone() -> None:
    server = Forgetful(tells(403, text=b'{"error":"admins only"}'), lasts=0)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        for _ in range(4):
            error = (await talk.request("tools/call", name="x"))["error"]
            assert "HTTP 403 Forbidden: admins only" in error["message"]
    assert server.sessions == 1


async def test_a_method_that_is_not_there_is_no_lost_session() -> None:
    gone = {"code": -32601, "message": "Method not found"}
    server = Forgetful(tells(404, gone), lasts=0)
    async with scripted(server) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("prompts/list"))["error"] == gone
    assert server.sessions == 1


@pytest.mark.parametrize(
    "words", ["Session not found", "session has expired", "Invalid session ID", "No active session"]
)
def test_words_that_mean_a_lost_session(words: str) -> None:
    assert session_is_unknown(words)


@pytest.mark.parametrize("words", ["File not found", "the session is full", "tool x is unknown", "Database closed", ""])
def test_words_that_do_not(words: str) -> None:
    assert not session_is_unknown(words)


# --- errors in words ---


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (429, b'{"error":"rate limited"}', "application/json", "HTTP 429 Too Many Requests: rate limited"),
        (500, b'{"error":{"message":"boom"}}', "application/json", "HTTP 500 Internal Server Error: boom"),
        (500, b'{"error":{"code":500,"message":"boom"}}', "application/json", "HTTP 500 Internal Server Error: boom"),
        (502, b"<html><head><title>502 Bad Gateway</title></head>", "text/html", "HTTP 502 Bad Gateway"),
        (503, b"<title>Down &amp; out</title>", "text/html; charset=x", "HTTP 503 Service Unavailable: Down & out"),
        (400, b'{"type":"about:blank","title":"Bad","detail":"no"}', "application/problem+json", "Bad Request: no"),
        (503, b"try later", "text/plain", "HTTP 503 Service Unavailable: try later"),
        (500, b'{"detail":"inner"}', "text/plain", "HTTP 500 Internal Server Error: inner"),
        (500, b"", "", "HTTP 500 Internal Server Error"),
        (500, b"\xff\xfe\0\0", "image/png", "HTTP 500 Internal Server Error"),
        (418, '{"msg":"茶壶"}'.encode("gbk"), "application/json; charset=GBK", "茶壶"),
        (520, b"<error><code>x</code></error>", "application/xml", "HTTP 520: x"),
    ],
)
async def test_the_status_and_the_servers_words(status: int, body: bytes, kind: str, told: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, kind)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        error = (await talk.request("tools/call", name="x"))["error"]
        assert error["data"] == {"reason": "http_status"}
        assert told in error["message"]
        assert len(error["message"]) < 700
    assert told in (await end_of(script)).detail


async def test_when_to_come_again_is_told() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(429, b"slowly", "text/plain", Retry_After="30")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        for _ in range(5):
            error = (await talk.request("tools/call", name="x"))["error"]
            assert "HTTP 429 Too Many Requests: slowly (Retry-After: 30)" in error["message"]
        assert not talk.ended, "a server that answers is there"


async def test_a_key_that_an_error_repeats_is_cut() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(429, {"error": f"no more for {exchange.headers['x-key']}"})

    async with scripted(greeting(script)) as url, talking(source(url, headers={"X-Key": "open-sesame"})) as talk:
        await talk.greet()
        message = (await talk.request("tools/call", name="x"))["error"]["message"]
        assert "no more for ***" in message
        assert "sesame" not in message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"bad"}}', "text/plain"),
        (b'\xef\xbb\xbf {"jsonrpc":"2.0","error":{"code":-32602,"message":"bad"}}', ""),
        (b'data: {"jsonrpc":"2.0","id":9,"error":{"code":-32602,"message":"bad"}}\n\n', "text/event-stream"),
        (b'{"error":{"code":-32602,"message":"bad"}}', "application/json; charset=utf-8"),
    ],
)
async def test_a_json_rpc_error_is_the_answer_whatever_it_is_called(body: bytes, kind: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(422, body, kind)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("tools/call", name="x"))["error"] == {"code": -32602, "message": "bad"}


async def test_an_sse_server_that_was_taken_for_the_other_kind() -> None:
    end = await end_of(refuse(405))
    assert all('"type": "sse"' in words for words in end.sentences())


# --- answers that are oddly labelled ---


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "", "application/octet-stream", "text/json; charset=utf-8", "application/vnd.x+json", "text/html"],
)
@pytest.mark.parametrize("form", ["%s", "\ufeff%s", "\r\n %s\n", "[%s]", "event: message\ndata: %s\n\n", "data: %s"])
async def test_an_answer_is_known_by_its_look(kind: str, form: str) -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.method != "POST":
            await exchange.answer(405)
        elif "id" not in exchange.frame:
            await exchange.answer(202)
        else:
            result = HELLO if exchange.frame["method"] == "initialize" else DONE
            frame = json.dumps({"jsonrpc": "2.0", "id": exchange.frame["id"], "result": result})
            await exchange.answer(200, (form % frame).encode(), kind)

    async with scripted(script) as url, talking(source(url)) as talk:
        assert await talk.greet() == HELLO
        assert await talk.call("t") == "done"


async def test_a_body_in_another_charset() -> None:
    async def script(exchange: Exchange) -> None:
        text = json.dumps({"jsonrpc": "2.0", "id": exchange.frame["id"], "result": {"t": "温度"}}, ensure_ascii=False)
        await exchange.answer(200, text.encode("gb18030"), "application/json; charset=GB18030")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("x"))["result"] == {"t": "温度"}


async def test_a_page_in_place_of_an_answer_is_told_by_its_title() -> None:
    end = await end_of(refuse(200, b"<html><title>Sign in to Wi-Fi</title>", "text/html"))
    assert (end.why, "Sign in to Wi-Fi" in end.detail) == (StopReason.NOT_MCP, True)
    assert all("type" in words for words in end.sentences())


async def test_a_compressed_body_that_nobody_asked_for() -> None:
    import gzip

    async def script(exchange: Exchange) -> None:
        frame = {"jsonrpc": "2.0", "id": exchange.frame["id"], "result": DONE}
        body = gzip.compress(json.dumps(frame).encode())
        await exchange.answer(200, body, Content_Encoding="gzip")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert await talk.call("t") == "done"


async def test_http_1_0_without_a_length() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length")), "x:0")
        body = await reader.readexactly(int(length.partition(":")[2]))
        frame = json.loads(body) if body else {}
        writer.write(b"HTTP/1.0 200 OK\r\nContent-type: application/json\r\n\r\n")
        await writer.drain()
        if "id" in frame:
            result = HELLO if frame["method"] == "initialize" else DONE
            writer.write(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with talking(source(url)) as talk:
            await talk.greet()
            assert await talk.call("t") == "done"


# --- streams ---


@pytest.mark.parametrize(
    "form",
    [
        "data: %s",
        "event: response\ndata: %s\n\n",
        "\ufeffevent: message\r\ndata: %s\r\n\r\n",
        ": hello\n\nevent: ping\ndata: 1\n\nid: 5\n\nretry: 100\ndata: %s\n\n",
        "event: ping\ndata: {}\n\ndata: %s\n",
        "event:message\rdata:%s\r\r",
    ],
)
async def test_events_in_every_form(form: str) -> None:
    async def script(exchange: Exchange) -> None:
        frame = json.dumps({"jsonrpc": "2.0", "id": exchange.frame["id"], "result": DONE})
        await exchange.answer(200, (form % frame).encode(), "text/event-stream; charset=utf-8")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert await talk.call("t") == "done"


async def test_half_an_event_at_the_end_is_none() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b'data: {"jsonrpc":"2.0","id":2,"resu', "text/event-stream")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("x"))["error"]["data"] == {"reason": "connection_lost"}


async def test_answers_that_come_on_the_standing_stream() -> None:
    standing: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

    async def script(exchange: Exchange) -> None:
        if exchange.method == "GET":
            await exchange.stream()
            standing.set_result(exchange)
            await exchange.gone()
        elif exchange.method == "POST":
            frame = json.dumps({"jsonrpc": "2.0", "id": exchange.frame["id"], "result": DONE})
            stream = await standing
            if exchange.frame["params"]["name"] == "before":
                await stream.stream(f"data: {frame}")
                await exchange.answer(202)
            else:
                await exchange.answer(202, b"Accepted", "text/plain")
                await stream.stream(f"data: {frame}")

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert await talk.call("before") == "done"
        assert await talk.call("after") == "done"


async def test_a_request_that_is_accepted_and_never_answered() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(202 if exchange.method == "POST" else 405)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("tools/call", name="x"))["error"]["data"] == {"reason": "not_mcp"}


# --- redirects ---


def moved(to: str, status: int = 307, behind: Script | None = None) -> Script:
    """A server whose path is `/mcp/`, and whose `/mcp` leads to `to`."""
    there = behind or greeting(refuse_get)

    async def script(exchange: Exchange) -> None:
        if exchange.path.partition("?")[0] == "/mcp/":
            await there(exchange)
        else:
            port = exchange.headers["host"].partition(":")[2]
            await exchange.answer(status, Location=to.replace("PORT", port))

    return script


async def refuse_get(exchange: Exchange) -> None:
    if exchange.method == "POST":
        await exchange.result(DONE)
    else:
        await exchange.answer(405)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.1/mcp/",
        "http://127.0.0.1:PORT/mcp/",
        "http://127.0.0.1:8000/mcp/",
        "/mcp/",
        "http://backend/mcp/",
    ],
)
async def test_a_slash_is_followed_over_https(tmp_path: Path, status: int, to: str) -> None:
    import ssl

    cert, key = make_pair(tmp_path, "home")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    trusting = tls_trusting([str(cert)], tmp_path)
    async with scripted(moved(to, status), tls=tls) as url, talking(source(f"{url}/mcp", tls=trusting)) as talk:
        assert await talk.greet() == HELLO
        assert await talk.call("t") == "done"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_slash_keeps_the_query_and_is_learned(status: int) -> None:
    seen: list[tuple[str, str]] = []

    async def behind(exchange: Exchange) -> None:
        await greeting(refuse_get)(exchange)

    async def script(exchange: Exchange) -> None:
        seen.append((exchange.method, exchange.path))
        await moved("/mcp/", status, behind)(exchange)

    async with scripted(script) as url, talking(source(f"{url}/mcp?key=1")) as talk:
        await talk.greet()
        assert await talk.call("t") == "done"
    assert seen[:2] == [("POST", "/mcp?key=1"), ("POST", "/mcp/?key=1")]
    assert {path for _, path in seen[1:]} == {"/mcp/?key=1"}


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://evil.example/other", "http://evil.example"),
        ("http://127.0.0.1:1/other", "127.0.0.1:1"),
        ("https://127.0.0.1/mcp", "https://127.0.0.1"),
        ("ftp://127.0.0.1/mcp/", "ftp://127.0.0.1"),
    ],
)
async def test_another_place_is_told_with_what_to_do(to: str, told: str) -> None:
    end = await end_of(moved(to), "/mcp")
    assert end.why is StopReason.REDIRECTED
    assert told in end.detail
    assert all("url" in words for words in end.sentences())


# --- revisions ---


@pytest.mark.parametrize(
    "refusal",
    [
        tells(200, {"code": -32602, "message": "Unsupported protocol version", "data": {"supported": ["2025-06-18"]}}),
        tells(400, {"code": -32600, "message": "Unsupported protocol version: 2025-11-25 (supported: 2025-06-18)"}),
        tells(400, text=b"bad protocol version, use 2024-11-05 or 2025-06-18", kind="text/plain"),
    ],
)
async def test_a_server_that_insists_on_a_revision(refusal: Refuse) -> None:
    async def script(exchange: Exchange) -> None:
        if exchange.method != "POST":
            await exchange.answer(405)
        elif exchange.frame["method"] != "initialize":
            assert exchange.headers["mcp-protocol-version"] == "2025-06-18"
            await (exchange.result(DONE) if "id" in exchange.frame else exchange.answer(202))
        elif exchange.frame["params"]["protocolVersion"] == "2025-06-18":
            await exchange.result(HELLO)
        else:
            await refusal(exchange)

    async with scripted(script) as url, talking(source(url)) as talk:
        assert await talk.greet() == HELLO
        assert await talk.call("t") == "done"


# --- connections that break ---


async def test_a_lookup_is_sent_again_and_a_call_is_not() -> None:
    seen: list[str] = []

    async def script(exchange: Exchange) -> None:
        method = exchange.frame["method"] if exchange.body else exchange.method
        seen.append(method)
        if seen.count(method) > 1:
            await exchange.result({})

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("resources/read", uri="a://1"))["result"] == {}
        assert (await talk.request("tools/call", name="x"))["error"]["data"] == {"reason": "connection_lost"}
    assert seen.count("tools/call") == 1
    assert seen.count("resources/read") == 2


async def test_json_that_is_called_a_stream_and_a_frame_a_line() -> None:
    async def script(exchange: Exchange) -> None:
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        frame = {"jsonrpc": "2.0", "id": exchange.frame["id"], "result": DONE}
        name = exchange.frame["params"]["name"]
        body = json.dumps(frame, indent=1) if name == "pretty" else f"{json.dumps(note)}\n{json.dumps(frame)}\n"
        await exchange.answer(200, body.encode(), exchange.frame["params"]["arguments"]["kind"])

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        for kind in ("text/event-stream", "application/json", "application/x-ndjson"):
            assert await talk.call("pretty", kind=kind) == "done"
            assert await talk.call("lines", kind=kind) == "done"
            await talk.notified("notifications/message")


async def test_a_server_that_never_answers_a_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_endpoint.providers.transports.streamable_http.client.NOTICED", 0.05)

    async def script(exchange: Exchange) -> None:
        if exchange.method != "POST":
            await exchange.answer(405)
        elif exchange.frame["method"] == "initialize":
            await exchange.result(HELLO)
        elif "id" not in exchange.frame:
            await exchange.gone()
        else:
            await exchange.result(DONE)

    async with scripted(script) as url, talking(source(url)) as talk:
        await talk.greet()
        assert await talk.call("t") == "done"


async def test_a_lost_session_that_is_told_on_the_standing_stream() -> None:
    streams: list[str] = []
    held = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.method == "GET":
            streams.append(exchange.headers["mcp-session-id"])
            error = {"jsonrpc": "2.0", "id": None, "error": NOT_FOUND}
            await exchange.stream(f"data: {json.dumps(error)}")
            await held.wait()
        elif exchange.method == "POST" and exchange.frame["method"] == "initialize":
            sessions.append(1)
            await exchange.result(HELLO, Mcp_Session_Id=f"s{len(sessions)}")
        elif exchange.method == "POST" and "id" in exchange.frame:
            await exchange.result(DONE)
        else:
            await exchange.answer(202)

    sessions: list[int] = []
    async with scripted(script) as url, talking(source(url)) as talk:
        await talk.greet()
        await talk.notified("notifications/tools/list_changed")
        assert await talk.call("t") == "done"
        held.set()
    assert len(sessions) == 2, "once, however often it says so"
    assert streams[0] == "s1"


@pytest.mark.parametrize("body", [b'{"code":429,"message":"rate limited"}', b'{"detail":"rate limited"}'])
async def test_an_error_that_says_200_is_told_in_its_words(body: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, body)

    async with scripted(greeting(script)) as url, talking(source(url)) as talk:
        await talk.greet()
        error = (await talk.request("tools/call", name="x"))["error"]
        assert error["data"] == {"reason": "not_mcp"}
        assert "rate limited" in error["message"]


async def test_a_call_that_learns_of_the_lost_session_while_the_next_one_is_made() -> None:
    renewing, told = asyncio.Event(), asyncio.Event()
    sessions: list[int] = []

    async def script(exchange: Exchange) -> None:
        if exchange.method != "POST" or "id" not in exchange.frame:
            await exchange.answer(405 if exchange.method != "POST" else 202)
        elif exchange.frame["method"] == "initialize":
            sessions.append(1)
            if len(sessions) == 2:
                renewing.set()
                await told.wait()
            await exchange.result(HELLO, Mcp_Session_Id=f"s{len(sessions)}")
        elif exchange.headers["mcp-session-id"] == "s1":
            if exchange.frame["params"]["name"] == "late":
                await renewing.wait()
                await exchange.answer(404)
                told.set()
            else:
                await exchange.answer(404)
        else:
            await exchange.result(DONE)

    async with scripted(script) as url, talking(source(url)) as talk:
        await talk.greet()
        late = talk.ask("tools/call", name="late")
        assert await talk.call("early") == "done"
        assert (await talk.answer(late))["result"] == DONE
    assert len(sessions) == 2
