"""Every settings key acts: for each one a check that fails when the broker ignores it."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from json import dumps as encoded
from pathlib import Path

import pytest

from support.brokers import Brokers
from support.certificates import make_pair
from support.clients.every_door import by_session
from support.clients.mcp_http import mcp_client
from support.clock import takes
from support.paths import ROOT
from support.peers import (
    SECTIONS,
    Agent,
    Broker,
    Device,
    Frame,
    device,
    dialled,
    fault,
    said,
    spelled,
    text_result,
    tool,
)
from support.servers.opened import kitchen, server, write
from support.sockets import BINARY, CLOSE, PATIENCE, PING, TEXT, Wire, ws_frame

Check = Callable[[Brokers, Path], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def acts(check: Check) -> Check:
    """A check, named as its key."""
    CHECKS[check.__name__] = check
    return check


@pytest.mark.parametrize("key", list(SECTIONS))
async def test_the_key_acts(key: str, new_broker: Brokers, tmp_path: Path) -> None:
    assert key in CHECKS, f"[{SECTIONS[key]}] {key} has no check yet: write one here that fails when it is ignored"
    await CHECKS[key](new_broker, tmp_path)


@pytest.mark.parametrize("key", [key for key, section in SECTIONS.items() if section == "broker"])
async def test_a_key_of_broker_acts_as_the_agents_own(key: str, new_broker: Brokers, tmp_path: Path) -> None:
    """The same checks, with the value in the sections of the agents that they use."""

    def start(**settings: object) -> Broker:
        own = {name: settings.pop(name) for name in list(settings) if SECTIONS[name] == "broker"}
        lines = "".join(f"{name} = {value}\n" for name, value in own.items())
        return new_broker(more="".join(f"[agent agent {number}]\n{lines}" for number in range(3)), **settings)

    await CHECKS[key](start, tmp_path)


# --- [server] ---


@acts
async def host(start: Brokers, folder: Path) -> None:
    broker = start(host="127.0.0.1")
    assert (await broker.get("/health")).status == 200
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.2", broker.port)


@acts
async def port(start: Brokers, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    assert start(port=number).port == number


@acts
async def debug(start: Brokers, folder: Path) -> None:
    quiet, chatty = start(debug="false"), start(debug="true")
    for broker in (quiet, chatty):
        await broker.get("/health")
        broker.stop()
    assert any("/health" in line for line in chatty.lines)
    assert not any("/health" in line for line in quiet.lines)


@acts
async def log_level(start: Brokers, folder: Path) -> None:
    broker = start(log_level="TRACE")
    await broker.get("/health")
    broker.stop()
    assert any(" TRACE " in line for line in broker.lines)


@acts
async def key(start: Brokers, folder: Path) -> None:
    mine, other = start(key="0123456789abcdef"), start(key="fedcba9876543210")
    async with device(mine.agent().device_url):
        pass
    foreign = other.agent().device_url.replace(str(other.port), str(mine.port))
    async with dialled(foreign) as refused:
        await asyncio.wait_for(refused.wait_closed(), PATIENCE)
        assert (refused.close_code, refused.close_reason) == (1008, "token解密失败")


@acts
async def public_url(start: Brokers, folder: Path) -> None:
    broker = start(public_url="https://mcp.example.com/prefix")
    command = [sys.executable, str(ROOT / "main.py"), "--config", str(broker.config), "urls"]
    printed = await asyncio.to_thread(subprocess.check_output, command, text=True, timeout=PATIENCE)
    assert f"智控台MCP参数配置: https://mcp.example.com/prefix/mcp_endpoint/health?key={broker.key}" in printed
    assert "单模块部署MCP接入点: wss://mcp.example.com/prefix/mcp_endpoint/mcp/?token=" in printed


@acts
async def tls_cert(start: Brokers, folder: Path) -> None:
    cert, key_file = make_pair(folder, "one")
    (folder / "both.pem").write_bytes(cert.read_bytes() + key_file.read_bytes())
    broker = start(tls_cert=folder / "both.pem")
    shown = await asyncio.to_thread(ssl.get_server_certificate, (broker.host, broker.port), timeout=PATIENCE)
    assert shown.split() == cert.read_text().split()


@acts
async def tls_key(start: Brokers, folder: Path) -> None:
    cert, key_file = make_pair(folder, "one")
    broker = start(tls_cert=cert, tls_key=key_file)
    shown = await asyncio.to_thread(ssl.get_server_certificate, (broker.host, broker.port), timeout=PATIENCE)
    assert shown.split() == cert.read_text().split()


# --- [websocket] ---


@acts
async def max_connections(start: Brokers, folder: Path) -> None:
    agent = start(max_connections=1).agent()
    async with agent.device(), Wire.open(agent.broker) as wire:
        assert b" 503 " in await wire.upgrade(agent.path("call"))


@acts
async def ping_interval(start: Brokers, folder: Path) -> None:
    agent = start(ping_interval=0.2).agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        assert (await wire.frame())[0] == PING


@acts
async def ping_timeout(start: Brokers, folder: Path) -> None:
    agent = start(ping_interval=0.2, ping_timeout=0.2).agent()
    async with Wire.open(agent.broker) as wire:
        with takes(0.4, 10):
            await wire.upgrade(agent.path("call"))
            assert (await wire.close_frame())[0] == 1011


@acts
async def close_timeout(start: Brokers, folder: Path) -> None:
    agent = start(close_timeout=0.3).agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        with takes(0.3, 10):  # the close frame is not answered
            wire.send_frame(BINARY, b"")  # a refused peer would have only a second, whatever the setting
            assert (await wire.frame())[0] == CLOSE
            await wire.rest()


@acts
async def max_message_size(start: Brokers, folder: Path) -> None:
    agent = start(max_message_size="2KB").agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        wire.send_frame(TEXT, spelled(id=1, method='"ping"').encode().ljust(2048))
        assert (await wire.frame())[0] == TEXT
        wire.send_frame(TEXT, spelled(id=1, method='"ping"').encode().ljust(2049))
        assert (await wire.close_frame())[0] == 1009


@acts
async def max_unfinished(start: Brokers, folder: Path) -> None:
    agent = start(max_unfinished="64KB", max_message_size="64KB").agent()
    async with Wire.open(agent.broker) as one, Wire.open(agent.broker) as other:
        for wire in (one, other):
            await wire.upgrade(agent.path("call"))
            wire.write(ws_frame(TEXT, b"x" * 50_000)[:-1])
        first = {asyncio.create_task(wire.close_frame()) for wire in (one, other)}
        done, rest = await asyncio.wait(first, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [(1013, "未收完的消息过多")]
        rest.pop().cancel()


@acts
async def message_timeout(start: Brokers, folder: Path) -> None:
    agent = start(message_timeout=0.3).agent()
    async with Wire.open(agent.broker) as wire:
        await wire.upgrade(agent.path("call"))
        with takes(0.3, 30):
            wire.write(ws_frame(TEXT, b"x" * 1000)[:-1])
            assert await wire.close_frame() == (1008, "消息接收超时")


@acts
async def handshake_timeout(start: Brokers, folder: Path) -> None:
    broker = start(handshake_timeout=0.3)
    with takes(0.3, 10):
        async with Wire.open(broker) as wire:
            await wire.rest()


@contextlib.asynccontextmanager
async def stalled(agent: Agent) -> AsyncIterator[None]:
    """A device of the agent that has 20 MB to read and does not."""
    async with agent.tool_side("t") as program, Wire.open(agent.broker, 4096) as wire:
        program.say = lambda call: "x" * 1_000_000  # type: ignore[method-assign]
        await wire.upgrade(agent.path("call"))
        for number in range(20):
            wire.send_frame(TEXT, spelled(id=number, method='"tools/call"', params='{"name":"t"}').encode())
        for _ in range(20):
            await program.next("tools/call")
        yield


@acts
async def send_timeout(start: Brokers, folder: Path) -> None:
    agent = start(send_timeout=0.3, send_buffer="1MB", max_message_size="64MB").agent()
    async with stalled(agent):
        with takes(0, 10):
            (end,) = await agent.ended("device")
        assert end["reason"] == "slow_reader"


@acts
async def send_buffer(start: Brokers, folder: Path) -> None:
    broker = start(send_timeout=0.3, send_buffer="64MB", tools_wait=1)
    agent = broker.agent()
    async with stalled(agent), broker.agent().device() as clock:
        assert await clock.names() == []
        assert await agent.ends() == [], "20 MB were no reason for send_timeout to run, for a second"


# --- [broker] ---


@acts
async def call_timeout(start: Brokers, folder: Path) -> None:
    agent = start(call_timeout=0.3).agent()
    async with agent.tool_side("t", calls=False), agent.device() as caller:
        with takes(0.3, 28):
            assert fault(await caller.call("t")) == (-32003, "call_timed_out")


@acts
async def tools_wait(start: Brokers, folder: Path) -> None:
    async with start(tools_wait=0.3).agent().device() as caller:
        with takes(0.3, 8):
            assert await caller.names() == []


@acts
async def offline_grace(start: Brokers, folder: Path) -> None:
    agent = start(offline_grace=0.3).agent()
    async with agent.tool_side("t") as program, agent.device() as caller:
        assert await caller.names() == ["t"]
        await program.connection.close()
        assert (await caller.frame())["method"] == "notifications/tools/list_changed", "its tools are off the list"


@acts
async def language(start: Brokers, folder: Path) -> None:
    said_in = []
    for spoken in ("zh", "en"):
        async with start(language=spoken).agent().device() as caller:
            said_in.append((await caller.call("t"))["error"]["data"]["details"])
    assert said_in == [
        "自服务启动以来还没有工具程序用这个接入点连接过，请启动工具程序并检查它的接入点地址。",
        "No tool program has ever connected with this token since the broker started; start one and check its URL.",
    ]


async def refused(agent: Agent, door: str) -> bool:
    async with dialled(agent.broker.url(agent.path(door))) as one_more:
        await asyncio.wait_for(one_more.wait_closed(), PATIENCE)
        return one_more.close_code == 1013


@acts
async def max_tool_sides(start: Brokers, folder: Path) -> None:
    agent = start(max_tool_sides=2).agent()
    async with agent.tool_side("a", server="a"), agent.tool_side("b", server="b"):
        assert await refused(agent, "mcp")


@acts
async def max_devices(start: Brokers, folder: Path) -> None:
    agent = start(max_devices=2).agent()
    async with agent.device(), agent.device():
        assert await refused(agent, "call")


@acts
async def max_calls(start: Brokers, folder: Path) -> None:
    agent = start(max_calls=2).agent()
    async with agent.tool_side("t", calls=False) as program, agent.device() as one, agent.device() as two:
        await one.begin_call("t", 1)
        await two.begin_call("t", 1)
        call = await program.next("tools/call")
        await program.next("tools/call")
        for caller in (one, two):
            assert fault(await caller.call("t")) == (-32002, "too_many_calls")
        await program.answer(call, {})
        await program.settled()
        await one.begin_call("t", 2)
        await program.next("tools/call")


async def listed(agent: Agent, notes: list[str]) -> list[str]:
    """The names a device is shown, once the notes of the tool side were checked."""
    async with agent.device() as caller:
        (link,) = await agent.links("tool")
        assert link["notes"] == notes
        return await caller.names()


@acts
async def max_tools(start: Brokers, folder: Path) -> None:
    agent = start(max_tools=2).agent()
    async with agent.tool_side("a", "b", "c"):
        assert await listed(agent, ["too_many_tools"]) == ["a", "b"]


@acts
async def max_list_bytes(start: Brokers, folder: Path) -> None:
    agent = start(max_list_bytes="1KB").agent()
    async with agent.tool_side(tool("a", description="x" * 400), tool("b", description="x" * 400), tool("c" * 200)):
        assert await listed(agent, ["too_many_tools"]) == ["a", "b"]


@acts
async def max_pages(start: Brokers, folder: Path) -> None:
    agent = start(max_pages=2).agent()
    async with agent.tool_side(lists=False) as program:
        for number in range(2):
            page = {"tools": [tool(f"t{number}")], "nextCursor": "more"}
            await program.answer(await program.next("tools/list"), page)
        await program.settled()
        assert program.waiting("tools/list") == 0
        assert await listed(agent, ["too_many_tools"]) == ["t0", "t1"]


@acts
async def max_result_bytes(start: Brokers, folder: Path) -> None:
    agent = start(max_result_bytes="1KB").agent()
    async with agent.tool_side("t", calls=False) as program, agent.device() as device:
        await device.begin_call("t", 1)
        await program.answer(await program.next("tools/call"), text_result("今天晴。" * 1000))
        text = said(await device.reply(1))
        assert text.endswith("今天晴。（内容过长，已截断）")
        assert len(text.encode()) < 1024


@acts
async def budget_tools(start: Brokers, folder: Path) -> None:
    agent = start(budget_tools=2).agent()
    async with agent.tool_side("a", "b"), agent.tool_side("c", server="more"):
        assert (await agent.report())["why"]["reason"] == "over_budget"


@acts
async def budget_bytes(start: Brokers, folder: Path) -> None:
    agent = start(budget_bytes="1KB").agent()
    async with agent.tool_side(tool("t", description="x" * 1024)):
        assert (await agent.report())["why"]["reason"] == "over_budget"


@acts
async def ask_clients(start: Brokers, folder: Path) -> None:
    async with start(ask_clients="roots, sampling").agent().tool_side("t") as program:
        assert (await program.next("initialize"))["params"]["capabilities"] == {"roots": {}, "sampling": {}}


@acts
async def drop_empty(start: Brokers, folder: Path) -> None:
    agent = start(drop_empty="true").agent()
    takes = tool("t", inputSchema={"type": "object", "properties": {"n": {"type": "integer"}}})
    async with agent.tool_side(takes) as program, agent.device() as device:
        await device.call("t", n=None, m=1)
        assert (await program.next("tools/call"))["params"]["arguments"] == {"m": 1}


# --- [security] ---


@acts
async def allowed_origins(start: Brokers, folder: Path) -> None:
    broker = start(allowed_origins="https://a.example.com, https://b.example.com")
    for origin, status in (("https://b.example.com", b" 101 "), ("https://c.example.com", b" 403 ")):
        async with Wire.open(broker) as wire:
            assert status in await wire.upgrade(broker.agent().path("call"), f"Origin: {origin}")
        reply = await broker.get("/health", Origin=origin)
        allowed = reply.headers.get("access-control-allow-origin")
        assert allowed == (origin if status == b" 101 " else None)


@acts
async def enable_cors(start: Brokers, folder: Path) -> None:
    for enabled in ("true", "false"):
        reply = await start(enable_cors=enabled).get("/health", Origin="https://a.example.com")
        assert reply.status == 200
        assert ("access-control-allow-origin" in reply.headers) is (enabled == "true")


def via(address: str) -> str:
    """What a reverse proxy adds for a client."""
    return f"X-Forwarded-For: {address}"


@acts
async def trusted_proxies(start: Brokers, folder: Path) -> None:
    for proxies, shown in (("127.0.0.0/8", "192.0.2.7"), ("192.0.2.0/24", "127.0.0.1")):
        agent = start(trusted_proxies=proxies).agent()
        async with Wire.open(agent.broker) as wire:
            await wire.upgrade(agent.path("call"), via("192.0.2.7"))
            (link,) = await agent.links("device")
            assert link["peer"].partition(":")[0] == shown


@acts
async def max_connections_per_address(start: Brokers, folder: Path) -> None:
    broker = start(trusted_proxies="127.0.0.1", max_connections_per_address=2)
    path = broker.agent().path("call")
    async with (
        Wire.open(broker) as one,
        Wire.open(broker) as two,
        Wire.open(broker) as three,
        Wire.open(broker) as four,
    ):
        for wire, address, status in (
            (one, "192.0.2.7", b" 101 "),
            (two, "192.0.2.7", b" 101 "),
            (three, "192.0.2.7", b" 429 "),
            (four, "192.0.2.8", b" 101 "),
        ):
            assert status in await wire.upgrade(path, via(address))


@acts
async def handshakes_per_minute(start: Brokers, folder: Path) -> None:
    broker = start(trusted_proxies="127.0.0.1", handshakes_per_minute=3)
    path = broker.agent().path("call")
    for address, status in (*[("192.0.2.7", b" 101 ")] * 3, ("192.0.2.7", b" 429 "), ("192.0.2.8", b" 101 ")):
        async with Wire.open(broker) as wire:
            assert status in await wire.upgrade(path, via(address))


@acts
async def max_handshakes(start: Brokers, folder: Path) -> None:
    broker = start(max_handshakes=3, handshake_timeout=600)
    async with Wire.open(broker) as first, Wire.open(broker), Wire.open(broker), Wire.open(broker):
        await first.rest()


@acts
async def allowed_hosts(start: Brokers, folder: Path) -> None:
    broker = start(allowed_hosts="mcp.example.com")
    for name, status in (("mcp.example.com:8004", 200), ("127.0.0.1", 200), ("elsewhere.example.com", 421)):
        async with mcp_client(broker.agent()) as client:
            assert (await client.initialize(Host=name)).status_code == status


# --- [mcp] ---


@acts
async def mcp_call_timeout(start: Brokers, folder: Path) -> None:
    broker = start(call_timeout=60, mcp_call_timeout=0.3)
    agent = broker.agent()
    async with agent.tool_side("slow", calls=False), mcp_client(agent) as client:
        await client.initialize()
        reply = await client.call("slow")
        assert reply.json()["error"]["data"]["reason"] == "call_timed_out"


@acts
async def session_idle(start: Brokers, folder: Path) -> None:
    agent = start(session_idle=1.5).agent()
    async with mcp_client(agent) as client:
        await client.initialize()
        assert (await agent.ended("device"))[0]["reason"] == "session_idle"
        assert (await client.call("x")).status_code == 404


@acts
async def max_sessions(start: Brokers, folder: Path) -> None:
    agent = start(max_sessions=1).agent()
    async with mcp_client(agent) as client:
        assert (await client.initialize()).status_code == 200
        async with mcp_client(agent) as other:
            reply = await other.initialize()
            assert (reply.status_code, reply.json()["error"]["data"]["reason"]) == (503, "too_many_sessions")
        await client.delete()
        assert (await client.initialize()).status_code == 200


@acts
async def poll_after(start: Brokers, folder: Path) -> None:
    agent = start(poll_after=0.2).agent()
    async with agent.tool_side("slow", calls=False), mcp_client(agent) as client:
        await client.initialize()
        async with client.stream("POST", client.calling("slow", 1)) as stream:
            assert [one.data for one in await stream.rest()] == [""], "closed after its priming event"


@acts
async def ascii_names(start: Brokers, folder: Path) -> None:
    for value, shown in (("false", "开灯"), ("true", "lamp_on")):
        agent = start(ascii_names=value, more="[agent agent 0]\nrename = lamp_on: 开灯\n").agent()
        async with agent.tool_side("lamp_on"), by_session(agent) as client, agent.device() as xiaozhi:
            assert await client.names() == [shown]
            assert await xiaozhi.names() == ["开灯"]


@acts
async def replay_buffer(start: Brokers, folder: Path) -> None:
    for size, status in (("1KB", 400), ("1MB", 200)):
        agent = start(replay_buffer=size).agent()
        async with agent.tool_side("a", calls=False) as program, mcp_client(agent) as client:
            await client.initialize()
            async with client.stream("POST", client.calling("a", 1)) as first:
                called = await program.next("tools/call")
                primed = (await first.event()).id
                await program.answer(called, text_result("x" * 2000))
                await first.event()
            async with client.stream("POST", client.calling("a", 2)) as second:
                called = await program.next("tools/call")
                await second.event()
                await program.answer(called, text_result("y" * 2000))
                await second.event()
            async with client.stream("GET", last=primed) as again:
                assert again.status == status


# --- [jobs], and the servers that the broker opens itself ---


async def cooking(start: Brokers, **settings: object) -> tuple[Broker, Device, contextlib.AsyncExitStack]:
    """A broker with a server whose tool `cook` may become a job, and a device that knows it."""
    broker = start(language="en", **settings)
    write(broker.config.parent, kitchen=kitchen())
    await broker.logged("changed servers: kitchen")
    stack = contextlib.AsyncExitStack()
    cook = await stack.enter_async_context(broker.agent().device())
    assert "cook" in await cook.names()
    return broker, cook, stack


def number_of(answer: Frame) -> str:
    number = answer["result"]["structuredContent"]["job_id"]
    assert isinstance(number, str)
    return number


@acts
async def answer_within(start: Brokers, folder: Path) -> None:
    _, cook, stack = await cooking(start, answer_within=0.1)
    async with stack:
        with takes(0.1, 8):
            assert number_of(await cook.call("cook"))


@acts
async def max_running(start: Brokers, folder: Path) -> None:
    _, cook, stack = await cooking(start, answer_within=0.1, max_running=1)
    async with stack:
        assert number_of(await cook.call("cook"))
        assert "isError" in (await cook.call("cook"))["result"]


@acts
async def max_kept(start: Brokers, folder: Path) -> None:
    _, cook, stack = await cooking(start, answer_within=0.1, max_kept=1)
    async with stack:
        numbers = []
        for _ in range(2):
            numbers.append(number_of(await cook.call("cook")))
            assert said(await cook.call("finish")) == "ok"
        jobs = (await cook.call("job_status"))["result"]["structuredContent"]["jobs"]
        assert [job["job_id"] for job in jobs] == numbers[1:]


@acts
async def max_seconds(start: Brokers, folder: Path) -> None:
    _, cook, stack = await cooking(start, answer_within=0.1, max_seconds=1.5)
    async with stack:
        number = number_of(await cook.call("cook"))
        while (frame := await cook.frame()).get("method") != "notifications/message":
            continue
        assert (frame["params"]["data"]["job_id"], frame["params"]["data"]["status"]) == (number, "failed")


@acts
async def pin_tools(start: Brokers, folder: Path) -> None:
    for mode, shown in (("flag", ["t"]), ("block", [])):
        broker = start(pin_tools=mode)
        pins = {"servers": {"home": {"t": {"accepted": "another", "definition": {"name": "t"}}}}}
        (broker.config.parent / ".mcp_tools.json").write_text(encoded(pins), "utf-8")
        write(broker.config.parent, home=server("t"))
        await broker.logged("changed servers: home")
        async with broker.agent().device() as caller:
            assert await caller.names() == shown


# --- [logging] ---


async def logged_to(start: Brokers, log_file: Path, **settings: object) -> list[str]:
    """The files there are after some 5 KB of log."""
    broker = start(log_file=log_file, log_level="DEBUG", **settings)
    for number in range(40):
        async with dialled(broker.url(f"/call/?token=number{number}")) as refused_:
            await asyncio.wait_for(refused_.wait_closed(), PATIENCE)
    await broker.logged("refused a device side", count=40)
    return sorted(path.name for path in log_file.parent.iterdir())


@acts
async def log_file(start: Brokers, folder: Path) -> None:
    assert await logged_to(start, folder / "logs" / "mine.log") == ["mine.log"]
    assert (folder / "logs" / "mine.log").read_text().count("refused a device side") == 40


@acts
async def max_file_size(start: Brokers, folder: Path) -> None:
    files = await logged_to(start, folder / "logs" / "mine.log", max_file_size="1KB")
    assert "mine.log.1" in files
    assert all((folder / "logs" / name).stat().st_size <= 1024 for name in files)


@acts
async def backup_count(start: Brokers, folder: Path) -> None:
    files = await logged_to(start, folder / "logs" / "mine.log", max_file_size="1KB", backup_count=2)
    assert files == ["mine.log", "mine.log.1", "mine.log.2"]


@acts
async def json(start: Brokers, folder: Path) -> None:
    for spelt, first in (("true", "{"), ("false", "2")):
        broker = start(json=spelt)
        assert [line[0] for line in broker.lines] == [first]
