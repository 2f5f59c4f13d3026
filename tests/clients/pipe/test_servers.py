"""`pipe --servers FILE`: the usual mcpServers file, real children, and the real broker."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mcp_endpoint import cli
from mcp_endpoint.clients.exit_codes import FAILED
from mcp_endpoint.clients.pipe.command import Question
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.several import pipe_servers
from mcp_endpoint.clients.pipe.several import with_server_id as with_id
from mcp_endpoint.clients.pipe.source import pipe_anew
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.entries.entry import Server, expanded
from mcp_endpoint.providers.entries.servers_file import UnusableFile, read_servers
from mcp_endpoint.providers.local.python.source import PythonFile, PythonSettings
from mcp_endpoint.providers.source import Source, Stopped, StopReason
from support.languages import no_pair
from support.paths import PROGRAMS, ROOT
from support.peers import Agent, Broker, said
from support.pipe import ENVIRON, TOKEN, Log, StandIn, child, frame, posix
from support.servers.http_peers import process
from support.sockets import PATIENCE

# A whole MCP server with one tool, `where`, that says its folder, its arguments and one variable.
SERVER = """
import json, os, sys
for line in sys.stdin:
    frame = json.loads(line)
    if "id" not in frame:
        continue
    result = {"initialize": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
                             "serverInfo": {"name": "s", "version": "1"}},
              "tools/list": {"tools": [{"name": sys.argv[1], "inputSchema": {"type": "object"}}]},
              "tools/call": {"content": [{"type": "text", "text": json.dumps(
                  [os.getcwd(), sys.argv[1:], os.environ.get("GREETING")])}]}}.get(frame["method"], {})
    print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}), flush=True)
"""


def written(folder: Path, servers: object, **others: object) -> Path:
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers} | others), "utf-8")
    return path


def server(*arguments: str, **members: object) -> dict[str, object]:
    return {"command": sys.executable, "args": ["-I", "-c", SERVER, *arguments], **members}


def launched(path: Path, url: str, **environ: str) -> "asyncio.Future[asyncio.subprocess.Process]":
    return asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "main.py"),
            "pipe",
            url,
            "--servers",
            str(path),
            env=ENVIRON | {"MCP_ENDPOINT_LANG": "en"} | environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    )


@contextlib.asynccontextmanager
async def bridged(url: str, servers: list[Server], **environ: str) -> AsyncIterator[None]:
    quick = Backoff(first=0.01, most=0.015)
    bridge = asyncio.create_task(
        pipe_servers(url, servers, environ=ENVIRON | environ, report=Report("en"), backoff=quick)
    )
    try:
        yield
        assert not bridge.done()
    finally:
        bridge.cancel()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(asyncio.CancelledError):
                await bridge


@pytest.fixture
def agent(broker: Broker) -> Agent:
    return broker.agent()


@posix
async def test_every_server_of_a_file_is_an_alias_of_its_own_and_all_end_on_sigterm(
    agent: Agent, tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = written(
        tmp_path,
        {
            "厨房 1": server("oven", "${SIZE:-big}", env={"GREETING": "hi ${NAME}"}, cwd=str(folder)),
            "attic": server("lamp"),
            "off": server("off", disabled=True),
            "gone": {"command": "no-such-program-here"},
            "unset": server("unset", "${NOT_SET_ANYWHERE}"),
        },
        other="what other programs keep here",
    )
    since = len(agent.broker.lines)
    bridge = await launched(path, agent.tool_url + "&server_id=mine&x=1", NAME="Ann")
    try:
        await agent.broker.logged(f"tool side open: agent {agent.id}", since, 2)
        async with agent.device() as device:
            while len(await device.names()) < 2:
                await asyncio.wait_for(device.text(), PATIENCE)
            assert sorted(await device.names()) == ["lamp", "oven"]
            assert json.loads(said(await device.call("oven"))) == [str(folder), ["oven", "big"], "hi Ann"]
            assert json.loads(said(await device.call("lamp")))[1:] == [["lamp"], None]
        assert {link["server_id"] for link in await agent.links("tool")} == {"厨房 1", "attic"}
    finally:
        bridge.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(bridge.communicate(), PATIENCE)
    assert bridge.returncode == 128 + signal.SIGTERM
    assert await agent.links("tool") == [] or await agent.ended("tool", 2)
    lines = output.decode().splitlines()
    assert all("] " in line for line in lines), "each line names its server"
    for name, words in {
        "厨房 1": "connected: ws://",
        "attic": "tool program ended: exit code",
        "off": "Disabled in the file",
        "gone": "There is no program no-such-program-here",
        "unset": "The environment has no NOT_SET_ANYWHERE",
    }.items():
        assert any(f"[{name}] " in line and words in line for line in lines), output.decode()
    assert agent.token not in output.decode()
    assert "Traceback" not in output.decode()


async def test_a_server_that_keeps_dying_leaves_the_others_alone(stand_in: StandIn, log: Log) -> None:
    good = Server("good", command=tuple(child("say(name='good')\nsys.stdin.read()")))
    dying = Server("dying", command=tuple(child("sys.exit(3)")))
    astray = Server("astray", command=tuple(child("")), cwd="/no/such/folder")
    async with bridged(stand_in.url + "&server_id=x&z=1", [good, dying, astray]):
        names: list[str] = []
        steady = None
        while not (steady and names.count("dying") >= 3):
            connection = await stand_in.accept()
            assert connection.request is not None
            query = urlsplit(connection.request.path).query
            assert parse_qs(query) == {"token": [TOKEN], "z": ["1"], "server_id": parse_qs(query)["server_id"]}
            names += parse_qs(query)["server_id"]
            if names[-1] == "good":
                steady = connection
        assert await frame(steady) == {"name": "good"}
        await log.wait_for(r"^\[dying\] .*exited \(exit code 3\).*Next try in")
        await log.wait_for(r"^\[astray\] .*could not be started: .*/no/such/folder")
        assert names.count("good") == 1
        assert not log.having(r"^\[good\] .*Next try")


async def test_when_none_is_left_it_says_so_and_ends(log: Log) -> None:
    gone = Server("gone", command=("no-such-program-here",))
    assert await pipe_servers("ws://h/mcp", [gone], environ=ENVIRON, report=Report("en")) == 127
    assert "None of the servers could be run" in log.lines[-1]
    assert (
        await pipe_servers("ws://h/mcp", [Server("off", disabled=True)], environ=ENVIRON, report=Report("en")) == FAILED
    )
    assert "lists no server that can be started" in log.lines[-1]


@pytest.mark.parametrize(("url", "words"), [(None, "No endpoint URL"), ("h:8004/mcp", "must start with ws://")])
async def test_an_unusable_url_is_told_once(log: Log, url: str | None, words: str) -> None:
    assert (
        await pipe_servers(
            url, [Server("a", command=("x",)), Server("b", command=("x",))], environ=ENVIRON, report=Report("en")
        )
        == 2
    )
    assert len(log.lines) == 1
    assert words in log.lines[0]


@posix
async def test_a_relative_program_is_found_in_its_folder(stand_in: StandIn, log: Log, tmp_path: Path) -> None:
    program = tmp_path / "tools" / "serve"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '{\"here\": \"'$(pwd)'\"}'\ncat >/dev/null\n")
    program.chmod(0o700)
    relative = os.path.relpath(tmp_path)  # noqa: ASYNC240
    async with bridged(stand_in.url, [Server("s", command=("./tools/serve",), cwd=relative)]):
        assert await frame(await stand_in.accept()) == {"here": str(tmp_path)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ('{"mcpServers": {\n  "a": {"command": "x"}\n "b": 1}}', "line 3, column 2"),
        ('{\n  "mcpServers": {}, /* never closed\n}', "line 2, column 21: is not JSON"),
        (b"\xff\xfe{", "is not UTF-8"),
        ('{"mcpServers": {"厨房": {"command": "x"}}}'.encode("gbk"), "is not UTF-8 (is it GBK?); save the file as"),
        (r'{"mcpServers": {"a": {"command": "C:\x"}}}', "a backslash is written "),
        ("{'mcpServers': {}}", "texts stand in straight double quotes"),
        ("{“mcpServers”: {}}", "texts stand in straight double quotes"),
        ('{"mcpServers": {"a": {"command": "x\n"}}}', "is a quote missing?"),
        ("[" * 100_000, "nested too deeply"),
        (" " * (4 * 1024 * 1024) + "{}", "has more than 4 MB"),
        ("[]", "has no object mcpServers"),
        ('{"inputs": [], "theme": {"a": 1}}', "has no object mcpServers"),
        ('{"mcpServers": [1]}', "has no object mcpServers"),
        ("{}", "has no object mcpServers"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, words: str
) -> None:
    path = tmp_path / "mcp.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    command = ["pipe", "--servers", str(path), "--url", "ws://h/mcp", "--lang"]
    assert cli.main([*command, "en"]) == 2
    [line] = capsys.readouterr().out.splitlines()
    assert f"{path}: " in line
    assert words in line
    assert cli.main([*command, "zh"]) == 2
    [line] = capsys.readouterr().out.splitlines()
    assert f"{path}：" in line
    assert no_pair(line)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match=r"absent\.json: cannot be read: No such file"):
        read_servers(tmp_path / "absent.json")
    with pytest.raises(UnusableFile, match="cannot be read: Is a directory"):
        read_servers(tmp_path)


def test_what_windows_writes_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    entry = {"command": r"C:\Program Files\node\npx.cmd", "args": None, "cwd": r"D:\my tools\${X}"}
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"mcpServers": {"a": entry}}, indent=1).replace("\n", "\r\n").encode()
    )
    [one] = read_servers(path)
    assert (one.command, one.cwd) == ((r"C:\Program Files\node\npx.cmd",), r"D:\my tools\${X}")
    assert expanded(one, {"X": r"C:\x\1"}).cwd == r"D:\my tools\C:\x\1"


def test_variables() -> None:
    known = {"A": "1", "EMPTY": "", "LOOP": "${A}"}
    for text, filled in {
        "${A}b${A}": "1b1",
        "${EMPTY}": "",
        "${EMPTY:-x}": "x",
        "${NO:-}": "",
        "${NO:-a b:c}": "a b:c",
        "${LOOP}": "${A}",
        "${env:A} {env:A} ${env:NO:-x}": "1 1 x",
        "$A $$ $${A} %A% {A} ${{A}": "$A $$ ${A} %A% {A} ${{A}",
    }.items():
        one = expanded(Server("s", command=(text, text), environ={"V": text}, cwd=text), known)
        assert (one.command, one.environ, one.cwd) == ((filled, filled), {"V": filled}, filled)
    with pytest.raises(KeyError, match="NO"):
        expanded(Server("s", command=("${NO}",)), known)


def test_the_name_in_the_url() -> None:
    assert with_id("ws://h:1/p/mcp/?token=a%2Bb/=", "a b&c") == "ws://h:1/p/mcp/?token=a%2Bb/=&server_id=a%20b%26c"
    assert with_id(" 'ws://h/mcp?server_id=x&token=t&server_id=' ", "é") == "ws://h/mcp?token=t&server_id=%C3%A9"
    assert with_id("ws://h/mcp", "n") == "ws://h/mcp?server_id=n"


def asked(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Question:
    """What `pipe` is told by a command line."""
    got: list[Question] = []
    monkeypatch.setattr(cli.pipe, "run", lambda question, _environ, _terminal: got.append(question) or 7)
    assert cli.main(["pipe", *arguments]) == 7
    (question,) = got
    return question


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["--servers", "FILE", "--url", "ws://h/mcp"], "ws://h/mcp"),
        (["ws://h/mcp", "--servers", "FILE"], "ws://h/mcp"),
        (["ws://h/mcp", "--servers=FILE"], "ws://h/mcp"),
        (["--servers", "FILE", "ws://h/mcp"], "ws://h/mcp"),
        (["--url", "ws://h/mcp", "--servers", "FILE"], "ws://h/mcp"),
        (["--servers=FILE"], None),
        (["--lang", "zh", "ws://h/mcp", "--servers", "FILE"], "ws://h/mcp"),
        (["ws://h/mcp", "--lang", "zh", "--servers", "FILE"], "ws://h/mcp"),
        (["ws://h/mcp", "--servers", "FILE", "--lang=zh"], "ws://h/mcp"),
    ],
)
def test_the_ways_to_say_it(arguments: list[str], url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(arguments, monkeypatch) == Question(url, [], "FILE", None)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["--url", "ws://h/mcp", "--", "cmd", "--servers", "x"], ["cmd", "--servers", "x"]),
        (["ws://h/mcp", "cmd", "--servers", "x"], ["cmd", "--servers", "x"]),
        (["ws://h/mcp", "--lang", "zh", "--", "cmd", "--lang", "x"], ["cmd", "--lang", "x"]),
        (["ws://h/mcp", "cmd", "--lang", "x"], ["cmd", "--lang", "x"]),
    ],
)
def test_the_commands_own_options_are_its_own(
    arguments: list[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(arguments, monkeypatch) == Question("ws://h/mcp", command, None, None)


@pytest.mark.parametrize("arguments", [[], ["ws://h/mcp"], ["--servers", "FILE", "ws://h/mcp", "--", "cmd"]])
def test_one_command_or_one_file(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pipe", *arguments]) == 2
    assert "--servers FILE" in capsys.readouterr().err


async def test_servers_that_are_no_programs_are_opened_as_the_broker_opens_them(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(
        "from mcp_endpoint.tools import tool\n\n\n@tool\ndef dice() -> int:\n    return 4\n", "utf-8"
    )
    operation = {"operationId": "listPets", "responses": {"200": {"description": "All."}}}
    document = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/pets": {"get": operation}}}
    command = (sys.executable, str(PROGRAMS / "sdk_http_server.py"), "streamable", "0")
    async with process(*command, until=r"running on \S+:(\d+)") as served:
        base = f"http://127.0.0.1:{served.port}"
        (tmp_path / "api.json").write_text(json.dumps(document), "utf-8")
        path = written(
            tmp_path,
            {
                "web": {"url": f"{base}/mcp"},
                "pets": {"openapi": "api.json", "base_url": base},
                "mine": {"python": "tools.py", "tools": {"deny": ["x"]}},
                "gone": {"url": "http://127.0.0.1:1/mcp"},
                "bad": {"url": "127.0.0.1"},
            },
        )
        since = len(agent.broker.lines)
        bridge = await launched(path, agent.tool_url)
        try:
            await agent.broker.logged(f"tool side open: agent {agent.id}", since, 4)
            async with agent.device() as device:
                while not {"count", "listPets", "dice"} <= set(await device.names()):
                    await asyncio.wait_for(device.text(), PATIENCE)
                assert said(await device.call("count", steps=1))
                assert said(await device.call("dice")) == "4"
        finally:
            bridge.send_signal(signal.SIGTERM)
            output, _ = await asyncio.wait_for(bridge.communicate(), PATIENCE)
    assert bridge.returncode == 128 + signal.SIGTERM
    lines = output.decode().splitlines()
    assert all("] " in line for line in lines), "each line names its server"
    for name, words in {
        "web": "connected: ws://",
        "gone": "The tools cannot be served: the address cannot be reached",
        "bad": "Its entry is not right; left out: url: must be a URL",
        "mine": "Its `tools` mean nothing here",
    }.items():
        assert any(f"[{name}] " in line and words in line for line in lines), output.decode()
    assert agent.token not in output.decode()
    assert "Traceback" not in output.decode()


async def test_each_connection_has_a_source_of_its_own_and_one_that_cannot_be_made_is_made_again(
    stand_in: StandIn, log: Log, tmp_path: Path
) -> None:
    path = tmp_path / "tools.py"
    path.write_text("from mcp_endpoint.tools import tool\n\n\n@tool\ndef dice() -> int:\n    return 4\n", "utf-8")
    made: list[Source] = []

    def make() -> Source:
        if len(made) == 1 and not log.having("it is away"):
            raise Stopped(StopReason.UNREACHABLE, "it is away")
        made.append(PythonFile(PythonSettings(str(path))))
        return made[-1]

    quick = Backoff(first=0.01, most=0.015)
    bridge = asyncio.create_task(pipe_anew(stand_in.url, make, environ=ENVIRON, report=Report("en"), backoff=quick))
    try:
        for count in (1, 2):
            connection = await stand_in.accept()
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": count, "method": "ping"}))
            assert (await frame(connection))["id"] == count
            assert len(made) == count
            await connection.close()
        await log.wait_for("The tools cannot be served: the address cannot be reached .*it is away")
    finally:
        bridge.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(bridge, return_exceptions=True)
