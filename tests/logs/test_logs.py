"""The log from the call to the sinks: secrets, format, rotation, a full queue, and sinks that stall or fail."""

import asyncio
import contextlib
import io
import logging
import os
import re
import socket
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import pytest
import uvicorn
from loguru import logger
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from mcp_endpoint.logs.setup import Logs
from mcp_endpoint.logs.sinks import Console, Line
from support.sockets import PATIENCE

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"
GOOD = "ksjXt49J8vgGbs8dXSkCcLG9i+s0PG777c8QRqjsF+eM+xgUJN5bAD9Ma7RteRt0"
BAD = "no-such-token"
SECRETS = (KEY, GOOD, quote(GOOD, safe=""), quote(GOOD), BAD, GOOD[:20], GOOD[-20:])
EVENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (TRACE|DEBUG|INFO|SUCCESS|WARNING|ERROR|CRITICAL) +\S")


class Watched(io.StringIO):
    """A console in memory on which a test can wait for a text."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Condition()

    def write(self, text: str) -> int:
        with self.written:
            count = super().write(text)
            self.written.notify_all()
        return count

    def wait_for(self, text: str) -> None:
        with self.written:
            assert self.written.wait_for(lambda: text in self.getvalue(), PATIENCE), self.getvalue()[-500:]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    root, hook = logging.getLogger(), warnings.showwarning
    before = root.handlers[:], root.level
    yield
    logger.remove()
    logger.add(lambda message: sys.stderr.write(message))
    assert (root.handlers, root.level) == before
    assert warnings.showwarning is hook
    assert not [thread for thread in threading.enumerate() if thread.name == "log-writer"]


@contextlib.contextmanager
def running(log_file: Path | None, console: TextIO | None, **changes: Any) -> Iterator[Logs]:
    settings: dict[str, Any] = {
        "level": "TRACE",
        "debug": False,
        "max_file_size": 10_000_000,
        "backup_count": 5,
        "secrets": [KEY],
    }
    logs = Logs(log_file=log_file, console=console, **(settings | changes))
    logs.start()
    try:
        yield logs
    finally:
        logs.stop(10)


class Sinks:
    """What a test wrote, as both sinks have it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "logs" / "mcp_server.log"
        self.console = Watched()

    def check(self, *expected: str, events: int | None = None) -> list[str]:
        """The lines, after: both sinks have the same, no secret is in it, and every expected text is."""
        text = self.path.read_text("utf-8")
        assert text == self.console.getvalue()
        assert not [secret for secret in SECRETS if secret in text]
        for part in expected:
            assert part in text
        lines = text.splitlines()
        assert all(EVENT.match(line) or line.startswith("    ") for line in lines)
        if events is not None:
            assert len(lines) == events
        return lines


@pytest.fixture
def sinks(tmp_path: Path) -> Sinks:
    return Sinks(tmp_path)


# Secrets


@pytest.mark.parametrize("token", [GOOD, quote(GOOD), quote(GOOD, safe=""), BAD])
def test_our_own_lines_hold_no_secret(sinks: Sinks, token: str) -> None:
    with running(sinks.path, sinks.console):
        logger.trace(f"opening ws://h/mcp_endpoint/mcp/?token={token}")
        logger.info("the key is {}", KEY)
        logger.info({"token": token, "key": KEY})
        logger.error(f'{{"error":{{"details":"bad key {KEY} in /health?key={KEY}"}}}}')
    sinks.check("ws://h/mcp_endpoint/mcp/?token=***", "the key is ***", "{'token': '***', 'key': '***'}", events=4)


async def test_uvicorns_lines_hold_no_secret(sinks: Sinks) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/broken":
            raise RuntimeError(f"no luck with {scope['query_string']} and {KEY}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    targets = [
        f"/mcp_endpoint/health?key={KEY}",
        "/mcp_endpoint/health?key=no-such-token",
        f"/call/?token={quote(GOOD, safe='')}",
        f"/mcp/?token={GOOD}",
        f"/broken?token={GOOD}",
    ]
    with running(sinks.path, sinks.console), socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        config = uvicorn.Config(app, log_config=None, log_level=None, lifespan="off", http="httptools", ws="none")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[door]))
        async with asyncio.timeout(PATIENCE):
            for target in targets:
                reader, writer = await asyncio.open_connection(*door.getsockname())
                writer.write(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
                assert await reader.read()
                writer.close()
                await writer.wait_closed()
            server.should_exit = True
            await task
    sinks.check(
        '"GET /mcp_endpoint/health?key=*** HTTP/1.1" 200',
        '"GET /call/?token=*** HTTP/1.1" 200',
        '"GET /mcp/?token=*** HTTP/1.1" 200',
        "Exception in ASGI application\n    ",
        "RuntimeError: no luck with b'token=***' and ***",
        "HTTP connection made",
    )


async def test_websockets_lines_hold_no_secret(sinks: Sinks) -> None:
    async def answer(connection: Any) -> None:
        await connection.send(f'{{"echo":"{KEY}"}}')

    with running(sinks.path, sinks.console):
        async with asyncio.timeout(PATIENCE), serve(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            for token in (GOOD, quote(GOOD, safe=""), BAD):
                url = f"ws://127.0.0.1:{port}/mcp/?token={token}&key={KEY}"
                async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
                    assert KEY in str(await client.recv())
    lines = sinks.check("websockets.server: < GET /mcp/?token=***", "Authorization: Bearer ***", '{"echo":"***"}')
    assert sum("< GET /mcp/?token=***&key=*** HTTP/1.1" in line for line in lines) == 3


async def test_asyncios_lines_hold_no_secret(sinks: Sinks) -> None:
    with running(sinks.path, sinks.console):
        error = ConnectionError(f"refused {GOOD}")
        asyncio.get_running_loop().call_exception_handler({"message": f"lost token={BAD} {GOOD}", "exception": error})
    sinks.check("asyncio: lost token=*** ***", "\n    ConnectionError: refused ***\n")


def test_warnings_hold_no_secret(sinks: Sinks) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        hook = warnings.showwarning
        with running(sinks.path, sinks.console):
            warnings.warn(f"deprecated: {KEY}\nand {GOOD}", stacklevel=1)
        assert warnings.showwarning is hook
    sinks.check(r"WARNING UserWarning: deprecated: ***\nand *** (", events=1)


def test_tracebacks_hold_no_secret_and_no_values_of_variables(sinks: Sinks) -> None:
    def fail(unseen: str) -> None:
        raise ValueError(f"{KEY} {unseen}\n2026-01-01 00:00:00.000 INFO    forged \x1b[2J")

    with running(sinks.path, sinks.console):
        try:
            fail(GOOD)
        except ValueError:
            logger.exception("it failed")
    lines = sinks.check("ERROR   it failed\n    Traceback", "    ValueError: *** ***", "    2026-01-01", r"\x1b[2J")
    assert sum(bool(EVENT.match(line)) for line in lines) == 1


@pytest.mark.parametrize("debug", [False, True])
def test_below_error_a_traceback_is_for_debugging(sinks: Sinks, debug: bool) -> None:
    with running(sinks.path, sinks.console, debug=debug):
        logger.opt(exception=ValueError(f"bad {KEY}")).warning("odd")
    if debug:
        sinks.check("WARNING odd\n    ValueError: bad ***\n", events=2)
    else:
        sinks.check("WARNING odd (ValueError: bad ***)\n", events=1)


def test_a_long_traceback_is_cut_in_its_middle(sinks: Sinks) -> None:
    with running(sinks.path, sinks.console):
        logger.opt(exception=ValueError(f"begin {'x' * 100_000} {KEY} end")).error("it failed")
    lines = sinks.check("it failed\n    ValueError: begin xxx", "xxx *** end\n")
    assert sum(map(len, lines)) < 20_000


def test_a_broken_call_of_logging_costs_one_line(sinks: Sinks, capfd: pytest.CaptureFixture[str]) -> None:
    with running(sinks.path, sinks.console):
        logging.getLogger("lib").warning("two %s %s", KEY)
    sinks.check("a log call whose arguments do not fit its message (", events=1)
    assert capfd.readouterr() == ("", "")


def test_lines_after_the_end_go_to_stderr_without_secrets(sinks: Sinks, capsys: pytest.CaptureFixture[str]) -> None:
    with running(sinks.path, sinks.console):
        pass
    logger.error(f"late {KEY} {GOOD}")
    assert capsys.readouterr().err.endswith(" ERROR   late *** ***\n")


# Format and levels


def test_one_event_is_one_line(sinks: Sinks) -> None:
    with running(sinks.path, sinks.console):
        logger.info("a\nb\r\x1b[31m\u202e\u2028\ud800 {not a field}")
        logger.info("x" * 10_000)
        logger.info("计算器 é😀")
        logging.getLogger("lib").log(logging.INFO + 3, "between")
    lines = sinks.check("INFO    计算器 é😀\n", "INFO    lib: between\n", events=4)
    assert lines[0][24:] == r"INFO    a\nb\r\x1b[31m\u202e\u2028\ud800 {not a field}"
    assert lines[1].endswith("x…")
    assert len(lines[1]) < 5_000


@pytest.mark.parametrize("level", ["TRACE", "DEBUG", "INFO", "WARNING", "error"])
def test_the_level_holds_for_every_way_in(sinks: Sinks, level: str) -> None:
    names = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    with running(sinks.path, sinks.console, level=level):
        for name in names:
            logger.log(name, f"loguru {name}")
            number = logger.level(name).no
            for source in ("uvicorn.error", "websockets.server", "other"):
                logging.getLogger(source).log(number, f"logging {name}")
    due = names[names.index(level.upper()) :]
    lines = sinks.check(events=4 * len(due))
    assert [line[24:].split()[0] for line in lines] == [name for name in due for _ in range(4)]


def test_the_level_and_the_tracebacks_change_while_it_runs(sinks: Sinks) -> None:
    def say(when: str) -> None:
        try:
            raise ValueError(when)
        except ValueError:
            logger.opt(exception=True).warning(f"loguru {when}")
        for source in ("uvicorn.error", "other"):
            logging.getLogger(source).debug(f"{source} {when}")

    before = logging.getLogger().level
    with running(sinks.path, sinks.console, level="INFO") as logs:
        say("first")
        logs.change(level="debug", debug=True)
        say("second")
        logs.change(level="ERROR", debug=False)
        say("third")
        logs.change(level="INFO", debug=False)
        say("last")
        with pytest.raises(ValueError, match="LOUD"):
            logs.change(level="loud", debug=False)
    assert logging.getLogger().level == before
    lines = sinks.check()
    assert [line[24:] for line in lines if EVENT.match(line)] == [
        "WARNING loguru first (ValueError: first)",
        "WARNING loguru second",
        "DEBUG   uvicorn.error second",
        "DEBUG   other: other second",
        "WARNING loguru last (ValueError: last)",
    ]
    assert any(line.startswith("    Traceback") for line in lines)


def test_handlers_of_other_libraries_are_put_aside_and_come_back(sinks: Sinks) -> None:
    heard = io.StringIO()
    other, handler = logging.getLogger("uvicorn.access"), logging.StreamHandler(heard)
    other.addHandler(handler)
    other.propagate = False
    try:
        with running(sinks.path, sinks.console):
            other.warning("while")
        other.warning("after")
        assert other.handlers == [handler]
        assert other.propagate is False
    finally:
        other.removeHandler(handler)
        other.propagate = True
    assert heard.getvalue() == "after\n"
    sinks.check("while", events=1)


def test_an_unknown_level_and_a_second_start_are_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"), running(None, None, level="loud"):
        pass
    with running(None, None) as logs, pytest.raises(RuntimeError):
        logs.start()


def test_start_and_stop_again(sinks: Sinks) -> None:
    with running(sinks.path, sinks.console) as logs:
        logger.info("first")
        logs.stop()
        logs.stop()
        logs.start()
        logger.info("second")
    sinks.check("first", "second", events=2)


def test_the_default_console_is_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    logs = Logs(level="INFO", debug=False, log_file=None, max_file_size=0, backup_count=0, secrets=())
    logs.start()
    logger.info("seen")
    logs.stop()
    assert capsys.readouterr().out.endswith("INFO    seen\n")


# The file


def test_stop_writes_what_is_queued(sinks: Sinks) -> None:
    with running(sinks.path, sinks.console) as logs:
        for n in range(5_000):
            logger.info(f"line {n}")
        logs.stop(30)
        lines = sinks.check(events=5_000)
    assert [line[24:] for line in lines] == [f"INFO    line {n}" for n in range(5_000)]
    assert logs.dropped == 0


@pytest.mark.parametrize(("backups", "files"), [(3, 4), (1, 2), (0, 1)])
def test_the_file_rotates(sinks: Sinks, backups: int, files: int) -> None:
    sinks.path.parent.mkdir()
    sinks.path.touch(0o644)
    with running(sinks.path, sinks.console, max_file_size=2_000, backup_count=backups):
        for n in range(500):
            logger.info(f"line {n:04}")
    names = [f"mcp_server.log.{n}" for n in range(backups, 0, -1)] + ["mcp_server.log"]
    assert sorted(path.name for path in sinks.path.parent.iterdir()) == sorted(names)
    assert len(names) == files
    text = ""
    for name in names:
        path = sinks.path.with_name(name)
        assert 0 < path.stat().st_size <= 2_000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text += path.read_text()
    assert sinks.console.getvalue().endswith(text)
    assert len(text) > 2_000 * backups


def test_a_file_of_an_earlier_run_is_continued(sinks: Sinks) -> None:
    sinks.path.parent.mkdir()
    sinks.path.write_text("x" * 1_900 + "\n")
    with running(sinks.path, sinks.console, max_file_size=2_000):
        logger.info("a")
        logger.info("b" * 100)
    assert sinks.path.with_name("mcp_server.log.1").read_text().endswith("x\n" + sinks.console.getvalue()[:34])
    assert sinks.path.read_text().endswith("b\n")


def test_without_a_size_nothing_rotates(sinks: Sinks) -> None:
    with running(sinks.path, sinks.console, max_file_size=0):
        for _ in range(100):
            logger.info("x" * 1_000)
    sinks.check(events=100)
    assert list(sinks.path.parent.iterdir()) == [sinks.path]


def test_a_disk_that_fails_is_named_once_and_used_again(sinks: Sinks) -> None:
    sinks.path.parent.write_text("in the way of the folder")
    with running(sinks.path, sinks.console):
        logger.info("one")
        sinks.console.wait_for("the log file cannot be written: ")
        logger.info("two")
        sinks.console.wait_for("two")
        sinks.path.parent.unlink()
        logger.info("three")
    assert sinks.console.getvalue().count("cannot be written") == 1
    missing, last = sinks.path.read_text().splitlines()
    assert missing.endswith("2 log lines are missing here: the file could not be written")
    assert last.endswith("three")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_console(sinks: Sinks) -> None:
    with running(Path("/dev/full"), sinks.console):
        logger.info("one")
    first, note = sinks.console.getvalue().splitlines()
    assert first.endswith("one")
    assert "No space left" in note


def test_where_renaming_fails_the_one_file_goes_on(sinks: Sinks) -> None:
    sinks.path.with_name("mcp_server.log.1").joinpath("in", "the", "way").mkdir(parents=True)
    with running(sinks.path, sinks.console, max_file_size=500, backup_count=1):
        for n in range(50):
            logger.info(f"line {n}")
    sinks.check(events=50)


# The queue, and consoles that stall


class Blocking(Watched):
    """A console whose writes do not return until the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.released.wait(50)
        return super().write(text)


def test_a_blocked_console_blocks_no_caller(sinks: Sinks) -> None:
    sinks.console = console = Blocking()
    with running(sinks.path, console) as logs:
        logger.info("first")
        assert console.entered.wait(10)
        for n in range(50_000):
            logger.info(f"line {n}")
        assert not console.released.is_set()
        assert logs.dropped == 40_000
        assert sinks.path.read_text().endswith("first\n")
        console.released.set()
        console.wait_for("40000 log lines were dropped")
        logger.info("last")
    lines = sinks.check(events=10_003)
    assert lines[-3].endswith("line 9999")
    assert lines[-1].endswith("last")


def test_stop_is_bounded_by_its_timeout(sinks: Sinks) -> None:
    console = Blocking()
    with running(sinks.path, console) as logs:
        writer = next(thread for thread in threading.enumerate() if thread.name == "log-writer")
        logger.info("first")
        assert console.entered.wait(10)
        logger.info("second")
        logs.stop(0.05)
        assert not console.released.is_set()
        assert writer.is_alive()
        console.released.set()
        writer.join(10)
    assert console.getvalue() == sinks.path.read_text()
    assert console.getvalue().endswith("second\n")


@pytest.mark.skipif(os.name != "posix", reason="needs poll()")
def test_a_pipe_that_nobody_reads_does_not_stall_the_file(sinks: Sinks) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w") as console:
        with running(sinks.path, console) as logs:
            for n in range(5_000):
                logger.info(f"line {n} {'x' * 100}")
            logs.stop(0.2)
        assert len(sinks.path.read_text().splitlines()) == 5_000
        assert logs.dropped == 0


@pytest.mark.skipif(os.name != "posix", reason="needs poll()")
def test_a_pipe_that_is_read_late_gets_every_line(sinks: Sinks) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "w") as console:
        with running(sinks.path, console) as logs:
            for n in range(3_000):
                logger.info(f"line {n} {'x' * 100}")
            late = [reader.readline() for _ in range(3_000)]
        assert b"".join(late) == sinks.path.read_bytes()
        assert logs.dropped == 0


def numbered(count: int) -> list[Line]:
    return [Line.now("INFO", f"line {n}") for n in range(count)]


@pytest.mark.skipif(os.name != "posix", reason="needs poll()")
def test_a_stalled_pipe_keeps_a_backlog_and_says_what_was_dropped() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with os.fdopen(read, "rb", buffering=0) as reader, os.fdopen(write, "w") as stream:
        console = Console(stream, backlog=100)
        for _ in range(50):
            console.add(numbered(100))
            console.pump()
        assert console.waiting
        assert console.dropped > 100
        text = b""
        while console.waiting:
            text += reader.read(1 << 20)
            console.pump()
        text += reader.read(1 << 20)
    lines = text.decode().splitlines()
    notes = [line for line in lines if "were dropped" in line]
    assert sum(int(note.split()[3]) for note in notes) == console.dropped
    assert len(lines) - len(notes) + console.dropped == 5_000
    assert all(EVENT.match(line) for line in lines)


def test_a_pipe_whose_reader_is_gone_is_given_up(sinks: Sinks) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with stream, running(sinks.path, stream):
        logger.info("one")
    assert re.search(r"one\n.*the console is gone: .*; lines go to the file only\n$", sinks.path.read_text())


def test_a_closed_console_is_given_up(sinks: Sinks) -> None:
    stream = io.StringIO()
    stream.close()
    with running(sinks.path, stream):
        logger.info("one")
    assert "the console is gone: " in sinks.path.read_text()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_only_a_terminal_gets_colour(sinks: Sinks) -> None:
    import pty

    reader, slave = pty.openpty()
    with os.fdopen(reader, "rb", buffering=0) as screen, os.fdopen(slave, "w") as terminal:
        with running(sinks.path, terminal):
            logger.warning("look")
        assert re.search(rb"\d \x1b\[33mWARNING\x1b\[0m look\r\n$", screen.read(4096))
    assert "\x1b" not in sinks.path.read_text()
