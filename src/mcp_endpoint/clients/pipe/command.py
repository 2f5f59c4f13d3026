"""The command `pipe`: which bridge was asked for, and its log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcp_endpoint.clients.exit_codes import USAGE
from mcp_endpoint.clients.pipe import several, source, stdio
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.setup import Logs
from mcp_endpoint.providers.transports.child_environ import secrets_of_environment


@dataclass(frozen=True)
class Question:
    """What `pipe` was told: an endpoint, if not `$MCP_ENDPOINT`, and one kind of tools to connect to it."""

    url: str | None
    command: Sequence[str]
    servers: str | None
    python: str | None


def run(question: Question, environ: Mapping[str, str], terminal: Terminal) -> int:
    """Bridge until a signal comes. Returns the exit code of the command."""
    if [bool(question.command), bool(question.servers), bool(question.python)].count(True) != 1:
        terminal.complain(
            Bilingual(
                "请给出要接入的工具，三选一：pipe URL -- CMD …（一个 MCP 服务的启动命令）、pipe URL --servers FILE"
                "（列有多个服务的文件）、pipe URL --python FILE（含有函数的文件）。",
                "Give one kind of tools: pipe URL -- CMD … (the command of one MCP server), pipe URL --servers FILE "
                "(a file of several) or pipe URL --python FILE (a file of functions).",
            )
        )
        return USAGE
    secrets = secrets_of_environment(environ)
    logs = Logs(level="INFO", debug=False, log_file=None, max_file_size=0, backup_count=0, secrets=secrets)
    report = Report(terminal.language)
    logs.start()
    try:
        if question.servers:
            return several.run(question.url, Path(question.servers), environ, report)
        if question.python:
            return source.run_python(question.url, question.python, environ, report)
        return stdio.run(question.url, question.command, environ, report)
    finally:
        logs.stop()
