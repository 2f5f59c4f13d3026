"""What is wrong in the servers file of a running broker: who goes on, and where it is told."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_endpoint.providers.advice import advice, in_container
from mcp_endpoint.providers.entries.entry import read_entry
from mcp_endpoint.providers.source import StopReason
from support.brokers import Brokers
from support.paths import ROOT
from support.peers import Agent, Broker, said
from support.servers.opened import server, write
from support.servers_command import command
from support.sockets import PATIENCE


async def servers_of(broker: Broker) -> dict[str, Any]:
    return {one["name"]: one for one in (await broker.stats())["servers"]}


async def fault_of(broker: Broker, name: str) -> object:
    return (await servers_of(broker))[name]["fault"]


async def fault_of_the_file(broker: Broker) -> object:
    return (await broker.stats())["servers_file"]


async def until(asked: Callable[[], Awaitable[object]]) -> None:
    """Wait until there is nothing any more."""
    async with asyncio.timeout(PATIENCE):
        while await asked() is not None:  # noqa: ASYNC110  another process tells no event
            await asyncio.sleep(0.05)


async def doctor(broker: Broker) -> list[dict[str, str]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    environ["MCP_ENDPOINT_SERVER__PORT"] = str(broker.port)
    line = [sys.executable, str(ROOT / "main.py"), "--config", str(broker.config), "doctor", "--json"]
    process = await asyncio.create_subprocess_exec(*line, env=environ, stdout=subprocess.PIPE)
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    checks: list[dict[str, str]] = json.loads(out)["checks"]
    return [one for one in checks if one["check"] == "servers"]


BAD: dict[str, object] = {
    "no way": {"args": ["-y"]},
    "typed": {"url": "https://h", "type": "pigeon"},
    "input": {"command": "x", "env": {"KEY": "${input:key}"}},
    "both": {"command": "x", "url": "https://h"},
    "list": ["x"],
}


async def test_one_bad_entry_takes_no_other_with_it_and_is_told_everywhere(opening: Brokers) -> None:
    late = server("late", timeout=600_000, env={"PORT": 8080, "ON": True, "NONE": None})
    broker = opening({"language": "en"}, **BAD, home=server("lamp"), late=late)
    agent = broker.agent()
    async with agent.device() as device:
        assert sorted(await device.names()) == ["lamp", "late"]
        reports = await servers_of(broker)
        assert {name for name, one in reports.items() if one["state"] == "bad_entry"} == BAD.keys()
        assert reports["home"]["fault"] is None
        assert reports["input"]["failure"]["reason"] == "bad_entry"
        assert "env.KEY: ${input:key} is not filled in here" in reports["input"]["failure"]["en"]
        assert reports["input"]["fault"]["member"] == "env.KEY"
        assert "milliseconds: 600 s" in reports["late"]["remarks"][0]["en"]
        why = (await agent.report())["why"]
        assert "both, which the broker opens itself, does not serve: its entry in mcp_servers.json" in why["en"]
        assert "两" not in why["zh"]
        assert "条目有误" in why["zh"]
        code, out, _ = await command(broker.config.parent, broker=broker)
    assert code == 1
    assert "home  stdio  serving  tools: 1" in out
    assert "typed  -  bad_entry  tools: 0\n  its entry is not right: type: must be stdio, http, sse or ws" in out
    assert "600000 is taken as milliseconds" in out
    await broker.logged(r"server typed: .*type: must be stdio.*left out, the others are not")
    await broker.logged(r"server late: timeout: 600000 is taken as milliseconds: 600 s")
    found = await doctor(broker)
    assert sum(one["status"] == "problem" for one in found) == len(BAD)
    assert any("Server both: " in one["en"] and "keep one of them" in one["en"] for one in found)
    assert any(one["status"] == "warning" and "milliseconds" in one["en"] for one in found)


async def test_a_bad_entry_is_nobody_elses_business(opening: Brokers) -> None:
    broker = opening(mine={"command": 5, "agents": ["kitchen"]}, whose={"command": 5, "agents": {"x": 1}})
    kitchen, hall = Agent(broker, "kitchen"), Agent(broker, "hall")
    async with kitchen.device(), hall.device():
        assert (await kitchen.report())["why"]["reason"] == "server_failed"
        assert "whose" not in (await kitchen.report())["why"]["en"]
        assert (await hall.report())["why"]["reason"] == "never"


async def test_an_entry_that_turned_bad_goes_on_as_it_was_until_it_is_right_again(opening: Brokers) -> None:
    broker = opening(home=server("a"), work=server("b"))
    folder = broker.config.parent
    async with broker.agent().device() as device:
        assert sorted(await device.names()) == ["a", "b"]
        pid = json.loads(said(await device.call("a")))[3]
        write(folder, home=server("c", timeout="soon"), work=server("b"), garden=server("d"))
        await broker.logged(r"server home: .*timeout: must be seconds.*it goes on as it was before")
        await broker.logged("server garden: serving")
        assert sorted(await device.names()) == ["a", "b", "d"]
        assert json.loads(said(await device.call("a")))[3] == pid
        report = (await servers_of(broker))["home"]
        assert (report["state"], report["failure"]) == ("serving", None)
        assert "timeout: must be seconds" in report["fault"]["en"]
        code, out, _ = await command(folder, broker=broker)
        assert code == 1
        assert "it goes on as it was before" in out
        assert any("home goes on as it was" in one["en"] for one in await doctor(broker))
        write(folder, home=server("a"), work=server("b"), garden=server("d"))
        await until(lambda: fault_of(broker, "home"))
        assert json.loads(said(await device.call("a")))[3] == pid, "nothing of it had changed after all"
        write(folder, home=server("a", timeout="soon"))
        await broker.logged(r"server home: .*it goes on as it was before", count=2)
        write(folder, work=server("b"))
        await broker.logged("changed servers: garden, work|changed servers: .*home.*")
        while await device.names() != ["b"]:
            await device.text()


async def test_a_file_that_cannot_be_read_is_told_and_what_runs_goes_on(opening: Brokers) -> None:
    broker = opening(home=server("a"))
    path = broker.config.parent / "mcp_servers.json"
    good = path.read_text("utf-8")
    async with broker.agent().device() as device:
        assert await device.names() == ["a"]
        path.write_text(good[:-1], "utf-8")
        await broker.logged("the servers stay as they were: .*is not JSON")
        assert await device.names() == ["a"]
        fault = (await broker.stats())["servers_file"]
        assert "line 1, column" in fault["en"]
        code, out, _ = await command(broker.config.parent, broker=broker)
        assert code == 1
        assert "is not JSON" in out
        assert "home  stdio  serving  tools: 1" in out
        assert any("is not JSON" in one["en"] for one in await doctor(broker))
        path.write_text(good, "utf-8")
        await until(lambda: fault_of_the_file(broker))
        assert await device.names() == ["a"]


async def test_a_file_that_cannot_be_read_at_a_start_is_why_there_are_no_tools(
    new_broker: Brokers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = new_broker()
    path = broker.config.parent / "mcp_servers.json"
    agent = broker.agent()
    path.write_text("{ not json", "utf-8")
    await broker.logged("the servers stay as they were")
    async with agent.device() as device:
        why = (await agent.report())["why"]
        assert why["reason"] == "server_failed"
        assert "is not JSON" in why["en"]
        write(broker.config.parent, home=server("a"))
        await broker.logged("changed servers: home")
        assert await device.names() == ["a"]
        assert (await agent.report())["why"]["reason"] == "serving"


async def test_comments_in_a_file_are_not_lost_to_a_command(tmp_path: Path) -> None:
    path = tmp_path / "mcp_servers.json"
    text = '{"mcpServers": {"a": {"command": "x"}, /* mine */}}'
    path.write_text(text, "utf-8")
    code, _, err = await command(tmp_path, "disable", "a")
    assert (code, "would be lost: change it by hand" in err) == (2, True)
    assert path.read_text("utf-8") == text
    path.write_text('{"servers": {"a": {"command": "x", "isActive": false}}}', "utf-8")
    assert (await command(tmp_path, "enable", "a"))[0] == 0
    assert json.loads(path.read_text("utf-8")) == {"servers": {"a": {"command": "x"}}}


SECRETS = {
    "HTTPS_PROXY": "http://ann:hunter2-secret@127.0.0.1:9",
    "NPM_CONFIG_REGISTRY": "https://mirror.example/npm-5ecret-path/",
}
TELLS = "import os, sys; [print(v, file=sys.stderr) for k, v in os.environ.items() if k in {}]; {}"


async def test_proxies_and_mirrors_reach_programs_and_appear_nowhere(
    opening: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (SECRETS | {"NO_PROXY": "127.0.0.1,localhost", "OTHER_KEY": "other"}).items():
        monkeypatch.setenv(name, value)
    tells = ["-c", TELLS.format(sorted(SECRETS), "sys.exit(3)")]
    shows = server("where", options={"name": "s"})
    broker = opening(
        tells={"command": sys.executable, "args": tells},
        kept={"command": sys.executable, "args": tells, "proxy_env": False},
        shows=shows,
    )
    async with broker.agent().device() as device:
        assert await device.names() == ["where"]
        await broker.logged(r"server tells: .*\(exited\)")
        await broker.logged(r"server kept: .*\(exited\)")
        reports = await servers_of(broker)
        _, out, _ = await command(broker.config.parent, broker=broker)
    assert len(reports["tells"]["said"]) == 2, "both reached it"
    assert reports["kept"]["said"] == []
    everything = out + json.dumps(reports) + "\n".join(broker.lines)
    for secret in ("hunter2", "5ecret-path"):
        assert secret not in everything


async def test_a_python_program_prints_at_once_and_in_utf8(opening: Brokers) -> None:
    quiet = """
import json, sys
for line in sys.stdin:
    frame = json.loads(line)
    if "id" in frame:
        tools = [{"name": "t", "description": "开灯", "inputSchema": {"type": "object"}}]
        result = {"tools": tools} if frame["method"] == "tools/list" else {
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}, ensure_ascii=False))
"""
    broker = opening(quiet={"command": sys.executable, "args": ["-c", quiet], "env": {"LC_ALL": "C"}})
    async with broker.agent().device() as device:
        [tool] = (await device.request("tools/list"))["result"]["tools"]
        assert tool["description"] == "开灯"


async def test_a_start_that_takes_too_long_says_what_to_look_at(opening: Brokers, tmp_path: Path) -> None:
    npx = tmp_path / "npx"
    npx.write_text("#!/bin/sh\nexec cat >/dev/null\n")
    npx.chmod(0o700)
    broker = opening({"language": "en"}, far={"command": str(npx), "args": ["-y", "pkg"], "start_timeout": 0.3})
    agent = broker.agent()
    async with agent.device():
        await broker.logged(r"server far: .*\(no_handshake\).*NPM_CONFIG_REGISTRY")
        failure = (await servers_of(broker))["far"]["failure"]
        assert "HTTPS_PROXY" in failure["todo"]["en"]
        assert "镜像源" in failure["todo"]["zh"]
        assert "NPM_CONFIG_REGISTRY" in (await agent.report())["why"]["en"]
        assert "NPM_CONFIG_REGISTRY" in (await command(broker.config.parent, broker=broker))[1]


@pytest.mark.parametrize(
    ("entry", "why", "contained", "words"),
    [
        ({"command": "uvx", "args": ["x"]}, StopReason.NO_HANDSHAKE, False, "UV_DEFAULT_INDEX"),
        ({"command": "npx.cmd"}, StopReason.NO_HANDSHAKE, False, "NPM_CONFIG_REGISTRY"),
        ({"command": r"C:\Program Files\nodejs\npx.CMD"}, StopReason.NO_HANDSHAKE, False, "NPM_CONFIG_REGISTRY"),
        ({"command": "docker", "args": ["run", "x"]}, StopReason.EXITED, False, "docker run -i --rm --init"),
        ({"command": "docker", "args": ["run", "-it", "x"]}, StopReason.NO_HANDSHAKE, False, "leave out -t"),
        ({"command": "docker", "args": ["run", "-i", "x"]}, StopReason.NO_HANDSHAKE, False, "docker pull"),
        ({"command": "./own"}, StopReason.NO_HANDSHAKE, False, "start_timeout"),
        ({"command": "npx -y x"}, StopReason.NO_COMMAND, False, "install Node.js"),
        ({"command": "uvx"}, StopReason.NO_COMMAND, False, "install uv"),
        ({"command": "own"}, StopReason.NO_COMMAND, False, "is it installed?"),
        ({"command": "npx"}, StopReason.NO_COMMAND, True, "VARIANT=programs"),
        ({"url": "http://localhost:1/mcp"}, StopReason.UNREACHABLE, True, "host.docker.internal"),
        ({"url": "ws://127.0.0.1:1/"}, StopReason.UNREACHABLE, True, "host.docker.internal"),
        ({"openapi": "http://[::1]:1/x.json"}, StopReason.UNREACHABLE, True, "host.docker.internal"),
    ],
)
def test_what_is_advised(entry: dict[str, object], why: StopReason, contained: bool, words: str) -> None:
    found = advice(read_entry("x", entry), why, contained=contained)
    assert found is not None
    assert words in found.en
    assert any("一" <= character <= "鿿" for character in found.zh)


def test_where_nothing_is_known_nothing_is_advised() -> None:
    for entry, contained in (({"url": "http://h:1/mcp"}, True), ({"url": "http://localhost:1/mcp"}, False)):
        assert advice(read_entry("x", entry), StopReason.UNREACHABLE, contained=contained) is None
    assert in_container({"container": "docker"})


async def test_doctor_reads_the_file_where_no_broker_runs(opening: Brokers) -> None:
    broker = opening(bad={"command": 5}, late=server("a", timeout=20_000))
    assert broker.stop() == 0
    assert [(one["status"], one["en"].split(":")[0]) for one in await doctor(broker)] == [
        ("problem", "Server bad"),
        ("warning", "Server late"),
    ]
    (broker.config.parent / "mcp_servers.json").write_text("{", "utf-8")
    [found] = await doctor(broker)
    assert "is not JSON" in found["en"]
