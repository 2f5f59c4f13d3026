"""What goes wrong at an endpoint: each state of an agent provoked, and its sentence where its owner looks.

That is the `details` of what a device is told, `/stats`, one line of the log, and `doctor`. The other three of the ten
are in test_why_from_outside.py.
"""

import asyncio

import pytest

from mcp_endpoint.settings.schema import Language
from support.brokers import Brokers
from support.peers import Agent, Broker, Peer, device, said, tool, tool_side
from support.states import (
    AWAY,
    FOLLOWER,
    MAX_TOOLS,
    NEVER,
    NOBODY_CAME,
    SETTINGS,
    SOURCE,
    STARTING,
    STUCK,
    TIMED_OUT,
    UNKNOWN,
    Why,
    explained,
    no_tool_named,
    serving,
    shown,
    told,
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


async def abort(peer: Peer) -> None:
    """Lose the connection without a close frame."""
    peer.connection.transport.abort()
    await peer.connection.wait_closed()


# --- 1. not connected, and no reason ---


async def test_nobody_ever_came(agent: Agent, language: Language) -> None:
    async with agent.device() as caller:
        assert await told(caller, NEVER, language) == NOBODY_CAME
        await explained(agent, NEVER)


async def test_one_that_starts_is_waited_for(broker_with: Brokers, language: Language) -> None:
    agent = broker_with(language=language).agent()
    why = Why(
        "starting",
        "工具程序 （未报名称） 于 ~前连接，正在初始化。",
        "The tool program (no name yet) connected ~ ago and is starting.",
        log=False,
    )
    async with agent.tool_side(greets=False) as program:  # a call would wait until it is no longer starting
        await program.next("initialize")
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


async def test_one_that_is_greeted_and_does_not_list(agent: Agent) -> None:
    """The sentence names what is not answered."""
    why = Why("stuck", STUCK.zh.replace("initialize", "tools/list"), STUCK.en.replace("initialize", "tools/list"))
    async with agent.tool_side(lists=False, server_id="hall") as program:
        await program.next("tools/list")
        await agent.broker.logged(rf" agent {agent.id}: .*\(stuck\)$")
        await explained(agent, why)


async def test_one_without_a_list(agent: Agent) -> None:
    why = Why(
        "list_failed",
        "calc 对 tools/list 没有给出列表（没有应答、出错或格式不对），它的工具都没有列出，请查看它的日志；"
        "1 个工具程序在线，共 0 个工具。",
        "calc answered `tools/list` with an error, with no list or not at all, so none of its tools are listed; see "
        "its log; tool programs connected: 1, tools: 0.",
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
        f"calc 的工具超出上限，有 1 个没有列出：可在它的条目中用 tools.allow 选出需要的（OpenAPI 文档还可用 tags、"
        f"operations、methods），或调大 [broker] max_tools、max_list_bytes、max_pages；"
        f"1 个工具程序在线，共 {MAX_TOOLS} 个工具。",
        f"calc has more tools than the limits allow, and 1 is not listed: choose with tools.allow in its entry "
        f"(of an OpenAPI document also with tags, operations or methods), or raise [broker] max_tools, max_list_bytes, "
        f"max_pages; tool programs connected: 1, tools: {MAX_TOOLS}.",
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
