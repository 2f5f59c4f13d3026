"""`[agent ID-or-name]` sections: whom they mean, what they change, and every line a user may meet."""

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import load
from mcp_endpoint.settings.schema import AgentSettings, BrokerSettings, ServerSettings, Settings, describe_agent
from mcp_endpoint.tokens import Tokens, agent_ids

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"


def md5(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "broker.cfg"
    path.write_text(f"[server]\nkey = {KEY}\n{text}", encoding="utf-8")
    return path


def read(tmp_path: Path, text: str, **environ: str) -> Settings:
    loaded = load(write(tmp_path, text), environ)
    assert loaded.warnings == []
    return loaded.settings


def refusal(tmp_path: Path, text: str) -> tuple[str, str]:
    """The one line that the settings are refused with, in Chinese and in English."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        load(path, {})
    zh, en = error.value.told
    return zh.replace(str(path), "FILE"), en.replace(str(path), "FILE")


# ------------------------------------------------------------------------------------------------------ who is meant


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("kitchen", md5("kitchen")),
        ("kitchen", Tokens(KEY).read(Tokens(KEY).mint("kitchen"))),
        ("kitchen", "kitchen"),
        ("客厅", md5("客厅")),
        ("Living Room", md5("Living Room")),
        (md5("kitchen"), md5("kitchen")),
        ("9b2c5d6e7f8091a2b3c4d5e6f7081920", md5("9b2c5d6e7f8091a2b3c4d5e6f7081920")),
        ("single_module", "single_module"),
    ],
)
def test_a_section_means_the_agent_of_that_id_or_name(tmp_path: Path, name: str, id_: str) -> None:
    settings = read(tmp_path, f"[agent {name}]\ncall_timeout = 5\n")
    assert list(settings.agents) == [name]
    assert settings.agent(id_) is settings.agents[name]
    assert settings.limits(id_).call_timeout == 5


@pytest.mark.parametrize("id_", [md5("Kitchen"), "KITCHEN", md5(md5("kitchen")), "single_module", ""])
def test_a_section_means_nobody_else(tmp_path: Path, id_: str) -> None:
    settings = read(tmp_path, "[agent kitchen]\ncall_timeout = 5\ndeny = *\n")
    assert settings.agent(id_) == AgentSettings()
    assert settings.limits(id_) is settings.broker


def test_single_module_is_not_the_agent_of_that_name() -> None:
    assert agent_ids("single_module") == ("single_module",)
    assert agent_ids("a b") == (md5("a b"),)


def test_the_word_agent_may_be_in_any_case_but_not_the_name(tmp_path: Path) -> None:
    settings = read(tmp_path, "[ AGENT   Küche ]\nDENY = x\n[agent küche]\ndeny = y\n")
    assert {name: agent.deny for name, agent in settings.agents.items()} == {"Küche": ("x",), "küche": ("y",)}


# ---------------------------------------------------------------------------------------------------- what it changes


def test_every_key_of_broker_may_be_the_agents_own(tmp_path: Path) -> None:
    values = {
        name: {float: "3", int: "3000", str: "en", tuple: "roots", bool: "true"}[type(default)]
        for name, default in BrokerSettings().model_dump().items()
    }
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    settings = read(tmp_path, f"[agent kitchen]\n{lines}")
    assert settings.limits("kitchen") == BrokerSettings.model_validate(values)
    assert not any(getattr(settings.limits("kitchen"), name) == getattr(settings.broker, name) for name in values)
    assert settings.broker == BrokerSettings()


def test_what_it_does_not_say_is_as_in_broker(tmp_path: Path) -> None:
    settings = read(tmp_path, "[agent a]\ntools_wait = 8\n[broker]\ntools_wait = 1\nmax_calls = 7\n[agent b]\n")
    assert (settings.limits("a").tools_wait, settings.limits("a").max_calls) == (8, 7)
    assert settings.limits("b") == settings.broker
    assert settings.limits("a") is settings.limits(md5("a")), "worked out once"


def test_the_environment_overrides_broker_and_not_the_agent(tmp_path: Path) -> None:
    environ = {"MCP_ENDPOINT_BROKER__MAX_CALLS": "9", "MCP_ENDPOINT_BROKER__MAX_TOOLS": "9"}
    settings = read(tmp_path, "[agent a]\nmax_calls = 3\n", **environ)
    assert (settings.limits("a").max_calls, settings.limits("a").max_tools) == (3, 9)


def test_tools_and_sources_are_read(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "[mcp]\nascii_names = true\n"  # else the new names are warned of
        f"[agent a]\ntools_from = hall, {md5('attic')} ,single_module, hall,\n"
        "allow = lamp_*, hall__dim,\ndeny =\n"
        "rename = lamp_on: 开灯; lamp_off : 关灯 ;\n"
        'describe = "lamp_on: on #1: now; hall__dim: 暗"  # a comment\n',
    )
    agent = settings.agent("a")
    assert agent.tools_from == ("hall", md5("attic"), "single_module")
    assert (agent.allow, agent.deny) == (("lamp_*", "hall__dim"), ())
    assert agent.rename == {"lamp_on": "开灯", "lamp_off": "关灯"}
    assert agent.describe == {"lamp_on": "on #1: now", "hall__dim": "暗"}
    sources = settings.sources(md5("a"))
    assert sources == ("hall", md5("hall"), md5("attic"), md5(md5("attic")), "single_module")
    assert settings.sources("hall") == ()


def test_settings_made_in_code_need_no_file() -> None:
    settings = Settings(
        server=ServerSettings(key=KEY),
        broker=BrokerSettings(max_calls=5),
        agents={"a": AgentSettings(tools_from=("客厅",), rename={"x": "y"}, max_tools=2)},
    )
    assert settings.sources(md5("a")) == (md5("客厅"),)
    assert (settings.limits("a").max_calls, settings.limits("a").max_tools) == (5, 2)


def test_every_key_has_a_line_in_both_languages() -> None:
    keys = ["tools_from", "allow", "deny", "rename", "describe"]
    assert [row[0] for row in describe_agent()] == [row[0] for row in describe_agent("zh")] == keys
    assert all(line and line.isascii() for *_, line in describe_agent("en"))
    assert all(line and not line.isascii() for *_, line in describe_agent("zh"))


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tools_from = 客厅，厨房", "'客厅，厨房': allowed: ids or names of other agents"),
        ("allow = a，b", "allowed: tool names, * for any text"),
        ("deny = a，b", "allowed: tool names, * for any text"),
        ("rename = lamp_on", "allowed: pairs tool: new name of at most 64 characters, no two alike"),
        ("rename = lamp_on:", "allowed: pairs tool: new name"),
        ("rename = : x", "allowed: pairs tool: new name"),
        ("rename = a: x; a: y", "allowed: pairs tool: new name"),
        ("rename = a: x; b: x", "no two alike"),
        (f"rename = a: {'x' * 65}", "allowed: pairs tool: new name"),
        ("rename = a：x", "allowed: pairs tool: new name"),
        ("describe = a: on; off", "allowed: pairs tool: text, with semicolons"),
        ("call_timeout = 0", "'0': allowed: a number of seconds from 0.01"),
        ("language = fr", "'fr': allowed: one of zh, en"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_section(tmp_path: Path, line: str, said: str) -> None:
    zh, told = refusal(tmp_path, f"[agent Küche]\n{line}\n")
    assert told.startswith(f"FILE: line 4: [agent Küche] {line.split(' =')[0]} = '")
    assert said in told
    assert zh.startswith("FILE 第 4 行 [agent Küche]")
    assert "：可填的值：" in zh
    assert "\n" not in told


@pytest.mark.parametrize("key", ["tools_from", "allow", "deny"])
@pytest.mark.parametrize("value", ["a\0", ["a", 1], 5, "a\x85b"])
def test_lists_take_texts_without_control_characters(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="with commas"):
        AgentSettings.model_validate({key: value})


@pytest.mark.parametrize("key", ["rename", "describe"])
@pytest.mark.parametrize("value", ["a: \0", {"a": 1}, {1: "a"}, {"a": ""}, {"": "a"}, {"a": "\u0085"}, 5, ["a"]])
def test_pairs_take_texts_without_control_characters(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="with semicolons"):
        AgentSettings.model_validate({key: value})


def test_a_new_name_has_one_to_64_characters() -> None:
    assert AgentSettings.model_validate({"rename": f"a: {'灯' * 64}"}).rename == {"a": "灯" * 64}
    for bad in ("x" * 65, " x", " "):
        with pytest.raises(ValueError, match="64"):
            AgentSettings.model_validate({"rename": {"a": bad}})
    assert AgentSettings.model_validate({"describe": f"a: {'x' * 5000}"}).describe == {"a": "x" * 5000}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[agent a]\ntools_from = a\n", "FILE: line 4: [agent a] tools_from: goes round in a circle: a → a; "),
        (f"[agent a]\ntools_from = b, {md5('a')}\n", "FILE: line 4: [agent a] tools_from: goes round in a circle: a →"),
        (f"[agent {md5('a')}]\ntools_from = a\n", f"goes round in a circle: {md5('a')} → {md5('a')}; "),
        ("[agent a]\ntools_from = b\n[agent b]\ntools_from = x, a\n", "goes round in a circle: a → b → a; "),
    ],
)
def test_agents_with_tools_from_each_other_are_refused(tmp_path: Path, text: str, told: str) -> None:
    zh, said = refusal(tmp_path, text)
    rotated = told.replace("a → b → a", "b → a → b")
    assert told in said or rotated in said
    assert "循环" in zh


def test_a_long_circle_is_told_in_its_order_with_a_line_of_it(tmp_path: Path) -> None:
    names = "abcdef"
    text = "".join(f"[agent {name}]\ntools_from = other, {names[number - 1]}\n" for number, name in enumerate(names))
    _, said = refusal(tmp_path, text)
    circle = said.partition("circle: ")[2].partition(";")[0].split(" → ")
    assert sorted(circle[1:]) == list(names)
    assert circle[0] == circle[-1]
    assert all(names[names.index(name) - 1] == source for name, source in pairwise(circle))
    assert said.startswith(f"FILE: line {2 * names.index(circle[0]) + 4}: [agent {circle[0]}] tools_from: ")


def test_many_agents_may_have_their_tools_from_one(tmp_path: Path) -> None:
    text = "".join(f"[agent a{number}]\ntools_from = shared, a{number + 1}\n" for number in range(2000))
    assert len(read(tmp_path, text).agents) == 2000


def test_two_sections_of_one_agent_are_refused(tmp_path: Path) -> None:
    _, said = refusal(tmp_path, f"[agent kitchen]\n[agent {md5('kitchen')}]\n")
    assert said.startswith(
        f"FILE: line 4: [agent {md5('kitchen')}]: is the agent of [agent kitchen] again; keep one of the two sections"
    )
    assert "line 4 has section [agent kitchen] again" in refusal(tmp_path, "[agent kitchen]\n[Agent  kitchen]\n")[1]


# ------------------------------------------------------------------------------------------------------ unknown names


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[agent a]\ntool_from = b\n", "FILE: line 4: [agent a] tool_from: unknown, ignored; did you mean tools_from?"),
        ("[agent a]\ncal_timeout = 5\n", "[agent a] cal_timeout: unknown, ignored; did you mean call_timeout?"),
        ("[agent a]\nping_interval = 5\n", "did you mean [websocket] ping_interval?"),
        (
            "[broker]\nallow = x\n",
            "FILE: line 4: [broker] allow: unknown, ignored; did you mean [agent ID-or-name] allow?",
        ),
        ("[agnet Küche]\n", "FILE: line 3: [agnet Küche]: unknown, ignored; did you mean [agent Küche]?"),
        ("[agents]\n", "FILE: line 3: [agents]: unknown, ignored; did you mean [agent ID-or-name]?"),
        ("[agent]\nallow = x\n", "FILE: line 3: [agent]: unknown, ignored; did you mean [agent ID-or-name]?"),
        (
            "[x]\n",
            "known are [server], [websocket], [broker], [security], [mcp], [jobs], [logging], [agent ID-or-name]",
        ),
    ],
)
def test_an_unknown_name_warns_with_the_nearest(tmp_path: Path, text: str, warning: str) -> None:
    path = write(tmp_path, text)
    (line,) = load(path, {}).warnings
    assert warning in line.en.replace(str(path), "FILE")
