"""Real tool servers of every kind that can be got into trouble, and out of it again, while a broker has them open.

A program is started by a line of shell that does first what a file says, if there is one. A server behind a URL runs as
a process; in front of it is a gate, at which happens what happens in networks and at proxies.
"""

import asyncio
import contextlib
import os
import signal
import sys
from enum import Enum, auto
from pathlib import Path
from typing import ClassVar

from support.node import HAS_NODE, npm_server
from support.paths import PROGRAMS, ROOT
from support.peers import Frame
from support.servers.http_peers import Served, free_port, process

COUNT = {"steps": 2}
LAUNCH = 'echo $$ > "$0.pid"; [ -e "$0.trouble" ] && . "$0.trouble"; exec "$@"'
FUNCTIONS = """
from mcp_endpoint.tools import tool

@tool
def count(wait_at: str = "") -> str:
    if wait_at:
        open(wait_at).read()
    return "counted"
"""
PAGE = "<html>Here is something else.</html>"
ANSWER = f"HTTP/1.1 {{}}\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\nConnection: close\r\n\r\n{PAGE}"


class Trouble(Enum):
    """What can go wrong with a server."""

    SLOW = auto()
    """It comes up, but later than anybody waits for a list."""
    HANGS = auto()
    PRINTS = auto()
    """What it says is something else than MCP."""
    LOOPS = auto()
    """It ends at once whenever it is started, or is not there."""
    KILLED = auto()
    LOCKED = auto()
    """401."""

    def __str__(self) -> str:
        return self.name.lower()


class Peer:
    """One tool server, whose entry shows one tool, under the name of the peer."""

    def __init__(self, name: str, tool: str, arguments: Frame, **entry: object) -> None:
        self.name = name
        self.arguments = arguments
        """Those of a call that is answered at once."""
        self._entry: Frame = entry | {"tools": {"allow": [tool], "rename": {tool: name}}}

    def entry(self, *, gated: bool = True, **more: object) -> Frame:
        """What stands in mcp_servers.json; `gated` if it is reached through its gate, where it has one."""
        return self._entry | more

    async def begin(self, trouble: Trouble) -> None:
        """Get it into this trouble."""
        raise NotImplementedError

    async def mend(self, trouble: Trouble) -> None:
        """Get it out of it."""
        raise NotImplementedError


class Program(Peer):
    """A child process of the broker."""

    SHELL: ClassVar = {
        Trouble.SLOW: 'read _ < "$0.pipe"',
        Trouble.HANGS: "exec cat > /dev/null",
        Trouble.PRINTS: "cat /dev/zero",
        Trouble.LOOPS: "exit 3",
        Trouble.KILLED: "exit 3",
    }

    def __init__(self, folder: Path, name: str, tool: str, arguments: Frame, *command: str) -> None:
        self._file = folder / name
        self._trouble = folder / f"{name}.trouble"
        self._pipe = Pipe(folder / f"{name}.pipe")
        super().__init__(name, tool, arguments, command="/bin/sh", args=["-c", LAUNCH, str(self._file), *command])

    async def begin(self, trouble: Trouble) -> None:
        self._trouble.write_text(self.SHELL[trouble], "utf-8")
        if trouble is Trouble.KILLED:
            self.signal(signal.SIGKILL)

    async def mend(self, trouble: Trouble) -> None:
        self._trouble.unlink()
        if trouble is Trouble.SLOW:
            await self._pipe.go_on()

    def signal(self, number: signal.Signals) -> None:
        os.kill(int(Path(f"{self._file}.pid").read_text("utf-8")), number)


class Pipe:
    """What somebody reads from, and waits at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    async def go_on(self) -> None:
        """Once somebody waits, let it go on."""
        await asyncio.to_thread(self.path.write_text, "\n", "utf-8")


class Gate:
    """Passes connections on to a port of this machine, or does not."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._says = b""
        self._opened = asyncio.Event()
        self.asked = asyncio.Event()
        """Set when something is passed on to the port."""
        self._passing: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server | None = None

    async def open(self) -> None:
        """Pass on what comes, and what waits."""
        self._says = b""
        self._opened.set()
        await self._listen()

    async def hold(self) -> None:
        """Cut what is passed on, and let everybody wait who comes."""
        self._says = b""
        self._opened.clear()
        await self._cut()
        await self._listen()

    async def say(self, answer: str) -> None:
        """Cut what is passed on, and give everybody this answer."""
        self._says = answer.encode()
        await self._cut()
        await self._listen()

    async def shut(self) -> None:
        """Cut all connections; nobody listens any more."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await self._cut()

    async def _cut(self) -> None:
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = await asyncio.start_server(self._came, "127.0.0.1", self.port)

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._says:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._says)
                await reader.read()  # until the client closes: to close before it has read cuts the answer off
            else:
                await self._opened.wait()
                inner, outer = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(outer)
                await asyncio.gather(self._copy(reader, outer, self.asked), self._copy(inner, writer))
        self._close(writer)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: asyncio.Event | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
                if passed is not None:
                    passed.set()
        self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        self._writers.discard(writer)


class Remote(Peer):
    """A process that listens on a port, which is the same after a restart."""

    def __init__(self, stack: contextlib.AsyncExitStack, name: str, path: str, *command: str) -> None:
        self._stack = stack
        self._command = command
        self.port = free_port()
        self.gate = Gate(self.port)
        self._path = path
        self._served: Served | None = None
        super().__init__(name, "count", COUNT)

    def entry(self, *, gated: bool = True, **more: object) -> Frame:
        member, scheme = "openapi" if self.name == "api" else "url", "ws" if self.name == "ws" else "http"
        port = self.gate.port if gated else self.port
        return self._entry | {member: f"{scheme}://127.0.0.1:{port}{self._path}"} | more

    async def start(self) -> None:
        command = [str(self.port) if word == "PORT" else word for word in self._command]
        self._served = await self._stack.enter_async_context(
            process(*command, until=r"running on \S+:(\d+)", port=self.port)
        )

    async def be_well(self) -> None:
        if self._served is None or self._served.process.returncode is not None:
            await self.start()
        self.signal(signal.SIGCONT)
        await self.gate.open()

    async def begin(self, trouble: Trouble) -> None:
        match trouble:
            case Trouble.SLOW | Trouble.HANGS:
                await self.gate.hold()
            case Trouble.PRINTS:
                await self.gate.say(ANSWER.format("200 OK"))
            case Trouble.LOOPS:
                await self.gate.shut()
            case Trouble.LOCKED:
                await self.gate.say(ANSWER.format("401 Unauthorized"))
            case Trouble.KILLED:
                assert self._served is not None
                await self._served.kill()

    async def mend(self, trouble: Trouble) -> None:
        if trouble is Trouble.KILLED:
            await self.start()
        else:
            await self.gate.open()

    def signal(self, number: signal.Signals) -> None:
        assert self._served is not None
        self._served.process.send_signal(number)


class Functions(Peer):
    """A file of Python functions, which run in the broker itself."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "functions.py"
        self.pipe = Pipe(folder / "functions.pipe")
        self._troubles = {
            Trouble.SLOW: f"open({str(self.pipe.path)!r}).read()",
            Trouble.HANGS: f"open({str(self.pipe.path)!r}).read()",
            Trouble.PRINTS: "<html>",
            Trouble.LOOPS: "raise SystemExit(3)",
        }
        super().__init__("python", "count", {}, python=str(self._file))
        self._write("")

    def _write(self, first: str) -> None:
        self._file.write_text(first + FUNCTIONS, "utf-8")

    async def begin(self, trouble: Trouble) -> None:
        self._write(self._troubles[trouble])

    async def mend(self, trouble: Trouble) -> None:
        self._write("")
        if trouble is Trouble.SLOW:
            await self.pipe.go_on()


def programs(folder: Path) -> list[Program]:
    """A program of PyPI, one of ours with the SDK, and two of npm where there is node."""
    zone = {"timezone": "Asia/Shanghai"}
    found = [
        Program(folder, "time", "get_current_time", zone, sys.executable, "-m", "mcp_server_time"),
        Program(folder, "sdk", "count", COUNT, sys.executable, str(PROGRAMS / "sdk_server.py")),
    ]
    if HAS_NODE:
        found += [
            Program(folder, "files", "list_allowed_directories", {}, *npm_server("server-filesystem"), str(folder)),
            Program(folder, "everything", "echo", {"message": "hi"}, *npm_server("server-everything")),
        ]
    return found


def remotes(stack: contextlib.AsyncExitStack) -> list[Remote]:
    """Servers of the SDK over HTTP in both eras, over SSE and over WebSocket, and an HTTP API."""
    server = str(PROGRAMS / "sdk_http_server.py")
    older = str(ROOT / ".venv-mcp1" / "bin" / "python")
    return [
        Remote(stack, "http", "/mcp", sys.executable, server, "streamable", "PORT"),
        Remote(stack, "stateless", "/mcp", sys.executable, server, "stateless", "PORT"),
        Remote(stack, "sse", "/sse", sys.executable, server, "sse", "PORT"),
        Remote(stack, "ws", "/", older, str(PROGRAMS / "sdk_ws_server.py"), "PORT"),
        Remote(stack, "api", "/openapi.json", sys.executable, str(PROGRAMS / "api_server.py"), "PORT"),
    ]
