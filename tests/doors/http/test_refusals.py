"""What MCP clients over HTTP get wrong, and what each is told: a status, a typed reason, a sentence."""

import asyncio
import json

import httpx
import pytest

from support.brokers import Brokers
from support.clients.bad_requests import PING, Bad, check
from support.clients.mcp_http import BOTH, McpClient, initialize, mcp_client
from support.clients.stateless import asking, heads
from support.peers import Broker, Frame
from support.sockets import PATIENCE, Reply, Wire

TOLD: Frame = {"jsonrpc": "2.0", "method": "notifications/initialized"}


NO_SESSION: dict[str, str | None] = {"Mcp-Session-Id": None}
NO_SUCH_SESSION: dict[str, str | None] = {"Mcp-Session-Id": "x"}
NO_EVENTS: dict[str, str | None] = {"Accept": "*/*, text/event-stream;q=0"}
OF_A_PAGE: dict[str, str | None] = {"Content-Type": None, "Origin": "http://localhost:1"}
OLDER: dict[str, str | None] = {"MCP-Protocol-Version": "2025-06-18"}
TABLE = [
    Bad("no token", 401, "missing_token", -32004, headers={"Authorization": None}),
    Bad("bad token", 401, "bad_token", -32004, headers={"Authorization": "Bearer nonsense"}),
    Bad("foreign origin", 403, "foreign_origin", -32004, headers={"Origin": "https://evil.example.com"}),
    Bad("opaque origin", 403, "foreign_origin", -32004, headers={"Origin": "null"}),
    Bad("foreign host", 421, "foreign_host", -32004, headers={"Host": "evil.example.com"}),
    Bad("loopback as a prefix", 421, "foreign_host", -32004, headers={"Host": "127.0.0.1.evil.example.com"}),
    Bad("get accepts json", 406, "not_acceptable", method="GET", content=None, headers={"Accept": "application/json"}),
    Bad("get refuses events", 406, "not_acceptable", method="GET", content=None, headers=NO_EVENTS),
    Bad("accepts html", 406, "not_acceptable", headers={"Accept": "text/html"}),
    Bad("accepts nothing", 406, "not_acceptable", headers={"Accept": "*/*;q=0"}),
    Bad("compressed", 415, "body_encoded", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    Bad("text", 415, "not_json_type", headers={"Content-Type": "text/plain"}),
    Bad("form", 415, "not_json_type", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    Bad("text in another character set", 415, "not_json_type", headers={"Content-Type": "text/plain;charset=utf-8"}),
    Bad("two types", 415, "not_json_type", headers={"Content-Type": "application/json, text/plain"}),
    Bad("a page's body without a type", 415, "not_json_type", headers=OF_A_PAGE),
    Bad("put", 405, "method_not_taken", method="PUT"),
    Bad("no session", 400, "no_session_id", id=5, headers={"Mcp-Session-Id": None}),
    Bad("notification without session", 400, "no_session_id", content=TOLD, headers={"Mcp-Session-Id": None}),
    Bad("get without session", 400, "no_session_id", method="GET", content=None, headers=NO_SESSION),
    Bad("delete without session", 400, "no_session_id", method="DELETE", content=None, headers=NO_SESSION),
    Bad("unknown session", 404, "unknown_session", headers={"Mcp-Session-Id": "x" * 43}),
    Bad("get unknown session", 404, "unknown_session", method="GET", content=None, headers=NO_SUCH_SESSION),
    Bad("delete unknown session", 404, "unknown_session", method="DELETE", content=None, headers=NO_SUCH_SESSION),
    Bad("unknown version", 400, "unknown_version", headers={"MCP-Protocol-Version": "1999-01-01"}),
    Bad("initialize again", 400, "session_begun", content=initialize(id_=9), id=9),
    Bad("event of nobody", 400, "unknown_event", method="GET", content=None, headers={"Last-Event-ID": "99-1"}),
    Bad("event to come", 400, "unknown_event", method="GET", content=None, headers={"Last-Event-ID": "0-7"}),
    Bad("event of others", 400, "unknown_event", method="GET", content=None, headers={"Last-Event-ID": "abc"}),
    Bad("not json", 400, "body_not_json", -32700, content="{"),
    Bad("empty", 400, "body_not_json", -32700, content=""),
    Bad(
        "not utf-8",
        400,
        "body_not_json",
        -32700,
        content=b'{"method":"x","params":"\xff"}',
    ),
    Bad("deep", 400, "body_not_json", -32700, content="[" * 100_000),
    Bad("two texts", 400, "body_not_json", -32700, content=json.dumps(PING) * 2),
    Bad("number", 400, "not_one_message", content=1),
    Bad("batch", 400, "not_one_message", content=[PING]),
    Bad("nothing", 400, "not_one_message", content={}),
    Bad("old json-rpc", 400, "not_one_message", content=PING | {"jsonrpc": "1.0"}, id=5),
    Bad("no json-rpc", 400, "not_one_message", content={"id": 5, "method": "ping"}, id=5),
    Bad("method is a number", 400, "not_one_message", content=PING | {"method": 1}, id=5),
    *(Bad(f"id {id_}", 400, "not_one_message", content=PING | {"id": id_}) for id_ in (True, 1.5, [1], {}, None)),
]


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.what)
async def test_what_is_not_taken_is_told_why(broker: Broker, bad: Bad) -> None:
    async with mcp_client(broker.agent()) as client:
        await client.initialize()
        reply = await client.request(bad.method, bad.content, **bad.headers)
        check(Reply(reply.status_code, dict(reply.headers), reply.text), bad)
        if bad.status == 401:
            assert reply.headers["www-authenticate"].startswith("Bearer")
        if bad.status == 405:
            assert reply.headers["allow"] == "GET, POST, DELETE, OPTIONS"
        assert (await client.post(PING)).json()["result"] == {}, "the session goes on"
        await client.delete()


ACCEPTED = [
    None,
    "",
    "*/*",
    "*",
    "application/json",
    "APPLICATION/JSON",
    "application/json; charset=utf-8",
    "application/json;q=0.5,*/*;q=0",
    "application/*",
    "application/json, text/plain, */*",
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    "application/json, text/event-stream;q=0",
    BOTH + ";q=0.5",
    "application/*, text/*",
    "TEXT/*,application/json",
    'application/json ; profile="a, text/html;q=0" , text/event-stream ;q=1.000',
    "application/json-rpc",
    "json",
]


@pytest.mark.parametrize("accept", ACCEPTED)
async def test_what_is_accepted_as_json(broker: Broker, accept: str | None) -> None:
    agent = broker.agent()
    async with agent.tool_side("t"), mcp_client(agent) as client:
        del client.http.headers["Accept"]  # httpx has one of its own
        for reply in (await client.initialize(Accept=accept), await client.post(client.calling("t"), Accept=accept)):
            assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        await client.delete()


@pytest.mark.parametrize(
    "accept", ["text/event-stream", "text/*", "application/json;q=0, */*", "Text/Event-Stream;q=.1"]
)
async def test_who_takes_streams_alone_gets_one(broker: Broker, accept: str) -> None:
    agent = broker.agent()
    async with agent.tool_side("t"), mcp_client(agent) as client:
        async with client.stream("POST", initialize(), Accept=accept) as stream:
            client.headers["Mcp-Session-Id"] = stream.response.headers["mcp-session-id"]
            assert stream.response.headers["content-type"] == "text/event-stream"
            assert "result" in (await stream.rest())[-1].frame
        assert (await client.post(TOLD, Accept=accept)).status_code == 202
        async with client.stream("POST", client.calling("t"), Accept=accept) as stream:
            assert "result" in (await stream.rest())[-1].frame
        await client.delete()


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/event-stream", "text/*;q=0.1", "text/html, */*;q=0.8"])
async def test_what_a_get_accepts(broker: Broker, accept: str | None) -> None:
    async with mcp_client(broker.agent()) as client:
        await client.initialize()
        del client.http.headers["Accept"]
        async with client.stream("GET", Accept=accept) as stream:
            assert (stream.status, stream.response.headers["content-type"]) == (200, "text/event-stream")
        await client.delete()


TYPES = [
    None,
    "",
    "application/json",
    "application/json; charset=utf-8",
    "Application/JSON;Charset=UTF-8",
    'application/json ; charset="utf-8"',
    "application/json;",
    "application/json-rpc",
    "application/jsonrequest",
    "application/vnd.api+json",
    "text/json",
    "application/json, application/json",
]


@pytest.mark.parametrize("kind", TYPES)
async def test_what_says_that_it_is_json(broker: Broker, kind: str | None) -> None:
    async with mcp_client(broker.agent()) as client:
        assert (await client.initialize(Content_Type=kind)).status_code == 200
        assert (await client.post(PING, Content_Type=kind, Content_Encoding="identity")).json()["result"] == {}
        await client.delete()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_no_page_posts_without_having_asked(broker_with: Brokers, kind: str | None) -> None:
    """What a page can send without a preflight is not taken from one, even where all origins are allowed."""
    broker = broker_with(host="0.0.0.0")
    async with mcp_client(broker.agent()) as client:
        client.url = f"http://127.0.0.1:{broker.port}/mcp"
        reply = await client.initialize(Origin="https://any.example.com", Content_Type=kind)
        assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (415, "not_json_type")


# --- bodies that are not whole yet; test_bad_input.py has those that are too long or never are ---


def head(client: McpClient, *lines: str) -> bytes:
    kept = {**client.headers, "Host": "127.0.0.1", "Accept": BOTH, "Content-Type": "application/json"}
    fields = [f"{name}: {value}" for name, value in kept.items()]
    return "\r\n".join(["POST /mcp HTTP/1.1", *fields, *lines, "", ""]).encode()


async def test_half_received_bodies_of_an_agent_are_bounded(broker_with: Brokers) -> None:
    broker = broker_with(max_message_size="64KB", max_unfinished="100KB")
    agent = broker.agent()
    async with mcp_client(agent) as client, Wire.open(broker) as first, Wire.open(broker) as second:
        await client.initialize()
        begun = head(client, "Content-Length: 65536") + b"x" * 60_000
        first.write(begun)
        second.write(begun)
        done, _ = await asyncio.wait(
            {asyncio.create_task(first.reply()), asyncio.create_task(second.reply())},
            timeout=PATIENCE,
            return_when=asyncio.FIRST_COMPLETED,
        )
        check(done.pop().result(), Bad("", 503, "too_much_unfinished", -32004))
        await client.delete()


# --- limits ---


async def test_bad_tokens_use_up_an_addresses_handshakes(broker_with: Brokers) -> None:
    """As at the WebSocket doors: one refused counts for eleven, and a good token is not kept out."""
    broker = broker_with(handshakes_per_minute=30, trusted_proxies="127.0.0.1")
    agent = broker.agent()
    via = {"X-Forwarded-For": "192.0.2.1"}
    async with mcp_client(agent) as client:
        await client.initialize(**via)
        statuses = [(await client.post(PING, Authorization="Bearer x", **via)).status_code for _ in range(6)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert (await client.post(PING, **via)).status_code == 200
        assert (await client.post(PING, Authorization="Bearer x")).status_code == 401
        await client.delete(**via)
    stats = await broker.stats()
    assert stats["refused_by_reason"]["bad_token"] >= 2
    assert {"192.0.2.1"} <= {one["address"] for one in stats["refusals"]}


async def test_connections_with_a_token_are_not_pushed_out_and_are_bounded(broker_with: Brokers) -> None:
    broker = broker_with(max_connections=2, max_handshakes=3)
    async with mcp_client(broker.agent()) as client, Wire.open(broker) as second, Wire.open(broker) as third:
        await client.initialize()
        ping = json.dumps(PING).encode()
        async with client.stream("GET") as stream:
            await stream.event()
            second.write(head(client, f"Content-Length: {len(ping)}") + ping)
            assert (await second.reply()).status == 200
            third.write(head(client, f"Content-Length: {len(ping)}") + ping)
            check(await third.reply(), Bad("", 503, "full", -32004))
            async with Wire.open(broker), Wire.open(broker), Wire.open(broker):
                await broker.get("/health")
                second.write(head(client, f"Content-Length: {len(ping)}") + ping)
                assert (await second.reply()).status == 200, "it was not pushed out"
                assert (await broker.stats())["census"]["streams"] == 1, "nor was the stream"


# --- Origin, Host and CORS ---


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8004", "[::1]:8004", "127.0.0.2"])
@pytest.mark.parametrize("origin", [None, "http://localhost:6274", "http://127.0.0.1:3000"])
async def test_this_machine_may_come_in(broker: Broker, host: str, origin: str | None) -> None:
    async with mcp_client(broker.agent()) as client:
        reply = await client.initialize(Host=host, Origin=origin)
        assert reply.status_code == 200
        assert reply.headers.get("access-control-allow-origin") == origin
        assert "access-control-allow-credentials" not in reply.headers
        await client.delete()


@pytest.mark.parametrize("origin", ["https://console.example.com", "http://elsewhere.example.com"])
async def test_a_page_may_come_in_if_its_origin_is_listed(broker_with: Brokers, origin: str) -> None:
    broker = broker_with(allowed_origins="https://console.example.com")
    async with mcp_client(broker.agent()) as client:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "mcp-session-id"}
        preflight = await client.request("OPTIONS", Origin=origin, Authorization=None, **asked)
        reply = await client.initialize(Origin=origin)
        if "console" in origin:
            assert preflight.status_code == 204
            for answer in (preflight, reply):
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["vary"] == "origin"
            assert "mcp-session-id" in preflight.headers["access-control-allow-headers"]
            assert {"POST", "GET", "DELETE"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
            assert "mcp-session-id" in reply.headers["access-control-expose-headers"]
            assert (await client.post(PING, Origin=origin, Authorization=None)).headers["access-control-allow-origin"]
            await client.delete()
        else:
            assert (preflight.status_code, reply.status_code) == (403, 403)
            assert "access-control-allow-origin" not in preflight.headers


async def test_a_broker_for_a_network_takes_any_host_and_origin_by_default(broker_with: Brokers) -> None:
    broker = broker_with(host="0.0.0.0")
    async with mcp_client(broker.agent()) as client:
        client.url = f"http://127.0.0.1:{broker.port}/mcp"
        origin = "https://any.example.com"
        reply = await client.initialize(Host="mcp.example.com", Origin=origin)
        assert reply.headers["access-control-allow-origin"] == origin
        await client.delete()


async def test_public_url_is_a_host_of_its_own(broker_with: Brokers) -> None:
    broker = broker_with(public_url="https://mcp.example.com/x")
    async with mcp_client(broker.agent()) as client:
        assert (await client.initialize(Host="mcp.example.com")).status_code == 200
        await client.delete()


async def test_without_cors_pages_are_told_nothing(broker_with: Brokers) -> None:
    broker = broker_with(enable_cors="false")
    async with mcp_client(broker.agent()) as client:
        reply = await client.initialize(Origin="http://localhost:1")
        assert (reply.status_code, "access-control-allow-origin" in reply.headers) == (200, False)
        await client.delete()


async def test_details_are_in_the_language_of_the_settings(broker: Broker, broker_with: Brokers) -> None:
    async def told(broker: Broker) -> list[tuple[str, str]]:
        """Message and details for a bad token, a body that breaks off, and a header that contradicts its body."""
        agent = broker.agent()
        good, message = {"Authorization": f"Bearer {agent.token}"}, asking("tools/list", 5)
        async with httpx.AsyncClient(
            base_url=broker.url(scheme="http"), headers={"Accept": BOTH}, trust_env=False
        ) as client:
            replies = [
                await client.post("/mcp", json=PING, headers={"Authorization": "Bearer x"}),
                await client.post(
                    "/mcp", content='{"jsonrpc":"2.0","id":5,', headers={"Content-Type": "application/json", **good}
                ),
                await client.post("/mcp", json=message, headers=heads(message) | {"Mcp-Method": "ping"} | good),
            ]
        errors = [reply.json()["error"] for reply in replies]
        assert [error["data"]["reason"] for error in errors] == ["bad_token", "body_not_json", "header_mismatch"]
        return [(error["message"], error["data"]["details"]) for error in errors]

    english, chinese = await told(broker_with(language="en")), await told(broker)
    assert all(details.isascii() for _, details in english)
    assert not any(details.isascii() for _, details in chinese)
    messages = {message for message, _ in english}
    assert messages == {message for message, _ in chinese}, "in both, since it is shown before anything is set up"
    assert messages >= {f"{english[0][1]} / {chinese[0][1]}"}
