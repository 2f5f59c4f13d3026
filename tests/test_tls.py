"""TLS without a proxy: wss:// and https:// on the broker's port, and a renewed certificate."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.brokers import Brokers
from support.certificates import make_pair
from support.clients.mcp_http import mcp_client
from support.clock import takes
from support.paths import ROOT
from support.peers import Agent, Broker, device, said, spelled, tool_side
from support.sockets import CLOSE, PATIENCE, TEXT, Wire


def trust(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Certificate and key; clients that are told nothing else trust the certificate."""
    files = make_pair(tmp_path, "one")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    return files


@pytest.fixture
def secure(new_broker: Brokers, pair: tuple[Path, Path]) -> Broker:
    return new_broker(tls_cert=pair[0], tls_key=pair[1], close_timeout=600)


def wss(agent: Agent, door: str) -> str:
    return agent.broker.url(agent.path(door), "wss")


@contextlib.asynccontextmanager
async def tls_wire(broker: Broker, context: ssl.SSLContext) -> AsyncIterator[Wire]:
    """A connection that takes little in before somebody reads it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    async with asyncio.timeout(PATIENCE):
        await asyncio.get_running_loop().sock_connect(sock, (broker.host, broker.port))
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=broker.host, limit=4096)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def stats(broker: Broker, context: ssl.SSLContext, path: str = "/stats") -> dict[str, object]:
    async with tls_wire(broker, context) as wire:
        wire.write(f"GET {path}?key={broker.key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = await wire.head()
        assert head.startswith(b"HTTP/1.1 200")
        body = await wire.rest()
        return json.loads(body)["data"]  # type: ignore[no-any-return]


async def test_a_call_over_wss_and_pages_over_https(secure: Broker, pair: tuple[Path, Path]) -> None:
    agent, context = secure.agent(), trust(pair[0])
    async with tool_side(wss(agent, "mcp"), ["t"]), device(wss(agent, "call")) as caller:
        assert said(await caller.call("t", x=1)) == 'calc.t({"x": 1})'
        big = await caller.call("t", text="x" * 2_000_000)
        assert len(said(big)) > 2_000_000
        assert (await stats(secure, context))["total_connections"] == 2


async def test_plain_text_on_the_port_gets_no_answer_and_harms_nobody(secure: Broker, pair: tuple[Path, Path]) -> None:
    async with Wire.open(secure) as wire:
        wire.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in await wire.rest()
    assert (await stats(secure, trust(pair[0])))["total_connections"] == 0


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
async def test_a_tls_handshake_has_its_deadline(new_broker: Brokers, pair: tuple[Path, Path], sent: bytes) -> None:
    broker = new_broker(tls_cert=pair[0], tls_key=pair[1], handshake_timeout=1)
    with takes(1, 10):
        async with Wire.open(broker) as wire:
            wire.write(sent)
            await wire.rest()


async def test_a_refused_peer_gets_its_close_frame_and_is_cut_off(secure: Broker, pair: tuple[Path, Path]) -> None:
    async with tls_wire(secure, trust(pair[0])) as wire:
        with takes(1, PATIENCE):
            assert b" 101 " in await wire.upgrade("/call/?token=bad")
            assert await wire.close_frame() == (1008, "token解密失败")
            await wire.rest()


async def test_a_peer_that_closes_properly_sees_the_end(secure: Broker, pair: tuple[Path, Path]) -> None:
    agent = secure.agent()
    async with tls_wire(secure, trust(pair[0])) as wire:
        await wire.upgrade(agent.path("call"))
        wire.send_frame(CLOSE, (1000).to_bytes(2))
        assert await wire.close_frame() == (1000, "")
        assert await wire.rest() == b""
    await secure.logged(f"device side ended: agent {agent.id}.*peer_closed")


async def test_half_a_connection_is_none(secure: Broker, pair: tuple[Path, Path]) -> None:
    agent = secure.agent()
    async with tls_wire(secure, trust(pair[0])) as wire:
        await wire.upgrade(agent.path("call"))
        wire.writer.transport.abort()
    await secure.logged(f"device side ended: agent {agent.id}.*connection_lost")


async def test_a_slow_reader_is_closed_over_tls_too(new_broker: Brokers, pair: tuple[Path, Path]) -> None:
    broker = new_broker(tls_cert=pair[0], tls_key=pair[1], send_timeout=0.3, max_message_size="64MB", close_timeout=0.5)
    agent, context = broker.agent(), trust(pair[0])
    async with tool_side(wss(agent, "mcp"), ["t"]) as program, tls_wire(broker, context) as wire:
        program.say = lambda call: "x" * 1_000_000  # type: ignore[method-assign]
        await wire.upgrade(agent.path("call"))
        for number in range(20):
            wire.send_frame(TEXT, spelled(id=number, method='"tools/call"', params='{"name":"t"}').encode())
        await broker.logged(f"device side ended: agent {agent.id}.*slow_reader")


async def test_a_renewed_certificate_is_taken_over_on_sighup(secure: Broker, pair: tuple[Path, Path]) -> None:
    agent = secure.agent()
    async with device(wss(agent, "call")) as stays:
        old = trust(pair[0])
        renewed = make_pair(pair[0].parent, "two")
        new = trust(renewed[0])
        with pytest.raises(ssl.SSLCertVerificationError):
            await stats(secure, new)
        pair[0].write_bytes(renewed[0].read_bytes())  # the key is not there yet
        lines = len(secure.lines)
        secure.process.send_signal(signal.SIGHUP)
        await secure.logged("the certificate was not reloaded, the old one stays: .* no usable pair", since=lines)
        await stats(secure, old)
        pair[1].write_bytes(renewed[1].read_bytes())
        lines = len(secure.lines)
        secure.process.send_signal(signal.SIGHUP)
        await secure.logged("settings reloaded", since=lines)
        await stats(secure, new)
        with pytest.raises(ssl.SSLCertVerificationError):
            await stats(secure, old)
        assert await stays.settled() == [], "nobody was disconnected"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no cert", "tls_cert = .* cannot be read: No such file"),
        ("no key", "tls_key = .* cannot be read: No such file"),
        ("garbage", "no usable pair"),
        ("other key", "no usable pair .*KEY_VALUES_MISMATCH"),
        ("locked key", "no usable pair"),
        ("key alone", "tls_key = .* is of no use without tls_cert"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_bad_pair_ends_the_start_in_one_line(tmp_path: Path, damage: str, words: str, command: str) -> None:
    cert, key = make_pair(tmp_path, "one", b"secret" if damage == "locked key" else None)
    match damage:
        case "no cert":
            cert.unlink()
        case "no key":
            key.unlink()
        case "garbage":
            cert.write_text("not a certificate")
        case "other key":
            key.write_bytes(make_pair(tmp_path, "two")[1].read_bytes())
    config = tmp_path / "x.cfg"
    pair = f"tls_key = {key}\n" + ("" if damage == "key alone" else f"tls_cert = {cert}\n")
    config.write_text(f"[server]\nport = 0\nkey = 0123456789abcdef\n{pair}")
    ran = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--lang", "en", "--config", str(config), command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert re.search(words, line), line


def test_printed_urls_are_https_and_wss(secure: Broker) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "--config", str(secure.config), "urls"]
    printed = subprocess.check_output(command, text=True, timeout=PATIENCE)
    assert "智控台MCP参数配置: https://127.0.0.1:" in printed
    assert "单模块部署MCP接入点: wss://127.0.0.1:" in printed


async def test_an_mcp_client_over_https(secure: Broker, pair: tuple[Path, Path]) -> None:
    agent = secure.agent()
    tools = tool_side(wss(agent, "mcp"), ["add"])
    async with tools, mcp_client(agent, verify=trust(pair[0])) as client:
        client.url = secure.url("/mcp/", "https")
        assert (await client.initialize()).status_code == 200
        async with client.stream("GET") as stream:
            assert (await stream.event()).data == ""
            assert said((await client.call("add")).json()) == "calc.add({})"
        await client.delete()
