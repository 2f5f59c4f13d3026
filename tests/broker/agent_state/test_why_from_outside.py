"""What goes wrong at an endpoint, seen by real programs from outside, and what no sentence may hold.

Addresses that lead nowhere, programs that send what is no MCP, peers with the wrong URL or key; see test_why.py.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest

from mcp_endpoint.broker.connection_manager import ENDED_KEPT
from mcp_endpoint.settings.schema import Language
from mcp_endpoint.tokens import Tokens
from support.brokers import Brokers
from support.doctor import examine, of_broker, settings_file
from support.paths import ROOT
from support.peers import KEY, Agent, Broker, Frame, device, dialled, said, tool_side
from support.servers.canned import http, listening
from support.servers.http_peers import free_port
from support.sockets import PATIENCE
from support.states import NEVER, NOBODY_CAME, SETTINGS, STARTING, UNKNOWN, Why, explained, no_tool_named, serving, told


@pytest.fixture(params=["zh", "en"])
def language(request: pytest.FixtureRequest) -> Language:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def broker(broker_with: Brokers, language: Language) -> Broker:
    return broker_with(language=language, **SETTINGS)


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


# --- 8. the tool side's URL leads nowhere ---

CHILD = """
import json, sys
print("loading ...", flush=True)
for line in sys.stdin:
    frame = json.loads(line)
    print("debug:", frame["method"], flush=True)
    result = {"initialize": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
                             "serverInfo": {"name": "chatty", "version": "1"}},
              "tools/list": {"tools": [{"name": "add", "inputSchema": {"type": "object"}}]},
              "tools/call": {"content": [{"type": "text", "text": "2"}]}}.get(frame["method"])
    if result is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}), flush=True)
"""


@contextlib.asynccontextmanager
async def bridged(url: str, lang: Language = "en", *, code: str = CHILD) -> AsyncIterator[asyncio.StreamReader]:
    """`pipe` as users start it; what it says can be read."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), "pipe", url, "--", sys.executable, "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean | {"NO_PROXY": "*", "PYTHONIOENCODING": "utf-8", "MCP_ENDPOINT_LANG": lang},
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.communicate()


async def line_with(output: asyncio.StreamReader, words: str) -> str:
    async with asyncio.timeout(PATIENCE):
        while line := (await output.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"it ended without {words!r}")


@pytest.mark.parametrize(
    ("url", "zh", "en"),
    [
        (
            "ws://127.0.0.1:{dead}/mcp_endpoint/mcp/?token={token}",
            "连接被拒绝，请检查服务是否已启动、端口是否正确",
            "connection refused; check that the server runs and the port is right",
        ),
        (
            "ws://127.0.0.1:{other}/mcp_endpoint/mcp/?token={token}",
            "对方不是 WebSocket 服务，请检查主机和端口",
            "what answers there is no WebSocket server; check host and port",
        ),
        (
            "ws://no-such-host.invalid:8004/mcp_endpoint/mcp/?token={token}",
            "找不到该主机名，请检查地址和网络",
            "the host name is not known; check the URL and the network",
        ),
        (
            "ws://127.0.0.1:{port}/mcp_endpoint/?token={token}",
            "返回 HTTP 404：该路径不存在，请检查地址是否完整",
            "answered HTTP 404: there is nothing at this path; check that the URL is complete",
        ),
        (
            "ws://127.0.0.1:{port}/mcp_endpoint/mcp/?token={foreign}",
            "token 不属于该服务，请重新复制地址",
            "the token is not one of this server; copy the URL again",
        ),
        (
            "ws://127.0.0.1:{port}/mcp_endpoint/mcp/",
            "地址中没有 token，请复制完整的地址",
            "no token in the URL; copy the whole URL",
        ),
    ],
    ids=["dead port", "another program", "unknown host", "wrong path", "another key", "no token"],
)
async def test_pipe_says_why_it_is_not_connected(broker_with: Brokers, url: str, zh: str, en: str) -> None:
    agent = broker_with(**SETTINGS).agent()

    async def greet(_: bytes) -> bytes:
        return b"220 mail.example ESMTP\r\n"

    async with listening(greet) as (other, _):
        facts = {"dead": free_port(), "other": other, "port": agent.broker.port, "token": agent.token}
        url = url.format(**facts, foreign=Tokens("another key").mint("a"))
        async with bridged(url, "zh") as chinese, bridged(url, "en") as english:
            lines = await line_with(chinese, zh), await line_with(english, en)
    assert agent.token not in "".join(lines)


async def test_doctor_says_why_the_printed_address_leads_nowhere(broker_with: Brokers, tmp_path: Path) -> None:
    broker = broker_with(**SETTINGS)

    async def elsewhere(_: bytes) -> bytes:
        return http({}, status="404 Not Found")

    async with listening(elsewhere) as (other, _):
        dead = f"http://localhost:{free_port()}"
        for base, zh, en in (
            (dead, f"从本机访问不到 {dead}：连接被拒绝", f"{dead} is not reached from here: connection refused"),
            (
                f"http://localhost:{other}",
                "返回 HTTP 404，不是本服务的应答",
                "answered HTTP 404, but not as this broker",
            ),
        ):
            report = await examine(settings_file(tmp_path, broker.port, public_url=base))
            [found] = [one for one in report.checks if one["check"] == "urls"]
            assert zh in found["zh"]
            assert en in found["en"]


# --- 9. junk on stdout, or a greeting frame ---


@pytest.mark.parametrize("junk", ["loading model ...", '{"type": "hello"}'], ids=["a print", "a greeting"])
async def test_a_bridge_that_passes_junk_on(agent: Agent, language: Language, junk: str) -> None:
    before = Why(
        "junk_on_stdout",
        "工具程序 hall 已连接 ~，但没有完成 initialize：它的输出不是 JSON-RPC（程序在往标准输出打印内容），"
        "日志请写到 stderr。",
        "The tool program hall is connected, but has not finished `initialize` for ~: its output is not JSON-RPC (it "
        "prints to stdout); logs belong on stderr.",
    )
    within = Why(
        "prints",
        "hall 在往标准输出打印内容，这些内容已被丢弃，日志请写到 stderr；1 个工具程序在线，共 1 个工具。",
        "hall prints to stdout, and what it prints is dropped; logs belong on stderr; tool programs connected: 1, "
        "tools: 1.",
    )
    async with agent.tool_side("add", greets=False, server_id="hall") as program, agent.device() as caller:
        hello = await program.next("initialize")
        for _ in range(3):
            await program.send(junk)
        await program.settled()
        assert await told(caller, before, language) == STARTING
        await explained(agent, before)
        await program.answer(hello, program.introduction)
        await program.listed()
        assert said(await caller.call("add")) == "calc.add({})"
        await explained(agent, within)
        assert await told(caller, within, language, no_tool_named("add", language)) == UNKNOWN


async def test_pipe_keeps_junk_back_and_says_so(broker_with: Brokers) -> None:
    agent = broker_with(**SETTINGS).agent()
    async with bridged(agent.tool_url) as output:
        assert "logs belong on stderr" in await line_with(output, "loading ...")
        await agent.broker.logged(rf" agent {agent.id}: .*\(serving\)$")
        async with agent.device() as caller:
            assert said(await caller.call("add")) == "2"
        await explained(agent, serving(1, 1))
        assert (await agent.links("tool"))[0]["drops"] == {}


# --- 10. wrong URL, wrong key, localhost ---


async def test_a_device_at_the_tool_door(agent: Agent, language: Language) -> None:
    why = Why(
        "device_on_tool_door",
        "有设备端程序连到了工具端地址（/mcp/），设备端应使用 /call/ 地址。",
        "A device program is connected to the tool URL (/mcp/); it needs the one with /call/.",
    )
    answer = Why(
        "",
        "这是工具端的地址（/mcp/），设备端请使用 /call/ 地址。",
        "This is the URL for tool programs (/mcp/); a device or client uses the one with /call/.",
    )
    async with device(agent.tool_url, None) as lost, agent.device() as caller:
        error = await lost.request("initialize", {"clientInfo": {"name": "lost"}})
        assert answer.is_in(error["error"]["data"]["details"], language)
        assert (await told(caller, why, language))[0] == -32001
        await explained(agent, why)


async def test_tool_programs_at_the_device_door(broker_with: Brokers) -> None:
    why = Why(
        "tool_on_device_door",
        "有程序连到了设备端地址（/call/）却一直没有发送消息：工具程序应使用 /mcp/ 地址。",
        "A program is connected to the device URL (/call/) and says nothing; a tool program needs the one with /mcp/.",
    )

    async def lose_one(language: Language) -> None:
        agent = broker_with(language=language, **SETTINGS).agent()
        async with dialled(agent.device_url), agent.device() as caller:
            await explained(agent, why)
            assert await told(caller, why, language) == NOBODY_CAME

    await asyncio.gather(lose_one("zh"), lose_one("en"))  # each takes ten seconds


async def refused(broker: Broker, address: str, path: str, times: int) -> None:
    """Dial so often, as if from that address, with a token of another key."""
    url = broker.url(f"{path}?token={Tokens('another key').mint('a')}")
    for _ in range(times):
        async with dialled(url, additional_headers={"X-Forwarded-For": address}) as connection:
            await asyncio.wait_for(connection.wait_closed(), PATIENCE)
            assert connection.close_code == 1008


async def test_tokens_of_another_key(new_broker: Brokers, language: Language) -> None:
    broker = new_broker(language=language, **SETTINGS)
    agent = broker.agent()
    await refused(broker, "192.0.2.7", "/mcp_endpoint/mcp/", 14)
    await refused(broker, "192.0.2.8", "/mcp_endpoint/call/", 1)
    with pytest.raises(Exception, match=str(int(HTTPStatus.NOT_FOUND))):
        async with dialled(broker.url("/mcp_endpoint/"), additional_headers={"X-Forwarded-For": "192.0.2.7"}):
            pass
    why = Why(
        "never",
        NEVER.zh.removesuffix("。") + "；最近有 15 次连接的 token 无法解密：是用另一个密钥生成的吗？",
        NEVER.en.removesuffix(".") + "; lately 15 connections came with a token that does not decrypt: is it from "
        "another key?",
        log=False,
    )
    async with agent.device() as caller:
        assert await told(caller, why, language) == NOBODY_CAME
        await explained(agent, why)
    said_of = {(one["address"], one["reason"]): one for one in (await broker.stats())["refusals"]}
    assert {who: one["count"] for who, one in said_of.items()} == {
        ("192.0.2.7", "bad_token"): 14,
        ("192.0.2.8", "bad_token"): 1,
        ("192.0.2.7", "no_door"): 1,
    }
    shown = [(one["zh"], one["en"]) for one in (await of_broker(broker)).checks if one["check"] == "refused"]
    assert sorted(shown) == sorted((one["why"]["zh"], one["why"]["en"]) for one in said_of.values())
    assert (
        "来自 192.0.2.7 的连接被拒绝 14 次：token 无法用本服务的密钥解密，是用另一个密钥生成的吗？",
        "Refused 14 times from 192.0.2.7: the token does not decrypt with this key; is it from another key?",
    ) in shown
    assert (
        "来自 192.0.2.7 的连接被拒绝 1 次：WebSocket 地址有误，路径应以 /mcp/ 或 /call/ 结尾",
        "Refused once from 192.0.2.7: there is no WebSocket door at this path; the path should end in /mcp/ or /call/",
    ) in shown


async def test_localhost_where_others_must_reach_it(broker_with: Brokers, tmp_path: Path) -> None:
    broker = broker_with(**SETTINGS)
    base = f"http://localhost:{broker.port}"
    report = await examine(settings_file(tmp_path, broker.port, host="0.0.0.0", public_url=base))
    [found] = [one for one in report.checks if one["check"] == "addresses"]
    assert found["status"] == "warning"
    assert (
        f"public_url 是 {base}：在其他机器或容器里它指的是它们自己；请把 public_url 设为本机的局域网地址" in found["zh"]
    )
    assert f"public_url is {base}: on other machines and in containers that means themselves; set" in found["en"]


# --- whatever is said ---


async def test_a_flood_of_refusals_flushes_nothing_and_nobody_hears_of_others(new_broker: Brokers) -> None:
    broker = new_broker(**SETTINGS)
    offline, starting, lonely = agents = [broker.agent() for _ in range(3)]
    async with offline.tool_side("shelf", server_id="pantry"):
        pass
    await offline.ended("tool")
    await refused(broker, "192.0.2.7", "/mcp_endpoint/mcp/", 1)
    await asyncio.gather(*(refused(broker, "192.0.2.8", "/mcp_endpoint/mcp/", 30) for _ in range(ENDED_KEPT // 30 + 1)))
    assert [end["alias"] for end in await offline.ends()] == ["pantry"]
    counts = {one["address"]: one["count"] for one in (await broker.stats())["refusals"]}
    assert counts["192.0.2.7"] == 1
    assert counts["192.0.2.8"] > ENDED_KEPT
    own = {offline.id: "pantry", starting.id: "cellar", lonely.id: "attic"}
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(starting.tool_side(greets=False, server_id="cellar"))
        callers = {agent.id: await stack.enter_async_context(agent.device()) for agent in agents}
        report = (await broker.stats())["agents"]
        for agent in agents:
            error: Frame = (await callers[agent.id].call("nope"))["error"]
            sentences = f"{report[agent.id]['why']} {error['data']['details']}"
            assert ("pantry" in sentences, "cellar" in sentences) == (agent is offline, agent is starting)
            secrets = [KEY, "192.0.2", *(one.token for one in agents), *(one.id for one in agents)]
            secrets += [one.name for one in agents] + [name for id_, name in own.items() if id_ != agent.id]
            assert not [secret for secret in secrets if secret in sentences]


async def test_what_a_program_calls_itself_is_cleaned(agent: Agent) -> None:
    why = Why(
        "refused_initialize",
        "工具程序 a_b__2Jc 已连接，但拒绝了 initialize，请查看它的日志。",
        "The tool program a_b__2Jc is connected, but answered `initialize` with an error; see its log.",
    )
    url = agent.broker.url(agent.path("mcp", server_id="a\nb\x1b[2Jc"))
    async with tool_side(url, greets=False) as program:
        for _ in range(2):
            request = await program.next("initialize")
            await program.send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32603, "message": "no"}})
        await explained(agent, why)
