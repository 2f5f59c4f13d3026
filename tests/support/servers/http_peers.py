"""Whom the HTTP sources talk to in tests: real servers as processes, and one that answers what the test says."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from support.node import npm_server
from support.paths import PROGRAMS
from support.peers import PATIENCE

LOOPBACK = ("127.0.0.1",)


@dataclass
class Served:
    """A server that runs as a process."""

    process: asyncio.subprocess.Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """End it as kill -9 does."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert isinstance(port, int)
        return port


@contextlib.asynccontextmanager
async def process(*command: str, until: str, port: int = 0, **environ: str) -> AsyncIterator[Served]:
    """Run a server until the end of the block; it is up once a line matches `until`, which may name its port."""
    running = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert running.stdout is not None
    reading = None
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await running.stdout.readline()).decode()
                assert line, "it ended before it was up"
                if match := re.search(until, line):
                    break
        reading = asyncio.create_task(running.stdout.read())
        yield Served(running, port or int(match[1]))
    finally:
        if running.returncode is None:
            running.kill()
        async with asyncio.timeout(PATIENCE):
            await running.wait()
            if reading is not None:
                await reading


def sdk(mode: str, port: int = 0) -> contextlib.AbstractAsyncContextManager[Served]:
    """The server of sdk_http_server.py."""
    return process(
        sys.executable,
        str(PROGRAMS / "sdk_http_server.py"),
        mode,
        str(port),
        until=r"running on http://127.0.0.1:(\d+)",
    )


def everything(mode: str) -> contextlib.AbstractAsyncContextManager[Served]:
    """server-everything, by `streamableHttp` or `sse`."""
    port = free_port()
    return process(*npm_server("server-everything"), mode, until=r"(?i)port", port=port, PORT=str(port))


@dataclass
class Exchange:
    """One HTTP request to a scripted server, and the way to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def frame(self) -> Any:
        return json.loads(self.body)

    async def answer(self, status: int = 200, body: object = b"", kind: str = "application/json", **more: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"Content-Type": kind, "Content-Length": str(len(data)), "Connection": "close"} | {
            name.replace("_", "-"): value for name, value in more.items()
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + data)
        await self.writer.drain()

    async def result(self, value: object, **headers: str) -> None:
        await self.answer(200, {"jsonrpc": "2.0", "id": self.frame["id"], "result": value}, **headers)

    async def stream(self, *events: str) -> None:
        """Begin a stream of events, or go on with it."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        if not getattr(self, "_begun", False):
            self._begun = True
            self.writer.write(head.encode())
        for event in events:
            self.writer.write(f"{event}\n\n".encode())
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client closes the connection."""
        await self._reader.read()

    _begun: bool = False
    _reader: asyncio.StreamReader = field(default_factory=asyncio.StreamReader)


Script = Callable[[Exchange], Awaitable[None]]
HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "scripted", "version": "1"},
}


@contextlib.asynccontextmanager
async def scripted(script: Script, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers each request by `script` and then closes the connection."""
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, path, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            exchange = Exchange(method, path, headers, body, writer)
            exchange._reader = reader
            await script(exchange)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def greeting(script: Script, **headers: str) -> Script:
    """A script that does MCP's handshake, offers no standing stream, and leaves the rest to `script`."""

    async def serve(exchange: Exchange) -> None:
        method = exchange.frame.get("method") if exchange.body else None
        if method == "initialize":
            await exchange.result(HELLO, **headers)
        elif method == "notifications/initialized":
            await exchange.answer(202)
        else:
            await script(exchange)

    return serve
