"""A tool server that listens on a WebSocket, made with websockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from mcp_endpoint.providers.source import StopReason
from mcp_endpoint.providers.transports.websocket import WebSocketSettings, WebSocketSource
from support.servers.http_peers import HELLO, LOOPBACK, Exchange, free_port, scripted
from support.servers.sources import refusal, talking

Handler = Callable[[ServerConnection], Awaitable[None]]


def source(url: str, **settings: object) -> WebSocketSource:
    all_ = {"allow_private": LOOPBACK} | settings
    return WebSocketSource(WebSocketSettings(url, **all_))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def server(handler: Handler, port: int = 0, **options: object) -> AsyncIterator[str]:
    options = {"subprotocols": [Subprotocol("mcp")]} | options
    async with serve(handler, "127.0.0.1", port, **options) as listening:  # type: ignore[arg-type]
        yield f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}/mcp"


async def mcp(connection: ServerConnection) -> None:
    """A server with one tool."""
    async for message in connection:
        assert isinstance(message, str)
        frame = json.loads(message)
        results = {
            "initialize": HELLO,
            "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": message}]},
        }
        if frame["method"] in results:
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": results[frame["method"]]}))


async def test_a_conversation() -> None:
    async with server(mcp) as url, talking(source(url)) as talk:
        assert await talk.greet() == HELLO
        assert await talk.tools() == ["echo"]
        assert "你好" in await talk.call("echo", text="你好")


@pytest.mark.parametrize("subprotocols", [["mcp"], None])
async def test_the_subprotocol_and_headers(subprotocols: list[str] | None) -> None:
    async def handler(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        await connection.send(f"{connection.subprotocol} {request.headers['X-Key']}")
        await connection.wait_closed()

    async with (
        server(handler, subprotocols=subprotocols) as url,
        talking(source(url, headers={"X-Key": "k"})) as talk,
    ):
        assert await talk.bytes() == (b"mcp k" if subprotocols else b"None k")


async def test_frames_are_passed_on_as_the_bytes_they_came_in() -> None:
    frames: list[str | bytes] = ['{ "a":1.0, "b":"\\u4f60"}', "no JSON", b"\xff\x00"]

    async def handler(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)
        await connection.wait_closed()

    async with server(handler) as url, talking(source(url)) as talk:
        assert await talk.bytes() == b'{ "a":1.0, "b":"\\u4f60"}'
        assert await talk.bytes() == b"no JSON"
        assert await talk.bytes() == b"\xff\x00"


async def test_a_close_tells_its_reason() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(1013, "later\x1b")

    async with server(handler) as url, talking(source(url)) as talk:
        end = await talk.end()
        assert end.why is StopReason.CONNECTION_LOST
        assert end.detail == "closed with 1013 later\\x1b"


async def test_a_connection_that_breaks() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with server(handler) as url, talking(source(url)) as talk:
        assert (await talk.end()).why is StopReason.CONNECTION_LOST


async def test_a_frame_over_the_limit() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x" * 1001)
        await connection.wait_closed()

    async with server(handler) as url, talking(source(url, frame_limit=1000)) as talk:
        assert (await talk.end()).why is StopReason.FRAME_TOO_LONG


async def test_a_server_that_answers_no_pings() -> None:
    async with dumb() as url, talking(source(url, ping_interval=0.1)) as talk:
        end = await talk.end()
        assert (end.why, end.detail) == (StopReason.CONNECTION_LOST, "it does not answer pings")


async def test_a_server_that_does_not_read() -> None:
    async with dumb() as url, talking(source(url, unread_bytes=100_000)) as talk:
        # What fits into the sockets' buffers is gone; then frames wait.
        for _ in range(2000):
            if talk.ended:
                break
            talk.source.send(b"x" * 50_000)
            await asyncio.sleep(0)
        assert (await talk.end()).why is StopReason.TOO_MUCH_UNREAD


@contextlib.asynccontextmanager
async def dumb() -> AsyncIterator[str]:
    """A server that does the upgrade and then neither reads nor writes."""
    done = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        accept = accept_key(exchange.headers["sec-websocket-key"])
        head = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        exchange.writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + head.encode())
        await done.wait()

    async with scripted(script) as url:
        yield url.replace("http", "ws")


# -- opening -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (HTTPStatus.UNAUTHORIZED, StopReason.UNAUTHORIZED),
        (HTTPStatus.FORBIDDEN, StopReason.UNAUTHORIZED),
        (HTTPStatus.NOT_FOUND, StopReason.HTTP_STATUS),
        (HTTPStatus.SERVICE_UNAVAILABLE, StopReason.HTTP_STATUS),
    ],
)
async def test_a_refusal(status: HTTPStatus, reason: StopReason) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, "no")

    async with server(mcp, process_request=refuse) as url:
        assert await refusal(source(url)) is reason


@pytest.mark.parametrize("to", ["ws://127.0.0.2/x", "http://127.0.0.1:1/x", "wss://127.0.0.1/x"])
async def test_a_redirect_to_another_host(to: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(307, Location=to)

    async with scripted(script) as url:
        assert await refusal(source(url.replace("http", "ws"))) is StopReason.REDIRECTED


@pytest.mark.parametrize("body", [b"<html>", b""])
async def test_something_else_than_a_websocket(body: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        if body:
            await exchange.answer(200, body, "text/html")

    async with scripted(script) as url:
        why = await refusal(source(url.replace("http", "ws")))
        assert why in ({StopReason.NOT_MCP} if body else {StopReason.NOT_MCP, StopReason.UNREACHABLE})


async def test_a_server_that_hangs() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.gone()

    async with scripted(script) as url:
        assert await refusal(source(url.replace("http", "ws"), open_within=0.1)) is StopReason.UNREACHABLE


async def test_addresses() -> None:
    port = free_port()
    assert await refusal(source(f"ws://127.0.0.1:{port}")) is StopReason.UNREACHABLE
    assert await refusal(source(f"ws://127.0.0.1:{port}", allow_private=())) is StopReason.PRIVATE_ADDRESS
    for url in ("http://127.0.0.1/", "ws://", "ws://[", "ws://127.0.0.1:99999/"):
        assert await refusal(source(url)) is StopReason.UNREACHABLE


async def test_a_name_is_connected_to_at_the_address_that_was_checked() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        assert host == "name.example"
        return ["127.0.0.2", "127.0.0.1"]

    hosts: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        hosts.append(connection.request.headers["Host"])
        await mcp(connection)

    async with server(handler) as url:
        there = url.replace("127.0.0.1", "name.example")
        async with talking(source(there, resolve=resolve, allow_private=("name.example",))) as talk:
            await talk.greet()
    assert hosts[0].startswith("name.example:")


async def test_a_server_that_starts_late_or_again() -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    assert await refusal(source(url)) is StopReason.UNREACHABLE
    async with server(mcp, port), talking(source(url)) as talk:
        await talk.greet()
    async with server(mcp, port), talking(source(url)) as talk:
        await talk.greet()


async def test_settings_show_no_secrets() -> None:
    settings = WebSocketSettings("ws://x/?token=abc", {"Authorization": "def"})
    assert "abc" not in repr(settings)
    assert "def" not in repr(settings)
