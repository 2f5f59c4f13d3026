"""The commands: `python main.py` alone starts the broker, `python main.py COMMAND` does one of the others."""

import argparse
import io
import locale
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

from mcp_endpoint import __version__, app
from mcp_endpoint.clients import device, token
from mcp_endpoint.clients.check_config import check_config
from mcp_endpoint.clients.command_line import command_line, pipe_question, split
from mcp_endpoint.clients.doctor import command as doctor
from mcp_endpoint.clients.exit_codes import FAILED, INTERRUPTED, USAGE
from mcp_endpoint.clients.parser import Ahead, look_ahead
from mcp_endpoint.clients.pipe import command as pipe
from mcp_endpoint.clients.servers import command as servers
from mcp_endpoint.clients.servers.changes import NewServer
from mcp_endpoint.clients.servers.files import Files
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.clients.urls import base_url, print_urls
from mcp_endpoint.language import Bilingual, Language, UnknownLanguage, choose
from mcp_endpoint.logs.setup import Logs
from mcp_endpoint.providers.entries.servers_file import SERVERS
from mcp_endpoint.providers.transports.child_environ import secrets_of_environment
from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import language, load, prepare
from mcp_endpoint.settings.schema import BrokerSettings, Settings
from mcp_endpoint.tls import certificate

DATA_FILE = Path("data", ".mcp-endpoint-server.cfg")
OF_OTHERS = ("tools", "call", "pipe")
"""Commands that are of use where no broker is."""


def main(argv: Sequence[str] | None = None, home: str | None = None) -> int:
    """Run one command; returns its exit code. `home` is the folder that data/ and logs/ are in (default: here)."""
    folder = Path(home) if home else Path.cwd()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where it has no Chinese, an escape is better than a traceback
            stream.reconfigure(errors="backslashreplace")
    words, behind = split(sys.argv[1:] if argv is None else list(argv))
    ahead = look_ahead(words)
    path = Path(ahead.config) if ahead.config else folder / DATA_FILE
    try:
        terminal = Terminal(_language(ahead, path), sys.stdout, sys.stderr)
    except UnknownLanguage as error:
        print(error, file=sys.stderr)
        return USAGE
    parser = command_line(terminal.language, str(DATA_FILE))
    options = parser.parse_args(words)
    path = Path(options.config) if options.config else folder / DATA_FILE
    try:
        match options.command:
            case None | "run":
                return _run(path, folder, terminal)
            case "check-config":
                return check_config(path, folder, os.environ, terminal, named=bool(options.config))
            case "urls":
                print_urls(load(path, os.environ).settings, terminal)
                return 0
            case "token" if options.check is not None:
                return token.check(load(path, os.environ).settings, options.check, terminal)
            case "token":
                return token.make(load(path, os.environ).settings, options.agent, terminal)
            case "doctor":
                asked = doctor.Question(path, folder, options.token, options.agent, options.json)
                return doctor.run(asked, os.environ, base_url, terminal)
            case "pipe":
                return pipe.run(pipe_question(options, parser), os.environ, terminal)
            case "servers":
                files = Files(path.parent / SERVERS, path.parent / app.PINS)
                return servers.run(_about_servers(options, behind), path, files, os.environ, terminal)
            case "tools":
                return device.run_tools(options.endpoint or options.url, os.environ, terminal)
            case _:
                return device.run_call(options.url, options.tool, options.arguments, os.environ, terminal)
    except SettingsError as error:
        terminal.complain(error.told)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `… | head`: whoever read the output has gone. What is still buffered must not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _language(ahead: Ahead, path: Path) -> Language:
    """What the commands print. Raises UnknownLanguage."""
    own = language(path, os.environ)
    if own is None:  # where no broker has been started yet, or none ever is
        own = "en" if ahead.command in OF_OTHERS else BrokerSettings().language
    return choose(ahead.lang, os.environ, _system_locale(), own)


def _system_locale() -> str | None:
    """The language that Windows shows its user, as a locale; elsewhere the environment says all there is."""
    if sys.platform != "win32":
        return None
    import ctypes

    return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage())


def _about_servers(options: argparse.Namespace, command: Sequence[str]) -> servers.Question:
    if options.action in (None, "list"):
        return servers.Question(None)
    if options.action != "add":
        return servers.Question(options.action, options.name, port=getattr(options, "port", 0))
    new = NewServer(
        options.name,
        command,
        options.url,
        options.type,
        options.openapi,
        options.python,
        options.header,
        options.env,
        options.agent,
    )
    return servers.Question("add", new=new)


def _run(path: Path, home: Path, terminal: Terminal) -> int:
    loaded = prepare(path, os.environ)
    settings = loaded.settings
    tls = certificate(settings, home)
    logs = Logs(
        level=settings.server.log_level,
        debug=settings.server.debug,
        log_file=home / settings.logging.log_file if settings.logging.log_file else None,
        max_file_size=settings.logging.max_file_size,
        backup_count=settings.logging.backup_count,
        secrets=[settings.server.key, *secrets_of_environment(os.environ)],
        json=settings.logging.json_lines,
    )
    try:
        listener = app.listen(settings)
    except OSError as error:
        where = f"{settings.server.host}:{settings.server.port}"
        # `create_server` adds the address, which is told already; the number of an unknown host is not an `errno`.
        why = (error.strerror or str(error)).partition(" (while ")[0]
        terminal.complain(
            Bilingual(
                f"{path}：[server] host、port：无法监听 {where}（{why}）。是否已有服务在运行？请停掉它或换一个端口。",
                f"{path}: [server] host/port: cannot listen on {where}: {why}. Is another broker running? Stop it, or "
                "choose another port.",
            )
        )
        return FAILED
    logs.start()
    try:
        for warning in loaded.warnings:
            logger.warning("{}", warning.en)

        def ready(port: int) -> None:
            line = logger.bind(event="start", host=settings.server.host, port=port, tls=tls is not None)
            line.info("mcp-endpoint {} listens on {}:{}", __version__, settings.server.host, port)
            if sys.stdout.isatty() or loaded.generated_key:
                try:
                    print_urls(settings, terminal, port)
                except OSError as error:  # nobody reads it; the broker serves all the same
                    logger.warning("the addresses could not be printed ({}): the command `urls` prints them", error)

        def show(new: Settings) -> None:
            logs.change(level=new.server.log_level, debug=new.server.debug)
            if tls is not None:
                app.reload_tls(tls)

        app.run(settings, listener, ready, lambda: load(path, os.environ), show, path.parent, tls)
        logger.info("stopped")
    finally:
        listener.close()
        logs.stop()
    return 0
