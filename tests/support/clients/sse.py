"""A scripted client of HTTP+SSE (2024-11-05): its stream, and where it posts to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from support.clients.mcp_http import lines_of
from support.peers import Agent, Frame
from support.sockets import PATIENCE

JSON = {"Content-Type": "application/json"}


@dataclass
class SseClient:
    """One client: its stream, and where it posts to."""

    http: httpx.AsyncClient
    response: httpx.Response
    url: httpx.URL = field(default_factory=lambda: httpx.URL("http://unset"))
    lines: Any = field(init=False)

    def __post_init__(self) -> None:
        self.lines = lines_of(self.response)

    async def event(self) -> tuple[str, str]:
        """Name and data of the next event."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self.lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif fields:
                    return fields["event"], fields["data"]
        raise AssertionError("the stream is over")

    async def frame(self) -> Frame:
        name, data = await self.event()
        assert name == "message"
        frame = json.loads(data)
        assert isinstance(frame, dict)
        return frame

    async def post(self, message: object, **headers: str) -> httpx.Response:
        content = message if isinstance(message, str) else json.dumps(message)
        return await self.http.post(self.url, content=content, headers=JSON | headers)

    async def ask(self, id_: int, method: str, params: object = None) -> Frame:
        message: Frame = {"jsonrpc": "2.0", "id": id_, "method": method}
        reply = await self.post(message | ({} if params is None else {"params": params}))
        assert (reply.status_code, reply.content) == (202, b"")
        return await self.frame()


@contextlib.asynccontextmanager
async def reading(agent: Agent, path: str = "/sse", **headers: str) -> AsyncIterator[SseClient]:
    """A client that has its stream and knows where to post to."""
    url = agent.broker.url(path, "http")
    bearer = {"Authorization": f"Bearer {agent.token}"}
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http,
        http.stream("GET", url, headers=bearer | headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        client = SseClient(http, response)
        name, data = await client.event()
        assert name == "endpoint"
        client.url = response.url.join(data)
        yield client
