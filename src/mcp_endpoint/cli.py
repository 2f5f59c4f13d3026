"""The commands: `python main.py` alone starts the broker, `python main.py COMMAND` does one of the others."""

import argparse
import io
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

from mcp_endpoint import __version__, app
from mcp_endpoint.clients import device
from mcp_endpoint.clients.doctor import command as doctor
from mcp_endpoint.clients.pipe import functions as pipe_source
from mcp_endpoint.clients.pipe import program as pipe
from mcp_endpoint.clients.pipe import servers
from mcp_endpoint.clients.servers import command as servers_command
from mcp_endpoint.logs.setup import Logs
from mcp_endpoint.providers.entries.servers_file import SERVERS
from mcp_endpoint.providers.transports.child_environ import secrets_of_environment
from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import Loaded, load, prepare, preview
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.tls import certificate
from mcp_endpoint.tokens import TokenError, Tokens, urls

DATA_FILE = Path("data", ".mcp-endpoint-server.cfg")
BAD_SETTINGS = 2


def main(argv: Sequence[str] | None = None, home: str | None = None) -> int:
    """Run one command; returns its exit code. `home` is the folder that data/ and logs/ are in (default: here)."""
    folder = Path(home) if home else Path.cwd()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where it has no Chinese, an escape is better than a traceback
            stream.reconfigure(errors="backslashreplace")
    words, command = _split(sys.argv[1:] if argv is None else list(argv))
    options = _parser().parse_args(words)
    path = Path(options.config) if options.config else folder / DATA_FILE
    try:
        match options.command:
            case None | "run":
                return _run(path, folder)
            case "check-config":
                return _check(preview(path, os.environ) if path.exists() or options.config else None, path, folder)
            case "urls":
                return _urls(load(path, os.environ).settings)
            case "token":
                return _token(load(path, os.environ).settings, options.agent, options.check)
            case "doctor":
                asked = doctor.Question(path, folder, options.token, options.agent, options.json)
                return doctor.run(asked, os.environ, _base, sys.stdout)
            case "pipe":
                return _pipe(options)
            case "servers":
                return _servers(options, command, path)
            case "tools":
                return device.run_tools(options.url, os.environ, sys.stdout, sys.stderr)
            case _:
                return device.run_call(options.url, options.tool, options.arguments, os.environ, sys.stdout, sys.stderr)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return BAD_SETTINGS
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `… | head`: whoever read the output has gone. What is still buffered must not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _agent_name(given: str) -> str:
    """The name of an agent on the command line, also where the locale could not read its UTF-8."""
    try:
        name = os.fsencode(given).decode() if any("\udc80" <= letter <= "\udcff" for letter in given) else given
    except UnicodeDecodeError:
        name = ""
    if not name.strip():
        raise argparse.ArgumentTypeError("this is no name: empty, or not UTF-8 / 名称为空或不是 UTF-8")
    return name


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words for the parser, and for `servers add` what stands behind `--`, which argparse cannot tell apart."""
    if "servers" in words and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mcp-endpoint",
        description="An MCP endpoint broker: tool programs dial in, Xiaozhi voice assistants call their tools. / "
        "MCP 接入点服务:工具程序接入,小智调用工具。",
        epilog="Without a command the broker starts. / 不带命令即启动服务。",
    )
    parser.add_argument("--config", metavar="FILE", help=f"settings file (default: {DATA_FILE}); state lives beside it")
    parser.add_argument("--version", action="version", version=f"mcp-endpoint {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="start the broker / 启动服务")
    commands.add_parser("check-config", help="check the settings without starting / 检查配置")
    commands.add_parser("urls", help="print the URLs with their secrets / 打印接入点地址")
    token = commands.add_parser("token", help="make or check a token / 生成或检查 token")
    which = token.add_mutually_exclusive_group()
    which.add_argument(
        "--agent",
        metavar="NAME",
        type=_agent_name,
        help="mint for this agent, named as in the console (default: single)",
    )
    which.add_argument("--check", metavar="TOKEN", help="say what a token (or the URL it is in) is")
    check_up = commands.add_parser("doctor", help="say what is wrong, in plain words / 检查并说明问题")
    whose = check_up.add_mutually_exclusive_group()
    whose.add_argument("--token", metavar="TOKEN", help="how is the agent of this token (or URL)?")
    whose.add_argument("--agent", metavar="NAME", type=_agent_name, help="how is this agent (name or id)?")
    check_up.add_argument("--json", action="store_true", help="for programs")
    bridge = commands.add_parser("pipe", help="connect a stdio MCP server to an endpoint / 桥接本地 MCP 服务")
    bridge.add_argument("--servers", metavar="FILE", help="connect every server of this mcpServers JSON file instead")
    bridge.add_argument("--python", metavar="FILE", help="serve the functions of this Python file (or module) instead")
    bridge.add_argument("--url", dest="endpoint", metavar="URL", help="the endpoint, if it is not given by place")
    bridge.add_argument("url", nargs="?", metavar="URL", help="endpoint of a tool side (default: $MCP_ENDPOINT)")
    bridge.add_argument("server", nargs=argparse.REMAINDER, metavar="-- CMD …", help="the server's command")
    _add_servers(commands)
    tools = commands.add_parser("tools", help="list an agent's tools, as a device / 以设备身份列出工具")
    tools.add_argument("url", nargs="?", metavar="URL", help="endpoint of a device (default: $MCP_ENDPOINT)")
    call = commands.add_parser("call", help="call a tool, as a device / 以设备身份调用工具")
    call.add_argument("--url", metavar="URL", help="endpoint of a device (default: $MCP_ENDPOINT)")
    call.add_argument("tool", metavar="TOOL")
    call.add_argument("arguments", nargs="?", default="{}", metavar="JSON", help="arguments as a JSON object")
    return parser


def _run(path: Path, home: Path) -> int:
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
        print(
            f"{path}: [server] host/port: cannot listen on {where}: {error.strerror or error}. Is another broker "
            f"running? Choose another port. / 无法监听 {where},请检查端口是否被占用。",
            file=sys.stderr,
        )
        return 1
    logs.start()
    try:
        for warning in loaded.warnings:
            logger.warning("{}", warning)

        def ready(port: int) -> None:
            line = logger.bind(event="start", host=settings.server.host, port=port, tls=tls is not None)
            line.info("mcp-endpoint {} listens on {}:{}", __version__, settings.server.host, port)
            if sys.stdout.isatty() or loaded.generated_key:
                try:
                    _print_urls(settings, port)
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


def _check(loaded: Loaded | None, path: Path, home: Path) -> int:
    if loaded is None:
        print(f"{path}: not there yet; the first start makes it. / 尚未生成,首次启动时自动创建。")
        return 0
    certificate(loaded.settings, home)
    for warning in loaded.warnings:
        print(warning)
    print(f"{path}: good. / 配置正确。")
    return 0


def _urls(settings: Settings) -> int:
    _print_urls(settings, settings.server.port)
    return 0


def _print_urls(settings: Settings, port: int) -> None:
    """Print the addresses that hold secrets, labelled as the tutorials show them."""
    base = _base(settings, port)
    tool_url, _ = urls(base, Tokens(settings.server.key).mint(None))
    # In one piece with its last line end: the log's thread writes to the same terminal.
    print(
        "=====下面的地址分别是智控台/单模块MCP接入点地址 / the endpoint's addresses=====\n"
        f"智控台MCP参数配置: {base}/mcp_endpoint/health?key={settings.server.key}\n"
        f"单模块部署MCP接入点: {tool_url}\n"
        "=====请根据具体部署选择使用，请勿泄露给任何人 / choose one; keep it secret=====\n",
        end="",
        flush=True,
    )


def _base(settings: Settings, port: int | None = None) -> str:
    """What the printed addresses begin with; `port` is the one that the system chose for `port = 0`."""
    server, scheme = settings.server, "https" if settings.server.tls_cert else "http"
    return server.public_url or f"{scheme}://{_reachable_host(server.host)}:{server.port if port is None else port}"


def _reachable_host(host: str) -> str:
    """A name for `host` that other machines can use: the address of the default route for 0.0.0.0."""
    if host not in ("0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only makes the system choose a source address
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _token(settings: Settings, agent: str | None, check: str | None) -> int:
    tokens = Tokens(settings.server.key)
    if check is not None:
        return _check_token(tokens, check)
    base = _base(settings)
    token = tokens.mint(agent)
    tool_url, device_url = urls(base, token)
    print(f"agent  智能体    {agent or 'single_module'}  ({tokens.read(token)})")
    print(f"token            {token}")
    print(f"tools  工具端    {tool_url}")
    print(f"device 设备端    {device_url}")
    return 0


def _check_token(tokens: Tokens, text: str) -> int:
    try:
        agent = tokens.find(text)
    except TokenError:
        print(
            "This is not a token of this broker: it does not decrypt with this key. Was it made with another key? / "
            "这不是本服务的 token:无法用当前密钥解密,可能来自另一个密钥。"
        )
        return 1
    print(f"A valid token of agent {agent}. / 有效,智能体 {agent}。")
    return 0


def _add_servers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("servers", help="the servers the broker opens itself / 由本服务启动的工具服务")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    add = actions.add_parser("add", help="add one: -- CMD …, or one of the options / 添加")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--url", help="of a server that is reached by HTTP or WebSocket")
    add.add_argument("--type", choices=["http", "sse", "ws"], help="how, if the URL does not tell")
    add.add_argument("--openapi", metavar="DOCUMENT", help="path or URL of an OpenAPI document")
    add.add_argument("--python", metavar="FILE", help="a Python file with tools")
    add.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    add.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    add.add_argument("--agent", action="append", default=[], metavar="NAME", help="only for these (default: all)")
    add.epilog = "-- CMD …: the command of a stdio server / 最后的 -- 之后是启动命令"
    for action, text in {
        "remove": "remove one / 删除",
        "enable": "let one run / 启用",
        "disable": "let one rest / 停用",
        "accept": "take its changed tools as they are / 接受变化的工具",
        "login": "sign in to a remote one in a browser (OAuth) / 在浏览器中登录远程服务",
    }.items():
        one = actions.add_parser(action, help=text)
        one.add_argument("name", metavar="NAME")
        if action == "login":
            text = "where the browser comes back to on this machine (default: any free port) / 浏览器转回的本机端口"
            one.add_argument("--port", type=_port, default=0, metavar="PORT", help=text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("must be a number from 1 to 65535 / 应为 1 到 65535 之间的数字")
    return int(text)


def _servers(options: argparse.Namespace, command: Sequence[str], path: Path) -> int:
    files = servers_command.Files(path.parent / SERVERS, path.parent / app.PINS)
    out = sys.stdout

    def work() -> int:
        match options.action:
            case None:
                settings = load(path, os.environ).settings if path.exists() else None
                return servers_command.show(files, settings, out)
            case "add":
                new = servers_command.NewServer(
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
                return servers_command.add(files, new, out)
            case "accept":
                return servers_command.accept(files, options.name, out)
            case "login":
                from mcp_endpoint.clients.servers import login as servers_login

                return servers_login.login(files.servers, options.name, os.environ, out, options.port)
            case action:
                return servers_command.change(files, options.name, action, out)

    return servers_command.guarded(work, sys.stderr)


def _pipe(options: argparse.Namespace) -> int:
    """`pipe URL -- CMD …`, `pipe URL --servers FILE` or `pipe URL --python FILE`.

    argparse leaves the `--` in, takes options behind the URL for the command, and CMD for the URL when $MCP_ENDPOINT
    gives that.
    """
    url, command, file, python = options.url, options.server, options.servers, options.python
    if url and "://" not in url:
        url, command = None, [url, *command]
    elif command and command[0].partition("=")[0] in ("--servers", "--python", "--url"):
        behind = _parser().parse_args(["pipe", *command])
        command = [behind.url, *behind.server] if behind.url else behind.server
        file, python = file or behind.servers, python or behind.python
        url = behind.endpoint or url
    url = options.endpoint or url
    if command[:1] == ["--"]:
        command = command[1:]
    if [bool(command), bool(file), bool(python)].count(True) != 1:
        print(
            "pipe URL -- CMD …, pipe URL --servers FILE or pipe URL --python FILE: give the command of one MCP server, "
            "a file of several, or a file of functions. / "
            "缺少 MCP 服务的启动命令；请给出一个命令，或用 --servers、--python 指定文件（三选一）。",
            file=sys.stderr,
        )
        return 2
    secrets = secrets_of_environment(os.environ)
    logs = Logs(level="INFO", debug=False, log_file=None, max_file_size=0, backup_count=0, secrets=secrets)
    logs.start()
    try:
        if file:
            return servers.run_servers(url, Path(file), os.environ)
        if python:
            return pipe_source.run_python(url, python, os.environ)
        return pipe.run(url, command, os.environ)
    finally:
        logs.stop()
