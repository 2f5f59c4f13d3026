"""Names that every model's API takes, for MCP clients over HTTP: one bad name costs such a client its whole request."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_endpoint.broker.offers.naming import Holder, model_names, public_names
from mcp_endpoint.settings.load import load
from mcp_endpoint.wire.mcp import is_model_name
from support.brokers import Brokers
from support.clients.every_door import HTTP
from support.doctor import of_broker
from support.peers import KEY, said

RENAMED = "[agent agent 0]\nrename = lamp_on: 开灯; lamp_off: 关灯\n"
NAME = st.text(st.sampled_from("ab._开灯 😀"), min_size=1, max_size=70)


def named(*holders: Holder, shown: list[str] | None = None) -> list[str]:
    return model_names(holders, public_names(holders, shown or [name for *_, name in holders]))


def test_a_tool_has_its_own_name_where_that_is_free() -> None:
    assert named(("x", "hall", "lamp_on"), ("x", "hall", "dim"), shown=["开灯", "dim"]) == ["lamp_on", "dim"]
    taken = named(("x", "hall", "lamp_on"), ("x", "kitchen", "lamp_on"), shown=["开灯", "lamp_on"])
    assert taken[0].startswith("tool_")
    assert taken[1] == "lamp_on"
    assert named(("x", "home", "light.turn_on"))[0].startswith("light_turn_on_")


@given(st.lists(st.tuples(st.just("x"), st.sampled_from("pq"), NAME), unique=True, max_size=8))
def test_names_fit_differ_and_stay(holders: list[Holder]) -> None:
    public = public_names(holders, [name for *_, name in holders])
    names = model_names(holders, public)
    assert all(map(is_model_name, names))
    assert len(set(names)) == len(names)
    assert all(name == shown for name, shown in zip(names, public, strict=True) if is_model_name(shown))
    backwards = model_names(holders[::-1], public[::-1])
    assert backwards[::-1] == names, "whoever came first"


@pytest.mark.parametrize("door", HTTP)
async def test_clients_over_http_see_and_call_other_names(door: str, broker_with: Brokers) -> None:
    agent = broker_with(ascii_names="true").agent()
    async with agent.tool_side("light.turn_on", "开灯", "dim"), HTTP[door](agent) as client:
        first, second, third = await client.names()
        assert first.startswith("light_turn_on_")
        assert second.startswith("tool_")
        assert third == "dim"
        for name, called in ((first, "light.turn_on"), (second, "开灯")):
            *_, answer = await client.call(name, name)
            assert said(answer) == f"calc.{called}({{}})"


async def test_check_config_and_doctor_tell_of_names_that_are_refused(new_broker: Brokers, tmp_path: Path) -> None:
    broker = new_broker(more=RENAMED, tools_wait=0.3)
    told = [warning.en for warning in load(broker.config, {}).warnings]
    assert [line.partition(": the APIs")[0] for line in told] == [
        "[agent agent 0] rename: lamp_on: 开灯",
        "[agent agent 0] rename: lamp_off: 关灯",
    ]
    assert "[mcp] ascii_names = true" in told[0]
    agent = broker.agent()
    async with agent.tool_side("lamp_on", "light.off"):
        checks = (await of_broker(broker, agent=agent.name)).checks
        [names] = [one["en"] for one in checks if one["check"] == "names"]
        assert "开灯, light.off" in names
        assert sum("rename: lamp_on: 开灯" in one["en"] for one in checks) == 1
    broker.config.write_text(broker.config.read_text("utf-8") + "[mcp]\nascii_names = true\n", "utf-8")
    assert load(broker.config, {}).warnings == []


def test_names_that_are_taken_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(f"[server]\nkey = {KEY}\n[agent a]\nrename = lamp_on: light-on_2\n", "utf-8")
    assert load(path, {}).warnings == []
