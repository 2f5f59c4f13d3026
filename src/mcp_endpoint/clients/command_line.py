"""What may stand on the command line, with its help in the reader's language."""

import argparse
import os
from collections.abc import Callable

from mcp_endpoint import __version__
from mcp_endpoint.clients.parser import CommandLine
from mcp_endpoint.clients.pipe.command import Question
from mcp_endpoint.language import Bilingual, Language


def command_line(language: Language, data_file: str) -> CommandLine:
    """All commands. `data_file` is where the settings are if `--config` does not say."""
    parser = CommandLine(
        language,
        prog="mcp-endpoint",
        description=Bilingual(
            "MCP 接入点服务：工具程序接入，小智语音助手调用它们的工具。",
            "An MCP endpoint broker: tool programs dial in, Xiaozhi voice assistants call their tools.",
        ).to(language),
        epilog=Bilingual("不带命令即启动服务。", "Without a command the broker starts.").to(language),
    )
    text = parser.text
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=text(
            f"配置文件（默认为 {data_file}），数据保存在它旁边",
            f"settings file (default: {data_file}); state lives beside it",
        ),
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"mcp-endpoint {__version__}",
        help=text("显示版本", "show the version and exit"),
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title=text("命令", "commands"))

    def add(name: str, zh: str, en: str) -> CommandLine:
        return commands.add_parser(name, language=language, help=text(zh, en))

    add("run", "启动服务", "start the broker")
    add("check-config", "检查配置，不启动", "check the settings without starting")
    add("urls", "打印接入点地址（含密钥）", "print the URLs with their secrets")
    _token(add("token", "生成或检查 token", "make or check a token"))
    _doctor(add("doctor", "检查并说明问题", "say what is wrong, in plain words"))
    _pipe(add("pipe", "把工具接入一个接入点", "connect tools to an endpoint"))
    _servers(add("servers", "由本服务启动的工具服务", "the servers that the broker opens itself"), language)
    where = text("设备端接入点地址（默认取 $MCP_ENDPOINT）", "endpoint of a device (default: $MCP_ENDPOINT)")
    tools = add("tools", "以设备身份列出工具", "list an agent's tools, as a device")
    tools.add_argument("url", nargs="?", metavar="URL", help=where)
    tools.add_argument(
        "--url", dest="endpoint", metavar="URL", help=text("URL 的另一种写法", "another way to give URL")
    )
    call = add("call", "以设备身份调用工具", "call a tool, as a device")
    call.add_argument("--url", metavar="URL", help=where)
    call.add_argument("tool", metavar="TOOL", help=text("工具名", "its name"))
    given = text("参数，一个 JSON 对象", "its arguments, one JSON object")
    call.add_argument("arguments", nargs="?", default="{}", metavar="JSON", help=given)
    return parser


def _token(parser: CommandLine) -> None:
    text, which = parser.text, parser.add_mutually_exclusive_group()
    which.add_argument(
        "--agent",
        metavar="NAME",
        type=_agent_name(text),
        help=text(
            "为该智能体生成，名称与智控台一致（默认为单模块部署的）",
            "mint for this agent, named as in the console (default: that of a single-module server)",
        ),
    )
    told = text("说明一个 token（或含有它的地址）属于谁", "say what a token (or the URL it is in) is")
    which.add_argument("--check", metavar="TOKEN", help=told)


def _doctor(parser: CommandLine) -> None:
    text, whose = parser.text, parser.add_mutually_exclusive_group()
    token = text("查看该 token（或地址）对应智能体的状态", "how is the agent of this token (or URL)?")
    whose.add_argument("--token", metavar="TOKEN", help=token)
    agent = text("查看该智能体（名称或 ID）的状态", "how is this agent (name or id)?")
    whose.add_argument("--agent", metavar="NAME", type=_agent_name(text), help=agent)
    parser.add_argument(
        "--json", action="store_true", help=text("供程序读取，含两种语言", "for programs, in both languages")
    )


def _pipe(parser: CommandLine) -> None:
    text = parser.text
    servers = text(
        "改为接入该 mcpServers JSON 文件中的所有服务", "connect every server of this mcpServers JSON file instead"
    )
    parser.add_argument("--servers", metavar="FILE", help=servers)
    python = text(
        "改为提供该 Python 文件（或模块）中的函数", "serve the functions of this Python file (or module) instead"
    )
    parser.add_argument("--python", metavar="FILE", help=python)
    url = text("接入点地址（没有作为参数写出时）", "the endpoint, if it is not given by place")
    parser.add_argument("--url", dest="endpoint", metavar="URL", help=url)
    where = text("工具端接入点地址（默认取 $MCP_ENDPOINT）", "endpoint of a tool side (default: $MCP_ENDPOINT)")
    parser.add_argument("url", nargs="?", metavar="URL", help=where)
    command = text("一个 stdio MCP 服务的启动命令", "the command of a stdio MCP server")
    parser.add_argument("server", nargs=argparse.REMAINDER, metavar="-- CMD …", help=command)


def _servers(parser: CommandLine, language: Language) -> None:
    text = parser.text
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title=text("操作", "actions"))
    add = actions.add_parser(
        "add",
        language=language,
        help=text(
            "添加一个：-- CMD …，或一个选项，见 servers add --help",
            "add one: -- CMD …, or an option, see servers add --help",
        ),
        epilog=text(
            "最后的 -- CMD … 是一个 stdio 服务的启动命令。", "-- CMD … at the end is the command of a stdio server."
        ),
    )
    add.add_argument("name", metavar="NAME", help=text("服务的名称", "the server's name"))
    add.add_argument(
        "--url", help=text("通过 HTTP 或 WebSocket 访问的服务", "of a server that is reached by HTTP or WebSocket")
    )
    kind = text("访问方式，无法从地址判断时填写", "how, if the URL does not tell")
    add.add_argument("--type", choices=["http", "sse", "ws"], help=kind)
    document = text("OpenAPI 文档的路径或 URL", "path or URL of an OpenAPI document")
    add.add_argument("--openapi", metavar="DOCUMENT", help=document)
    add.add_argument("--python", metavar="FILE", help=text("含有工具的 Python 文件", "a Python file with tools"))
    header = text("请求头，可多次给出", "a header of its requests; may come several times")
    add.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help=header)
    variable = text("环境变量，可多次给出", "a variable of its environment; may come several times")
    add.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help=variable)
    agent = text("只给这些智能体（默认为全部），可多次给出", "only for these (default: all); may come several times")
    add.add_argument("--agent", action="append", default=[], metavar="NAME", help=agent)
    actions.add_parser(
        "list", language=language, help=text("列出全部，与不带操作时相同", "show them, as without an action")
    )
    for action, zh, en in (
        ("remove", "删除一个", "remove one"),
        ("enable", "启用一个", "let one run"),
        ("disable", "停用一个", "let one rest"),
        ("accept", "接受变化的工具", "take its changed tools as they are"),
        ("login", "在浏览器中登录远程服务（OAuth）", "sign in to a remote one in a browser (OAuth)"),
    ):
        one = actions.add_parser(action, language=language, help=text(zh, en))
        one.add_argument("name", metavar="NAME", help=text("服务的名称", "the server's name"))
        if action == "login":
            port = text(
                "登录后浏览器返回的本机端口（默认任选空闲端口）",
                "where the browser comes back to on this machine (default: any free port)",
            )
            one.add_argument("--port", type=_port(text), default=0, metavar="PORT", help=port)


def _agent_name(text: Callable[[str, str], str]) -> Callable[[str], str]:
    def read_name(given: str) -> str:
        """The name of an agent on the command line, also where the locale could not read its UTF-8."""
        try:
            name = os.fsencode(given).decode() if any("\udc80" <= letter <= "\udcff" for letter in given) else given
        except UnicodeDecodeError:
            name = ""
        if not name.strip():
            raise argparse.ArgumentTypeError(text("名称为空或不是 UTF-8", "this is no name: empty, or not UTF-8"))
        return name

    return read_name


def _port(text: Callable[[str, str], str]) -> Callable[[str], int]:
    def read_port(given: str) -> int:
        if not given.isascii() or not given.isdigit() or len(given) > 5 or not 0 < int(given) < 65536:
            raise argparse.ArgumentTypeError(text("应为 1 到 65535 之间的数字", "must be a number from 1 to 65535"))
        return int(given)

    return read_port


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words for the parser, and for `servers add` what stands behind `--`, which argparse cannot tell apart."""
    if "servers" in words and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def pipe_question(options: argparse.Namespace, parser: CommandLine) -> Question:
    """What `pipe` was told, in whatever order.

    argparse leaves the `--` in, takes options behind the URL for the command, and CMD for the URL when $MCP_ENDPOINT
    gives that.
    """
    url, command, servers, python = options.url, options.server, options.servers, options.python
    if url and "://" not in url:
        url, command = None, [url, *command]
    elif command and command[0].partition("=")[0] in ("--servers", "--python", "--url", "--lang"):
        behind = parser.parse_args(["pipe", *command])
        command = [behind.url, *behind.server] if behind.url else behind.server
        servers, python = servers or behind.servers, python or behind.python
        url = behind.endpoint or url
    if command[:1] == ["--"]:
        command = command[1:]
    return Question(options.endpoint or url, command, servers, python)
