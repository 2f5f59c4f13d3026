"""The ten complaints of people who run an endpoint (issue 3, part 3): each provoked, and its sentence where they look.

That is the `details` of what a device is told, `/stats`, one line of the log, and `doctor`.
"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from conftest import Brokers
from mcp_endpoint.broker.connection_manager import ENDED_KEPT
from mcp_endpoint.settings import Language
from mcp_endpoint.tokens import Tokens
from support import KEY, ROOT, Agent, Broker, Device, Frame, Peer, device, dialled, fault, said, tool, tool_side
from test_doctor import examine, free_port, http, listening, of_broker, settings_file
from wire import PATIENCE

NOBODY_CAME = (-32001, "never_connected")
STARTING = (-32001, "tool_side_starting")
AWAY = (-32001, "tool_side_offline")
UNKNOWN = (-32602, "unknown_tool")
TIMED_OUT = (-32003, "call_timed_out")
MAX_TOOLS = 40
SOURCE, FOLLOWER = "shared tools", "one of many"
SETTINGS: dict[str, Any] = {
    "call_timeout": 1,
    "tools_wait": 0.3,
    "max_tools": MAX_TOOLS,
    "trusted_proxies": "127.0.0.1",
    "more": f"[agent {FOLLOWER}]\ntools_from = {SOURCE}\n",
}


@dataclass(frozen=True)
class Why:
    """A state and its sentence. A "~" stands for a number or a length of time; `log` is False if it is not told."""

    reason: str
    zh: str
    en: str
    log: bool = True

    def is_in(self, sentence: str, language: Language, before: str = "") -> bool:
        text = re.escape(before + (self.zh if language == "zh" else self.en))
        return re.fullmatch(text.replace(re.escape("~"), r"[\d.]+(?: (?:秒|s|分钟|min))?"), sentence) is not None


def serving(programs: int, tools: int) -> Why:
    return Why(
        "serving",
        f"{programs} 个工具程序在线，共 {tools} 个工具。",
        f"Tool programs connected: {programs}, tools: {tools}.",
    )


@pytest.fixture(params=["zh", "en"])
def language(request: pytest.FixtureRequest) -> Language:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def broker(broker_with: Brokers, language: Language) -> Broker:
    return broker_with(language=language, **SETTINGS)


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


def states(agent: Agent, reason: str = r"\w+") -> list[str]:
    """What the log says of the agent's states."""
    lines = (line.partition(f" agent {agent.id}: ")[2] for line in agent.broker.lines)
    return [line for line in lines if re.search(rf" \({reason}\)$", line)]


async def told(caller: Device, why: Why, language: Language, before: str = "", tool: str = "nope") -> tuple[int, str]:
    """A call ends with this sentence in its details; returns code and reason."""
    answer = await caller.call(tool)
    details = answer["error"]["data"]["details"]
    assert why.is_in(details, language, before), details
    return fault(answer)


async def explained(agent: Agent, why: Why, times: int = 1) -> None:
    """The sentence stands in `/stats`, `times` in the log, and in what `doctor` prints."""
    if why.log:
        await agent.broker.logged(rf" agent {agent.id}: .*\({why.reason}\)$", count=times)
    lines = states(agent, why.reason)
    assert len(lines) == (times if why.log else 0), "told when it changes, and only then"
    for line in lines[-1:]:
        assert why.is_in(line.removesuffix(f" ({why.reason})"), "en"), line
    await shown(agent, why)


async def shown(agent: Agent, why: Why) -> None:
    """The sentence stands in `/stats` and in what `doctor` prints."""
    report = (await agent.report())["why"]
    assert report["reason"] == why.reason
    assert why.is_in(report["zh"], "zh"), report
    assert why.is_in(report["en"], "en"), report
    [found] = [one for one in (await of_broker(agent.broker, agent=agent.name)).checks if one["check"] == "agent"]
    called = f"{agent.name} ({agent.id})"
    assert why.is_in(found["zh"], "zh", f"智能体 {called}：")
    assert why.is_in(found["en"], "en", f"Agent {called}: ")
    serves = why.reason == "serving"
    assert (found["status"] == "ok") is serves


def no_tool_named(known: str, language: Language) -> str:
    if language == "zh":
        return f"没有名为 nope 的工具。现有工具：{known}。"
    return f"There is no tool nope. There are: {known}. "


async def abort(peer: Peer) -> None:
    """Lose the connection without a close frame."""
    peer.connection.transport.abort()
    await peer.connection.wait_closed()


# --- 1. not connected, and no reason ---

NEVER = Why(
    "never",
    "自服务启动以来还没有工具程序用这个接入点连接过，请启动工具程序并检查它的接入点地址。",
    "No tool program has ever connected with this token since the broker started; start one and check its URL.",
    log=False,
)
STUCK = Why(
    "stuck",
    "工具程序 hall 已连接 ~，但没有回应 initialize，请确认它是 MCP 服务、桥接的子进程已经启动。",
    "The tool program hall has been connected for ~ without answering `initialize`; check that it is an MCP server and "
    "that the bridge has started it.",
)


async def test_nobody_ever_came(agent: Agent, language: Language) -> None:
    async with agent.device() as caller:
        assert await told(caller, NEVER, language) == NOBODY_CAME
        await explained(agent, NEVER)


async def test_one_that_starts_is_waited_for(broker_with: Brokers, language: Language) -> None:
    agent = broker_with(language=language).agent()
    why = Why(
        "starting",
        "工具程序 （未报名称） ~前刚连接，正在初始化。",
        "The tool program (no name yet) connected ~ ago and is starting.",
        log=False,
    )
    async with agent.tool_side(greets=False) as program, agent.device() as caller:
        await program.next("initialize")
        assert await told(caller, why, language) == STARTING
        await explained(agent, why)


async def test_one_that_does_not_answer(agent: Agent, language: Language) -> None:
    async with agent.tool_side(greets=False, server_id="hall"), agent.device() as caller:
        await explained(agent, STUCK)
        for _ in range(3):
            assert await told(caller, STUCK, language) == STARTING
        await explained(agent, STUCK)


async def test_one_that_refuses(agent: Agent, language: Language) -> None:
    why = Why(
        "refused_initialize",
        "工具程序 hall 已连接，但拒绝了 initialize，请查看它的日志。",
        "The tool program hall is connected, but answered `initialize` with an error; see its log.",
    )
    async with agent.tool_side(greets=False, server_id="hall") as program, agent.device() as caller:
        for _ in range(2):  # it is asked once more, with the oldest revision
            request = await program.next("initialize")
            await program.send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32603, "message": "no"}})
        await program.settled()
        assert await told(caller, why, language) == STARTING
        await explained(agent, why)


async def test_one_without_a_list(agent: Agent) -> None:
    why = Why(
        "list_failed",
        "calc 没有回应 tools/list，它的工具都没有列出，请查看它的日志；1 个工具程序在线，共 0 个工具。",
        "calc did not answer `tools/list`, so none of its tools are listed; see its log; tool programs connected: 1, "
        "tools: 0.",
    )
    async with agent.tool_side(lists=False) as program:
        request = await program.next("tools/list")
        await program.send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32603, "message": "no"}})
        await explained(agent, why)


# --- 2. several services on one endpoint ---


async def test_look_alikes(agent: Agent, language: Language) -> None:
    why = Why(
        "look_alike",
        "有多个程序都像 calc，新的提供服务，其余待命；如需同时使用，请在各自地址后加上不同的 ?server_id=；"
        "1 个工具程序在线，共 1 个工具。",
        "More than one program looks like calc: the newest serves, the others stand by; to use both, add a different "
        "?server_id= to each URL; tool programs connected: 1, tools: 1.",
    )
    async with agent.device() as caller, agent.tool_side("add"):
        async with agent.tool_side("add"):
            await explained(agent, why)
            assert await told(caller, why, language, no_tool_named("add", language)) == UNKNOWN
            assert sorted(link["standby"] for link in await agent.links("tool")) == [False, True]
        await agent.ended("tool")
        await agent.broker.logged(rf" agent {agent.id}: .*\(serving\)$", count=2)
        await explained(agent, serving(1, 1), times=2)
        assert said(await caller.call("add")) == "calc.add({})", "the one that stood by"


async def test_different_programs_of_one_name_and_equal_tool_names(agent: Agent, language: Language) -> None:
    async with agent.device() as caller, agent.tool_side("add"), agent.tool_side("add", "sub"):
        await agent.broker.logged(rf" agent {agent.id}: .* connected: 2, ")
        names = sorted(await caller.names())
        assert len({*names}) == 3
        assert "sub" in names
        known = ", ".join((await agent.report())["tools"])
        assert await told(caller, serving(2, 3), language, no_tool_named(known, language)) == UNKNOWN
        assert serving(2, 3).is_in((await agent.report())["why"][language], language)


# --- 3. it drops and does not come back ---


async def test_one_that_dropped(agent: Agent, language: Language) -> None:
    once = Why(
        "offline",
        "calc 在 ~前离线：连接中断（1006），请检查该程序是否还在运行。",
        "calc went offline ~ ago: connection lost (1006); check that its program is running.",
    )
    twice = Why(
        "offline",
        "calc 在 ~前离线：连接中断（1006），今天已重连 1 次，请检查该程序是否还在运行。",
        "calc went offline ~ ago: connection lost (1006); it has reconnected once today; check that its program is "
        "running.",
    )
    async with agent.device() as caller:
        for times, why in enumerate((once, twice), 1):
            async with agent.tool_side("add") as program:
                assert said(await caller.call("add")) == "calc.add({})"
                await abort(program)
            await agent.ended("tool", times)
            for _ in range(3):
                assert await told(caller, why, language, tool="add") == AWAY
            await explained(agent, why, times)
            [away] = (await agent.report())["offline"]
            assert (away["alias"], away["reason"]) == ("calc", "connection_lost")


# --- 4. a call timed out ---


def timed_out(zh: str, en: str) -> Why:
    return Why(
        "",
        f"工具端 calc 在 ~ 秒内没有返回 add 的结果{zh}。",
        f"The tool side calc did not answer add within ~ s{en}.",
    )


async def test_a_call_that_timed_out_in_silence(agent: Agent, language: Language) -> None:
    silent = timed_out("，期间没有收到它的任何消息", ", and nothing else was heard from it")
    why = Why(
        "not_answering",
        "工具程序 calc 已连接，但 ~没有任何应答；1 个工具程序在线，共 1 个工具。",
        "The tool program calc is connected, but nothing was heard from it for ~; tool programs connected: 1, "
        "tools: 1.",
    )
    async with agent.tool_side("add", calls=False, pings=False) as program, agent.device() as caller:
        for _ in range(2):
            assert await told(caller, silent, language, tool="add") == TIMED_OUT
        await explained(agent, why)
        assert await told(caller, why, language, no_tool_named("add", language)) == UNKNOWN
        await program.answer(await program.next("ping"), {})
        await agent.broker.logged(rf" agent {agent.id}: .*\(serving\)$", count=2)
        await explained(agent, serving(1, 1), times=2)


async def test_a_call_that_timed_out_while_others_are_answered(agent: Agent, language: Language) -> None:
    busy = timed_out("，但它仍在应答其他消息", ", though it answers otherwise")
    async with agent.tool_side("add", calls=False) as program, agent.device() as caller:
        calling = asyncio.create_task(told(caller, busy, language, tool="add"))
        await program.next("tools/call")
        while not calling.done():  # one sign of life in the very millisecond of the call would not count
            await program.settled()
        assert await calling == TIMED_OUT
        await explained(agent, serving(1, 1))


# --- 5. which device called ---


async def test_who_called(broker_with: Brokers) -> None:
    agent = broker_with(**SETTINGS).agent()
    broker, who = agent.broker, {"device": "kitchen", "mac": "aa:bb:cc:dd:ee:ff"}
    asks = tool_side(broker.url(agent.path("mcp", caller="1", server_id="asks")), ["one"])
    asks_not = tool_side(broker.url(agent.path("mcp", server_id="asks not")), ["two"])
    calls = device(broker.url(agent.path("call", **who)), "speaker")
    async with asks as told_of, asks_not as not_told, calls as caller:
        for name in ("one", "two"):
            await caller.request("tools/call", {"name": name, "_meta": {"mcp-endpoint/caller": {"mac": "forged"}}})
        [link] = await agent.links("device")
        assert (await told_of.next("tools/call"))["params"]["_meta"]["mcp-endpoint/caller"] == who | {
            "agent": agent.id,
            "link": link["id"],
            "client": {"name": "speaker", "version": "1"},
            "protocolVersion": "2024-11-05",
        }
        assert "forged" not in str(await not_told.next("tools/call"))
        assert {name: link[name] for name in ("device", "mac", "last_call")} == who | {"last_call": "two"}


# --- 6. too many tools for one page, or for a prompt ---


async def test_more_tools_than_allowed(agent: Agent, language: Language) -> None:
    why = Why(
        "too_many_tools",
        f"calc 的工具超出上限，多出的没有列出（[broker] max_tools、max_list_bytes、max_pages）；"
        f"1 个工具程序在线，共 {MAX_TOOLS} 个工具。",
        f"calc has more tools than the limits allow; the rest is left out ([broker] max_tools, max_list_bytes, "
        f"max_pages); tool programs connected: 1, tools: {MAX_TOOLS}.",
    )
    names = [f"t{number}" for number in range(MAX_TOOLS + 1)]
    async with agent.tool_side(*names), agent.device() as caller:
        assert await caller.names() == names[:MAX_TOOLS]
        await explained(agent, why)
        before = no_tool_named(", ".join(names[:20]) + " …", language)
        assert await told(caller, why, language, before) == UNKNOWN


async def test_more_than_one_page(agent: Agent) -> None:
    why = Why(
        "list_too_long",
        "工具列表共 ~ 字节，一页放不下：只读第一页的程序看不到其余工具，可在 [agent …] 中用 allow 选出需要的；"
        "1 个工具程序在线，共 2 个工具。",
        "The tool list has ~ bytes and needs several pages: a program that reads only the first misses the rest; "
        "`allow` in an [agent …] section chooses the tools that are needed; tool programs connected: 1, tools: 2.",
    )
    async with agent.tool_side(*(tool(name, description="x" * 600_000) for name in ("one", "two"))):
        await explained(agent, why)


# --- 7. one set of tools for many agents ---


async def test_tools_of_another_agent(broker: Broker, language: Language) -> None:
    source, follower = Agent(broker, SOURCE), Agent(broker, FOLLOWER)
    nobody = Why(
        "never",
        "自服务启动以来还没有工具程序用这个接入点或 tools_from 中各智能体的接入点连接过，"
        "请启动工具程序并检查它的接入点地址。",
        "No tool program has ever connected with this token, nor with those of the agents in tools_from, since the "
        "broker started; start one and check its URL.",
        log=False,
    )
    gone = Why(
        "offline",
        "calc 在 ~前离线：对方关闭了连接（1000），请检查该程序是否还在运行。",
        "calc went offline ~ ago: closed by the peer (1000); check that its program is running.",
    )
    async with follower.device() as caller:
        assert await told(caller, nobody, language) == NOBODY_CAME
        await explained(follower, nobody)
        async with source.tool_side(greets=False, server_id="hall"):
            await source.broker.logged(rf" agent {source.id}: .*\(stuck\)$")
            await shown(follower, STUCK)
            assert await told(caller, STUCK, language) == STARTING
        async with source.tool_side("add"):
            await explained(follower, serving(1, 1))
            assert said(await caller.call("add")) == "calc.add({})"
        await source.ended("tool", 2)
        assert await told(caller, gone, language, tool="add") == AWAY
        await explained(follower, gone)


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
async def bridged(url: str, *, code: str = CHILD) -> AsyncIterator[asyncio.StreamReader]:
    """`pipe` as users start it; what it says can be read."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "main.py"), "pipe", url, "--", sys.executable, "-c", code),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean | {"NO_PROXY": "*", "PYTHONIOENCODING": "utf-8"},
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
        facts = {"dead": await free_port(), "other": other, "port": agent.broker.port, "token": agent.token}
        url = url.format(**facts, foreign=Tokens("another key").mint("a"))
        async with bridged(url) as output:
            line = await line_with(output, "next try")
    assert zh in line
    assert en in line
    assert agent.token not in line


async def test_doctor_says_why_the_printed_address_leads_nowhere(broker_with: Brokers, tmp_path: Path) -> None:
    broker = broker_with(**SETTINGS)

    async def elsewhere(_: bytes) -> bytes:
        return http({}, status="404 Not Found")

    async with listening(elsewhere) as (other, _):
        dead = f"http://localhost:{await free_port()}"
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
        line = await line_with(output, "loading ...")
        assert "日志请写到 stderr" in line
        assert "logs belong on stderr" in line
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
