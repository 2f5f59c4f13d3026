"""One server of an `mcpServers` file: what kind it is, how it is reached, whom it serves and with which tools.

The members of desktop hosts mean what they mean there; what other programs keep in an entry is left alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from mcp_endpoint.providers.entries.foreign_entries import as_documented, is_off
from mcp_endpoint.providers.entries.members import BadEntry, Remark, flag, needed, seconds, size, text, texts, words
from mcp_endpoint.providers.entries.url_access import UrlAccess, filled_access, read_access, read_oauth
from mcp_endpoint.providers.entries.variables import filled, has_one

LONGEST_NAME = 64
"""Characters of a `server_id` that a broker looks at."""
START_TIMEOUT = 60.0
"""Seconds; some servers are downloaded at their first start."""


class Kind(StrEnum):
    """How a server is reached."""

    STDIO = "stdio"
    HTTP = "http"
    SSE = "sse"
    WS = "ws"
    OPENAPI = "openapi"
    PYTHON = "python"


_SCHEMES = {Kind.HTTP: ("http", "https"), Kind.SSE: ("http", "https"), Kind.WS: ("ws", "wss")}
_TYPES = {
    **dict.fromkeys(("http", "https", "streamablehttp", "streamable", "httpstream", "httpstreamable"), Kind.HTTP),
    **dict.fromkeys(("sse", "httpsse"), Kind.SSE),
    **dict.fromkeys(("ws", "wss", "websocket"), Kind.WS),
    **dict.fromkeys(("stdio", "local", "command"), Kind.STDIO),
    "openapi": Kind.OPENAPI,
    "python": Kind.PYTHON,
}
"""What stands as `type`, in small letters and without anything else."""
_REACHED_BY = {Kind.STDIO: "command", Kind.OPENAPI: "openapi", Kind.PYTHON: "python"}
"""The member that a server of a kind is reached by; all others have a `url`."""


@dataclass(frozen=True)
class OpenApi:
    """An HTTP interface as tools: its document (a path or a URL) and which of its operations."""

    document: str = field(repr=False)
    base_url: str = ""
    document_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    methods: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    max_response: int | None = None
    """Bytes of an answer."""


@dataclass(frozen=True)
class Tools:
    """Which of its tools are shown, and how; names are the server's own, `*` in `allow` and `deny` is any text."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    describe: Mapping[str, str] = field(default_factory=dict)
    background: tuple[str, ...] = ()
    """Those that may take long: after `[jobs] answer_within` seconds their calls are jobs."""
    drop_empty: bool = False
    """Whether optional arguments that are null or "" are left out of calls, where a tool does not allow them."""


@dataclass(frozen=True)
class Server:
    """One entry of the file, with its variables not yet put in."""

    name: str
    kind: Kind = Kind.STDIO
    command: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    openapi: OpenApi | None = None
    python: str = ""
    disabled: bool = False
    agents: tuple[str, ...] = ("*",)
    """Ids or names of the agents it serves; `*` for all."""
    alias: str = ""
    tools: Tools = field(default_factory=Tools)
    timeout: float | None = None
    """Seconds a call may take; None: what the caller's side allows."""
    start_timeout: float = START_TIMEOUT
    """Seconds it has from its start until it said what tools it has."""
    per_agent: bool = False
    """Whether each agent has an instance of its own."""
    autostart: bool = False
    """Whether it starts with the broker, not when it is first needed."""
    allow_private: tuple[str, ...] = ()
    """Private networks and hosts that it may be at."""
    access: UrlAccess = field(default_factory=UrlAccess)
    """How its URL is reached."""
    proxy_env: bool = True
    """Whether a program gets the broker's variables for proxies, mirrors and certificates."""
    remarks: tuple[Remark, ...] = ()
    """What its owner should know of how the entry is read."""
    fault: Remark | None = None
    """What is wrong with the entry, which cannot be used then."""

    @property
    def shown(self) -> str:
        """How its tools are called where a name is not unique."""
        return self.alias or self.name


def read_entry(name: str, entry: object) -> Server:
    """The server that one member of `mcpServers` describes, as this program or another one has it. Raises BadEntry."""
    if not name.strip() or len(name) > LONGEST_NAME:
        raise BadEntry("", f"its name must have 1 to {LONGEST_NAME} characters", f"名称应为 1 到 {LONGEST_NAME} 个字符")
    if not isinstance(entry, dict):
        raise BadEntry("", 'must be an object such as {"command": "…"}', '应为对象，例如 {"command": "…"}')
    if is_off(entry):
        return Server(name, _kind_of_disabled(entry), disabled=True)
    members, remarks = as_documented(entry)
    return replace(server_of(name, members), remarks=tuple(remarks))


def _kind_of_disabled(entry: Mapping[str, Any]) -> Kind:
    """What an entry that is off would be: nothing else of it has to be right."""
    try:
        return _kind(as_documented(entry)[0])
    except BadEntry:
        return Kind.STDIO


def faulty(name: str, entry: object, error: BadEntry) -> Server:
    """What is known of a server whose entry cannot be used: that, and whom it would serve."""
    agents: tuple[str, ...] = ()
    if isinstance(entry, dict):
        try:
            agents = _agents(as_documented({"agents": entry.get("agents")})[0])
        except BadEntry:
            agents = ()  # it may not be everybody's business
    return Server(name, agents=agents, fault=error.remark)


def server_of(name: str, entry: Mapping[str, Any]) -> Server:
    """The server of an entry that has the documented members in the documented form. Raises BadEntry."""
    kind = _kind(entry)
    server = Server(
        name,
        kind,
        disabled=flag(entry, "disabled"),
        agents=_agents(entry),
        alias=text(entry, "alias"),
        tools=_tools(entry),
        timeout=seconds(entry, "timeout"),
        start_timeout=seconds(entry, "start_timeout") or START_TIMEOUT,
        per_agent=_share(entry),
        autostart=flag(entry, "autostart"),
        allow_private=words(entry, "allow_private") or (),
        headers=texts(entry, "headers"),
        environ=_environ(entry),
        proxy_env=flag(entry, "proxy_env", True),
    )
    match kind:
        case Kind.STDIO:
            return _stdio(server, entry)
        case Kind.OPENAPI:
            return replace(server, openapi=_openapi(entry), access=read_access(entry))
        case Kind.PYTHON:
            return replace(server, python=needed(entry, "python", "the path of a Python file", " Python 文件的路径"))
        case Kind.WS:
            return replace(server, url=_url(entry, kind), access=read_access(entry))
        case _:
            access = replace(read_access(entry), oauth=read_oauth(entry))
            return replace(server, url=_url(entry, kind), access=access)


def expanded(server: Server, environ: Mapping[str, str]) -> Server:
    """`server` with its variables put in out of `environ`. Raises KeyError with the name of one that is not there."""

    def fill(text: str) -> str:
        return filled(text, environ)

    def each(values: Mapping[str, str]) -> Mapping[str, str]:
        return {name: fill(value) for name, value in values.items()}

    openapi = server.openapi
    if openapi is not None:
        openapi = replace(
            openapi,
            document=fill(openapi.document).strip(),
            base_url=fill(openapi.base_url).strip(),
            document_headers=each(openapi.document_headers),
        )
    return replace(
        server,
        command=tuple(map(fill, server.command)),
        environ=each(server.environ),
        cwd=None if server.cwd is None else fill(server.cwd),
        url=fill(server.url).strip(),
        headers=each(server.headers),
        openapi=openapi,
        python=fill(server.python),
        access=filled_access(server.access, fill),
    )


def _agents(entry: Mapping[str, Any]) -> tuple[str, ...]:
    agents = words(entry, "agents")
    return ("*",) if agents is None else agents  # an empty list is nobody


def _kind(entry: Mapping[str, Any]) -> Kind:
    ways = [way for way in (*_REACHED_BY.values(), "url") if entry.get(way) is not None]
    said = entry.get("type")
    if said is not None:
        kind = _TYPES.get(re.sub("[^a-z]", "", said.lower())) if isinstance(said, str) else None
        if kind is None and said != "remote":
            raise BadEntry("type", "must be stdio, http, sse or ws", "应为 stdio、http、sse 或 ws")
        way = "url" if kind is None else _REACHED_BY.get(kind, "url")
        if ways and way not in ways:
            en = f"does not fit: there is no {way}, but {ways[0]}; remove type, or write {way} in place of {ways[0]}"
            zh = f"与其余内容不符：没有 {way}，却有 {ways[0]}；请删除 type，或改写 {ways[0]} 为 {way}"
            raise BadEntry("type", en, zh)
        if kind is not None:
            return kind
    elif len(ways) > 1:
        both = ", ".join(ways)
        raise BadEntry(
            "",
            f"has {both}: keep one of them, or say with type which is meant",
            f"同时有 {both}：请只保留一个，或用 type 指明",
        )
    if ways and ways[0] != "url":
        return next(kind for kind, way in _REACHED_BY.items() if way == ways[0])
    url = entry.get("url")
    if not isinstance(url, str):
        return Kind.HTTP if url is not None else Kind.STDIO
    if url.lower().startswith(("ws://", "wss://")):
        return Kind.WS
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return Kind.SSE if path.rstrip("/").endswith("/sse") else Kind.HTTP


def _stdio(server: Server, entry: Mapping[str, Any]) -> Server:
    command = entry.get("command")
    if not isinstance(command, str) or not command.strip():
        raise BadEntry(
            "command", "must be the program to start, a string that is not empty", "应为要启动的程序（非空字符串）"
        )
    arguments, cwd = entry.get("args"), entry.get("cwd")
    if arguments is not None and not (isinstance(arguments, list) and all(isinstance(one, str) for one in arguments)):
        raise BadEntry(
            "args", 'must be a list of strings, such as ["-y", "8080"]', '应为字符串列表，例如 ["-y", "8080"]'
        )
    if cwd is not None and not isinstance(cwd, str):
        raise BadEntry("cwd", "must be a folder's path, a string", "应为文件夹路径（字符串）")
    if any("\0" in one for one in arguments or []):
        raise BadEntry("args", "has a NUL character", "含有 NUL 字符")
    for member, path in (("command", command), ("cwd", cwd or "")):
        if any(character < " " for character in path):  # "C:\new" in JSON has a line break in it
            raise BadEntry(
                member,
                "has a control character: a backslash is written \\\\ in JSON, or / in its place",
                "含有控制字符：JSON 中反斜杠应写作 \\\\，或改用 /",
            )
    return replace(server, command=(command, *(arguments or [])), cwd=cwd or None)


def _environ(entry: Mapping[str, Any]) -> Mapping[str, str]:
    environ = texts(entry, "env")
    if any("\0" in one for one in [*environ, *environ.values()]) or any("=" in name or not name for name in environ):
        raise BadEntry("env", "has a NUL character, or = in the name of a variable", "含有 NUL 字符，或变量名中有 =")
    return environ


def _url(entry: Mapping[str, Any], kind: Kind) -> str:
    url = entry.get("url")
    schemes = _SCHEMES[kind]
    try:
        good = isinstance(url, str) and (has_one(url) or (urlsplit(url).scheme in schemes and urlsplit(url).hostname))
    except ValueError:
        good = False
    if not good or not isinstance(url, str):
        form = f"{schemes[0]}://host/path"
        raise BadEntry("url", f"must be a URL such as {form}", f"应为地址，例如 {form}")
    return url


def _openapi(entry: Mapping[str, Any]) -> OpenApi:
    return OpenApi(
        needed(entry, "openapi", "the path or URL of an OpenAPI document", " OpenAPI 文档的路径或地址"),
        text(entry, "base_url"),
        texts(entry, "document_headers"),
        words(entry, "methods") or (),
        words(entry, "tags") or (),
        words(entry, "operations") or (),
        size(entry, "max_response"),
    )


def _tools(entry: Mapping[str, Any]) -> Tools:
    said = entry.get("tools")
    if said is None:
        return Tools()
    if not isinstance(said, dict):
        form = '{"allow": ["lamp_*"]}'
        raise BadEntry("tools", f"must be an object such as {form}", f"应为对象，例如 {form}")
    members = [member.name for member in fields(Tools)]
    unknown = sorted(said.keys() - set(members))
    if unknown:  # one that was meant to hide something must not go unnoticed
        known = ", ".join(members)
        raise BadEntry(f"tools.{unknown[0]}", f"is unknown; there are {known}", f"无法识别；可用的有 {known}")
    allow, deny = words(said, "allow"), words(said, "deny") or ()
    return Tools(
        allow or (),
        ("*",) if allow == () else deny,  # an empty list is no tool, and none is no choice
        texts(said, "rename"),
        texts(said, "describe"),
        words(said, "background") or (),
        flag(said, "drop_empty"),
    )


def _share(entry: Mapping[str, Any]) -> bool:
    said = entry.get("share", "all")
    if said not in ("all", "agent"):
        raise BadEntry("share", 'must be "all" or "agent"', '应为 "all" 或 "agent"')
    return bool(said == "agent")
