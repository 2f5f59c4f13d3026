"""HTTP+SSE, the older transport: real servers, and scripted ones that behave badly."""

import json

import pytest

from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.transports.sse import SseSettings, SseSource
from support.node import needs_node
from support.servers.http_peers import HELLO, LOOPBACK, Exchange, Script, everything, free_port, scripted, sdk
from support.servers.sources import Talk, refusal, talking


def source(url: str, **settings: object) -> SseSource:
    all_ = {"allow_private": LOOPBACK} | settings
    return SseSource(SseSettings(f"{url}/sse", **all_))  # type: ignore[arg-type]


@needs_node
async def test_server_everything() -> None:
    async with everything("sse") as served, talking(source(served.url)) as talk:
        assert (await talk.greet("2024-11-05"))["serverInfo"]["name"]
        assert "你好" in await talk.call("echo", message="你好")


async def test_a_server_of_the_sdk() -> None:
    async with sdk("sse") as served, talking(source(served.url)) as talk:
        assert (await talk.greet("2024-11-05"))["serverInfo"]["name"] == "Counter"
        number = talk.ask("tools/call", name="count", arguments={"steps": 2}, _meta={"progressToken": 9})
        await talk.answer(number)
        assert [frame["params"]["progress"] for frame in talk.passed] == [1, 2]
        await talk.call("grow")
        await talk.notified("notifications/tools/list_changed")
        assert "grown" in await talk.tools()


async def test_kill_9_and_a_restart() -> None:
    async with sdk("sse") as served:
        async with talking(source(served.url)) as talk:
            await talk.greet()
            await served.kill()
            assert (await talk.end()).why is StopReason.CONNECTION_LOST
        assert await refusal(source(served.url)) is StopReason.UNREACHABLE
        async with sdk("sse", served.port), talking(source(served.url)) as talk:
            await talk.greet()


# -- opening -----------------------------------------------------------------------------------------------------------


async def why(script: Script, **settings: object) -> StopReason:
    async with scripted(script) as url:
        return await refusal(source(url, **settings))


@pytest.mark.parametrize(
    ("status", "reason"), [(401, StopReason.UNAUTHORIZED), (404, StopReason.HTTP_STATUS), (503, StopReason.HTTP_STATUS)]
)
async def test_a_refusal(status: int, reason: StopReason) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status)

    assert await why(script) is reason


async def test_a_server_of_the_newer_transport_is_hinted_at() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(405)

    async with scripted(script) as url:
        with pytest.raises(Stopped) as raised:
            await source(url).open(lambda _: None, lambda _: None)
    assert ["Streamable HTTP" in said for said in raised.value.todo] == [True, True]


async def test_a_redirect_to_another_host() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(302, Location="http://127.0.0.2/sse")

    assert await why(script) is StopReason.REDIRECTED


OTHER_HOSTS = ["http://127.0.0.2/m", "http://127.0.0.1:1/m", "//evil.example/m", "https://127.0.0.1:8443/m"]


@pytest.mark.parametrize("target", OTHER_HOSTS)
async def test_an_endpoint_on_another_host_is_not_left_for(target: str) -> None:
    """Behind a proxy a server does not know its own name: frames stay on the host that the owner wrote."""
    session = Session(endpoint=target)
    async with scripted(session) as url, talking(source(url)) as talk:
        await talk.greet()
    assert {exchange.path for exchange in session.posts} == {"/m"}


@pytest.mark.parametrize("target", OTHER_HOSTS)
async def test_an_endpoint_that_is_really_on_another_host(target: str) -> None:
    session = Session(endpoint=target, posts_at="/elsewhere")
    end = await end_of(session)
    assert end.why is StopReason.REDIRECTED
    assert target.partition("//")[2].partition("/")[0] in end.detail


@pytest.mark.parametrize(
    "target", ["/messages?s=1", "http://backend:8000/messages?s=1", "messages?s=1", "/a/b/messages?s=1"]
)
async def test_an_endpoint_under_the_path_of_a_proxy(target: str) -> None:
    session = Session(endpoint=target, posts_at="/a/b/messages?s=1")
    async with scripted(session) as url, talking(source(f"{url}/a/b")) as talk:
        await talk.greet()
        await talk.greet()
    assert len([exchange for exchange in session.posts if exchange.path == "/messages?s=1"]) <= 1


async def test_an_endpoint_that_is_nowhere() -> None:
    end = await end_of(Session(posts_at="/elsewhere"))
    assert (end.why, "404" in end.detail) == (StopReason.HTTP_STATUS, True)


async def test_events_before_the_endpoint() -> None:
    session = Session(before=("event: ping\ndata: {}", ": hi", "data: {}"))
    async with scripted(session) as url, talking(source(url)) as talk:
        await talk.greet()


async def test_an_answer_on_the_post_itself() -> None:
    session = Session(status=200, body={"jsonrpc": "2.0", "id": 2, "result": {"a": 1}})
    async with scripted(session) as url, talking(source(url)) as talk:
        await talk.greet()
        assert (await talk.request("x"))["result"] == {"a": 1}


@pytest.mark.parametrize(
    ("status", "body"),
    [(410, b""), (401, b"session not found"), (400, b'{"error":"invalid session"}'), (403, b"unknown session")],
)
async def test_a_session_that_is_told_to_be_lost(status: int, body: bytes) -> None:
    async with scripted(Session(status=status, body=body)) as url, talking(source(url)) as talk:
        await talk.request("initialize")
        talk.ask("x")
        assert (await talk.end()).why is StopReason.SESSION_LOST


@pytest.mark.parametrize(
    "event", ["data: {}", "event: endpoint\ndata: http://x:99x/", "event: endpoint\ndata: file:///m", ": nothing"]
)
async def test_no_endpoint(event: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.stream(event)

    assert await why(script) is StopReason.NOT_MCP


async def test_something_else_than_events() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"<html>", "text/html")

    assert await why(script) is StopReason.NOT_MCP


async def test_a_server_that_hangs() -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.gone()

    async def slow(exchange: Exchange) -> None:
        await exchange.stream(": soon")
        await exchange.gone()

    for script in (silent, slow):
        assert await why(script, open_within=0.1) is StopReason.UNREACHABLE


async def test_addresses() -> None:
    assert await refusal(source(f"http://127.0.0.1:{free_port()}")) is StopReason.UNREACHABLE
    assert await refusal(source("http://127.0.0.1:1", allow_private=())) is StopReason.PRIVATE_ADDRESS
    assert await refusal(source("http://[")) is StopReason.UNREACHABLE


# -- a session ---------------------------------------------------------------------------------------------------------


class Session:
    """A scripted server: `sends` are its events after the endpoint, `posted` says how it takes a frame."""

    def __init__(
        self,
        *sends: str,
        status: int = 202,
        body: object = b"",
        hold: bool = True,
        endpoint: str = "/messages?session=1",
        posts_at: str = "",
        before: tuple[str, ...] = (),
    ) -> None:
        self.sends, self.status, self.body, self.hold = sends, status, body, hold
        self.endpoint, self.posts_at, self.before = endpoint, posts_at, before
        self.stream: Exchange | None = None
        self.posts: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.method == "GET":
            self.stream = exchange
            await exchange.stream(*self.before, f"event: endpoint\ndata: {self.endpoint}", *self.sends)
            if self.hold:
                await exchange.gone()
            return
        self.posts.append(exchange)
        if self.posts_at not in ("", exchange.path):
            await exchange.answer(404)
            return
        method = exchange.frame.get("method")
        if method == "hang":
            await exchange.gone()
        if method == "flood":
            assert self.stream is not None
            await self.stream.stream("data: " + "x" * 2000)
        if method == "initialize":
            assert self.stream is not None
            answer = {"jsonrpc": "2.0", "id": exchange.frame["id"], "result": HELLO}
            await self.stream.stream(f"data: {json.dumps(answer)}")
            await exchange.answer(202, b"Accepted")
        else:
            await exchange.answer(self.status, self.body)


async def end_of(session: Session, **settings: object) -> Stopped:
    async with scripted(session) as url, talking(source(url, **settings)) as talk:
        talk.ask("x")
        return await talk.end()


async def test_frames_go_to_the_endpoint_in_order_with_the_headers() -> None:
    session = Session()
    async with scripted(session) as url, talking(source(url, headers={"X-Key": "k"})) as talk:
        await talk.greet()
        for number in range(10):
            talk.send(method=f"m{number}")
        await talk.request("initialize")
    assert [exchange.frame["method"] for exchange in session.posts[2:12]] == [f"m{number}" for number in range(10)]
    assert {exchange.path for exchange in session.posts} == {"/messages?session=1"}
    assert {exchange.headers["x-key"] for exchange in session.posts} == {"k"}


async def test_frames_are_passed_on_as_the_bytes_they_came_in() -> None:
    odd = '{ "a":1.0,"b":"\\u4f60" , "c": [ ] }'
    session = Session(f"event: message\r\ndata: {odd}", "event: ping\ndata: 1")
    async with scripted(session) as url, talking(source(url)) as talk:
        assert await talk.bytes() == odd.encode()
        await talk.greet()


@pytest.mark.parametrize(("status", "reason"), [(404, StopReason.SESSION_LOST), (401, StopReason.UNAUTHORIZED)])
async def test_a_post_that_ends_the_session(status: int, reason: StopReason) -> None:
    async with scripted(Session(status=status)) as url, talking(source(url)) as talk:
        await talk.request("initialize")
        talk.ask("x")
        assert (await talk.end()).why is reason


async def test_a_refused_frame_is_answered_and_ends_nothing() -> None:
    async def answered(session: Session) -> object:
        async with scripted(session) as url, talking(source(url)) as talk:
            error = (await talk.request("x"))["error"]
            await talk.greet()
            return error

    assert (await answered(Session(status=500)))["data"] == {"reason": "http_status"}  # type: ignore[index]
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}
    assert await answered(Session(status=400, body=body)) == {"code": -1, "message": "no"}


async def test_the_end_of_the_stream_is_the_end() -> None:
    assert (await end_of(Session(hold=False))).why is StopReason.CONNECTION_LOST


async def test_an_event_over_the_limit() -> None:
    async with scripted(Session()) as url, talking(source(url, event_limit=1000)) as talk:
        talk.send(method="flood")
        assert (await talk.end()).why is StopReason.FRAME_TOO_LONG


async def test_a_server_that_accepts_nothing() -> None:
    async def filled(talk: Talk) -> Stopped:
        talk.send(method="hang")
        for _ in range(20):
            talk.send(method="x")
        return await talk.end()

    async with scripted(Session()) as url, talking(source(url, unread_frames=10)) as talk:
        assert (await filled(talk)).why is StopReason.TOO_MUCH_UNREAD
    async with scripted(Session()) as url, talking(source(url, post_within=0.1)) as talk:
        talk.send(method="hang")
        assert (await talk.end()).why is StopReason.CONNECTION_LOST
