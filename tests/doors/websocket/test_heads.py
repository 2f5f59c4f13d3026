"""What a connection meets before it is a WebSocket: help, limits of the head and its deadline."""

import asyncio

import pytest

from support.brokers import Brokers
from support.clock import takes
from support.peers import Broker
from support.sockets import Wire

MINIMAL = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("path", ["/mcp_endpoint/mcp/", "/mcp", "/call/", "/mcp_endpoint/call", "/a/b/mcp/"])
async def test_plain_http_on_a_door_is_told_what_it_is(broker: Broker, path: str) -> None:
    reply = await broker.get(f"{path}?token={broker.agent().token}")
    assert reply.status == 426
    assert reply.headers["upgrade"] == "websocket"
    assert "ws://" in reply.body
    assert reply.body.count("\n") == 1


@pytest.mark.parametrize(
    "path",
    ["/mcp_endpoint/mcp", "/mcp_endpoint/call", "/mcp_endpoint", "/health/", "/stats/", "//mcp", "/docs", "/x/", "/x"],
)
async def test_nothing_redirects(broker: Broker, path: str) -> None:
    reply = await broker.get(f"{path}?token=T")
    assert not 300 <= reply.status < 400
    assert "location" not in reply.headers


@pytest.mark.parametrize("path", ["/x", "/mcp/x", "/docs", "/openapi"])
async def test_elsewhere_is_404_with_a_hint(broker: Broker, path: str) -> None:
    reply = await broker.get(path)
    assert reply.status == 404
    assert "/mcp/" in reply.body


# --- heads that are too long, with 32 KB for all of it ---


def head(size: int, *, url: int = 0) -> bytes:
    """A head of `size` bytes in headers of 1 KB, after a request line with a query of `url` bytes."""
    start = b"GET /health?" + b"q" * url + b" HTTP/1.1\r\nHost: x\r\n"
    pad = size - len(start) - 2
    lines = [b"X-Pad: " + b"a" * 1015 + b"\r\n"] * (pad // 1024)
    rest = pad - 1024 * len(lines)
    return start + b"".join(lines) + (b"X-Pad: ".ljust(rest - 2, b"a") + b"\r\n" if rest >= 9 else b"") + b"\r\n"


async def test_a_head_below_the_limit_passes(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        wire.write(head(31 * 1024))
        assert (await wire.reply()).status == 200


@pytest.mark.parametrize("url", [0, 33 * 1024], ids=["headers", "request line"])
async def test_a_head_over_the_limit_in_one_piece_is_431(broker: Broker, url: int) -> None:
    async with Wire.open(broker) as wire:
        wire.write(head(34 * 1024, url=url))
        assert (await wire.reply()).status == 431
        assert await wire.rest() == b""
    assert (await broker.get("/health")).status == 200


@pytest.mark.parametrize("pieces", [1, 33])
async def test_a_head_that_never_ends_is_431(broker: Broker, pieces: int) -> None:
    async with Wire.open(broker) as wire:
        begun = head(33 * 1024)[:-2]
        size = len(begun) // pieces + 1
        for start in range(0, len(begun), size):
            wire.write(begun[start : start + size])
            await wire.writer.drain()
        assert (await wire.reply()).status == 431
        assert await wire.rest() == b""


async def test_a_second_head_on_a_kept_alive_connection_has_the_same_limit(broker: Broker) -> None:
    async with Wire.open(broker) as wire:
        for _ in range(3):
            wire.write(head(20 * 1024))
            assert (await wire.reply()).status == 200
        wire.write(head(34 * 1024))
        assert (await wire.reply()).status == 431
        assert await wire.rest() == b""


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ([f"X-{number}: a" for number in range(140)], "/call/?token=x", 431),
        (["X-Long: " + "a" * 9000], "/call/?token=x", 431),
        ([], "/call/?token=" + "x" * 9000, 414),
    ],
    ids=["headers", "header", "request line"],
)
async def test_an_upgrade_with_a_long_head_is_answered_and_closed(
    broker: Broker, headers: list[str], path: str, status: int
) -> None:
    async with Wire.open(broker) as wire:
        answer = await wire.upgrade(path, *headers)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        await wire.rest()
    assert (await broker.get("/health")).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /call/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /call/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n\r\n",
        b"POST /call/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"no http at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    ],
    ids=["no key", "old version", "post", "not http", "tls"],
)
async def test_a_bad_upgrade_is_refused_and_closed(broker: Broker, request_: bytes) -> None:
    async with Wire.open(broker) as wire:
        wire.write(request_)
        assert (await wire.head()).startswith(b"HTTP/1.1 4")
        await wire.rest()
    assert (await broker.get("/health")).status == 200


# --- heads that do not come: handshake_timeout ---


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
async def test_the_deadline_for_the_head_runs_from_accept(broker_with: Brokers, sent: bytes) -> None:
    broker = broker_with(handshake_timeout=0.4)
    with takes(0.4, 10):
        async with Wire.open(broker) as wire:
            wire.write(sent)
            await wire.rest()


async def test_dribbling_wins_no_time(broker_with: Brokers) -> None:
    broker = broker_with(handshake_timeout=0.4)
    with takes(0.4, 10):
        async with Wire.open(broker) as wire:
            ended = asyncio.create_task(wire.rest())
            for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1000:
                wire.write(bytes([byte]))
                if (await asyncio.wait({ended}, timeout=0.05))[0]:
                    break
            assert ended.done()


async def test_a_second_head_has_the_deadline_too(broker_with: Brokers) -> None:
    broker = broker_with(handshake_timeout=1.5)
    async with Wire.open(broker) as wire:
        with takes(1.5, 10):
            wire.write(MINIMAL)
            assert (await wire.reply()).status == 200
            wire.write(MINIMAL[:10])
            await wire.rest()


async def test_an_open_link_has_no_such_deadline(broker_with: Brokers) -> None:
    broker = broker_with(handshake_timeout=1.5)
    agent = broker.agent()
    async with agent.device() as device, Wire.open(broker) as wire:
        await wire.rest()
        assert await device.settled() == []
