"""`servers`: how the servers are that the broker opens itself, and changes of the file that lists them.

The running broker looks at its files all the time, so a change needs no more than to be written.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mcp_endpoint.clients import http_get
from mcp_endpoint.clients.doctor import broker_checks
from mcp_endpoint.clients.endpoint import DIAL_ERRORS
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.entry import Server, read_entry
from mcp_endpoint.providers.entries.foreign_entries import ON
from mcp_endpoint.providers.entries.members import BadEntry
from mcp_endpoint.providers.entries.servers_file import (
    UnusableFile,
    document_to_change,
    listed,
    read_servers,
    write_document,
)
from mcp_endpoint.providers.pins import PinFile
from mcp_endpoint.settings.schema import Settings

FAILED, USAGE = 1, 2
SAID = 5
"""Lines of what a server that does not serve wrote last."""


@dataclass(frozen=True)
class Files:
    """The two files beside the settings: the list of servers, and what their tools said when first seen."""

    servers: Path
    pins: Path


@dataclass(frozen=True)
class NewServer:
    """What `servers add` was told."""

    name: str
    command: Sequence[str] = ()
    url: str | None = None
    type: str | None = None
    openapi: str | None = None
    python: str | None = None
    headers: Sequence[str] = ()
    environ: Sequence[str] = ()
    agents: Sequence[str] = field(default_factory=list)

    def entry(self) -> dict[str, Any]:
        """The member of `mcpServers`. Raises BadEntry."""
        ways = [way for way in (self.command, self.url, self.openapi, self.python) if way]
        if len(ways) != 1:
            raise BadEntry(
                "",
                "give one of: -- CMD …, --url URL, --openapi DOCUMENT, --python FILE",
                "请给出其中一种：-- CMD …、--url、--openapi 或 --python",
            )
        entry: dict[str, Any] = {}
        if self.command:
            entry |= {"command": self.command[0], "args": list(self.command[1:])}
            if any(_is_here(word) for word in self.command):
                entry["cwd"] = str(Path.cwd())  # the broker may run elsewhere
        if self.url:
            entry |= {"url": self.url} | ({"type": self.type} if self.type else {})
        if self.openapi:
            entry["openapi"] = _absolute(self.openapi)
        if self.python:
            entry["python"] = _absolute(self.python)
        if self.headers:
            entry["headers"] = _pairs("--header", self.headers, ":")
        if self.environ:
            entry["env"] = _pairs("--env", self.environ, "=")
        if self.agents:
            entry["agents"] = list(self.agents)
        return entry


def _is_here(word: str) -> bool:
    """Whether a word of a command is a path from the current folder."""
    return not Path(word).is_absolute() and Path(word).is_file()


def _absolute(path: str) -> str:
    """A path of a file that is there, from the root: in the file it would be taken from the settings' folder."""
    return str(Path(path).absolute()) if _is_here(path) else path


def _pairs(option: str, texts: Sequence[str], provider_link: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, found, value = text.partition(provider_link)
        if not found or not name.strip():
            raise BadEntry(option, f"must be NAME{provider_link}VALUE", f"应为 名称{provider_link}值")
        pairs[name.strip()] = value.strip()
    return pairs


def add(files: Files, new: NewServer, out: TextIO) -> int:
    """Write one more server into the file, which is made if there is none. Raises UnusableFile, OSError."""
    document = document_to_change(files.servers) if files.servers.exists() else {"mcpServers": {}}
    servers = listed(document, files.servers)
    if new.name in servers:
        raise UnusableFile(
            files.servers, f'server "{new.name}"', "is there already; remove it first", "已存在，请先删除"
        )
    try:
        entry = new.entry()
        read_entry(new.name, entry)
    except BadEntry as error:
        raise UnusableFile(files.servers, f'server "{new.name}" {error.member}'.rstrip(), error.en, error.zh) from None
    servers[new.name] = entry
    write_document(files.servers, document)
    print(f"{quote_peer(new.name)}: added; the broker opens it when it is needed. / 已添加，按需启动。", file=out)
    return 0


def change(files: Files, name: str, action: str, out: TextIO) -> int:
    """`remove`, `enable` or `disable` one server. Raises UnusableFile, OSError."""
    document = document_to_change(files.servers)
    servers = listed(document, files.servers)
    if name not in servers:
        known = ", ".join(map(quote_peer, servers)) or "-"
        raise UnusableFile(
            files.servers, f'server "{name}"', f"is not listed; there are: {known}", f"不存在，现有：{known}"
        )
    if action == "remove":
        del servers[name]
    elif not isinstance(servers[name], dict):
        raise UnusableFile(files.servers, f'server "{name}"', "must be an object", "应为对象")
    elif action == "disable":
        servers[name]["disabled"] = True
    else:
        for member in ("disabled", *ON):
            servers[name].pop(member, None)
    write_document(files.servers, document)
    done = {"remove": "removed / 已删除", "enable": "enabled / 已启用", "disable": "disabled / 已停用"}[action]
    print(f"{quote_peer(name)}: {done}", file=out)
    return 0


def accept(files: Files, name: str, out: TextIO) -> int:
    """Take the tools of a server as they are now. Raises OSError."""
    pins = PinFile(files.pins)
    pins.reload()
    changes = pins.changes(name)
    if not changes:
        print(f"{quote_peer(name)}: none of its tools changed. / 没有变化的工具。", file=out)
        return 0
    for tool, difference in changes.items():
        print(f"{quote_peer(tool)}:\n{_indented(difference)}", file=out)
    pins.accept(name)
    print(f"{quote_peer(name)}: accepted {len(changes)}. / 已接受 {len(changes)} 个。", file=out)
    return 0


def show(files: Files, settings: Settings | None, out: TextIO) -> int:
    """How each server is, as the running broker says, and what is wrong in the file."""
    fault: UnusableFile | None = None
    servers: list[Server] = []
    try:
        servers = read_servers(files.servers) if files.servers.exists() else []
    except UnusableFile as error:
        fault = error
        print(f"{error}\nThe servers go on as they were before. / 各服务保持原样。", file=out)
    reports = None if settings is None else asyncio.run(_reports(settings))
    if not servers and not reports and fault is None:
        print(f"{files.servers}: no servers yet; `servers add` writes one. / 还没有，可用 servers add 添加。", file=out)
        return 0
    if reports is None:
        print("The broker is not running, or has another key. / 服务没有运行，或密钥不同。", file=out)
    bad = fault is not None
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports or []:
        by_name.setdefault(str(report["name"]), []).append(report)
    if fault is not None:
        servers = [Server(name) for name in by_name]
    for server in servers:
        for report in by_name.pop(server.name, [{}]):
            bad |= _print(server, report, out)
    return FAILED if bad else 0


async def _reports(settings: Settings) -> list[Mapping[str, Any]] | None:
    base = broker_checks.local_base(settings)
    tls = http_get.unchecked_tls() if settings.server.tls_cert else None
    try:
        answer = await http_get.fetch(base, "/stats", tls, Authorization=f"Bearer {settings.server.key}")
    except DIAL_ERRORS:
        return None
    data = answer.json().get("data")
    servers = data.get("servers") if isinstance(data, dict) else None
    return servers if isinstance(servers, list) else None


def _print(server: Server, report: Mapping[str, Any], out: TextIO) -> bool:
    """One server in a few lines; whether it should serve and does not."""
    state = "disabled" if server.disabled else str(report.get("state", "-" if server.fault is None else "bad_entry"))
    whose = f" (agent {quote_peer(str(report['agent']))})" if report.get("agent") else ""
    kind = report.get("kind", None if server.fault is not None else server.kind.value) or "-"
    tools = report.get("tools") or []
    print(f"{quote_peer(server.name)}{whose}  {kind}  {state}  tools: {len(tools)}", file=out)
    if server.fault is not None:
        told = server.fault.told()
        print(_indented(f"its entry is not right: {told['en']} / 条目有误：{told['zh']}"), file=out)
        if state != "bad_entry":
            print(_indented("it goes on as it was before. / 仍按原条目运行。"), file=out)
    for remark in server.remarks:
        told = remark.told()
        print(_indented(f"{told['en']} / {told['zh']}"), file=out)
    failure = report.get("failure")
    if isinstance(failure, dict) and not (server.fault is not None and state == "bad_entry"):
        detail = quote_peer(str(failure.get("detail", "")), 300)
        print(_indented(f"{failure.get('en')} / {failure.get('zh')}" + (f": {detail}" if detail else "")), file=out)
        todo = failure.get("todo")
        if isinstance(todo, dict) and todo.get("en"):
            print(_indented(f"{todo['en']} / {todo.get('zh')}"), file=out)
        for line in list(report.get("said") or [])[-SAID:]:
            print(_indented(f"| {quote_peer(str(line), 300)}"), file=out)
    for text in list(report.get("unmatched") or []):
        en, zh = "fits no tool of it; was one renamed?", "没有匹配到它的任何工具，工具可能已改名"
        print(_indented(f"tools.{quote_peer(str(text))} {en} / {zh}"), file=out)
    if over := report.get("not_listed"):
        print(
            _indented(
                f"{over} more tools are over [broker] max_tools or max_list_bytes: choose with tools.allow, of "
                f"an OpenAPI document also with tags, operations or methods / 另有 {over} 个超出上限"
            ),
            file=out,
        )
    for tool, difference in dict(report.get("changed") or {}).items():
        print(
            _indented(
                f"tool {quote_peer(str(tool))} changed; `servers accept {quote_peer(server.name)}` / 定义已变化\n"
                f"{difference}"
            ),
            file=out,
        )
    return isinstance(failure, dict) or server.fault is not None


def _indented(text: str) -> str:
    return "\n".join("  " + quote_peer(line, 500) for line in text.splitlines())


def guarded(work: Callable[[], int], err: TextIO) -> int:
    """Run one of the above; what cannot be used is told in one line."""
    try:
        return work()
    except UnusableFile as error:
        print(error, file=err)
    except OSError as error:
        print(f"{error.filename}: {error.strerror} / 无法写入或读取", file=err)
    return USAGE
