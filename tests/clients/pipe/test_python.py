"""`pipe URL --python FILE`: a user's functions behind a real broker, called by a real device."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_endpoint import cli
from mcp_endpoint.clients.device import result_texts, session
from mcp_endpoint.clients.endpoint import endpoint
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.source import pipe_source
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.local.python.source import PythonFile, PythonSettings
from mcp_endpoint.tokens import Tokens, urls
from support.brokers import Brokers
from support.paths import ROOT
from support.peers import Broker
from support.sockets import PATIENCE

COUNTING = """
from mcp_endpoint.tools import Context, tool
seen = []
@tool
def count(ctx: Context) -> int:
    "Count calls."
    seen.append(ctx.agent)
    return len(seen)
"""


class Program:
    """A command of ours as a process whose lines can be waited for."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUTF8": "1", "MCP_ENDPOINT_LANG": "en"} | environ,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                with self._news:
                    self.lines.append(line)
                    self._news.notify_all()

    def wait_for(self, pattern: str) -> None:
        with self._news:
            found = self._news.wait_for(lambda: any(re.search(pattern, line) for line in self.lines), PATIENCE)
        assert found, self.lines

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join()


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    programs: list[Program] = []

    def starting(*arguments: str, **environ: str) -> Program:
        programs.append(Program(*arguments, **environ))
        return programs[-1]

    yield starting
    for program in programs:
        if program.process.poll() is None:
            program.end()


def addresses(broker: Broker, agent: str) -> tuple[str, str]:
    return urls(f"http://{broker.host}:{broker.port}", Tokens(broker.key).mint(agent))


async def call(device_url: str, tool: str) -> str:
    async with session(endpoint(device_url, "call")) as device:
        await device.greet(PATIENCE)
        return "".join(result_texts(await device.call(tool, {})))


def test_a_file_of_functions_is_served_and_loaded_again(broker: Broker, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "counting.py"
    file.write_text(COUNTING, "utf-8")
    tool_url, device_url = addresses(broker, "pipe-python")
    program = start("pipe", tool_url, "--python", str(file))
    program.wait_for("connected")
    assert asyncio.run(call(device_url, "count")) == "1"
    assert asyncio.run(call(device_url, "count")) == "2"
    file.write_text(COUNTING.replace("len(seen)", "-len(seen"), "utf-8")
    program.wait_for(r"counting\.py, line \d+: SyntaxError")
    assert asyncio.run(call(device_url, "count")) == "3"
    file.write_text(COUNTING.replace("len(seen)", "-len(seen)"), "utf-8")
    program.wait_for("loaded again")
    assert asyncio.run(call(device_url, "count")) == "-1"
    assert program.end() == 143
    assert Tokens(broker.key).mint("pipe-python") not in "".join(program.lines)


def test_the_shipped_example_is_served_as_the_docs_say(broker: Broker, start: Start) -> None:
    tool_url, device_url = addresses(broker, "pipe-python-example")
    start("pipe", "--python", str(ROOT / "examples/tools/calendar_and_timers.py"), MCP_ENDPOINT=tool_url)
    assert asyncio.run(call(device_url, "time_now")).startswith("20")


async def test_state_outlives_a_connection(new_broker: Brokers, tmp_path: Path) -> None:
    file = tmp_path / "counting.py"
    write(file, COUNTING)
    broker = await asyncio.to_thread(new_broker)
    tool_url, device_url = addresses(broker, "state")
    source = PythonFile(PythonSettings(str(file)))
    bridge = asyncio.create_task(
        pipe_source(tool_url, source, environ={}, report=Report("en"), backoff=Backoff(first=0.01, most=0.015))
    )
    try:
        assert await call(device_url, "count") == "1"
        # The broker ends and comes back on the same port: the bridge dials again, with the source it has.
        port, config = broker.port, broker.config
        await asyncio.to_thread(broker.stop)
        write(config, config.read_text("utf-8").replace("port = 0", f"port = {port}"))
        again = await asyncio.to_thread(lambda: Again(config))
        try:
            assert await call(device_url, "count") == "2"
        finally:
            await asyncio.to_thread(again.end)
    finally:
        bridge.cancel()
        await asyncio.gather(bridge, return_exceptions=True)


class Again(Program):
    """The broker once more, on the settings it had."""

    def __init__(self, config: Path) -> None:
        super().__init__("--config", str(config))
        self.wait_for("listens on")


def write(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pipe", "ws://127.0.0.1:1/mcp_endpoint/mcp/?token=x", "--python", "no-such-file.py"], 1, "no such file"),
        (["pipe", "nonsense://x", "--python", "a.py"], 2, "ws://"),
        (["pipe", "--python", "a.py", "--servers", "b.json"], 2, "one kind of tools"),
        (["pipe", "ws://h/mcp/?token=x", "--python", "a.py", "--", "cmd"], 2, "one kind of tools"),
    ],
)
def test_what_cannot_be_served_is_told(
    arguments: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--lang", "en", *arguments]) == code
    told = "".join(capfd.readouterr())
    assert words in told
