"""Peers that read nothing, or talk on after the end: they cost what the limits allow, and leave nothing behind."""

import asyncio
import contextlib
import gc
import logging
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from uvicorn.server import ServerState
from websockets.server import ServerProtocol

from mcp_endpoint import __version__
from mcp_endpoint.app import loop_factory
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.doors.connection import Connection, PortConfig
from mcp_endpoint.doors.http.ops import build_app
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.doors.websocket.link import WebSocketLink, open_websocket
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.link_log import LinkLog
from mcp_endpoint.settings.schema import ServerSettings, Settings, WebSocketSettings
from mcp_endpoint.tokens import Tokens
from support.brokers import Brokers
from support.peers import KEY, Broker
from support.sockets import CLOSE, PATIENCE, PING, TEXT, Wire, ws_frame

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = (1008).to_bytes(2) + "token解密失败".encode()


# --- WebSockets ---


async def test_a_refused_peer_that_pings_on_is_not_answered_and_soon_cut_off(broker_with: Brokers) -> None:
    async with Wire.open(broker_with(close_timeout=600)) as wire:
        await wire.upgrade("/mcp_endpoint/call/?token=x")
        assert await wire.frame() == (CLOSE, REFUSED)
        for _ in range(2_000):
            wire.send_frame(PING, b"x" * 125)
        assert await wire.rest() == b"", "no pong"


async def test_a_link_that_is_closing_answers_no_pings_but_sees_the_close_frame(broker_with: Brokers) -> None:
    broker = broker_with(close_timeout=600)
    async with Wire.open(broker) as wire:
        await wire.upgrade(broker.agent().path("call"))
        wire.write(ws_frame(2, b"{}") + ws_frame(PING, b"late") + ws_frame(TEXT, b"x" * 100_000)[:-1])
        assert (await wire.close_frame())[0] == 1003
        wire.write(b"x" + ws_frame(CLOSE, (1003).to_bytes(2)))
        assert await wire.rest() == b"", "not only after close_timeout"


async def test_pongs_that_nobody_reads_are_bounded(broker_with: Brokers) -> None:
    agent = broker_with(send_buffer="64KB", max_message_size="64KB", send_timeout=600).agent()
    pings = ws_frame(PING, b"x" * 125) * 1_000
    async with Wire.open(agent.broker, 4096) as wire:
        await wire.upgrade(agent.path("call"))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                wire.write(pings)
                await wire.writer.drain()
        (end,) = await agent.ended("device")
        assert (end["reason"], end["code"]) == ("send_overflow", 1006)


# --- plain HTTP ---


async def test_more_requests_than_may_wait_are_not_read_and_the_first_are_answered(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        wire.write(HEALTH * 5_000)
        answers = (await wire.rest()).split(b"HTTP/1.1 ")[1:]
    assert 17 <= len(answers) < 5_000
    assert all(answer.startswith(b"200 ") for answer in answers)
    closing = [b"connection: close" in answer.lower() for answer in answers]
    assert closing == [False] * (len(answers) - 1) + [True]
    assert (await broker.stats())["refused_by_reason"]["too_many_pipelined"] >= 1


async def test_as_many_as_may_wait_are_all_answered(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        for _ in range(3):
            wire.write(HEALTH * 17)
            for _ in range(17):
                assert (await wire.reply()).status == 200


@pytest.mark.parametrize(
    "rubbish", [b"no http at all\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 99]
)
async def test_what_is_not_http_is_told_so_and_counted_and_the_log_not_flooded(
    new_broker: Brokers, rubbish: bytes
) -> None:
    broker = new_broker()
    for _ in range(30):
        async with Wire.open(broker) as wire:
            wire.write(rubbish)
            reply = await wire.reply()
            assert (reply.status, reply.headers["connection"]) == (400, "close")
            assert "wss://" in reply.body
            assert await wire.rest() == b""
    assert (await broker.stats())["refused_by_reason"]["not_http"] == 30
    broker.stop()
    lines = [line for line in broker.lines if "not an HTTP request" in line]
    assert len(lines) == 2, "the first and the tenth"
    assert all(" from 127.0.0.1:" in line for line in lines)
    assert not any("Invalid HTTP" in line for line in broker.lines)


# --- within this process: what is left in memory ---


class Watched(Connection):
    """A connection that tells when it is gone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


@dataclass
class Port:
    """A broker's doors on a port of this process, with small buffers in the kernel."""

    port_state: PortState
    number: int
    websockets: WebSocketLinks
    made: asyncio.Queue[Watched]


@contextlib.asynccontextmanager
async def open_port(**limits: float) -> AsyncIterator[Port]:
    loop = asyncio.get_running_loop()
    settings = Settings(server=ServerSettings(key=KEY), websocket=WebSocketSettings(**limits))  # type: ignore[arg-type]
    manager = ConnectionManager(settings, LinkLog(), __version__)
    port_state = PortState(settings, manager, Tokens(KEY), loop)
    websockets = WebSocketLinks(port_state)
    config = PortConfig(
        port_state,
        partial(open_websocket, websockets),
        app=build_app(port_state, loop.time),
        log_config=None,
        log_level="warning",
    )
    state, made = ServerState(), asyncio.Queue[Watched]()

    def connection() -> Watched:
        one = Watched(config, state, {}, loop)
        made.put_nowait(one)
        return one

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with await loop.create_server(connection, sock=listener), asyncio.timeout(PATIENCE):
        yield Port(port_state, listener.getsockname()[1], websockets, made)


async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=sock, limit=4096)


async def answered(connection: Watched, count: int) -> None:
    """So many requests are answered, or the answers do not get away any more."""
    while connection.server_state.total_requests < count and not connection.flow.write_paused:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("last", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
async def test_answers_that_are_not_read_have_a_deadline(last: bytes) -> None:
    async with open_port(send_timeout=0.3) as here:
        _, writer = await dial(here.number)
        connection = await here.made.get()
        sent = 0
        while not sent or not connection.transport.get_write_buffer_size():
            writer.write(HEALTH * 8)
            sent += 8
            await answered(connection, sent)
        writer.write(last)
        await connection.gone.wait()
        assert not connection.pipeline
        assert here.port_state.admission.refusals.by_reason == {"unread_answer": 1}
        writer.transport.abort()


def test_a_peer_that_goes_away_with_answers_due_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def go_away() -> None:
        async with open_port() as here:
            _, writer = await dial(here.number)
            connection = await here.made.get()
            sent = 0
            while not sent or not connection.flow.write_paused:
                writer.write(HEALTH * 8)
                sent += 8
                await answered(connection, sent)
            writer.write(HEALTH * 8)
            while not connection.pipeline:  # noqa: ASYNC110  the requests are on their way
                await asyncio.sleep(0.001)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await connection.gone.wait()
            while connection.tasks:  # noqa: ASYNC110  uvicorn has no event for it
                await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(go_away())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_links_leave_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    of_others = {id(one): one for one in gc.get_objects() if isinstance(one, ServerProtocol | WebSocketLink)}

    def left(*kinds: type) -> list[Any]:
        return [one for one in gc.get_objects() if isinstance(one, kinds) and id(one) not in of_others]

    async with open_port() as here:
        gc.disable()
        try:
            good = f"/call/?{urlencode({'token': Tokens(KEY).mint('a')})}"
            await visit(here, good, b"")
            await visit(here, good, ws_frame(CLOSE, (1000).to_bytes(2)))
            await visit(here, good, ws_frame(2, b""))
            await visit(here, good, ws_frame(PING, b"x" * 126))
            await visit(here, good, ws_frame(TEXT, b"x" * 100_000)[:5_000])
            await visit(here, "/call/?token=x", b"")
            await visit(here, "/x", b"")
            while here.websockets or here.port_state.admission.unauthenticated:  # noqa: ASYNC110  nothing tells of the last
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            assert left(ServerProtocol, Connection) == []
            assert all(link.session is None for link in left(WebSocketLink))
        finally:
            gc.enable()


async def visit(here: Port, path: str, frames: bytes) -> None:
    """Ask for a WebSocket, send something, and go away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.number)
    head = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(frames)
    await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    here.made.get_nowait()
