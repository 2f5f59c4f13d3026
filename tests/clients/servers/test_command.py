"""`servers`: what it says of a running broker's servers, and how it changes their file."""

import io
import json
from pathlib import Path

import pytest

from mcp_endpoint.clients.servers.overview import print_server
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.providers.entries.entry import Server
from mcp_endpoint.providers.provider import State
from support.brokers import Brokers
from support.paths import ROOT
from support.servers.opened import server
from support.servers_command import command


def entries(folder: Path) -> dict[str, object]:
    document = json.loads((folder / "mcp_servers.json").read_text("utf-8"))
    assert isinstance(document, dict)
    found = document["mcpServers"]
    assert isinstance(found, dict)
    return found


async def test_servers_are_added_changed_and_removed_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    assert (await command(tmp_path, "add", "calc", "--", "python3", "x.py", "--deep"))[0] == 0
    path = tmp_path / "mcp_servers.json"
    path.write_text(json.dumps({"其他": 1} | json.loads(path.read_text("utf-8"))), "utf-8")
    url = "https://example.com/mcp"
    added = await command(
        tmp_path, "add", "web", "--url", url, "--header", "Authorization: Bearer s", "--agent", "kitchen"
    )
    assert added[0] == 0
    assert (await command(tmp_path, "add", "pet", "--openapi", "https://example.com/openapi.json"))[0] == 0
    assert (await command(tmp_path, "add", "mine", "--python", "tools.py", "--env", "A=b=c"))[0] == 0
    assert (await command(tmp_path, "disable", "calc"))[0] == 0
    assert entries(tmp_path) == {
        "calc": {"command": "python3", "args": ["x.py", "--deep"], "disabled": True},
        "web": {"url": url, "headers": {"Authorization": "Bearer s"}, "agents": ["kitchen"]},
        "pet": {"openapi": "https://example.com/openapi.json"},
        "mine": {"python": "tools.py", "env": {"A": "b=c"}},
    }
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    code, out, _ = await command(tmp_path)
    assert code == 0
    assert "calc  stdio  disabled" in out
    assert "not running" in out
    for name in ("web", "pet", "mine"):
        assert (await command(tmp_path, "remove", name))[0] == 0
    assert (await command(tmp_path, "enable", "calc"))[0] == 0
    assert entries(tmp_path) == {"calc": {"command": "python3", "args": ["x.py", "--deep"]}}
    assert json.loads(path.read_text("utf-8"))["其他"] == 1


async def test_paths_are_those_of_the_folder_it_was_typed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (await command(tmp_path, "add", "calc", "--", "python3", "examples/calculator.py"))[0] == 0
    assert (await command(tmp_path, "add", "units", "--python", "examples/tools/units.py"))[0] == 0
    assert entries(tmp_path) == {
        "calc": {"command": "python3", "args": ["examples/calculator.py"], "cwd": str(ROOT)},
        "units": {"python": str(ROOT / "examples" / "tools" / "units.py")},
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "a"), "give one of"),
        (("add", "a", "--url", "ftp://x"), "must be a URL such as http://"),
        (("add", "a", "--url", "http://x/", "--header", "no colon"), "must be NAME:VALUE"),
        (("add", "there", "--python", "x.py"), "is there already"),
        (("remove", "gone"), 'server "gone": is not listed; there are: there'),
        (("enable", "gone"), "is not listed"),
        (("accept", "gone"), 'server "gone": is not listed; there are: there'),
        (("login", "gone"), 'server "gone": is not listed; there are: there'),
        (
            ("add", "a", "--url", "http://x/", "--header", "Authorization: Bearer …"),
            'server "a" headers Authorization: has a character in its value that is not ASCII',
        ),
        (("add", "a", "--url", "ws://x/", "--header", "A: b\nc"), "has a line break or a control character"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert (await command(tmp_path, "add", "there", "--python", "x.py"))[0] == 0
    before = entries(tmp_path)
    code, out, err = await command(tmp_path, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert entries(tmp_path) == before


@pytest.mark.parametrize("action", ["remove", "enable", "disable", "accept", "login"])
async def test_where_no_server_is_listed_yet_that_is_what_is_said(tmp_path: Path, action: str) -> None:
    code, out, err = await command(tmp_path, action, "gone")
    assert (code, out) == (2, "")
    assert err.endswith('server "gone": is not listed; there are no servers yet\n')
    assert not (tmp_path / "mcp_servers.json").exists()


async def test_a_disabled_server_is_shown_as_the_kind_it_is(tmp_path: Path) -> None:
    for name, *way in (("mine", "--python", "x.py"), ("web", "--url", "https://example.com/mcp")):
        assert (await command(tmp_path, "add", name, *way))[0] == 0
        assert (await command(tmp_path, "disable", name))[0] == 0
    _, out, _ = await command(tmp_path)
    assert "mine  python  disabled  tools: 0" in out
    assert "web  http  disabled  tools: 0" in out
    code, _, err = await command(tmp_path, "login", "web")
    assert (code, 'server "web": is disabled; enable it first' in err) == (2, True)


def test_every_state_has_words_in_both_languages() -> None:
    out = io.StringIO()
    terminal = Terminal("zh", out, out)
    for state in State:
        print_server(Server("lamp"), {"state": state.value, "kind": "stdio"}, terminal)
    lines = out.getvalue().splitlines()
    assert len(set(lines)) == len(State)
    assert not [line for line in lines if any(state.value in line.split() for state in State)]


async def test_a_running_brokers_servers_are_shown_with_what_is_wrong(opening: Brokers) -> None:
    broker = opening(home=server("lamp"), bad=server("x", options={"exit": 3}))
    folder = broker.config.parent
    async with broker.agent().device() as device:
        assert await device.names() == ["lamp"]
        await broker.logged(r"server bad: .*\(exited\)")
        code, out, _ = await command(folder, broker=broker)
    assert code == 1
    assert "home  stdio  serving  tools: 1" in out
    assert "bad  stdio  waiting  tools: 0\n  the program ended" in out
    assert "  | hello from " in out


async def test_a_change_of_the_file_by_the_command_reaches_a_running_broker(opening: Brokers) -> None:
    broker = opening(home=server("lamp"))
    folder = broker.config.parent
    async with broker.agent().device() as device:
        assert await device.names() == ["lamp"]
        assert (await command(folder, "disable", "home"))[0] == 0
        await broker.logged("changed servers: home", count=2)
        assert (await command(folder, "enable", "home"))[0] == 0
        await broker.logged("server home: serving", count=2)
        assert await device.names() == ["lamp"]


async def test_a_changed_tool_that_is_accepted_is_shown_again(opening: Brokers, tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{"name": "pay", "description": "Pays.", "inputSchema": {}}]), "utf-8")
    broker = opening({"pin_tools": "block"}, bank=server(options={"file": str(tools)}))
    folder = broker.config.parent
    async with broker.agent().device() as device:
        assert await device.names() == ["pay"]
        tools.write_text(json.dumps([{"name": "pay", "description": "Pays me.", "inputSchema": {}}]), "utf-8")
        assert (await command(folder, "disable", "bank"))[0] == 0
        await broker.logged("changed servers: bank", count=2)
        assert (await command(folder, "enable", "bank"))[0] == 0
        await broker.logged("server bank: serving", count=2)
        assert await device.names() == []
        code, out, _ = await command(folder, broker=broker)
        assert (code, "Pays me." in out) == (0, True)
        code, out, _ = await command(folder, "accept", "bank")
        assert code == 0
        assert "accepted 1" in out
        while await device.names() != ["pay"]:
            assert "list_changed" in await device.text()
        assert (await command(folder, "accept", "bank"))[1].startswith("bank: none of its tools changed")
