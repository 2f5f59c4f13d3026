"""The MCP server inside the process: what it answers, and that nothing a handler does keeps it from answering."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.local.server import PAGE, LocalServer
from mcp_endpoint.providers.local.tool_spec import Call, FeatureSpec, Limits, Refused, ServerSpec
from mcp_endpoint.wire.mcp import Kind
from support.servers.source_client import Asker, text_of
from support.sockets import PATIENCE


def text(value: str) -> dict[str, object]:
    return {"content": [{"type": "text", "text": value}]}


class Handlers:
    """Handlers that the test holds in its hand."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[Call] = asyncio.Queue()
        self.go = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    async def echo(self, call: Call) -> Mapping[str, object]:
        return text(json.dumps(call.arguments))

    async def hold(self, call: Call) -> Mapping[str, object]:
        self.begun.put_nowait(call)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended.put_nowait("cancelled")
            raise
        return text("went on")

    async def deaf(self, call: Call) -> Mapping[str, object]:
        self.begun.put_nowait(call)
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.ended.put_nowait("ignored")
        return text("too late")

    async def talk(self, call: Call) -> Mapping[str, object]:
        for level in ("debug", "info", "error"):
            call.log(level, level)
        call.progress(1, 3, "one")
        call.progress(2, 3, "left out: too soon")
        call.progress(3, 3, "")
        return text(json.dumps(call.caller))

    async def fail(self, call: Call) -> Mapping[str, object]:
        match call.arguments.get("how"):
            case "refused":
                raise Refused("not today")
            case "arguments":
                raise BadArguments("a is missing")
            case "exit":
                raise SystemExit(3)
            case "big":
                return text("x" * 2000)
            case "odd":
                return {"content": object()}
            case _:
                raise KeyError("token=abcdefgh12345")

    async def read(self, call: Call) -> Mapping[str, object]:
        return {"contents": [{"uri": call.name, "text": "read"}]}


def offer(handlers: Handlers, *more: FeatureSpec, changes: bool = True) -> ServerSpec:
    def tool(name: str, timeout: float | None = None) -> FeatureSpec:
        schema = {"type": "object"}
        return FeatureSpec({"name": name, "inputSchema": schema}, getattr(handlers, name), timeout=timeout)

    return ServerSpec(
        "local",
        "1",
        "Be kind.",
        changes,
        {
            Kind.TOOLS: [*map(tool, ("echo", "hold", "talk", "fail")), tool("deaf", 0.05), *more],
            Kind.PROMPTS: [FeatureSpec({"name": "ask"}, handlers.fail)],
            Kind.RESOURCES: [FeatureSpec({"uri": "a:b", "name": "b"}, handlers.read)],
            Kind.TEMPLATES: [
                FeatureSpec({"uriTemplate": "t:{x}", "name": "t"}, handlers.read, fits=lambda uri: uri.startswith("t:"))
            ],
        },
    )


@pytest.fixture
async def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def server(handlers: Handlers) -> AsyncIterator[LocalServer]:
    asker: list[Asker] = []
    server = LocalServer(offer(handlers), lambda frame: asker[0].take(frame), Limits(calls=3, result=1000))
    asker.append(Asker(server.receive))
    server.asker = asker[0]  # type: ignore[attr-defined]
    yield server
    handlers.go.set()
    async with asyncio.timeout(PATIENCE):
        await server.close()


@pytest.fixture
def asker(server: LocalServer) -> Asker:
    return server.asker  # type: ignore[attr-defined, no-any-return]


async def within(work: Any) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await work


@pytest.mark.parametrize(
    ("asked", "given"), [("2024-11-05", "2024-11-05"), ("2026-07-28", "2025-11-25"), ("", "2025-11-25")]
)
async def test_the_handshake_says_what_there_is(asker: Asker, asked: str, given: str) -> None:
    introduced = await asker.ask("initialize", {"protocolVersion": asked})
    assert introduced == {
        "protocolVersion": given,
        "capabilities": {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"listChanged": True},
            "logging": {},
        },
        "serverInfo": {"name": "local", "version": "1"},
        "instructions": "Be kind.",
    }
    assert await asker.ask("ping") == {}


async def test_lists_come_in_pages_that_fit_a_frame(handlers: Handlers, server: LocalServer, asker: Asker) -> None:
    many = [
        FeatureSpec({"name": f"n{number}", "description": "x" * 5000, "inputSchema": {"type": "object"}}, handlers.echo)
        for number in range(200)
    ]
    server.change(offer(handlers, *many))
    assert await asker.said("notifications/tools/list_changed") is None
    page = await asker.ask("tools/list")
    assert len(json.dumps(page)) < PAGE + 10_000
    assert len(await asker.listed("tools/list")) == 205
    assert list(await asker.listed("prompts/list")) == ["ask"]
    assert list(await asker.listed("resources/list")) == ["a:b"]
    assert list(await asker.listed("resources/templates/list")) == ["t:{x}"]
    for cursor in ("x", "-1", "206", "٣", "9" * 20):
        assert (await asker.refused("tools/list", {"cursor": cursor}))[0] == -32602
    assert asker.kept == []


async def test_resources_are_found_by_uri_and_then_by_template(asker: Asker) -> None:
    for uri in ("a:b", "t:1"):
        assert await asker.ask("resources/read", {"uri": uri}) == {"contents": [{"uri": uri, "text": "read"}]}
    code, message = await asker.refused("resources/read", {"uri": "no:\x1b[2Jsuch"})
    assert code == -32602
    assert "\\x1b" in message


async def test_a_frame_that_is_no_request_is_answered_or_dropped(asker: Asker, server: LocalServer) -> None:
    for frame in (b"{no json", b"\xff"):
        server.receive(frame)
        assert (await asker.answer(None))["error"]["code"] == -32700
    server.receive(rb'{"id":1,"method":"ping","params":"\ud800"}')
    assert (await asker.answer(1))["result"] == {}
    for frame in (b"[]", b"1", b'{"id":{},"method":"ping"}', b'{"id":null,"method":"ping"}'):
        server.receive(frame)
        assert (await asker.answer(None))["error"]["code"] == -32600
    for frame in (b'{"id":5,"result":{}}', b'{"method":"notifications/x"}', b'{"method":"notifications/cancelled"}'):
        server.receive(frame)
    assert (await asker.refused("no/such"))[0] == -32601
    assert (await asker.refused("tools/call"))[0] == -32602
    assert (await asker.refused("tools/call", {"name": "gone"}))[0] == -32602
    assert (await asker.refused("tools/call", {"name": "echo", "arguments": [1]}))[0] == -32602
    assert await asker.text("echo", None) == "{}"
    assert asker.kept == []


async def test_nothing_is_sent_from_within_receive(server: LocalServer, asker: Asker) -> None:
    number = asker.begin("ping")
    assert asker.kept == []
    await asker.answer(number)


async def test_errors_of_handlers_are_told_without_secrets(asker: Asker, server: LocalServer) -> None:
    assert await asker.error("fail", {"how": "refused"}) == "not today"
    assert await asker.error("fail", {"how": "arguments"}) == "a is missing"
    assert "exit (3)" in await asker.error("fail", {"how": "exit"})
    assert "too large" in await asker.error("fail", {"how": "big"})
    assert "TypeError" in await asker.error("fail", {"how": "odd"})
    assert "abcdefgh" not in await asker.error("fail")
    assert "line " in server.said[-1]
    assert "abcdefgh" not in server.said[-1]
    code, message = await asker.refused("prompts/get", {"name": "ask", "arguments": {"how": "arguments"}})
    assert (code, message) == (-32602, "a is missing")
    assert (await asker.refused("prompts/get", {"name": "ask"}))[0] == -32603


async def test_progress_and_log_messages_come_before_the_answer(asker: Asker) -> None:
    caller = {"mcp-endpoint/caller": {"agent": "a1"}, "progressToken": "p"}
    result = await asker.call("talk", _meta=caller)
    assert json.loads(text_of(result)) == {"agent": "a1"}
    told = [frame["params"] for frame in asker.kept if frame["method"] == "notifications/progress"]
    assert told == [
        {"progressToken": "p", "progress": 1, "total": 3, "message": "one"},
        {"progressToken": "p", "progress": 3, "total": 3},
    ]
    levels = [frame["params"]["level"] for frame in asker.kept if frame["method"] == "notifications/message"]
    assert levels == ["info", "error"]
    asker.kept.clear()
    assert await asker.ask("logging/setLevel", {"level": "error"}) == {}
    assert (await asker.refused("logging/setLevel", {"level": "loud"}))[0] == -32602
    await asker.call("talk")
    assert [frame["params"]["data"] for frame in asker.kept] == ["error"]


async def test_a_cancelled_call_ends_and_is_not_answered(asker: Asker, handlers: Handlers) -> None:
    number = asker.begin("tools/call", {"name": "hold"})
    call = await within(handlers.begun.get())
    asker.tell(method="notifications/cancelled", params={"requestId": number})
    assert await within(handlers.ended.get()) == "cancelled"
    assert call.ended
    call.progress(1, 1, "")
    await asker.ask("ping")
    assert asker.kept == []


async def test_a_new_handshake_ends_the_calls_of_the_old_session(asker: Asker, handlers: Handlers) -> None:
    asker.begin("tools/call", {"name": "hold"})
    await within(handlers.begun.get())
    await asker.ask("initialize", {})
    assert await within(handlers.ended.get()) == "cancelled"
    assert asker.kept == []


async def test_a_call_is_answered_in_time_even_if_it_does_not_mind(asker: Asker, handlers: Handlers) -> None:
    assert "did not finish within 0.05 s" in await asker.error("deaf")
    assert await within(handlers.ended.get()) == "ignored"
    # It still runs, so it still counts.
    held = [asker.begin("tools/call", {"name": "hold"}) for _ in range(2)]
    for _ in held:
        await within(handlers.begun.get())
    assert "Too many calls" in await asker.error("echo")
    assert await asker.ask("ping") == {}
    handlers.go.set()
    for number in held:
        assert text_of((await asker.answer(number))["result"]) == "went on"
    assert asker.kept == []


async def test_an_id_in_flight_is_not_taken_twice(asker: Asker, handlers: Handlers) -> None:
    number = asker.begin("tools/call", {"name": "hold"})
    await within(handlers.begun.get())
    asker.tell(id=number, method="ping")
    assert (await asker.answer(number))["error"]["code"] == -32600
    handlers.go.set()
    assert (await asker.answer(number))["result"]


async def test_closing_ends_calls_and_nothing_is_sent_afterwards(
    asker: Asker, handlers: Handlers, server: LocalServer
) -> None:
    asker.begin("tools/call", {"name": "hold"})
    call = await within(handlers.begun.get())
    asker.begin("ping")
    await within(server.close())
    assert await within(handlers.ended.get()) == "cancelled"
    call.log("error", "x")
    asker.begin("ping")
    await asyncio.wait({asyncio.get_running_loop().create_task(handlers.echo(call))})
    assert asker.kept == []
