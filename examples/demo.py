"""The whole job in one terminal: broker, bridge, a real MCP server, and a device that calls its tool.

`make demo` calculates 130000 * 130000, `make demo EXPR='7*6'` something else. Everything runs on this machine, on a
port the system chooses, with a key and settings that are gone afterwards.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME / "src"))

from mcp_endpoint.clients.device import DeviceError, result_texts, session  # noqa: E402
from mcp_endpoint.clients.endpoint import endpoint  # noqa: E402
from mcp_endpoint.clients.terminal import Terminal  # noqa: E402
from mcp_endpoint.language import VARIABLE, Bilingual, choose  # noqa: E402
from mcp_endpoint.tokens import Tokens, urls  # noqa: E402

WHOLE = 40.0
STARTING = 30.0
ENDING = 9.0
SHOWN = 240  # characters of a frame, but for the one with the result


class DemoError(Exception):
    """Something did not work; `told` says what."""

    def __init__(self, told: Bilingual) -> None:
        super().__init__(told.en)
        self.told = told


class Process:
    """One of the programs of the demo; what it prints is shown behind its name."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._show())

    async def _show(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            print(f"    {self._name} | {text[:SHOWN]}", flush=True)
            listens = re.search(r" listens on \S+:(\d+)$", text)
            if listens and not self._port.done():
                self._port.set_result(int(listens[1]))
        if not self._port.done():
            self._port.cancel()

    async def port(self) -> int:
        """The port it says it listens on."""
        done, _ = await asyncio.wait({self._port}, timeout=STARTING)
        if not done or self._port.cancelled():
            raise DemoError(
                Bilingual(
                    f"{self._name} 没有启动，原因见上面它的输出。",
                    f"The {self._name} did not start; its lines above say why.",
                )
            )
        return self._port.result()

    async def end(self) -> None:
        """SIGTERM, and if that is not minded, SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(ENDING):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader


@contextlib.asynccontextmanager
async def running(name: str, *command: str, environ: Mapping[str, str]) -> AsyncIterator[Process]:
    """A program of the demo, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=HOME,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Process(name, process)
    try:
        yield program
    finally:
        await program.end()


async def demo(expression: str, folder: str, terminal: Terminal) -> str:
    """Run everything once; returns the value in the frame that the device received. Raises DemoError or DeviceError."""
    key = secrets.token_hex(16)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")}
    clean[VARIABLE] = terminal.language

    def step(number: int, zh: str, en: str) -> None:
        terminal.say(Bilingual(f"[{number}] {zh}", f"[{number}] {en}"))

    environ = clean | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "MCP_ENDPOINT_SERVER__HOST": "127.0.0.1",
        "MCP_ENDPOINT_SERVER__PORT": "0",
        "MCP_ENDPOINT_SERVER__KEY": key,
        "MCP_ENDPOINT_LOGGING__LOG_FILE": "",
        # The list of tools waits for the calculator: on a slow machine that takes a while to start.
        "MCP_ENDPOINT_BROKER__TOOLS_WAIT": str(STARTING),
    }
    step(1, "启动服务", "the broker starts")
    async with running("broker", "main.py", "--config", str(Path(folder, "demo.cfg")), environ=environ) as broker:
        base = f"http://127.0.0.1:{await broker.port()}"
        tool_url, device_url = urls(base, Tokens(key).mint("demo"))
        step(2, "启动计算器，经桥接器接入", "the bridge starts the calculator and dials in")
        # By its environment, so that the URL with its token stands in no list of processes.
        bridge_environ = clean | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "MCP_ENDPOINT": tool_url}
        calculator = [sys.executable, str(HOME / "examples" / "calculator.py")]
        async with running("bridge", "main.py", "pipe", "--", *calculator, environ=bridge_environ):
            step(3, "设备端连接，与小智服务器相同的报文", "a device connects, with the frames of the Xiaozhi server")
            received = await call(device_url, expression)
            step(4, "设备收到的报文", "the frame that the device received")
            print(f"    {received}")
            step(5, "全部结束", "everything ends")
    return value(received)


async def call(device_url: str, expression: str) -> str:
    """Call the calculator as the Xiaozhi server does; returns the frame with the result as it was received."""
    frames: list[str] = []

    def show(direction: str, text: str) -> None:
        frames.append(text)
        arrow = "→" if direction == "sent" else "←"
        print(f"    device {arrow} {text if len(text) <= SHOWN else text[:SHOWN] + ' …'}", flush=True)

    async with session(endpoint(device_url, "call"), show) as device:
        tools = await device.greet(STARTING)
        if not any(tool.get("name") == "calculator" for tool in tools):
            raise DemoError(
                Bilingual(
                    "计算器没有接入，原因见上面 bridge 的输出。",
                    "The calculator did not dial in; the bridge's lines above say why.",
                )
            )
        await device.call("calculator", {"python_expression": expression})
    return frames[-1]


def value(frame: str) -> str:
    """The calculator's answer in a frame."""
    result = json.loads(frame)["result"]
    text = " ".join(result_texts(result))
    if result.get("isError"):
        raise DemoError(Bilingual(text, text))
    return text


async def main() -> int:
    """The exit code."""
    expression = os.environ.get("EXPR") or "130000 * 130000"
    terminal = Terminal(choose(None, os.environ, None, "en"), sys.stdout, sys.stderr)
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with asyncio.timeout(WHOLE):
                answer = await demo(expression, folder, terminal)
    except TimeoutError:
        terminal.complain(Bilingual(f"演示没有在 {WHOLE:g} 秒内完成。", f"The demo did not end within {WHOLE:g} s."))
    except (DemoError, DeviceError) as error:
        terminal.complain(error.told)
    else:
        print(f"\n{expression} = {answer}")
        return 0
    return 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
