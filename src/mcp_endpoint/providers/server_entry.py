"""One server of an `mcpServers` file: what kind it is, how it is reached, whom it serves and with which tools.

The members of desktop hosts mean what they mean there; what other programs keep in an entry is left alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

LONGEST_NAME = 64
"""Characters of a `server_id` that a broker looks at."""
MOST_SECONDS = 86_400.0
MOST_BYTES = 64 * 1024 * 1024
START_TIMEOUT = 60.0
"""Seconds; some servers are downloaded at their first start."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


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
    "http": Kind.HTTP,
    "streamable-http": Kind.HTTP,
    "streamablehttp": Kind.HTTP,
    "streamable_http": Kind.HTTP,
    "sse": Kind.SSE,
    "ws": Kind.WS,
    "websocket": Kind.WS,
    "stdio": Kind.STDIO,
}


class BadEntry(ValueError):
    """An entry, or a member of it, that is not as it must be; in English and in Chinese."""

    def __init__(self, member: str, en: str, zh: str) -> None:
        super().__init__(en)
        self.member = member
        self.en = en
        self.zh = zh


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
    """Those that may take long (issue 5, part 6)."""


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

    @property
    def needs_url(self) -> bool:
        """Whether it is no child process, which is all that a bridge can serve."""
        return self.kind is not Kind.STDIO

    @property
    def shown(self) -> str:
        """How its tools are called where a name is not unique."""
        return self.alias or self.name


def read_entry(name: str, entry: object) -> Server:
    """The server that one member of `mcpServers` describes. Raises BadEntry."""
    if not name.strip() or len(name) > LONGEST_NAME:
        raise BadEntry("", f"its name must have 1 to {LONGEST_NAME} characters", f"名称应为 1 到 {LONGEST_NAME} 个字符")
    if not isinstance(entry, dict):
        raise BadEntry("", 'must be an object such as {"command": "…"}', '应为对象，例如 {"command": "…"}')
    if _flag(entry, "disabled"):
        return Server(name, disabled=True)
    kind, agents = _kind(entry), _words(entry, "agents")
    server = Server(
        name,
        kind,
        agents=("*",) if agents is None else agents,  # an empty list is nobody
        alias=_text(entry, "alias"),
        tools=_tools(entry),
        timeout=_seconds(entry, "timeout"),
        start_timeout=_seconds(entry, "start_timeout") or START_TIMEOUT,
        per_agent=_share(entry),
        autostart=_flag(entry, "autostart"),
        allow_private=_words(entry, "allow_private") or (),
        headers=_texts(entry, "headers"),
        environ=_environ(entry),
    )
    match kind:
        case Kind.STDIO:
            return _stdio(server, entry)
        case Kind.OPENAPI:
            return replace(server, openapi=_openapi(entry))
        case Kind.PYTHON:
            return replace(server, python=_needed(entry, "python", "the path of a Python file", "Python 文件的路径"))
        case _:
            return replace(server, url=_url(entry, kind))


def expanded(server: Server, environ: Mapping[str, str]) -> Server:
    """`server` with `${VAR}` and `${VAR:-default}` replaced out of `environ`. Raises KeyError if VAR is not there."""

    def put(match: re.Match[str]) -> str:
        variable, default = match[1], match[2]
        if default is not None:
            return environ.get(variable) or default
        return environ[variable]

    def fill(text: str) -> str:
        return _VARIABLE.sub(put, text)

    def each(texts: Mapping[str, str]) -> Mapping[str, str]:
        return {name: fill(value) for name, value in texts.items()}

    openapi = server.openapi
    if openapi is not None:
        openapi = replace(
            openapi,
            document=fill(openapi.document),
            base_url=fill(openapi.base_url),
            document_headers=each(openapi.document_headers),
        )
    return replace(
        server,
        command=tuple(map(fill, server.command)),
        environ=each(server.environ),
        cwd=None if server.cwd is None else fill(server.cwd),
        url=fill(server.url),
        headers=each(server.headers),
        openapi=openapi,
        python=fill(server.python),
    )


def _kind(entry: dict[str, Any]) -> Kind:
    for kind in (Kind.OPENAPI, Kind.PYTHON):
        if kind in entry:
            return kind
    said = entry.get("type", entry.get("transport"))
    if said is not None:
        if not isinstance(said, str) or said.lower() not in _TYPES:
            raise BadEntry("type", "must be stdio, http, sse or ws", "应为 stdio、http、sse 或 ws")
        return _TYPES[said.lower()]
    url = entry.get("url", entry.get("httpUrl"))
    if not isinstance(url, str) or entry.get("command") is not None:
        return Kind.STDIO
    if url.lower().startswith(("ws://", "wss://")):
        return Kind.WS
    return Kind.SSE if urlsplit(url).path.rstrip("/").endswith("/sse") else Kind.HTTP


def _stdio(server: Server, entry: dict[str, Any]) -> Server:
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
    texts = [command, *(arguments or []), cwd or ""]
    if any("\0" in text for text in texts):
        raise BadEntry("", "has a NUL character, or = in the name of a variable", "含有 NUL 字符，或变量名中有 =")
    return replace(server, command=(command, *(arguments or [])), cwd=cwd or None)


def _environ(entry: dict[str, Any]) -> Mapping[str, str]:
    environ = entry.get("env")
    if environ is None:
        return {}
    if not isinstance(environ, dict) or not all(isinstance(value, str) for value in environ.values()):
        raise BadEntry(
            "env", 'must be an object of strings, such as {"PORT": "8080"}', '值应为字符串，例如 {"PORT": "8080"}'
        )
    if any("\0" in text for text in [*environ, *environ.values()]) or any("=" in name or not name for name in environ):
        raise BadEntry("", "has a NUL character, or = in the name of a variable", "含有 NUL 字符，或变量名中有 =")
    return environ


def _url(entry: dict[str, Any], kind: Kind) -> str:
    url = entry.get("url", entry.get("httpUrl"))
    schemes = _SCHEMES[kind]
    try:
        good = isinstance(url, str) and ("${" in url or (urlsplit(url).scheme in schemes and urlsplit(url).hostname))
    except ValueError:
        good = False
    if not good or not isinstance(url, str):
        form = f"{schemes[0]}://host/path"
        raise BadEntry("url", f"must be a URL such as {form}", f"应为地址，例如 {form}")
    return url


def _openapi(entry: dict[str, Any]) -> OpenApi:
    return OpenApi(
        _needed(entry, "openapi", "the path or URL of an OpenAPI document", " OpenAPI 文档的路径或地址"),
        _text(entry, "base_url"),
        _texts(entry, "document_headers"),
        _words(entry, "methods") or (),
        _words(entry, "tags") or (),
        _words(entry, "operations") or (),
        _bytes(entry, "max_response"),
    )


def _tools(entry: dict[str, Any]) -> Tools:
    said = entry.get("tools")
    if said is None:
        return Tools()
    if isinstance(said, list):  # as some desktop hosts have it: those it names, or "*"
        said = {"allow": said}
    if not isinstance(said, dict):
        form = '{"allow": ["lamp_*"]}'
        raise BadEntry("tools", f"must be an object such as {form}", f"应为对象，例如 {form}")
    members = [member.name for member in fields(Tools)]
    unknown = sorted(said.keys() - set(members))
    if unknown:  # one that was meant to hide something must not go unnoticed
        known = ", ".join(members)
        raise BadEntry(f"tools.{unknown[0]}", f"is unknown; there are {known}", f"无法识别；可用的有 {known}")
    allow, deny = _words(said, "allow"), _words(said, "deny") or ()
    return Tools(
        allow or (),
        ("*",) if allow == () else deny,  # an empty list is no tool, and none is no choice
        _texts(said, "rename"),
        _texts(said, "describe"),
        _words(said, "background") or (),
    )


def _share(entry: dict[str, Any]) -> bool:
    said = entry.get("share", "all")
    if said not in ("all", "agent"):
        raise BadEntry("share", 'must be "all" or "agent"', '应为 "all" 或 "agent"')
    return bool(said == "agent")


def _flag(entry: dict[str, Any], member: str) -> bool:
    value = entry.get(member, False)
    if not isinstance(value, bool):
        raise BadEntry(member, "must be true or false", "应为 true 或 false")
    return value


def _text(entry: dict[str, Any], member: str) -> str:
    value = entry.get(member, "")
    if not isinstance(value, str) or len(value) > 2000:
        raise BadEntry(member, "must be a string", "应为字符串")
    return value


def _needed(entry: dict[str, Any], member: str, en: str, zh: str) -> str:
    value = entry.get(member)
    if not isinstance(value, str) or not value.strip():
        raise BadEntry(member, f"must be {en}", f"应为{zh}")
    return value


def _words(entry: dict[str, Any], member: str) -> tuple[str, ...] | None:
    value = entry.get(member)
    if value is None:
        return None
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise BadEntry(member, 'must be a list of strings, such as ["a", "b"]', '应为字符串列表，例如 ["a", "b"]')
    return tuple(words)


def _texts(entry: dict[str, Any], member: str) -> Mapping[str, str]:
    value = entry.get(member, {})
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise BadEntry(member, 'must be an object of strings, such as {"a": "b"}', '值应为字符串，例如 {"a": "b"}')
    return value


def _seconds(entry: dict[str, Any], member: str) -> float | None:
    value = entry.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_SECONDS:
        raise BadEntry(member, f"must be seconds, above 0 and at most {MOST_SECONDS:.0f}", "应为大于 0 的秒数")
    return float(value)


def _bytes(entry: dict[str, Any], member: str) -> int | None:
    value = entry.get(member)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= MOST_BYTES:
        raise BadEntry(member, f"must be bytes, from 1024 to {MOST_BYTES}", f"应为 1024 到 {MOST_BYTES} 的字节数")
    return value
