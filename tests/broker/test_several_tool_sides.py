"""Names and lists of several tool sides on one token, and lists that wait (docs/protocol.md, 10 and 11)."""

import asyncio

import pytest

from support.brokers import Brokers
from support.clock import takes
from support.peers import Agent, Broker, fault, said, tool
from support.sockets import PATIENCE

CHANGED = "notifications/tools/list_changed"


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


# --- names ---


async def test_names_that_are_unique_stay_as_they_are(agent: Agent) -> None:
    async with agent.tool_side("plus", server="a"), agent.tool_side("minus", server="b"), agent.device() as device:
        assert await device.names() == ["plus", "minus"]
        assert said(await device.call("plus", x=1)) == 'a.plus({"x": 1})'
        assert said(await device.call("minus")) == "b.minus({})"


@pytest.mark.parametrize(("one", "two"), [("t", "t"), ("a.b", "a_b"), ("温度", "温度")])
async def test_names_that_collide_are_prefixed_for_every_holder_and_callable(agent: Agent, one: str, two: str) -> None:
    async with (
        agent.tool_side(one, "own", server="left") as left,
        agent.tool_side(two, server="right") as right,
        agent.device() as device,
    ):
        assert await device.names() == [f"left__{one}", "own", f"right__{two}"]
        assert said(await device.call(f"left__{one}", 1, x=1)) == f'left.{one}({{"x": 1}})'
        assert said(await device.call(f"right__{two}", 2)) == f"right.{two}({{}})"
        assert (await left.next("tools/call"))["params"] == {"name": one, "arguments": {"x": 1}}
        assert (await right.next("tools/call"))["params"]["name"] == two


async def test_a_call_under_another_name_keeps_its_other_bytes(agent: Agent) -> None:
    arguments = '{"n":1.50,"big":12345678901234567890123,"s":"\\u00e9"}'
    async with (
        agent.tool_side("t", server="left") as left,
        agent.tool_side("t", server="right"),
        agent.device() as device,
    ):
        await device.send(
            '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
            f'{{"serialNumber":null,"arguments":{arguments},"name":"left__t"}}}}'
        )
        await device.reply(1)
        assert f'"params":{{"serialNumber":null,"arguments":{arguments},"name":"t"}}' in left.texts[-1]


async def test_one_name_with_other_tools_is_two_aliases(agent: Agent) -> None:
    async with agent.tool_side("t", "x") as first, agent.tool_side("t", "y") as second, agent.device() as device:
        aliases = [link["alias"] for link in await agent.links("tool")]
        assert aliases[0] == "calc"
        assert aliases[1].startswith("calc_")
        names = await device.names()
        assert names == ["calc__t", "x", f"{aliases[1]}__t", "y"]
        for name, program in zip(names, (first, first, second, second), strict=True):
            assert said(await device.call(name))
            await program.next("tools/call")
        assert first.waiting("tools/call") == second.waiting("tools/call") == 0


async def test_a_name_once_shown_goes_on_working_for_that_session(agent: Agent) -> None:
    async with agent.tool_side("t", server="left"), agent.device() as early:
        assert await early.names() == ["t"]
        async with agent.tool_side("t", server="right"), agent.device() as late:
            assert said(await early.call("t")) == "left.t({})"
            assert sorted(await late.names()) == ["left__t", "right__t"]
            assert fault(await late.call("t")) == (-32602, "unknown_tool")
            assert sorted(await early.names()) == ["left__t", "right__t"]
            assert said(await early.call("t")) == "left.t({})", "after a new list too"
            assert said(await early.call("right__t")) == "right.t({})"


async def test_long_names_are_cut_to_64_characters_and_callable(agent: Agent) -> None:
    name = "n" * 63
    async with agent.tool_side(name, server="left"), agent.tool_side(name, server="right"), agent.device() as device:
        names = await device.names()
        assert len(set(names)) == 2
        assert all(len(one) <= 64 for one in names)
        assert [said(await device.call(one)).split(".")[0] for one in names] == ["left", "right"]


async def test_a_name_as_the_xiaozhi_server_spells_it_is_found(agent: Agent) -> None:
    async with agent.tool_side("my.tool/x"), agent.device() as device:
        assert await device.names() == ["my.tool/x"]
        assert said(await device.call("my_tool_x")) == "calc.my.tool/x({})"


async def test_reconnecting_renames_nothing(agent: Agent) -> None:
    async with agent.tool_side("t", server="left"), agent.device() as device:
        async with agent.tool_side("t", server="right"):
            names = await device.names()
        await agent.ended("tool")
        assert await device.names() == names
        async with agent.tool_side("t", server="right"):
            assert await device.names() == names


# --- changes are told ---


async def test_devices_are_told_when_their_list_would_be_another(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device() as device:
        await program.change("t", "u")
        assert (await device.frame())["method"] == CHANGED
        assert await device.names() == ["t", "u"]
        await program.change("t", "u")
        await device.settled()
        async with agent.tool_side("v", server="other"):
            assert (await device.frame())["method"] == CHANGED
        await agent.ended("tool")
        assert await device.settled() == [], "what is away stays listed"


async def test_a_device_that_has_not_said_it_is_ready_is_told_nothing(agent: Agent) -> None:
    async with agent.tool_side("t") as program, agent.device(None) as device:
        await program.change("u")
        assert await device.settled() == []


async def test_other_agents_see_nothing(broker: Broker) -> None:
    one, two = broker.agent(), broker.agent()
    async with one.tool_side("t") as program, two.tool_side("t", server="lamp"), two.device() as device:
        await program.change("t", "u")
        assert await device.settled() == []
        assert await device.names() == ["t"]
        assert said(await device.call("t")) == "lamp.t({})"


# --- lists that wait ---


async def test_a_list_waits_for_a_tool_side_to_arrive(agent: Agent) -> None:
    async with agent.device() as device:
        await device.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert await device.settled() == []
        async with agent.tool_side("t"):
            assert [one["name"] for one in (await device.reply(1))["result"]["tools"]] == ["t"]


async def test_a_list_waits_for_a_handshake_that_has_begun(agent: Agent) -> None:
    async with (
        agent.tool_side("t", server="quick"),
        agent.tool_side("u", server="slow", greets=False) as slow,
        agent.device() as device,
    ):
        await device.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert await device.settled() == []
        await slow.answer(await slow.next("initialize"), slow.introduction)
        assert [one["name"] for one in (await device.reply(1))["result"]["tools"]] == ["t", "u"]


async def test_a_list_that_waits_is_answered_when_its_tool_side_gives_up(broker_with: Brokers) -> None:
    agent = broker_with(tools_wait=600).agent()
    async with agent.tool_side("t", server="quick"), agent.device() as device:
        async with agent.tool_side("u", server="slow", greets=False) as slow:
            await slow.next("initialize")
            await device.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            assert await device.settled() == []
        assert [one["name"] for one in (await device.reply(1))["result"]["tools"]] == ["t"]


async def test_a_list_waits_no_longer_than_tools_wait(broker_with: Brokers) -> None:
    agent = broker_with(tools_wait=0.3).agent()
    async with agent.device() as device:
        with takes(0.3, 8):
            assert await device.names() == []


async def test_a_list_that_waits_can_be_cancelled_and_its_id_is_taken_until_then(agent: Agent) -> None:
    async with agent.device() as device:
        await device.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert fault(await device.request("ping", id_=1)) == (-32600, "id_in_flight")
        await device.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert (await device.request("ping", id_=1))["result"] == {}
        async with agent.tool_side("t"):
            assert [frame for frame in await device.settled() if CHANGED not in frame] == []


# --- pages towards clients ---


def big(count: int) -> list[dict[str, object]]:
    """Tools of 100 KB each."""
    return [tool(f"t{number}", description="x" * 100_000) for number in range(count)]


async def test_a_list_below_one_mebibyte_is_one_page_and_a_longer_one_several(agent: Agent) -> None:
    async with agent.tool_side(*big(10)) as program, agent.device() as device:
        page = (await device.request("tools/list"))["result"]
        assert len(page["tools"]) == 10
        assert "nextCursor" not in page
        await program.change(*big(25))
        names: list[str] = []
        params: dict[str, object] = {}
        while True:
            await device.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params})
            while CHANGED in (text := await asyncio.wait_for(device.text(), PATIENCE)):
                pass
            assert len(text.encode()) < 1_048_576
            device.unread.appendleft(text)
            page = (await device.reply(1))["result"]
            names += [one["name"] for one in page["tools"]]
            if "nextCursor" not in page:
                break
            params = {"cursor": page["nextCursor"]}
        assert names == [f"t{number}" for number in range(25)]


@pytest.mark.parametrize("cursor", ["", "0", "1", "x", "-1", "99", 1, {}, [], True])
async def test_a_cursor_of_somebody_elses_is_refused(agent: Agent, cursor: object) -> None:
    async with agent.tool_side("t"), agent.device() as device:
        await device.names()
        assert fault(await device.request("tools/list", {"cursor": cursor})) == (-32602, "bad_cursor")
        assert (await device.request("tools/list", {"cursor": None}))["result"]["tools"]


async def test_pages_go_on_with_the_list_that_was_begun(agent: Agent) -> None:
    async with agent.tool_side(*big(15)) as program, agent.device() as device:
        page = (await device.request("tools/list"))["result"]
        await program.change("other")
        rest = (await device.request("tools/list", {"cursor": page["nextCursor"]}))["result"]
        assert len(page["tools"]) + len(rest["tools"]) == 15
