"""Requests over HTTP as other programs and proxies spell them: paths, methods, bodies, connections."""

import json

import pytest

from support.clients.mcp_http import BOTH, McpClient, initialize, mcp_client
from support.peers import Agent, Broker, Frame
from support.sockets import Reply, Wire

PING: Frame = {"jsonrpc": "2.0", "id": 5, "method": "ping"}
PATHS = [
    "/mcp_endpoint/mcp",
    "/mcp_endpoint/mcp/",
    "/mcp_endpoint/mcp//",
    "//mcp_endpoint//mcp/",
    "//mcp",
    "/mcp_endpoint/%6Dcp/",
    "/mcp_endpoint%2Fmcp",
    "/prefix/mcp_endpoint/call/?device=d",
    "http://127.0.0.1/mcp_endpoint/mcp/",
    "/mcp?",
    "/mcp?&&=",
]


def head(agent: Agent, target: str, *lines: str, method: str = "POST") -> bytes:
    fixed = [f"{method} {target} HTTP/1.1", "host: 127.0.0.1", f"authorization: bearer {agent.token}"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


def first(agent: Agent, target: str = "/mcp", *lines: str) -> bytes:
    """A whole `initialize`."""
    body = json.dumps(initialize()).encode()
    types = ("content-type: application/json", f"accept: {BOTH}", f"content-length: {len(body)}")
    return head(agent, target, *types, *lines) + body


async def ended(wire: Wire, agent: Agent, reply: Reply) -> None:
    """The session that an answer names was opened, and ends."""
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert "result" in json.loads(reply.body)
    wire.write(head(agent, "/mcp", f"mcp-session-id: {reply.headers['mcp-session-id']}", method="DELETE"))
    assert (await wire.reply()).status == 204


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_in_every_spelling(agent: Agent, path: str) -> None:
    async with Wire.open(agent.broker) as wire:
        wire.write(first(agent, path))
        await ended(wire, agent, await wire.reply())


@pytest.mark.parametrize("last", [b"\r\n", b"\r\nX-Trailer: y\r\n\r\n"])
async def test_a_body_in_chunks(agent: Agent, last: bytes) -> None:
    body = json.dumps(initialize()).encode()
    types = ("content-type: application/json", f"accept: {BOTH}", "transfer-encoding: chunked")
    async with Wire.open(agent.broker) as wire:
        wire.write(head(agent, "/mcp", *types))
        for piece in (body[:1], body[1:40], body[40:]):
            wire.write(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
            await wire.writer.drain()
        wire.write(b"0" + last if last != b"\r\n" else b"0\r\n\r\n")
        await ended(wire, agent, await wire.reply())


async def test_a_client_that_waits_to_be_told_to_go_on(agent: Agent) -> None:
    """`Expect: 100-continue`, as curl sends with large bodies; who is refused is so before the body."""
    body = json.dumps(initialize()).encode()
    types = ("content-type: application/json", f"content-length: {len(body)}", "expect: 100-continue")
    async with Wire.open(agent.broker) as wire:
        wire.write(head(agent, "/mcp", *types))
        assert (await wire.head()).startswith(b"HTTP/1.1 100 ")
        wire.write(body)
        await ended(wire, agent, await wire.reply())
    async with Wire.open(agent.broker) as wire:
        wire.write(head(agent, "/mcp", "content-type: text/plain", *types[1:]))
        assert (await wire.reply()).status == 415


async def test_a_connection_that_is_closed_after_the_answer(agent: Agent) -> None:
    async with Wire.open(agent.broker) as wire:
        wire.write(first(agent, "/mcp", "connection: close"))
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await wire.rest() == b""
    async with mcp_client(agent) as client:
        client.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
        await client.delete()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "zstd", "gzip, identity"])
async def test_a_compressed_body_is_told_so(agent: Agent, encoding: str) -> None:
    async with mcp_client(agent) as client:
        reply = await client.post(b"\x1f\x8b\x08\x00", Content_Encoding=encoding)
        assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (415, "body_encoded")
        assert reply.headers["accept-encoding"] == "identity"


async def test_headers_that_are_empty_are_as_if_they_were_not_there(agent: Agent) -> None:
    empty = ("mcp-session-id:", "mcp-protocol-version:", "last-event-id:", "origin-agent:", "content-encoding:")
    async with Wire.open(agent.broker) as wire:
        wire.write(first(agent, "/mcp", *empty))
        await ended(wire, agent, await wire.reply())


async def test_a_header_that_comes_twice_with_one_value_is_one(agent: Agent) -> None:
    twice = ("content-type: application/json", "mcp-protocol-version: 2025-11-25", "mcp-protocol-version: 2025-11-25")
    async with Wire.open(agent.broker) as wire:
        wire.write(first(agent, "/mcp", *twice, f"authorization: Bearer {agent.token}"))
        reply = await wire.reply()
        session = f"mcp-session-id: {reply.headers['mcp-session-id']}"
        body = json.dumps(PING).encode()
        wire.write(head(agent, "/mcp", *twice, session, session, f"content-length: {len(body)}") + body)
        assert json.loads((await wire.reply()).body)["result"] == {}
        await ended(wire, agent, reply)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("OPTIONS", {}, 204),
        ("HEAD", {}, 426),
        ("HEAD", {"MCP-Protocol-Version": "2025-11-25"}, 405),
        ("GET", {}, 426),
        ("GET", {"Accept": "text/html,*/*;q=0.8"}, 426),
        ("PUT", {}, 405),
        ("PATCH", {}, 405),
        ("TRACE", {}, 405),
    ],
)
async def test_other_methods(agent: Agent, method: str, headers: dict[str, str], status: int) -> None:
    async with mcp_client(agent) as client:
        reply = await client.http.request(method, client.url, headers=client.headers | headers)
        assert reply.status_code == status
        if status in (204, 405):
            assert "POST" in reply.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("shown", ["?token=abc", "Bearer abc", "abc"])
async def test_whoever_opens_the_url_with_a_wrong_token_is_told_so(agent: Agent, method: str, shown: str) -> None:
    in_url = shown.startswith("?")
    async with mcp_client(agent) as client:
        headers = {"Accept": "text/html,*/*;q=0.8"} | ({} if in_url else {"Authorization": shown})
        url = client.url + shown if in_url else client.url
        reply = await client.http.request(method, url, headers=headers)
    assert (reply.status_code, reply.headers["www-authenticate"][:6]) == (401, "Bearer")
    if method == "GET":
        error = reply.json()["error"]
        assert error["data"]["reason"] == "bad_token"
        assert "main.py token" in error["message"]


async def test_a_get_without_a_session_is_no_page_for_a_client(agent: Agent) -> None:
    async with mcp_client(agent) as client:
        await client.initialize()
        del client.http.headers["Accept"]
        async with client.stream("GET", Accept=None) as stream:
            assert stream.status == 200
            assert (await stream.event()).data == ""
        await client.delete()
        reply = await client.request("GET")
        assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (400, "no_session_id")


async def test_who_is_refused_reads_it_although_it_still_sends(agent: Agent) -> None:
    async with mcp_client(agent) as client:
        content = McpClient.calling("x", padding="x" * 3_000_000)
        reply = await client.post(content, Content_Encoding="gzip")
        assert reply.status_code == 415
