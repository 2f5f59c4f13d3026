"""The command `servers`: which of its actions was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcp_endpoint.clients.exit_codes import USAGE
from mcp_endpoint.clients.servers.changes import NewServer, accept, add, change
from mcp_endpoint.clients.servers.files import Files
from mcp_endpoint.clients.servers.overview import show
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.providers.entries.servers_file import UnusableFile
from mcp_endpoint.settings.load import load


@dataclass(frozen=True)
class Question:
    """What `servers` was told: an action (None: show them), and what it needs."""

    action: str | None
    name: str = ""
    new: NewServer | None = None
    port: int = 0


def run(asked: Question, settings: Path, files: Files, environ: Mapping[str, str], terminal: Terminal) -> int:
    """`servers …` as a command, for the broker of the file `settings`: its exit code. Raises SettingsError.

    What cannot be used is told in one line.
    """
    try:
        return _run(asked, settings, files, environ, terminal)
    except UnusableFile as error:
        terminal.complain(error.told)
    except OSError as error:
        why = error.strerror or str(error)
        terminal.complain(
            Bilingual(
                f"{error.filename}：无法读取或写入（{why}）。", f"{error.filename}: cannot be read or written ({why})."
            )
        )
    return USAGE


def _run(asked: Question, settings: Path, files: Files, environ: Mapping[str, str], terminal: Terminal) -> int:
    match asked.action:
        case None:
            return show(files, load(settings, environ).settings if settings.exists() else None, terminal)
        case "add" if asked.new is not None:
            return add(files, asked.new, terminal)
        case "accept":
            return accept(files, asked.name, terminal)
        case "login":
            from mcp_endpoint.clients.servers.login import login  # what it needs takes long to load

            return login(files.servers, asked.name, environ, terminal, asked.port)
        case action:
            return change(files, asked.name, action, terminal)
