"""How the servers are that the broker opens itself."""

import asyncio
from collections.abc import Mapping
from typing import Any

from mcp_endpoint.clients import running_broker
from mcp_endpoint.clients.endpoint import DIAL_ERRORS
from mcp_endpoint.clients.exit_codes import FAILED
from mcp_endpoint.clients.running_broker import local_base, local_tls
from mcp_endpoint.clients.servers.files import Files, indented
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.entry import Server
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.provider import State
from mcp_endpoint.settings.schema import Settings

SAID = 5
"""Lines of what a server that does not serve wrote last."""
_DISABLED = Bilingual("已停用", "disabled")
_STATES = {
    State.IDLE: Bilingual("待用（有客户端时启动）", "idle (opened when a client comes)"),
    State.STARTING: Bilingual("启动中", "starting"),
    State.SERVING: Bilingual("运行中", "serving"),
    State.FINISHING: Bilingual("收尾中", "finishing"),
    State.WAITING: Bilingual("等待重试", "waiting"),
    State.LOOPING: Bilingual("反复失败", "looping"),
    State.BAD_ENTRY: Bilingual("条目有误", "bad_entry"),
    State.STOPPED: Bilingual("已停止", "stopped"),
}
"""How a server is, for its owner: docs/providers.md explains the words of both. `/stats` has the names alone."""


def show(files: Files, settings: Settings | None, terminal: Terminal) -> int:
    """How each server is, as the running broker says, and what is wrong in the file."""
    fault: UnusableFile | None = None
    servers: list[Server] = []
    try:
        servers = read_servers(files.servers) if files.servers.exists() else []
    except UnusableFile as error:
        fault = error
        terminal.say(error.told)
        terminal.say(Bilingual("各服务保持原样。", "The servers go on as they were before."))
    reports = None if settings is None else asyncio.run(_reports(settings))
    if not servers and not reports and fault is None:
        terminal.say(
            Bilingual(
                f"{files.servers}：还没有服务，可用 servers add 添加。",
                f"{files.servers}: no servers yet; `servers add` writes one.",
            )
        )
        return 0
    if reports is None:
        terminal.say(Bilingual("接入点服务没有运行，或密钥不同。", "The broker is not running, or has another key."))
    bad = fault is not None
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports or []:
        by_name.setdefault(str(report["name"]), []).append(report)
    if fault is not None:
        servers = [Server(name) for name in by_name]
    for server in servers:
        for report in by_name.pop(server.name, [{}]):
            bad |= print_server(server, report, terminal)
    return FAILED if bad else 0


async def _reports(settings: Settings) -> list[Mapping[str, Any]] | None:
    try:
        told = await running_broker.stats(settings, local_base(settings), local_tls(settings))
    except DIAL_ERRORS:
        return None
    servers = (told or {}).get("servers")
    return servers if isinstance(servers, list) else None


def _state(name: str) -> Bilingual:
    """A state as the broker calls it; one that another version has stays as it is."""
    try:
        return _STATES[State(name)]
    except ValueError:
        shown = quote_peer(name, 40)
        return Bilingual(shown, shown)


def print_server(server: Server, report: Mapping[str, Any], terminal: Terminal) -> bool:
    """One server in a few lines; whether it should serve and does not."""

    def below(zh: str, en: str) -> None:
        terminal.say(Bilingual(indented(zh), indented(en)))

    state = str(report.get("state", "-" if server.fault is None else State.BAD_ENTRY.value))
    shown = _DISABLED if server.disabled else _state(state)
    agent = quote_peer(str(report["agent"])) if report.get("agent") else ""
    kind = report.get("kind", None if server.fault is not None else server.kind.value) or "-"
    name, count = quote_peer(server.name), len(report.get("tools") or [])
    terminal.say(
        Bilingual(
            f"{name}{f'（智能体 {agent}）' if agent else ''}  {kind}  {shown.zh}  工具：{count}",
            f"{name}{f' (agent {agent})' if agent else ''}  {kind}  {shown.en}  tools: {count}",
        )
    )
    if server.fault is not None:
        told = server.fault.told()
        below(f"条目有误：{told['zh']}", f"its entry is not right: {told['en']}")
        if state != State.BAD_ENTRY:
            below("仍按原条目运行。", "it goes on as it was before.")
    for remark in server.remarks:
        told = remark.told()
        below(told["zh"], told["en"])
    failure = report.get("failure")
    if isinstance(failure, dict) and not (server.fault is not None and state == State.BAD_ENTRY):
        cause = failure.get("cause") or {}
        zh, en = (quote_peer(str(cause.get(language) or ""), 300) for language in ("zh", "en"))
        below(
            f"{failure.get('zh')}" + (f"：{zh}" if zh else ""),
            f"{failure.get('en')}" + (f": {en}" if en else ""),
        )
        todo = failure.get("todo")
        if isinstance(todo, dict) and todo.get("en"):
            below(str(todo.get("zh")), str(todo["en"]))
        for line in list(report.get("said") or [])[-SAID:]:
            terminal.say(indented(f"| {quote_peer(str(line), 300)}"))
    for text in list(report.get("unmatched") or []):
        chosen = f"tools.{quote_peer(str(text))}"
        below(f"{chosen} 没有匹配到它的任何工具，工具可能已改名", f"{chosen} fits no tool of it; was one renamed?")
    if over := report.get("not_listed"):
        below(
            f"另有 {over} 个工具超出 [broker] max_tools 或 max_list_bytes：请用 tools.allow 选择；OpenAPI 文档还可用 "
            "tags、operations、methods",
            f"{over} more tools are over [broker] max_tools or max_list_bytes: choose with tools.allow, of an OpenAPI "
            "document also with tags, operations or methods",
        )
    for tool, difference in dict(report.get("changed") or {}).items():
        changed, accepting = quote_peer(str(tool)), f"`servers accept {name}`"
        below(
            f"工具 {changed} 的定义已变化，确认后执行 {accepting}\n{difference}",
            f"tool {changed} changed; {accepting} takes it as it is\n{difference}",
        )
    return isinstance(failure, dict) or server.fault is not None
