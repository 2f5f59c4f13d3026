"""An agent's state and its sentence, and where it must stand, for test_why.py and test_why_from_outside.py."""

import re
from dataclasses import dataclass
from typing import Any

from mcp_endpoint.settings.schema import Language
from support.doctor import of_broker
from support.peers import Agent, Device, fault

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
