"""What `pipe` has around it in tests: an endpoint under the test's hand, children, its log, and lines that break."""

import asyncio
import contextlib
import json
import re
import sys
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection

from support.sockets import PATIENCE

TOKEN = "xTr7w9G0EcAbf8IorLoBiE5b9K+CwZtl2DlcrI/9XpY="
IN_URL = TOKEN.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
ENVIRON = {"PATH": "/usr/bin:/bin", "NO_PROXY": "*"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="process groups and signals are POSIX's")


def child(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-I", "-c", CHILD + code, *map(str, arguments)]


# What test children share: `say` prints a frame, `live` opens a line to the test that breaks when the process is gone.
CHILD = """
import json, os, signal, socket, subprocess, sys
def say(**members):
    print(json.dumps(members), flush=True)
def live(port):
    line = socket.create_connection(("127.0.0.1", int(port)))
    line.sendall(b"%d\\n" % os.getpid())
    return line
"""


class StandIn:
    """An endpoint under the test's hand: connections come out of `accept`, each for the test to talk on."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.server: Server
        self.connections = 0

    async def handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        self._arrived.put_nowait(connection)
        await connection.wait_closed()

    async def accept(self) -> ServerConnection:
        async with asyncio.timeout(PATIENCE):
            return await self._arrived.get()

    @property
    def port(self) -> int:
        return next(iter(self.server.sockets)).getsockname()[1]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/mcp_endpoint/mcp/?token={IN_URL}"


class Log:
    """The lines that were logged, and a way to wait for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def take(self, message: Any) -> None:
        self.lines.append(message.record["message"])
        self._news.set()

    async def wait_for(self, pattern: str) -> str:
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                self._news.clear()
                await self._news.wait()

    def having(self, pattern: str) -> list[str]:
        return [line for line in self.lines if re.search(pattern, line)]


class Lifelines:
    """Children connect here; the connection breaks when they are gone, whatever they were doing."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._arrived.put_nowait((int(await reader.readline()), reader, writer))

    async def next(self) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(PATIENCE):
            return await self._arrived.get()

    @staticmethod
    async def broken(reader: asyncio.StreamReader) -> None:
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""


async def frame(connection: ServerConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        read = json.loads(await connection.recv())
    assert isinstance(read, dict)
    return read
