"""Every key of `[agent ID-or-name]` acts, before a start and by a reload."""

import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from mcp_endpoint.settings.schema import describe_agent
from support.brokers import Brokers
from support.peers import Device, fault, said, tool

Check = Callable[[Brokers], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def acts(check: Check) -> Check:
    """A check, named as its key."""
    CHECKS[check.__name__] = check
    return check


@pytest.mark.parametrize("key", [key for key, *_ in describe_agent()])
async def test_the_key_acts(key: str, new_broker: Brokers) -> None:
    await CHECKS[key](new_broker)


async def shown(caller: Device) -> dict[str, str | None]:
    """Name → description of the tools a device is shown."""
    return {one["name"]: one.get("description") for one in (await caller.request("tools/list"))["result"]["tools"]}


@acts
async def allow(start: Brokers) -> None:
    agent = start(more="[agent agent 0]\nallow = lamp_*, hall__dim\n").agent()
    async with agent.tool_side("lamp_on", "lamp_off", "dim", "other", server_id="hall"), agent.device() as caller:
        assert await caller.names() == ["lamp_on", "lamp_off", "dim"]
        assert fault(await caller.call("other")) == (-32602, "unknown_tool")
        assert said(await caller.call("dim")) == "calc.dim({})"


@acts
async def deny(start: Brokers) -> None:
    agent = start(more="[agent agent 0]\nallow = *\ndeny = lamp_*\n").agent()
    async with agent.tool_side("lamp_on", "dim"), agent.device() as caller:
        assert await caller.names() == ["dim"]
        assert fault(await caller.call("lamp_on")) == (-32602, "unknown_tool")


@acts
async def rename(start: Brokers) -> None:
    agent = start(more="[agent agent 0]\nrename = lamp_on: 开灯; hall__dim: 调暗\n").agent()
    async with agent.tool_side("lamp_on", "dim", "other", server_id="hall") as program, agent.device() as caller:
        assert await caller.names() == ["开灯", "调暗", "other"]
        assert said(await caller.call("开灯", x=1)) == 'calc.lamp_on({"x": 1})'
        assert (await program.next("tools/call"))["params"]["name"] == "lamp_on"
        assert said(await caller.call("调暗")) == "calc.dim({})"
        assert fault(await caller.call("lamp_on")) == (-32602, "unknown_tool"), "it goes by its new name only"


@acts
async def describe(start: Brokers) -> None:
    agent = start(more='[agent agent 0]\ndescribe = "lamp_on: 打开 #1 灯"\n').agent()
    tools = (tool("lamp_on", description="on"), tool("dim", description="dims"))
    async with agent.tool_side(*tools), agent.device() as caller:
        assert await shown(caller) == {"lamp_on": "打开 #1 灯", "dim": "dims"}


@acts
async def tools_from(start: Brokers) -> None:
    broker = start(
        more="[agent agent 0]\ntools_from = agent 1\ndeny = secret\n[agent agent 1]\nrename = shared: mine\n"
    )
    agent, source, stranger = broker.agent(), broker.agent(), broker.agent()
    async with source.tool_side("shared", "secret", server="s"), agent.device() as caller, stranger.device() as other:
        assert await caller.names() == ["shared"], "by the names of this agent's settings, not of the source's"
        assert said(await caller.call("shared")) == "s.shared({})"
        async with source.device() as there:
            assert await there.names() == ["mine", "secret"]
        assert fault(await other.call("shared"))[0] == -32001, "nobody else has them"
        async with agent.tool_side("own", server="o"):
            assert (await caller.frame())["method"] == "notifications/tools/list_changed"
            assert sorted(await caller.names()) == ["own", "shared"]
            async with source.device() as there:
                assert await there.names() == ["mine", "secret"], "the source does not get them in turn"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_a_reload_gives_and_takes_tools_while_calls_go_on(new_broker: Brokers) -> None:
    broker = new_broker()
    agent, source = broker.agent(), broker.agent()
    before = broker.config.read_text("utf-8")

    async def reload(text: str) -> None:
        broker.config.write_text(before + text, "utf-8")
        since = len(broker.lines)
        broker.process.send_signal(signal.SIGHUP)
        await broker.logged("settings reloaded", since)

    async with (
        source.tool_side("a", "b", server="s", calls=False) as program,
        agent.tool_side("c"),
        agent.device() as caller,
    ):
        assert await caller.names() == ["c"]
        await reload(f"[agent {agent.name}]\ntools_from = {source.name}\nrename = a: 甲\n")
        assert (await caller.frame())["method"] == "notifications/tools/list_changed"
        assert sorted(await caller.names()) == ["b", "c", "甲"]
        await caller.begin_call("甲", 1)
        call = await program.next("tools/call")
        await reload("")
        assert (await caller.frame())["method"] == "notifications/tools/list_changed"
        assert await caller.names() == ["c"]
        await program.answer(call, {"content": [{"type": "text", "text": "done"}]})
        assert said(await caller.reply(1)) == "done", "the call that was on its way comes to its end"
        assert await agent.ends() == await source.ends() == []
