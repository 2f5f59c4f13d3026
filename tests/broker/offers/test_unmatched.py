"""Settings that name tools which nobody has: a program that renames its tools must not lose them in silence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.offers.tool_filter import ToolFilter, named, unmatched
from mcp_endpoint.settings.schema import AgentSettings
from support.brokers import Brokers
from support.doctor import of_broker
from support.peers import Agent, tool
from support.servers.opened import server
from support.servers_command import command
from support.states import Why, explained, serving, shown

TOOLS = [("intent", "HassTurnOn"), ("hall", "lamp_on")]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, ()),
        ({"allow": "Hass*, lamp_on"}, ()),
        ({"allow": "intent__Hass*, hall__lamp_on"}, ()),
        ({"allow": "*"}, ()),
        ({"allow": "*", "deny": "*_delete"}, ("deny = *_delete",)),
        ({"allow": "hass*, lamp_*"}, ("allow = hass*",)),
        ({"allow": "kitchen__*"}, ("allow = kitchen__*",)),
        ({"rename": "lamp_on: 开灯; lamp_off: 关灯"}, ("rename = lamp_off",)),
        ({"describe": "hall__lamp_on: x; hall__dim: y"}, ("describe = hall__dim",)),
    ],
)
def test_what_fits_nothing(settings: dict[str, str], what: tuple[str, ...]) -> None:
    found = ToolFilter(AgentSettings.model_validate(settings)).unmatched(TOOLS)
    assert found.what == what
    assert not what or found.known == ("HassTurnOn", "lamp_on")


NAMES = st.text("ab_", max_size=4)


@given(st.lists(st.text("ab_*", min_size=1, max_size=4)), st.lists(st.tuples(NAMES, NAMES)))
def test_what_is_told_of_hides_or_shows_nothing(patterns: list[str], tools: list[tuple[str, str]]) -> None:
    settings = AgentSettings.model_construct(allow=tuple(patterns), deny=(), rename={}, describe={})
    told = {text.partition(" = ")[2] for text in unmatched(named(settings, "allow"), tools).what}
    rest = AgentSettings.model_construct(allow=(*set(patterns) - told, "none"), deny=(), rename={}, describe={})
    for alias, name in tools:
        assert shows(settings, alias, name) is (not patterns or shows(rest, alias, name))


def shows(settings: AgentSettings, alias: str, name: str) -> bool:
    return ToolFilter(settings).publish(alias, Offer(name, b"{}")) is not None


def missing(what: str, known: str, programs: int, tools: int) -> Why:
    zh, en = serving(programs, tools).zh, serving(programs, tools).en
    return Why(
        "settings_unmatched",
        f"配置中的 {what.replace(', ', '、')} 没有匹配到任何工具（工具可能已改名），现有工具：{known}，"
        f"请修改 [agent …]；{zh}",
        f"The settings have {what}, which fits no tool that is there (was one renamed?): there are {known}; change the "
        f"[agent …] section; {en[0].lower()}{en[1:]}",
    )


async def test_a_program_renamed_its_tools(new_broker: Brokers) -> None:
    broker = new_broker(more="[agent agent 0]\nallow = Hass*\ndeny = *_delete\n", tools_wait=0.3)
    agent = broker.agent()
    async with agent.tool_side("intent__HassTurnOn") as program, agent.device() as caller:
        assert await caller.names() == []
        await explained(agent, missing("allow = Hass*, deny = *_delete", "intent__HassTurnOn", 1, 0))
        assert (await agent.report())["unmatched"] == ["allow = Hass*", "deny = *_delete"]
        assert (await of_broker(broker, agent=agent.name)).code == 1, "it shows nothing at all"
        program.tools = [tool("HassTurnOn"), tool("item_delete")]
        await program.notify("notifications/tools/list_changed")
        await broker.logged(rf" agent {agent.id}: .*\(serving\)$")
        assert await caller.names() == ["HassTurnOn"]
        await shown(agent, serving(1, 1))
        assert (await of_broker(broker, agent=agent.name)).code == 0


async def test_nothing_is_said_while_somebody_may_still_come(new_broker: Brokers) -> None:
    broker = new_broker(more="[agent agent 0]\ntools_from = shared\nallow = lamp_on, far\n", tools_wait=2)
    agent = broker.agent()
    async with agent.tool_side("lamp_on"), agent.device() as caller:
        assert await caller.names() == ["lamp_on"]
        await shown(agent, serving(1, 1))
        async with Agent(broker, "shared").tool_side("near"):
            await explained(agent, missing("allow = far", "lamp_on, near", 2, 1))


async def test_an_entry_names_tools_that_its_server_has_not(opening: Brokers, tmp_path: Path) -> None:
    choice = {"allow": ["Hass*", "lamp"], "rename": {"dim": "调暗"}, "background": ["slow_*"]}
    broker = opening({"tools_wait": 5}, home=server("lamp", "other") | {"tools": choice})
    agent = broker.agent()
    async with agent.device() as caller:
        assert await caller.names() == ["lamp"]
        why = (await agent.report())["why"]
        assert why["reason"] == "entry_unmatched"
        assert (
            "home 的条目（mcp_servers.json）中 tools 的 allow = Hass*、rename = dim、background = slow_*" in why["zh"]
        )
        assert "home has an entry in mcp_servers.json whose tools.allow = Hass*, rename = dim, back" in why["en"]
        assert "lamp, other" in why["en"]
        [one] = (await broker.stats())["servers"]
        assert one["unmatched"] == ["allow = Hass*", "rename = dim", "background = slow_*"]
        await broker.logged(rf" agent {agent.id}: .*\(entry_unmatched\)$")
        _, out, _ = await command(tmp_path / "data", broker=broker)
        assert "tools.allow = Hass* fits no tool of it" in out


async def test_doctor_knows_what_serves_an_agent_that_nobody_is_connected_for(opening: Brokers) -> None:
    settings = {"more": "[agent agent 0]\nallow = lamp, gone\n", "tools_wait": 5}
    broker = opening(settings, home=server("lamp", "other"))
    agent = broker.agent()
    async with agent.device() as caller:
        assert await caller.names() == ["lamp"]
    await agent.ended("device")
    [found] = [one for one in (await of_broker(broker, agent=agent.name)).checks if one["check"] == "agent"]
    assert found["en"].endswith(missing("allow = gone", "lamp, other", 1, 1).en)
