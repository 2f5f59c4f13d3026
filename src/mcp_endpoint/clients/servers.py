"""Several stdio MCP servers on one endpoint, listed in the `mcpServers` file that desktop hosts read.

Each is bridged by a `pipe` of its own, on a connection of its own, and is known to the endpoint by its name in the
file (`?server_id=`). A file that cannot be read as meant ends the command; a server that cannot run is left out.
"""

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from loguru import logger

from mcp_endpoint.clients.endpoint import UnusableURL, endpoint
from mcp_endpoint.clients.pipe import NO_URL, URL_VARIABLE, USAGE, pipe, run_until_signal
from mcp_endpoint.providers.backoff import Backoff
from mcp_endpoint.redaction import quote_peer

FAILED = 1
LONGEST_NAME = 64
"""Characters of a `server_id` that a broker looks at."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class UnusableFile(ValueError):
    """The file cannot be used; the message is one line: file, place, what is wrong, what is allowed."""

    def __init__(self, path: Path, where: str, en: str, zh: str) -> None:
        place = f": {where}" if where else ""
        super().__init__(quote_peer(f"{path}{place}", 300) + f": {en} / {zh}")


@dataclass(frozen=True)
class Server:
    """One entry of the file, with its variables not yet put in. `needs_url` is true for one without a command."""

    name: str
    command: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    disabled: bool = False
    needs_url: bool = False


def read_servers(path: Path) -> list[Server]:
    """The servers that the file at `path` lists, in its order. Raises UnusableFile."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableFile(
            path, "", f"byte {error.start + 1} is not UTF-8; save the file as UTF-8", "不是 UTF-8 编码，请另存为 UTF-8"
        ) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UnusableFile(path, "", f"cannot be read: {why}", f"无法读取：{why}") from None

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # json would keep the last of two servers with one name, and nobody would know where the other went.
        found = dict(pairs)
        if len(found) < len(pairs):
            name = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
            raise UnusableFile(path, f'"{name}"', "stands there twice; rename or remove one", "重复出现，请改名或删除")
        return found

    try:
        document = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        hint = "no comments and no comma after the last entry are allowed"
        raise UnusableFile(
            path, place, f"is not JSON ({error.msg}); {hint}", "不是有效的 JSON；不允许注释，最后一项后不能有逗号"
        ) from None
    except RecursionError:
        raise UnusableFile(path, "", "is nested too deeply", "嵌套过深") from None
    listed = document.get("mcpServers") if isinstance(document, dict) else None
    if not isinstance(listed, dict):
        form = '{"mcpServers": {"NAME": {"command": "…", "args": []}}}'
        raise UnusableFile(
            path, "", f"has no object mcpServers; it must look like {form}", f"缺少 mcpServers，应为 {form}"
        )
    return [_server(path, name, entry) for name, entry in listed.items()]


def _server(path: Path, name: str, entry: object) -> Server:
    def bad(member: str, en: str, zh: str) -> UnusableFile:
        place = f'server "{name}"' + (f", {member}" if member else "")
        return UnusableFile(path, place, en, zh)

    if not name.strip() or len(name) > LONGEST_NAME:
        raise bad("", f"its name must have 1 to {LONGEST_NAME} characters", f"名称应为 1 到 {LONGEST_NAME} 个字符")
    if not isinstance(entry, dict):
        raise bad("", 'must be an object such as {"command": "…"}', '应为对象，例如 {"command": "…"}')
    disabled = entry.get("disabled", False)
    if not isinstance(disabled, bool):
        raise bad("disabled", "must be true or false", "应为 true 或 false")
    if disabled:
        return Server(name, disabled=True)
    command = entry.get("command")
    if command is None and isinstance(entry.get("url", entry.get("httpUrl")), str):
        return Server(name, needs_url=True)
    if not isinstance(command, str) or not command.strip():
        raise bad(
            "command", "must be the program to start, a string that is not empty", "应为要启动的程序（非空字符串）"
        )
    arguments, environ, cwd = entry.get("args"), entry.get("env"), entry.get("cwd")
    if arguments is not None and not (isinstance(arguments, list) and all(isinstance(one, str) for one in arguments)):
        raise bad("args", 'must be a list of strings, such as ["-y", "8080"]', '应为字符串列表，例如 ["-y", "8080"]')
    if environ is not None and not (
        isinstance(environ, dict) and all(isinstance(value, str) for value in environ.values())
    ):
        raise bad(
            "env", 'must be an object of strings, such as {"PORT": "8080"}', '值应为字符串，例如 {"PORT": "8080"}'
        )
    if cwd is not None and not isinstance(cwd, str):
        raise bad("cwd", "must be a folder's path, a string", "应为文件夹路径（字符串）")
    texts = [command, *(arguments or []), *(environ or {}), *(environ or {}).values(), cwd or ""]
    if any("\0" in text for text in texts) or any("=" in variable or not variable for variable in environ or {}):
        raise bad("", "has a NUL character, or = in the name of a variable", "含有 NUL 字符，或变量名中有 =")
    return Server(name, (command, *(arguments or [])), environ or {}, cwd or None)


def expanded(server: Server, environ: Mapping[str, str]) -> Server:
    """`server` with `${VAR}` and `${VAR:-default}` replaced out of `environ`. Raises KeyError if VAR is not there."""

    def put(match: re.Match[str]) -> str:
        variable, default = match[1], match[2]
        if default is not None:
            return environ.get(variable) or default
        return environ[variable]

    def fill(text: str) -> str:
        return _VARIABLE.sub(put, text)

    return Server(
        server.name,
        tuple(map(fill, server.command)),
        {variable: fill(value) for variable, value in server.environ.items()},
        None if server.cwd is None else fill(server.cwd),
    )


def with_server_id(url: str, name: str) -> str:
    """`url` with `server_id=name` in its query, in place of one it may have; every other byte stays."""
    parts = urlsplit(url.strip().strip("\"'"))
    members = [part for part in parts.query.split("&") if part and part.partition("=")[0] != "server_id"]
    return urlunsplit(parts._replace(query="&".join([*members, f"server_id={quote(name, safe='')}"])))


async def pipe_servers(
    url: str | None, servers: Sequence[Server], *, environ: Mapping[str, str], backoff: Backoff | None = None
) -> int:
    """Bridge all `servers` to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled.

    What is wrong with one of them is logged under its name and does not end the others. Returns an exit code only
    if the URL is unusable or no server is left; `backoff` replaces the one that each has of its own.
    """
    url = url or environ.get(URL_VARIABLE)
    if not url:
        logger.error(NO_URL)
        return USAGE
    try:
        where = endpoint(url, "mcp")
    except UnusableURL as error:
        logger.error(f"{error}")
        return USAGE
    for note in where.notes:
        logger.info(note)
    bridges = [
        asyncio.create_task(_bridge(with_server_id(where.url, server.name), server, environ, backoff))
        for server in servers
        if _wanted(server)
    ]
    if not bridges:
        logger.error("文件中没有可启动的服务。 / The file lists no server that can be started.")
        return FAILED
    try:
        await asyncio.wait(bridges)
    finally:
        for bridge in bridges:
            bridge.cancel()
        await asyncio.gather(*bridges, return_exceptions=True)
    logger.error("没有仍在运行的服务。 / None of the servers could be run; see the lines above.")
    return max(bridge.result() for bridge in bridges)


def _wanted(server: Server) -> bool:
    shown = quote_peer(server.name)
    if server.disabled:
        logger.info(f"[{shown}] 已停用（disabled），跳过。 / Disabled in the file; left out.")
    if server.needs_url:
        logger.warning(
            f"[{shown}] 通过 url 提供，需要由接入点服务自己连接（尚未支持），跳过。"
            " / Has a url and no command: that needs the broker's providers, which are not there yet; left out."
        )
    return not (server.disabled or server.needs_url)


async def _bridge(url: str, server: Server, environ: Mapping[str, str], backoff: Backoff | None) -> int:
    """One server's bridge, whose end never takes another one with it."""
    shown = quote_peer(server.name)
    try:
        ready = expanded(server, environ)
    except KeyError as error:
        variable = error.args[0]
        logger.error(
            f"[{shown}] 环境变量 {variable} 未设置，跳过；可写成 ${{{variable}:-默认值}}。"
            f" / The environment has no {variable}; left out. Set it, or write ${{{variable}:-default}}."
        )
        return FAILED
    try:
        return await pipe(
            url,
            ready.command,
            environ={**environ, **_spelled(ready.environ)},
            cwd=ready.cwd,
            name=server.name,
            backoff=backoff,
        )
    except Exception:  # noqa: BLE001  this server's task ends here, the others go on
        logger.exception(f"[{shown}] 内部错误。 / An internal error ended this server's bridge.")
        return FAILED


def _spelled(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Names as the environment has them: on Windows `Path` is `PATH`, and both side by side would be a toss-up."""
    return {name.upper(): value for name, value in environ.items()} if sys.platform == "win32" else environ


def run_servers(url: str | None, path: Path, environ: Mapping[str, str]) -> int:
    """`pipe --servers FILE` as a command. Returns its exit code, as `pipe.run` does."""
    try:
        servers = read_servers(path)
    except UnusableFile as error:
        logger.error(f"{error}")
        return USAGE
    return run_until_signal(pipe_servers(url, servers, environ=environ))
