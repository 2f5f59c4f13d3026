"""The same bad input at each HTTP door gets the same answer. What only one of them knows is tested there."""

import asyncio
import json

import pytest

from support.brokers import Brokers
from support.clients.bad_requests import DOORS, PING, Bad, Door, Headers, check, stateless
from support.clients.stateless import REVISION
from support.peers import Broker
from support.sockets import PATIENCE, Wire

CASES: list[tuple[Bad, Headers, bytes | None]] = [
    (Bad("foreign origin", 403, "foreign_origin", -32004), {"Origin": "https://evil.example.com"}, None),
    (Bad("foreign host", 421, "foreign_host", -32004), {"Host": "evil.example.com"}, None),
    (Bad("content type", 415, "not_json_type"), {"Content-Type": "text/plain"}, None),
    (Bad("not json", 400, "body_not_json", -32700), {}, b"{"),
    (Bad("not utf-8", 400, "body_not_json", -32700), {}, b'{"x":"\xff"}'),
    (Bad("deep", 400, "body_not_json", -32700), {}, b"[" * 50_000),
    (Bad("a batch", 400, "not_one_message"), {}, b"[" + json.dumps(PING).encode() + b"]"),
    (Bad("too big", 413, "body_too_big"), {}, b'"' + b"x" * 70_000 + b'"'),
]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].what)
async def test_what_is_wrong_is_answered(broker_with: Brokers, door: str, case: tuple[Bad, Headers, bytes]) -> None:
    bad, headers, body = case
    broker = broker_with(max_message_size="64KB")
    async with DOORS[door](broker.agent()) as client, Wire.open(broker) as wire:
        body = json.dumps(client.message).encode() if body is None else body
        wire.write(Door(client.path, client.headers | headers, {}).head(f"Content-Length: {len(body)}") + body)
        check(await wire.reply(), bad)


async def test_a_body_that_is_too_big_by_itself(broker_with: Brokers, door: str) -> None:
    broker = broker_with(max_message_size="64KB")
    async with DOORS[door](broker.agent()) as client, Wire.open(broker) as wire:
        wire.write(client.head("Transfer-Encoding: chunked") + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 10)
        reply = await wire.reply()
        check(reply, Bad("", 413, "body_too_big"))
        assert reply.headers["connection"] == "close"
        await wire.rest()


@pytest.mark.parametrize("drips", [False, True], ids=["stops", "drips"])
async def test_a_body_that_never_ends(broker_with: Brokers, door: str, drips: bool) -> None:
    broker = broker_with(message_timeout=0.4)
    async with DOORS[door](broker.agent()) as client, Wire.open(broker) as wire:
        wire.write(client.head("Transfer-Encoding: chunked"))
        ended = asyncio.create_task(wire.rest())
        async with asyncio.timeout(PATIENCE):
            while not (await asyncio.wait({ended}, timeout=0.02))[0]:
                if drips:
                    wire.write(b"1\r\n \r\n")
        assert b" 408 " in ended.result()
        assert b"body_timeout" in ended.result()


@pytest.mark.parametrize("name", ["session", "stateless"])
async def test_no_token_and_a_bad_one(broker: Broker, name: str) -> None:
    """At the SSE door the session's own id is authority; test_sse.py has its stream."""
    body = b"{}"
    async with DOORS[name](broker.agent()) as client:
        for token, reason in ((None, "missing_token"), ("Bearer junk", "bad_token")):
            headers = client.headers | {"Authorization": token}
            known = {key: value for key, value in headers.items() if value is not None}
            async with Wire.open(broker) as wire:
                wire.write(Door(client.path, known, {}).head(f"Content-Length: {len(body)}") + body)
                reply = await wire.reply()
            check(reply, Bad("", 401, reason, -32004))
            assert reply.headers["www-authenticate"].startswith("Bearer")


async def test_the_stateless_era_has_no_session(broker: Broker) -> None:
    """An `Mcp-Session-Id` that comes along means nothing there."""
    async with stateless(broker.agent()) as client, Wire.open(broker) as wire:
        body = json.dumps(client.message).encode()
        wire.write(client.head("Mcp-Session-Id: x", f"Content-Length: {len(body)}") + body)
        assert (await wire.reply()).status == 200
    assert client.headers["MCP-Protocol-Version"] == REVISION


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"Accept": "application/json"}, 406, "not_acceptable"),
        ({"Accept": "text/html,application/xhtml+xml"}, 406, "not_acceptable"),
        ({"Accept": "text/event-stream;q=0"}, 406, "not_acceptable"),
        ({"Origin": "https://evil.example.com"}, 403, "foreign_origin"),
        ({"Host": "evil.example.com"}, 421, "foreign_host"),
    ],
)
async def test_a_stream_of_http_sse_that_is_not_given(
    broker: Broker, headers: dict[str, str], status: int, reason: str
) -> None:
    agent = broker.agent()
    async with Wire.open(broker) as wire:
        lines = {"Host": "127.0.0.1"} | headers
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        wire.write(f"GET {agent.path('sse')} HTTP/1.1\r\n{fields}\r\n".encode())
        reply = await wire.reply()
    assert (reply.status, json.loads(reply.body)["error"]["data"]["reason"]) == (status, reason)


@pytest.mark.parametrize("accept", ["", "Accept: */*\r\n", "Accept: text/event-stream\r\n", "Accept: text/*\r\n"])
async def test_a_stream_of_http_sse_that_is_given(broker: Broker, accept: str) -> None:
    async with Wire.open(broker) as wire:
        wire.write(f"GET {broker.agent().path('sse')} HTTP/1.1\r\nHost: 127.0.0.1\r\n{accept}\r\n".encode())
        assert b" 200 " in await wire.head()
