"""The bridge between a real child process and a real WebSocket server that stands in for the endpoint."""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from mcp_endpoint.clients.exit_codes import NOT_FOUND, USAGE
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.stdio import pipe
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.transports import child_process as child_module
from support.languages import no_chinese, no_pair
from support.paths import ROOT, SRC
from support.pipe import ENVIRON, IN_URL, PATIENCE, TOKEN, Lifelines, Log, StandIn, child, frame, posix

ECHO = """
say(pid=os.getpid())
for line in sys.stdin.buffer:
    say(got=line.decode())
"""


@contextlib.asynccontextmanager
async def bridged(stand_in: StandIn, command: Sequence[str], backoff: Backoff | None = None) -> AsyncIterator[None]:
    """A bridge that runs while the block does."""
    quick = backoff or Backoff(first=0.01, most=0.015)
    bridge = asyncio.create_task(pipe(stand_in.url, command, environ=ENVIRON, report=Report("en"), backoff=quick))
    try:
        yield
        assert not bridge.done()
    finally:
        bridge.cancel()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(asyncio.CancelledError):
                await bridge


async def closed(connection: ServerConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(PATIENCE):
        await connection.wait_closed()
    return connection.close_code, connection.close_reason


async def test_frames_go_both_ways_one_line_each(stand_in: StandIn, log: Log) -> None:
    async with bridged(stand_in, child(ECHO)):
        connection = await stand_in.accept()
        assert connection.subprotocol == "mcp"
        assert connection.request is not None
        assert "Sec-WebSocket-Extensions" not in connection.request.headers
        await connection.send('{"a":\r\n "é😀 \\n",\n"b":2}')
        assert "pid" in await frame(connection)
        assert (await frame(connection))["got"] == '{"a":   "é😀 \\n", "b":2}\n'
        await connection.send(b"\x00binary")
        await connection.send("{}")
        assert (await frame(connection))["got"] == "{}\n"
    assert (await closed(connection))[0] == 1001
    assert log.having("binary frame")


async def test_a_silent_endpoint_gets_its_child_too(stand_in: StandIn, log: Log) -> None:
    async with bridged(stand_in, child(ECHO)):
        assert "pid" in await frame(await stand_in.accept())


async def test_a_dead_child_closes_the_connection_and_the_next_gets_a_fresh_one(stand_in: StandIn, log: Log) -> None:
    async with bridged(stand_in, child("say(pid=os.getpid()); sys.stdin.readline(); say(last=1); sys.exit(3)")):
        pids = []
        for _ in range(2):
            connection = await stand_in.accept()
            pids.append((await frame(connection))["pid"])
            await connection.send("{}")
            assert await frame(connection) == {"last": 1}
            assert await closed(connection) == (1001, "The tool program exited (exit code 3).")
        await stand_in.accept()
    assert pids[0] != pids[1]


@posix
async def test_a_child_that_leaves_its_pipes_to_a_descendant_is_dead(
    stand_in: StandIn, log: Log, lifelines: Lifelines
) -> None:
    async with bridged(stand_in, child(FORKING, lifelines.port)):
        connection = await stand_in.accept()
        _, _, _ = await lifelines.next()
        _, reader, _ = await lifelines.next()
        await connection.send("{}")
        assert await closed(connection) == (1001, "The tool program exited (exit code 5).")
        await lifelines.broken(reader)


# A child and, forked from it, a descendant that keeps its pipes; both hold a line to the test.
FORKING = """
line = live(sys.argv[1])
if os.fork() == 0:
    own = live(sys.argv[1])
    line.close()
    while True:
        signal.pause()
sys.stdin.readline()
os._exit(5)
"""


@posix
@pytest.mark.parametrize("stubborn", [False, True], ids=["sigterm", "sigkill"])
async def test_a_lost_connection_ends_the_whole_process_group(
    stand_in: StandIn, log: Log, lifelines: Lifelines, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "CLOSE_GRACE", 0.1)
    monkeypatch.setattr(child_module, "KILL_GRACE", 0.3 if stubborn else PATIENCE)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    async with bridged(
        stand_in, child(ignore + FORKING.replace("sys.stdin.readline()", "signal.pause()"), lifelines.port)
    ):
        connection = await stand_in.accept()
        first, second = await lifelines.next(), await lifelines.next()
        assert first[0] != second[0]
        connection.transport.abort()
        await lifelines.broken(first[1])
        await lifelines.broken(second[1])
        third, _, _ = await lifelines.next()
        assert third not in (first[0], second[0])
        await stand_in.accept()


@posix
async def test_a_bridge_cancelled_while_it_ends_a_child_leaves_nothing(
    stand_in: StandIn, log: Log, lifelines: Lifelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "KILL_GRACE", 0.3)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    stay = "sys.stdin.read(); line.sendall(b'told\\n'); signal.pause(); signal.pause()"
    async with bridged(stand_in, child(ignore + FORKING.replace("sys.stdin.readline()", stay), lifelines.port)):
        connection = await stand_in.accept()
        by_pid = {pid: reader for pid, reader, _ in (await lifelines.next(), await lifelines.next())}
        connection.transport.abort()
        leader = int((await log.wait_for("started: pid")).rpartition(" ")[2])
        async with asyncio.timeout(PATIENCE):
            assert await by_pid[leader].readline() == b"told\n"
        # The child knows that it shall end, and does not; now the bridge is cancelled.
    for reader in by_pid.values():
        await lifelines.broken(reader)


async def test_a_child_that_closes_its_output_is_ended(stand_in: StandIn, log: Log, lifelines: Lifelines) -> None:
    code = "line = live(sys.argv[1]); os.close(1); [0 for _ in sys.stdin]; line.recv(1)"
    async with bridged(stand_in, child(code, lifelines.port)):
        connection = await stand_in.accept()
        _, reader, _ = await lifelines.next()
        assert await closed(connection) == (1001, "The tool program closed its stdin or stdout.")
        await lifelines.broken(reader)


async def test_stray_prints_are_named_in_the_log_and_not_sent(stand_in: StandIn, log: Log) -> None:
    code = """
sys.stdout.buffer.write(b'Starting \\x1b[31m server\\n\\n[{"id":1}]\\n"text"\\n1\\n{"cut":\\n{"bad":"\\xff"}\\nnull\\n')
sys.stdout.buffer.write(b' {"kept": "\\xe4\\xb8\\xad"} \\r\\n{"last":1}')
sys.stdout.flush(); os.close(1); sys.stdin.read()
"""
    async with bridged(stand_in, child(code)):
        connection = await stand_in.accept()
        async with asyncio.timeout(PATIENCE):
            assert await connection.recv() == '{"kept": "中"}'
            assert await connection.recv() == '{"last":1}'
        assert await closed(connection) == (1001, "The tool program closed its stdin or stdout.")
        await log.wait_for("7 stray lines")
    first_child = log.lines[: log.lines.index(log.having("7 stray lines")[0])]
    named = [line for line in first_child if "Not JSON-RPC" in line]
    assert len(named) == 1
    assert "Starting \\x1b[31m server" in named[0]


async def test_a_line_of_four_megabytes_passes_and_a_longer_one_ends_the_child(stand_in: StandIn, log: Log) -> None:
    code = """
limit = 4 * 1024 * 1024
print('{"a":"' + "x" * (limit - 8) + '"}')
print('{"a":"' + "x" * limit + '"}', flush=True)
sys.stdin.read()
"""
    async with bridged(stand_in, child(code)):
        connection = await stand_in.accept()
        assert len((await frame(connection))["a"]) == 4 * 1024 * 1024 - 8
        assert await closed(connection) == (1001, "The tool program printed a line of more than 4 MB and was ended.")


async def test_stderr_goes_to_the_log_escaped_cut_and_without_the_token(stand_in: StandIn, log: Log) -> None:
    code = f"""
err = sys.stderr.buffer
err.write(b"plain {{braces}} \\x1b[2J \\xff\\n" + b"x" * 100_000 + b"\\nurl {TOKEN} {IN_URL}\\n\\nno end")
err.flush(); sys.stdin.readline()
"""
    async with bridged(stand_in, child(code)):
        connection = await stand_in.accept()
        await log.wait_for("url ")
        await connection.send("{}")
        await log.wait_for("no end")
    lines = [line.removeprefix("stderr: ") for line in log.having("^stderr: ")]
    assert lines[0] == "plain {braces} \\x1b[2J \\xff"
    assert re.fullmatch("x{1000,2000}…", lines[1])
    assert lines[2] == "url *** ***"
    assert lines[3] == "no end"


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1008, "token解密失败", "copy the URL again"),
        (1008, "缺少token参数", "copy the whole URL"),
        (1000, "新连接替换", "dialled in elsewhere"),
        (1013, "工具端数量超限", "工具端数量超限"),
    ],
)
async def test_a_refusal_is_explained_starts_no_child_and_is_retried_slowly(
    stand_in: StandIn, log: Log, code: int, reason: str, words: str
) -> None:
    async with bridged(stand_in, child(ECHO), Backoff(first=0.01, most=30)):
        await (await stand_in.accept()).close(code, reason)
        line = await log.wait_for("Next try")
    assert words in line
    assert line.endswith("30.0 s.")
    assert not log.having("started")
    assert stand_in.connections == 1


@pytest.mark.parametrize(("status", "wait"), [(403, "30.0 s."), (404, "30.0 s."), (503, "0.0 s.")])
async def test_an_http_refusal_is_explained(stand_in: StandIn, log: Log, status: int, wait: str) -> None:
    refuse = lambda connection, _request: connection.respond(HTTPStatus(status), "no\n")  # noqa: E731
    async with (
        serve(stand_in.handle, "127.0.0.1", 0, process_request=refuse) as stand_in.server,
        bridged(stand_in, child(ECHO), Backoff(first=0.01, most=30)),
    ):
        line = await log.wait_for("Next try")
    assert f"HTTP {status}" in line
    assert line.endswith(wait)
    assert not log.having("started")


async def test_no_child_runs_while_the_endpoint_is_away_and_all_goes_on_when_it_is_back(log: Log) -> None:
    stand_in = StandIn()
    async with serve(stand_in.handle, "127.0.0.1", 0) as stand_in.server:
        port, url = stand_in.port, stand_in.url
    bridge = asyncio.create_task(
        pipe(url, child(ECHO), environ=ENVIRON, report=Report("en"), backoff=Backoff(first=0.01, most=0.015))
    )
    await log.wait_for("connection refused")
    assert not log.having("started")
    async with serve(stand_in.handle, "127.0.0.1", port):
        assert "pid" in await frame(await stand_in.accept())
        bridge.cancel()
        await asyncio.wait({bridge}, timeout=PATIENCE)
    assert bridge.cancelled()


async def test_a_child_that_does_not_read_holds_the_endpoint_back(
    stand_in: StandIn, log: Log, lifelines: Lifelines
) -> None:
    code = """
line = live(sys.argv[1]); line.recv(1)
say(total=sum(len(sys.stdin.buffer.readline()) for _ in range(400)))
sys.stdin.read()
"""
    async with bridged(stand_in, child(code, lifelines.port)):
        connection = await stand_in.accept()
        text = '"' + "x" * 99_997 + '"'

        async def flood() -> None:
            for _ in range(400):
                await connection.send(text)

        sending = asyncio.create_task(flood())
        _, _, writer = await lifelines.next()
        assert not (await asyncio.wait({sending}, timeout=1))[0], "40 MB went nowhere, so they were queued"
        writer.write(b"!")
        assert await frame(connection) == {"total": 400 * 100_000}
        async with asyncio.timeout(PATIENCE):
            await sending


async def test_the_device_url_is_corrected(stand_in: StandIn, log: Log) -> None:
    url = f" '{stand_in.url.replace('/mcp/', '/call/')}' "
    bridge = asyncio.create_task(pipe(None, child(ECHO), environ=ENVIRON | {"MCP_ENDPOINT": url}, report=Report("en")))
    connection = await stand_in.accept()
    bridge.cancel()
    await asyncio.wait({bridge}, timeout=PATIENCE)
    assert connection.request is not None
    assert connection.request.path == f"/mcp_endpoint/mcp/?token={IN_URL}"
    assert log.having("This is the device URL")


@pytest.mark.parametrize(
    ("url", "command", "code", "zh", "en"),
    [
        (None, ["x"], USAGE, "没有给出接入点地址", "No endpoint URL"),
        ("127.0.0.1:8004/mcp", ["x"], USAGE, "应以 ws:// 或 wss:// 开头", "must start with ws://"),
        ("ws:///mcp", ["x"], USAGE, "没有主机名", "no host"),
        ("ws://h:99999/mcp", ["x"], USAGE, "无法解析", "cannot be parsed"),
        ("ws://h/mcp", ["no-such-one"], NOT_FOUND, "找不到程序 no-such-one", "no program no-such-one"),
    ],
)
async def test_what_cannot_work_ends_at_once(
    log: Log, url: str | None, command: list[str], code: int, zh: str, en: str
) -> None:
    assert await pipe(url, command, environ=ENVIRON, report=Report("en")) == code
    assert await pipe(url, command, environ=ENVIRON, report=Report("zh")) == code
    in_english, in_chinese = log.lines
    assert en in in_english
    assert no_chinese(in_english)
    assert zh in in_chinese
    assert no_pair(in_chinese)


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_end_bridge_child_and_connection(
    stand_in: StandIn, lifelines: Lifelines, number: signal.Signals
) -> None:
    code = (
        "import os, sys; from mcp_endpoint.clients.pipe import report, stdio; "
        "sys.exit(stdio.run(None, sys.argv[1:], os.environ, report.Report('en')))"
    )
    bridge = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *child("line = live(sys.argv[1])\n" + ECHO, lifelines.port),
        env=ENVIRON | {"PYTHONPATH": str(SRC), "MCP_ENDPOINT": stand_in.url},
        stderr=asyncio.subprocess.PIPE,
    )
    connection = await stand_in.accept()
    _, reader, _ = await lifelines.next()
    assert "pid" in await frame(connection)
    bridge.send_signal(number)
    assert await closed(connection) == (1001, "bridge stopped")
    await lifelines.broken(reader)
    async with asyncio.timeout(PATIENCE):
        _, said = await bridge.communicate()
    assert bridge.returncode == 128 + number
    assert b"Traceback" not in said
    assert TOKEN.encode() not in said
    assert IN_URL.encode() not in said


CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans(), CHANCES), max_size=40))
def test_waits_double_stay_in_their_bounds_and_start_anew_after_a_success(
    ends: list[tuple[float, bool, float]],
) -> None:
    now = [0.0]
    backoff = Backoff(chance=lambda: now[0])
    failures = 0
    for lasted, useful, chance in ends:
        now[0] = chance
        if useful and lasted >= 10:
            failures = 0
        wait = backoff.failed(lasted, useful)
        assert 1 <= wait <= 30
        assert wait == pytest.approx(min(2**failures, 20) * (1 + chance / 2))
        failures += 1
    assert backoff.refused() == 30


def test_the_sequence_without_jitter() -> None:
    backoff = Backoff(chance=lambda: 0.0)
    assert [backoff.failed(0, False) for _ in range(7)] == [1, 2, 4, 8, 16, 20, 20]
    assert backoff.failed(60, False) == 20, "a connection that was of no use is no success"
    assert backoff.failed(1, True) == 20, "nor is one that ended at once"
    assert backoff.failed(60, True) == 1
    assert [Backoff(chance=lambda: 0.999).failed(0, False) for _ in range(2)] == [pytest.approx(1.4995)] * 2
    many = Backoff(chance=lambda: 0.5)
    assert [many.failed(0, False) for _ in range(2000)][-1] == 25, "no overflow after days"


async def test_a_message_in_another_encoding_is_told_as_that(stand_in: StandIn, log: Log) -> None:
    code = "sys.stdout.buffer.write('{\"a\": \"\u5f00\u706f\"}\\n'.encode('gbk')); say(b=1); sys.stdin.read()"
    async with bridged(stand_in, child(code)):
        assert await frame(await stand_in.accept()) == {"b": 1}
        line = await log.wait_for("not UTF-8")
        assert "is it GBK?" in line
    assert not log.having("logs belong on stderr")


@posix
async def test_a_program_prints_at_once_and_in_utf8_whatever_the_locale(stand_in: StandIn, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text('import sys\nprint(\'{"lamp": "\u706f"}\')\nsys.stdin.read()\n', "utf-8")
    command = [sys.executable, str(ROOT / "main.py"), "pipe", stand_in.url, "--", sys.executable, str(program)]
    environ = {"PATH": "/usr/bin:/bin", "NO_PROXY": "*", "LC_ALL": "C", "PYTHONIOENCODING": ""}
    bridge = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.DEVNULL)
    try:
        assert await frame(await stand_in.accept()) == {"lamp": "\u706f"}
    finally:
        bridge.terminate()
        await asyncio.wait_for(bridge.wait(), PATIENCE)
