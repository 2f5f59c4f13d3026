"""Several MCP servers on one endpoint, listed in the `mcpServers` file that desktop hosts read.

Each is bridged by a `pipe` of its own, on a connection of its own, and is known to the endpoint by its name in the
file (`?server_id=`). Programs are started; what has a URL, and tools of documents and Python files, are opened as the
broker itself opens them. A file that cannot be read ends the command; a server that cannot run is left out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from mcp_endpoint.clients.exit_codes import FAILED, USAGE
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.running import run_until_signal, tool_endpoint
from mcp_endpoint.clients.pipe.source import pipe_anew, pipe_source
from mcp_endpoint.clients.pipe.stdio import pipe
from mcp_endpoint.language import Bilingual
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.entries.entry import Kind, Server, Tools, expanded
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.factory import SourceContext, make_source
from mcp_endpoint.providers.source import Stopped
from mcp_endpoint.providers.transports.child_environ import whole_environment


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
    report: Report,
    folder: Path | None = None,
    backoff: Backoff | None = None,
) -> int:
    """Bridge all `servers` to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled; `folder` is the file's.

    What is wrong with one of them is reported under its name and does not end the others. Returns an exit code only
    if the URL is unusable or no server is left; `backoff` replaces the one that each has of its own.
    """
    where = tool_endpoint(url, environ, report)
    if where is None:
        return USAGE
    bridges = [
        asyncio.create_task(
            _bridge(
                with_server_id(where.url, server.name),
                server,
                SourceContext(environ, folder or Path.cwd()),
                report.of(server.name),
                backoff,
            )
        )
        for server in servers
        if _wanted(server, report.of(server.name))
    ]
    if not bridges:
        report.error(Bilingual("文件中没有可启动的服务。", "The file lists no server that can be started."))
        return FAILED
    try:
        await asyncio.wait(bridges)
    finally:
        for bridge in bridges:
            bridge.cancel()
        await asyncio.gather(*bridges, return_exceptions=True)
    report.error(
        Bilingual("没有一个服务能够运行，原因见上文。", "None of the servers could be run; see the lines above.")
    )
    return max(bridge.result() for bridge in bridges)


def _wanted(server: Server, report: Report) -> bool:
    if server.fault is not None:
        told = server.fault.told()
        report.error(
            Bilingual(f"条目有误，跳过：{told['zh']}", f"Its entry is not right; left out: {told['en']}"),
        )
        return False
    for remark in server.remarks:
        told = remark.told()
        report.warning(Bilingual(told["zh"], told["en"]))
    if server.disabled:
        report.info(Bilingual("已停用（disabled），跳过。", "Disabled in the file; left out."))
    if server.tools != Tools() and not server.disabled:
        report.warning(
            Bilingual(
                "tools 在此不起作用：请在接入点服务的 [agent …] 中用 allow、deny 选择工具。",
                "Its `tools` mean nothing here: choose tools in the broker, by allow and deny of [agent …].",
            )
        )
    return not server.disabled


async def _bridge(url: str, server: Server, context: SourceContext, report: Report, backoff: Backoff | None) -> int:
    """One server's bridge, whose end never takes another one with it."""
    try:
        ready = expanded(server, context.environ)
    except KeyError as error:
        variable = error.args[0]
        report.error(
            Bilingual(
                f"环境变量 {variable} 未设置，跳过；可写成 ${{{variable}:-默认值}}。",
                f"The environment has no {variable}; left out. Set it, or write ${{{variable}:-default}}.",
            )
        )
        return FAILED
    try:
        if ready.kind is not Kind.STDIO:
            return await _open(url, ready, context, report, backoff)
        return await pipe(
            url,
            ready.command,
            environ=whole_environment(ready.environ, context.environ, proxy_env=ready.proxy_env),
            cwd=ready.cwd,
            report=report,
            backoff=backoff,
        )
    except Exception:  # noqa: BLE001  this server's task ends here, the others go on
        report.exception(Bilingual("内部错误，已停止。", "An internal error ended this server's bridge."))
        return FAILED


async def _open(url: str, server: Server, context: SourceContext, report: Report, backoff: Backoff | None) -> int:
    """The bridge of a server that is no program."""
    environ = context.environ
    if server.kind is not Kind.PYTHON:
        return await pipe_anew(
            url, lambda: make_source(server, context), environ=environ, report=report, backoff=backoff
        )
    try:
        source = make_source(server, context)
    except Stopped as stopped:
        report.error(stopped.sentences())
        return FAILED
    return await pipe_source(url, source, environ=environ, report=report, backoff=backoff)


def run(url: str | None, path: Path, environ: Mapping[str, str], report: Report) -> int:
    """`pipe --servers FILE` as a command. Returns its exit code; see `run_until_signal`."""
    try:
        servers = read_servers(path)
    except UnusableFile as error:
        report.error(error.told)
        return USAGE
    folder = path.absolute().parent
    return run_until_signal(pipe_servers(url, servers, environ=environ, report=report, folder=folder))
