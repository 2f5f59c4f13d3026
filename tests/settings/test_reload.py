"""Settings read again on SIGHUP: what takes effect, what waits, and that no link notices."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from mcp_endpoint import __version__
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.link_log import LinkLog
from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.load import load
from mcp_endpoint.settings.reload import AT_START_ONLY, Reload, changes, in_effect
from mcp_endpoint.settings.schema import AgentSettings, Settings, describe
from mcp_endpoint.tokens import Tokens
from support.brokers import Brokers
from support.paths import ROOT
from support.peers import KEY, Broker, device, dialled, said
from support.sockets import PATIENCE, PING, Wire

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


async def reloaded(broker: Broker, *lines: str) -> list[str]:
    """What the broker logs from the signal on to the line that ends a reload, with these lines over its first file."""
    first = broker.config.with_suffix(".first")
    if not first.exists():
        first.write_text(broker.config.read_text("utf-8"), "utf-8")
    sections: dict[str, list[str]] = {}
    for line in [*first.read_text("utf-8").splitlines(), *lines]:
        if line.startswith("["):
            section = sections.setdefault(line, [])
        else:
            key = line.partition(" =")[0]
            section[:] = [other for other in section if other.partition(" =")[0] != key] + [line]
    write(broker.config, *(line for header, section in sections.items() for line in [header, *section]))
    since = len(broker.lines)
    broker.process.send_signal(signal.SIGHUP)
    await broker.logged("settings (not )?reloaded", since)
    said = [re.sub(r"^\S+ \S+ ", "", line) for line in broker.lines[since:]]
    # Lines about peers may still be on their way when the signal is sent.
    return [line for line in said if not re.match(r"\w+ +(agent |\w+ side (open|ended))", line)]


# ------------------------------------------------------------------------------------------------ over a running broker


async def test_no_link_and_no_call_notices(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.tool_side("t", calls=False) as program, agent.device() as caller:
        await caller.begin_call("t", 1)
        call = await program.next("tools/call")
        (line,) = await reloaded(broker, "[broker]", "call_timeout = 20", "[websocket]", "max_connections = 50")
        assert line.split(None, 1)[0] == "INFO"
        assert line.endswith("settings reloaded; changed: [websocket] max_connections, [broker] call_timeout")
        await program.answer(call, {"content": [{"type": "text", "text": "still here"}]})
        assert said(await caller.reply(1)) == "still here"
        assert await caller.names() == ["t"]
        assert await agent.ends() == []


async def test_times_of_an_agent_hold_for_its_next_call(new_broker: Brokers) -> None:
    broker = new_broker()
    agent, other = broker.agent(), broker.agent()
    async with agent.tool_side("t", calls=False), agent.device() as caller, other.tool_side("t"), other.device() as two:
        (line,) = await reloaded(broker, f"[agent {agent.name}]", "call_timeout = 0.2")
        assert line.endswith(f"settings reloaded; changed: [agent {agent.name}] call_timeout")
        assert (await caller.call("t"))["error"]["data"]["reason"] == "call_timed_out"
        assert "result" in await two.call("t")


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        (
            ["[broker]", "call_timeout = soon"],
            r"line \d+: \[broker\] call_timeout = 'soon': allowed: a number of seconds",
        ),
        (["[broker"], r"line \d+ is neither"),
        (["[agent a]", "tools_from = a"], r"line \d+: \[agent a\] tools_from: goes round in a circle"),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_where(broker: Broker, lines: list[str], where: str) -> None:
    async with broker.agent().device() as caller:
        (line,) = await reloaded(broker, *lines)
        assert re.search(
            f"settings not reloaded, everything stays as it was: {re.escape(str(broker.config))}: {where}", line
        )
        assert line.startswith("WARNING")
        assert (await caller.request("ping"))["result"] == {}
    (line,) = await reloaded(broker)
    assert line.endswith("settings reloaded; changed: nothing")


async def test_a_file_that_is_gone_changes_nothing(new_broker: Brokers) -> None:
    broker = new_broker()
    broker.config.unlink()
    broker.process.send_signal(signal.SIGHUP)
    await broker.logged("settings not reloaded, everything stays as it was: .*there is no such settings file")
    async with broker.agent().device():
        pass


async def test_what_needs_a_restart_is_named_without_its_value_and_stays_as_it_was(new_broker: Brokers) -> None:
    broker = new_broker()
    server = ("[server]", "host = 127.0.0.2", "port = 9", "key = fedcba9876543210")
    for _ in range(2):  # and is named again until that restart
        since = len(broker.lines)
        await reloaded(broker, *server, "[logging]", "log_file = other.log", "json = true")
        line = await broker.logged("need a restart", since)
        assert line.endswith(
            "these settings changed in the file, but need a restart: "
            "[server] host, [server] port, [server] key, [logging] log_file, [logging] json"
        )
        assert "settings reloaded; changed: nothing" in "".join(broker.lines[since:])
    assert not any("fedcba" in line or "other.log" in line for line in broker.lines)
    assert (await broker.json("/mcp_endpoint/health?key=fedcba9876543210"))["error"]
    assert (await broker.json(f"/mcp_endpoint/health?key={broker.key}"))["result"]["status"] == "success"
    async with device(broker.agent().device_url):
        pass


async def test_a_slip_in_the_file_is_warned_of(new_broker: Brokers) -> None:
    broker = new_broker()
    await reloaded(broker, "[brokre]")
    assert any("[brokre]: unknown, ignored; did you mean [broker]?" in line for line in broker.lines)


async def test_origins_hold_for_new_connections_of_both_kinds(new_broker: Brokers) -> None:
    broker = new_broker()
    page = {"Origin": "https://b.example.com"}

    async def let_in() -> tuple[bool, str | None]:
        async with Wire.open(broker) as wire:
            status = await wire.upgrade(broker.agent().path("call"), "Origin: https://b.example.com")
        cors = (await broker.get("/health", **page)).headers.get("access-control-allow-origin")
        return b" 101 " in status, cors

    async with dialled(broker.agent().device_url, origin="https://b.example.com") as before:
        assert await let_in() == (True, "*")
        await reloaded(broker, "[security]", "allowed_origins = https://a.example.com")
        assert await let_in() == (False, None)
        await reloaded(broker, "[security]", "allowed_origins = https://b.example.com")
        assert await let_in() == (True, "https://b.example.com")
        await reloaded(broker, "[security]", "enable_cors = false")
        assert await let_in() == (True, None)
        await asyncio.wait_for(await before.ping(), PATIENCE)


async def test_limits_of_connections_hold_for_new_ones(new_broker: Brokers) -> None:
    broker = new_broker()
    agent = broker.agent()
    async with agent.device() as first, agent.device():
        await reloaded(broker, "[websocket]", "max_connections = 2")
        async with Wire.open(broker) as wire:
            assert b" 503 " in await wire.upgrade(agent.path("call"))
        await reloaded(broker, "[websocket]", "max_connections = 3")
        async with agent.device():
            pass
        assert (await first.request("ping"))["result"] == {}


async def test_pings_begin_on_open_links(new_broker: Brokers) -> None:
    broker = new_broker(ping_interval=0)
    async with Wire.open(broker) as wire:
        await wire.upgrade(broker.agent().path("call"))
        await reloaded(broker, "[websocket]", "ping_interval = 0.1")
        assert (await wire.frame())[0] == PING


async def test_the_log_shows_more_and_less(new_broker: Brokers) -> None:
    broker = new_broker()
    seen = []
    for lines in (["log_level = DEBUG"], ["log_level = INFO"], ["debug = true"], []):
        since = len(broker.lines)
        await reloaded(broker, "[server]", *lines)
        await broker.get("/health")
        async with broker.agent().device():  # ends with a line, so that what came before it is there
            pass
        await broker.logged("device side ended", since)
        seen.append(any("GET /health" in line for line in broker.lines[since:]))
    assert seen == [True, False, True, False]


# ------------------------------------------------------------------------------------------------------ terminals


def test_closing_its_terminal_ends_the_broker_but_a_signal_alone_does_not(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    write(tmp_path / "x.cfg", "[server]", "host = 127.0.0.1", "port = 0", f"key = {KEY}", "[logging]", "log_file =")
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "--config", str(tmp_path / "x.cfg")],
        stdin=inside,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        os.close(inside)
        assert process.stdout is not None
        assert any("listens on" in line for line in process.stdout)
        process.send_signal(signal.SIGHUP)
        assert any("settings reloaded; changed: nothing" in line for line in process.stdout)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
        assert process.stdout.read().endswith("stopped\n")
    finally:
        process.kill()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


# ------------------------------------------------------------------------------------------------- without a signal


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="INFO", format="{message}")
    yield lines
    logger.remove(sink)


def port_state_of(settings: Settings, loop: asyncio.AbstractEventLoop) -> PortState:
    manager = ConnectionManager(settings, LinkLog(), __version__)
    return PortState(settings, manager, Tokens(KEY), loop)


async def test_a_reload_tells_those_who_asked_and_nobody_while_draining(tmp_path: Path, log: list[str]) -> None:
    path = tmp_path / "x.cfg"
    write(path, "[server]", f"key = {KEY}")
    port_state = port_state_of(load(path, {}).settings, asyncio.get_running_loop())
    told: list[Settings] = []
    apply = [port_state.reconfigure, told.append]
    reload = Reload(port_state.settings, lambda: load(path, {}), apply, lambda: port_state.draining)
    write(path, "[server]", f"key = {KEY}", "port = 7", "[broker]", "max_calls = 3")
    reload()
    assert told == [port_state.settings]
    assert (port_state.settings.broker.max_calls, port_state.settings.server.port) == (3, 8004)
    assert log == [
        "settings reloaded; changed: [broker] max_calls",
        "these settings changed in the file, but need a restart: [server] port",
    ]
    port_state.draining = True
    write(path, "[server]", f"key = {KEY}")
    reload()
    assert (len(told), len(log), port_state.settings.broker.max_calls) == (1, 2, 3)


def settings_of(*lines: str, tmp_path: Path) -> Settings:
    write(tmp_path / "x.cfg", "[server]", f"key = {KEY}", *lines)
    return load(tmp_path / "x.cfg", {}).settings


def test_changes_of_agents_are_named_by_what_their_sections_say(tmp_path: Path) -> None:
    before = settings_of("[agent a]", "deny = x", "[agent b]", "max_calls = 5", "[agent c]", tmp_path=tmp_path)
    after = settings_of("[agent b]", "max_calls = 5", "max_tools = 512", "[agent d]", "allow = y", tmp_path=tmp_path)
    assert list(changes(before, after)) == ["[agent a] deny", "[agent b] max_tools", "[agent d] allow"]
    assert list(changes(after, before)) == ["[agent b] max_tools", "[agent d] allow", "[agent a] deny"]
    assert list(changes(before, before)) == []


def test_every_key_is_named_as_the_file_spells_it_and_waits_if_it_must(tmp_path: Path) -> None:
    """One by one: a change of the key alone is seen, and either it is in effect or it waits."""
    before = settings_of(tmp_path=tmp_path)
    samples = [
        "7",
        "true",
        "false",
        "DEBUG",
        "en",
        "block",
        "2KB",
        "10.0.0.1",
        "https://a",
        "a/b",
        "roots",
        "0123456789abcdef",
    ]
    waiting = set()
    for section, key, *_ in describe():
        for sample in samples:
            try:
                after = load_with(tmp_path, section, key, sample)
            except SettingsError:
                continue
            if after != before:
                break
        else:
            raise AssertionError(f"no sample suits [{section}] {key}")
        assert list(changes(before, after)) == [f"[{section}] {key}"]
        effect = in_effect(before, after)
        if effect == before:
            waiting.add((section, key))
        else:
            assert effect == after
    assert waiting == {
        (section, {"json_lines": "json"}.get(field, field))
        for section, fields in AT_START_ONLY.items()
        for field in fields
    }


def load_with(tmp_path: Path, section: str, key: str, value: str) -> Settings:
    variable = f"MCP_ENDPOINT_{section}__{key}".upper()
    write(tmp_path / "x.cfg", "[server]", f"key = {KEY}")
    return load(tmp_path / "x.cfg", {variable: value}).settings


def test_agents_of_new_settings_are_looked_up_anew(tmp_path: Path) -> None:
    before = settings_of("[agent a]", "max_calls = 5", tmp_path=tmp_path)
    after = in_effect(before, settings_of("[agent b]", "max_calls = 6", tmp_path=tmp_path))
    assert after.agent("a") == AgentSettings()
    assert after.limits("b").max_calls == 6
