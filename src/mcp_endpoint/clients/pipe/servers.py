"""Several MCP servers on one endpoint, listed in the `mcpServers` file that desktop hosts read.

Each is bridged by a `pipe` of its own, on a connection of its own, and is known to the endpoint by its name in the
file (`?server_id=`). Programs are started; what has a URL, and tools of documents and Python files, are opened as the
broker itself opens them. A file that cannot be read ends the command; a server that cannot run is left out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from loguru import logger

from mcp_endpoint.clients.pipe.functions import pipe_anew, pipe_source
from mcp_endpoint.clients.pipe.program import USAGE, named, pipe, run_until_signal, tool_endpoint
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.entries.entry import Kind, Server, Tools, expanded
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.factory import SourceContext, make_source
from mcp_endpoint.providers.source import Stopped
from mcp_endpoint.providers.transports.child_environ import whole_environment

FAILED = 1


def with_server_id(url: str, name: str) -> str:
    """`url` with `server_id=name` in its query, in place of one it may have; every other byte stays."""
    parts = urlsplit(url.strip().strip("\"'"))
    members = [part for part in parts.query.split("&") if part and part.partition("=")[0] != "server_id"]
    return urlunsplit(parts._replace(query="&".join([*members, f"server_id={quote(name, safe='')}"])))


async def pipe_servers(
    url: str | None,
    servers: Sequence[Server],
    *,
    environ: Mapping[str, str],
    folder: Path | None = None,
    backoff: Backoff | None = None,
) -> int:
    """Bridge all `servers` to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled; `folder` is the file's.

    What is wrong with one of them is logged under its name and does not end the others. Returns an exit code only
    if the URL is unusable or no server is left; `backoff` replaces the one that each has of its own.
    """
    where = tool_endpoint(url, environ)
    if where is None:
        return USAGE
    bridges = [
        asyncio.create_task(
            _bridge(with_server_id(where.url, server.name), server, environ, folder or Path.cwd(), backoff)
        )
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
    if server.fault is not None:
        told = server.fault.told()
        logger.error(f"[{shown}] 条目有误，跳过：{told['zh']} / Its entry is not right; left out: {told['en']}")
        return False
    for remark in server.remarks:
        told = remark.told()
        logger.warning(f"[{shown}] {told['zh']} / {told['en']}")
    if server.disabled:
        logger.info(f"[{shown}] 已停用（disabled），跳过。 / Disabled in the file; left out.")
    if server.tools != Tools() and not server.disabled:
        logger.warning(
            f"[{shown}] tools 在此不起作用：请在接入点服务的 [agent …] 中用 allow、deny 选择工具。"
            " / Its `tools` mean nothing here: choose tools in the broker, by allow and deny of [agent …]."
        )
    return not server.disabled


async def _bridge(url: str, server: Server, environ: Mapping[str, str], folder: Path, backoff: Backoff | None) -> int:
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
        if ready.kind is not Kind.STDIO:
            return await _open(url, ready, SourceContext(environ, folder), backoff)
        return await pipe(
            url,
            ready.command,
            environ=whole_environment(ready.environ, environ, proxy_env=ready.proxy_env),
            cwd=ready.cwd,
            name=server.name,
            backoff=backoff,
        )
    except Exception:  # noqa: BLE001  this server's task ends here, the others go on
        logger.exception(f"[{shown}] 内部错误。 / An internal error ended this server's bridge.")
        return FAILED


async def _open(url: str, server: Server, context: SourceContext, backoff: Backoff | None) -> int:
    """The bridge of a server that is no program."""
    environ, log = context.environ, logger.patch(named(server.name))
    if server.kind is not Kind.PYTHON:
        return await pipe_anew(url, lambda: make_source(server, context), environ=environ, backoff=backoff, log=log)
    try:
        source = make_source(server, context)
    except Stopped as stopped:
        log.error(" / ".join(stopped.sentences()))
        return FAILED
    return await pipe_source(url, source, environ=environ, backoff=backoff, log=log)


def run_servers(url: str | None, path: Path, environ: Mapping[str, str]) -> int:
    """`pipe --servers FILE` as a command. Returns its exit code, as `pipe.run` does."""
    try:
        servers = read_servers(path)
    except UnusableFile as error:
        logger.error(f"{error}")
        return USAGE
    return run_until_signal(pipe_servers(url, servers, environ=environ, folder=path.absolute().parent))
