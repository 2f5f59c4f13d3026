"""A scripted MCP client over HTTP, for what the official ones do not do or do not show: every request by hand."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from support.peers import Agent, Broker, Frame
from support.sockets import PATIENCE

BOTH = "application/json, text/event-stream"

LIST_CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    data: str
    retry: int | None = None

    @property
    def frame(self) -> Frame:
        frame = json.loads(self.data)
        assert isinstance(frame, dict)
        return frame


async def lines_of(response: httpx.Response) -> AsyncIterator[str]:
    """The lines of a stream of events: these end with a line feed here, while httpx would cut at U+2028 as well."""
    rest = b""
    async for data in response.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode()


class Stream:
    """The events of one answer, as they come. Comments are counted."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.comments = 0
        self._lines = lines_of(response)

    async def event(self) -> Event:
        """The next event."""
        event = await self._next()
        assert event is not None, "the stream is over"
        return event

    async def rest(self) -> list[Event]:
        """All events until the broker ends the answer."""
        events = []
        while (event := await self._next()) is not None:
            events.append(event)
        return events

    async def comment(self) -> None:
        """Wait for a comment."""
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if line.startswith(":"):
                    return
        raise AssertionError("the stream is over")

    async def _next(self) -> Event | None:
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif fields:
                    assert fields.get("event", "message") == "message"
                    retry = int(fields["retry"]) if "retry" in fields else None
                    return Event(fields.get("id", ""), fields.get("data", ""), retry)
        return None


class McpClient:
    """One client and its session."""

    def __init__(self, agent: Agent, http: httpx.AsyncClient, path: str) -> None:
        self.agent = agent
        self.http = http
        self.url = agent.broker.url(path, "http")
        self.headers: dict[str, str] = {"Authorization": f"Bearer {agent.token}"}
        """Sent with every request."""

    @property
    def session(self) -> str:
        return self.headers["Mcp-Session-Id"]

    async def request(self, method: str, content: object = None, **headers: str | None) -> httpx.Response:
        """One request; a header that is None is left out. `content` is sent as JSON unless it is text or bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self.http.request(method, self.url, **self._of(content, headers))

    def _of(self, content: object, headers: dict[str, str | None]) -> dict[str, Any]:
        sent: dict[str, str | None] = dict(self.headers) | {"Accept": BOTH}
        if content is not None:
            sent["Content-Type"] = "application/json"
            if not isinstance(content, str | bytes):
                content = json.dumps(content, ensure_ascii=False)
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return {"content": content, "headers": {name: value for name, value in sent.items() if value is not None}}

    async def post(self, message: object, **headers: str | None) -> httpx.Response:
        return await self.request("POST", message, **headers)

    async def delete(self, **headers: str | None) -> httpx.Response:
        reply = await self.request("DELETE", **headers)
        self.headers.pop("Mcp-Session-Id", None)
        return reply

    async def initialize(self, revision: str = "2025-11-25", **headers: str | None) -> httpx.Response:
        """Begin a session, if the broker lets it."""
        reply = await self.post(initialize(revision), **headers)
        if reply.status_code == 200:
            self.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
            told = await self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **headers)
            assert (told.status_code, told.content) == (202, b"")
        return reply

    @staticmethod
    def calling(tool: str, id_: object = 7, token: object = None, **arguments: object) -> Frame:
        """The message of a call."""
        params: Frame = {"name": tool, "arguments": arguments}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}

    async def call(self, tool: str, id_: object = 7, **arguments: object) -> httpx.Response:
        return await self.post(self.calling(tool, id_, **arguments))

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, message: object = None, last: str | None = None, **headers: str | None
    ) -> AsyncIterator[Stream]:
        """A request whose answer is read as it comes; leaving the block drops its connection."""
        options = self._of(message, headers | ({"Last_Event_ID": last} if last is not None else {}))
        async with self.http.stream(method, self.url, **options) as response:
            yield Stream(response)


def initialize(revision: str = "2025-11-25", id_: object = 0) -> Frame:
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return {"jsonrpc": "2.0", "id": id_, "method": "initialize", "params": params}


@contextlib.asynccontextmanager
async def mcp_client(agent: Agent, path: str = "/mcp_endpoint/mcp/", **options: Any) -> AsyncIterator[McpClient]:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, **options) as http:
        yield McpClient(agent, http, path)


async def gone(broker: Broker, **left: int) -> None:
    """Nothing is left of clients over HTTP but what is named."""
    due = {"requests": 0, "sessions": 0, "streams": 0, "callers": 0} | left
    async with asyncio.timeout(PATIENCE):
        while {name: (await broker.stats())["census"][name] for name in due} != due:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.02)


async def end_of(agent: Agent, count: int = 1) -> Any:
    """How the last of the agent's sessions ended, once `count` of its devices have."""
    return next(end for end in await agent.ended("device", count) if end["role"] == "device")


def progress(token: object, done: int) -> Frame:
    return {"progressToken": token, "progress": done}
