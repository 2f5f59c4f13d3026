"""What the wire tests talk with: the real broker as a process, scripted peers, and a socket for what libraries refuse.

Every wait is bounded by PATIENCE. That nothing arrives is shown by a ping that is answered first, never by a sleep:
the broker works off the frames of one link in order, and all of them in one thread.
"""

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mcp_endpoint.settings.schema import describe
from mcp_endpoint.tokens import Tokens
from support.paths import ROOT
from support.sockets import PATIENCE, Reply, Wire

KEY = "6a369b7f1bcf4d3e8d123ece38bb9627"
TROUBLE = re.compile(r"^\S+ \S+ (ERROR|CRITICAL)|^Traceback|Warning: |^{.*\"level\":\"(ERROR|CRITICAL)\"")
PLACES: dict[str, tuple[str, str]] = {}
"""How tests call a key → its section and key: by the key alone, or after its section where another has it too."""
for _section, _key, *_ in describe():
    PLACES[f"{_section}_{_key}" if _key in PLACES else _key] = (_section, _key)
SECTIONS = {name: section for name, (section, _) in PLACES.items()}

Frame = dict[str, Any]
UNSET: Any = object()


class Broker:
    """The broker as users start it, on a port that the system chose; `settings` by key, whatever their section.

    `more` is text for the end of the file: sections of agents.
    """

    def __init__(self, folder: Path, more: str = "", **settings: object) -> None:
        self.config = folder / "x.cfg"
        # All peers of all tests come from one address, and many of them are refused.
        values = {"host": "127.0.0.1", "port": 0, "key": KEY, "log_file": "", "handshakes_per_minute": 0} | settings
        sections: dict[str, list[str]] = defaultdict(list)
        for key, value in values.items():
            section, name = PLACES[key]
            sections[section].append(f"{name} = {value}\n")
        text = "".join(f"[{name}]\n{''.join(lines)}" for name, lines in sections.items())
        self.config.write_text(text + more, "utf-8")
        self.key = str(values["key"])
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._names = itertools.count()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), "--config", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("MCP_ENDPOINT")},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            listens = r" listens on (\S+):(\d+)(?:$|\")"
            host, port = re.search(listens, self.wait_for(listens)).groups()  # type: ignore[union-attr]
        except BaseException:
            self.stop()
            raise
        self.host, self.port = host, int(port)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                with self._news:
                    self.lines.append(line.decode().rstrip("\n"))
                    self._news.notify_all()

    def wait_for(self, pattern: str, since: int = 0, count: int = 1) -> str:
        """The line with which `pattern` is found the `count`th time after the first `since` lines of the log."""

        def found() -> list[str]:
            return [line for line in self.lines[since:] if re.search(pattern, line)][count - 1 :]

        with self._news:
            lines = self._news.wait_for(found, PATIENCE)
        assert lines, f"no line with {pattern!r} in: {self.lines[-20:]}"
        return lines[0]

    async def logged(self, pattern: str, since: int = 0, count: int = 1) -> str:
        return await asyncio.to_thread(self.wait_for, pattern, since, count)

    def check(self, since: int = 0) -> None:
        """Nothing in the log says that the broker itself went wrong."""
        lines = self.lines[since:]
        trouble = [number for number, line in enumerate(lines) if TROUBLE.search(line)]
        assert not trouble, "\n".join(lines[trouble[0] : trouble[0] + 80])

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once the broker has ended and its last line is read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> int:
        """End the broker, and the test badly if it does not end."""
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.wait()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.wait()

    def url(self, path: str = "", scheme: str = "ws") -> str:
        return f"{scheme}://{self.host}:{self.port}{path}"

    def agent(self) -> "Agent":
        """An agent that nobody used before, so that tests may share a broker."""
        return Agent(self, f"agent {next(self._names)}")

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> "Reply":
        """One plain HTTP request on a connection of its own; no redirect is followed."""
        async with Wire.open(self) as wire:
            named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            wire.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{named}\r\n".encode())
            return await wire.reply()

    async def json(self, path: str, **headers: str) -> Any:
        return json.loads((await self.get(path, **headers)).body)

    async def stats(self) -> Any:
        return (await self.json(f"/stats?key={self.key}"))["data"]


@dataclass
class Agent:
    """One agent of a broker: its URLs, and peers that dial them."""

    broker: Broker
    name: str
    token: str = field(init=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        tokens = Tokens(self.broker.key)
        self.token = tokens.mint(self.name)
        self.id = tokens.read(self.token)

    def path(self, door: str, **query: str) -> str:
        return f"/mcp_endpoint/{door}/?{urlencode({'token': self.token} | query, quote_via=quote)}"

    @property
    def tool_url(self) -> str:
        return self.broker.url(self.path("mcp"))

    @property
    def device_url(self) -> str:
        return self.broker.url(self.path("call"))

    def tool_side(self, *tools: str | Frame, **behaviour: Any) -> contextlib.AbstractAsyncContextManager["ToolSide"]:
        query = {"server_id": behaviour.pop("server_id")} if "server_id" in behaviour else {}
        return tool_side(self.broker.url(self.path("mcp", **query)), tools, **behaviour)

    def device(self, client: str | None = "test", **options: Any) -> contextlib.AbstractAsyncContextManager["Device"]:
        return device(self.device_url, client, **options)

    async def report(self) -> Any:
        """What `/stats` says of this agent; None once it is forgotten."""
        return (await self.broker.stats())["agents"].get(self.id)

    async def links(self, role: str) -> list[Any]:
        report = await self.report()
        return [link for link in report["links"] if link["role"] == role] if report else []

    async def ended(self, role: str, count: int = 1) -> list[Any]:
        """The links of this agent that ended, the last one first, once `count` of the given role have."""
        await self.broker.logged(f"{role} side ended: agent {self.id} ", count=count)
        return await self.ends()

    async def ends(self) -> list[Any]:
        return [end for end in (await self.broker.stats())["ended"] if end["agent"] == self.id]


class Peer:
    """One WebSocket connection to a door."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._numbers = itertools.count()

    async def send(self, frame: Frame | str) -> None:
        await self.connection.send(frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False))

    async def closed(self) -> tuple[int | None, str | None]:
        """Code and reason of the close frame the broker sent."""
        async with asyncio.timeout(PATIENCE):
            await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason


class Device(Peer):
    """Whoever calls an agent's tools. What arrives is kept in `unread` until somebody asks for it."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__(connection)
        self.unread: deque[str] = deque()

    async def text(self) -> str:
        """The next frame, as it came."""
        if self.unread:
            return self.unread.popleft()
        async with asyncio.timeout(PATIENCE):
            frame = await self.connection.recv()
        assert isinstance(frame, str)
        return frame

    async def frame(self) -> Frame:
        return parsed(await self.text())

    async def reply(self, id_: object) -> Frame:
        """The answer with this id, its type included; what came before it stays unread."""
        for text in self.unread:
            if answers(text, id_):
                self.unread.remove(text)
                return parsed(text)
        async with asyncio.timeout(PATIENCE):
            while True:
                text = str(await self.connection.recv())
                if answers(text, id_):
                    return parsed(text)
                self.unread.append(text)

    async def request(self, method: str, params: object = UNSET, id_: object = UNSET) -> Frame:
        number = f"q{next(self._numbers)}" if id_ is UNSET else id_
        body = {"jsonrpc": "2.0", "id": number, "method": method}
        await self.send(body if params is UNSET else body | {"params": params})
        return await self.reply(number)

    async def call(self, tool: str, id_: object = UNSET, **arguments: object) -> Frame:
        return await self.request("tools/call", {"name": tool, "arguments": arguments}, id_)

    async def begin_call(self, tool: str, id_: object, **arguments: object) -> None:
        """A call whose answer is not waited for."""
        params = {"name": tool, "arguments": arguments}
        await self.send({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})

    async def names(self) -> list[str]:
        """The names of the tools it is shown."""
        return [tool["name"] for tool in (await self.request("tools/list"))["result"]["tools"]]

    async def settled(self) -> list[str]:
        """Every frame that the broker has sent so far and nobody asked for."""
        number = f"settled{next(self._numbers)}"
        await self.send({"jsonrpc": "2.0", "id": number, "method": "ping"})
        assert (await self.reply(number))["result"] == {}
        frames = list(self.unread)
        self.unread.clear()
        return frames


@contextlib.asynccontextmanager
async def device(url: str, client: str | None = "test", **options: Any) -> AsyncIterator[Device]:
    """A device side that has introduced itself as `client`; None leaves that to the test."""
    async with dialled(url, **options) as connection:
        peer = Device(connection)
        if client is not None:
            info = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": client, "version": "1"}}
            assert "result" in await peer.request("initialize", info)
            await peer.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield peer


@contextlib.asynccontextmanager
async def dialled(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(
        url,
        **{"open_timeout": PATIENCE, "ping_interval": None, "max_size": None, "proxy": None, "close_timeout": 1}
        | options,
    ) as connection:
        yield connection


class ToolSide(Peer):
    """A scripted tool program: it answers what it is told to, and keeps the rest in queues by method.

    Its own name is `server`. `greets`, `lists`, `calls` and `pings` say whether it answers `initialize`, `tools/list`,
    `tools/call` and `ping` by itself; `results` has what it answers to other methods. Answers of the broker are queued
    under "answer".
    """

    def __init__(
        self,
        connection: ClientConnection,
        tools: Iterable[str | Frame],
        server: str = "calc",
        *,
        greets: bool = True,
        lists: bool = True,
        calls: bool = True,
        pings: bool = True,
        introduction: Frame | None = None,
        results: Frame | None = None,
    ) -> None:
        super().__init__(connection)
        self.tools = [tool(one) if isinstance(one, str) else one for one in tools]
        self.server = server
        self.greets, self.lists, self.calls, self.pings = greets, lists, calls, pings
        self.introduction = {
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": server, "version": "1"},
        } | (introduction or {})
        self.results = results or {}
        self.texts: list[str] = []
        self._queues: defaultdict[str, asyncio.Queue[Frame]] = defaultdict(asyncio.Queue)

    async def run(self) -> None:
        """Read and answer until the connection ends."""
        with contextlib.suppress(ConnectionClosed):
            async for text in self.connection:
                assert isinstance(text, str)
                self.texts.append(text)
                await self._take(parsed(text))

    async def _take(self, frame: Frame) -> None:
        match frame.get("method"):
            case "initialize" if self.greets:
                await self.answer(frame, self.introduction)
            case "tools/list" if self.lists:
                await self.answer(frame, {"tools": self.tools})
            case "tools/call" if self.calls:
                await self.answer(frame, text_result(self.say(frame)))
            case "ping" if self.pings:
                await self.answer(frame, {})
            case method if method in self.results:
                await self.answer(frame, self.results[method])
        self._queues[frame.get("method", "answer")].put_nowait(frame)

    def say(self, call: Frame) -> str:
        """The text of a call's result: who answers which call with which arguments."""
        return f"{self.server}.{call['params']['name']}({json.dumps(call['params'].get('arguments'))})"

    async def next(self, method: str) -> Frame:
        """The next frame with this method that nobody took yet."""
        async with asyncio.timeout(PATIENCE):
            return await self._queues[method].get()

    def waiting(self, method: str) -> int:
        """How many frames with this method nobody took yet."""
        return self._queues[method].qsize()

    async def answer(self, request: Frame, result: object) -> None:
        await self.send({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def notify(self, method: str, **params: object) -> None:
        await self.send({"jsonrpc": "2.0", "method": method} | ({"params": params} if params else {}))

    async def settled(self) -> None:
        """The broker has worked off all that this program has sent."""
        await self.send({"jsonrpc": "2.0", "id": f"settled{next(self._numbers)}", "method": "ping"})
        assert (await self.next("answer"))["result"] == {}

    async def listed(self) -> None:
        """The broker has the list that this program gave."""
        await self.next("tools/list")
        await self.settled()

    async def change(self, *tools: str | Frame) -> None:
        """Have other tools from now on, and the broker know it."""
        self.tools = [tool(one) if isinstance(one, str) else one for one in tools]
        await self.notify("notifications/tools/list_changed")
        await self.listed()


@contextlib.asynccontextmanager
async def tool_side(url: str, tools: Iterable[str | Frame] = (), **behaviour: Any) -> AsyncIterator[ToolSide]:
    """A tool program whose tools the broker knows when the block begins, unless it does not greet or list."""
    async with dialled(url) as connection:
        program = ToolSide(connection, tools, **behaviour)
        reading = asyncio.create_task(program.run())
        try:
            if program.greets and program.lists:
                await program.listed()
            yield program
        finally:
            await connection.close()
            async with asyncio.timeout(PATIENCE):
                await reading


def parsed(text: str) -> Frame:
    frame = json.loads(text)
    assert isinstance(frame, dict)
    assert frame.get("jsonrpc") == "2.0"
    assert not ("result" in frame and "error" in frame), "never both (JSON-RPC 2.0, 5)"
    return frame


def spelled(**members: object) -> str:
    """A frame whose members are spelled as given, in this order."""
    return "".join(['{"jsonrpc":"2.0"', *(f',"{name}":{text}' for name, text in members.items()), "}"])


def answers(text: str, id_: object) -> bool:
    """Whether a frame is the answer with this id; 1 is neither "1" nor true."""
    frame = json.loads(text)
    return "method" not in frame and "id" in frame and frame["id"] == id_ and type(frame["id"]) is type(id_)


def tool(name: str, **members: object) -> Frame:
    return {"name": name, "inputSchema": {"type": "object"}} | members


def text_result(text: str, **members: object) -> Frame:
    return {"content": [{"type": "text", "text": text}]} | members


def said(answer: Frame) -> str:
    """The text of a call's result."""
    text = answer["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


def fault(answer: Frame) -> tuple[int, str]:
    """Code and machine-readable reason of an error, whose other members are those of docs/protocol.md, section 4.6."""
    error = answer["error"]
    assert "result" not in answer
    assert error["message"]
    assert error["data"]["details"]
    assert error["data"]["agent_id"]
    return error["code"], error["data"]["reason"]
