"""Changes of the file that lists the servers, and of what their tools said when first seen.

The running broker looks at its files all the time, so a change needs no more than to be written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_endpoint.clients.servers.files import Files, indented, not_listed, server_place
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.entry import Kind, read_entry
from mcp_endpoint.providers.entries.foreign_entries import ON
from mcp_endpoint.providers.entries.headers import fit_headers
from mcp_endpoint.providers.entries.members import BadEntry
from mcp_endpoint.providers.entries.servers_file import (
    UnusableFile,
    document_to_change,
    listed,
    read_servers,
    write_document,
)
from mcp_endpoint.providers.pins import PinFile


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


def _pairs(option: str, texts: Sequence[str], separator: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, found, value = text.partition(separator)
        if not found or not name.strip():
            raise BadEntry(option, f"must be NAME{separator}VALUE", f"应为 名称{separator}值")
        pairs[name.strip()] = value.strip()
    return pairs


def add(files: Files, new: NewServer, terminal: Terminal) -> int:
    """Write one more server into the file, which is made if there is none. Raises UnusableFile, OSError."""
    document, servers = _to_change(files.servers)
    if new.name in servers:
        en, zh = "is there already; remove it first", "已存在，请先删除"
        raise UnusableFile(files.servers, server_place(new.name), en, zh)
    try:
        entry = new.entry()
        server = read_entry(new.name, entry)
        # Its start would refuse them too, long after whoever could type them anew has gone.
        fit_headers(server.headers, ascii_only=server.kind is not Kind.OPENAPI)
    except BadEntry as error:
        raise UnusableFile(files.servers, server_place(new.name, error.member), error.en, error.zh) from None
    servers[new.name] = entry
    write_document(files.servers, document)
    _of(terminal, new.name, "已添加，服务会按需启动它。", "added; the broker opens it when it is needed.")
    return 0


def _to_change(path: Path) -> tuple[Any, dict[str, Any]]:
    """The document in the file, an empty one if there is no file, and its servers. Raises UnusableFile."""
    document = document_to_change(path) if path.exists() else {"mcpServers": {}}
    return document, listed(document, path)


def change(files: Files, name: str, action: str, terminal: Terminal) -> int:
    """`remove`, `enable` or `disable` one server. Raises UnusableFile, OSError."""
    document, servers = _to_change(files.servers)
    if name not in servers:
        raise not_listed(files.servers, name, servers)
    if action == "remove":
        del servers[name]
    elif not isinstance(servers[name], dict):
        raise UnusableFile(files.servers, server_place(name), "must be an object", "应为对象")
    elif action == "disable":
        servers[name]["disabled"] = True
    else:
        for member in ("disabled", *ON):
            servers[name].pop(member, None)
    write_document(files.servers, document)
    zh = {"remove": "已删除", "enable": "已启用", "disable": "已停用"}[action]
    _of(terminal, name, f"{zh}。", f"{action}d.")
    return 0


def accept(files: Files, name: str, terminal: Terminal) -> int:
    """Take the tools of a server as they are now. Raises UnusableFile, OSError."""
    servers = [server.name for server in read_servers(files.servers)] if files.servers.exists() else []
    if name not in servers:
        raise not_listed(files.servers, name, servers)
    pins = PinFile(files.pins)
    pins.reload()
    changes = pins.changes(name)
    if not changes:
        _of(terminal, name, "没有变化的工具。", "none of its tools changed.")
        return 0
    for tool, difference in changes.items():
        terminal.say(f"{quote_peer(tool)}:\n{indented(difference)}")
    pins.accept(name)
    _of(terminal, name, f"已接受 {len(changes)} 个变化的工具。", f"accepted {len(changes)}.")
    return 0


def _of(terminal: Terminal, name: str, zh: str, en: str) -> None:
    """Say something of one server."""
    shown = quote_peer(name)
    terminal.say(Bilingual(f"{shown}：{zh}", f"{shown}: {en}"))
