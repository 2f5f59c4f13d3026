"""Requests that no HTTP door takes: what is wrong with one, the answer to it, and a client of each door to send it."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from support.clients.mcp_http import BOTH, mcp_client
from support.clients.sse import reading
from support.clients.stateless import asking, heads
from support.peers import Agent, Frame
from support.sockets import Reply

PING: Frame = {"jsonrpc": "2.0", "id": 5, "method": "ping"}


@dataclass(frozen=True)
class Bad:
    """A request within a session of 2025-11-25 that is not taken, and the answer to it."""

    what: str
    status: int
    reason: str
    code: int = -32600
    method: str = "POST"
    content: object = field(default_factory=lambda: PING)
    id: object = None
    headers: dict[str, str | None] = field(default_factory=dict)


def check(reply: Reply, bad: Bad) -> None:
    body = json.loads(reply.body)
    error = body["error"]
    assert reply.headers["content-type"] == "application/json"
    assert (reply.status, error["data"]["reason"], error["code"]) == (bad.status, bad.reason, bad.code)
    assert body["jsonrpc"] == "2.0"
    assert body["id"] == bad.id
    assert not error["message"].isascii(), "in English and in Chinese"
    assert error["message"][0].isascii()
    assert not error["data"]["details"].isascii(), "in the language of the settings, which is Chinese by default"


Headers = dict[str, str | None]


@dataclass(frozen=True)
class Door:
    """Where a client posts to, and what it would send if nothing were wrong."""

    path: str
    headers: Headers
    message: Frame

    def head(self, *lines: str) -> bytes:
        """The head of a POST by hand, with these lines after the others."""
        sent = {"Host": "127.0.0.1", "Content-Type": "application/json", "Accept": BOTH} | self.headers
        fields = [f"{name}: {value}" for name, value in sent.items()]
        return "\r\n".join([f"POST {self.path} HTTP/1.1", *fields, *lines, "", ""]).encode()


@contextlib.asynccontextmanager
async def by_session(agent: Agent) -> AsyncIterator[Door]:
    async with mcp_client(agent) as client:
        await client.initialize()
        yield Door("/mcp", {"Authorization": f"Bearer {agent.token}", "Mcp-Session-Id": client.session}, PING)
        assert (await client.post(PING)).json()["result"] == {}, "the session goes on"
        await client.delete()


@contextlib.asynccontextmanager
async def stateless(agent: Agent) -> AsyncIterator[Door]:
    message = asking("tools/list", 5)
    yield Door("/mcp", {"Authorization": f"Bearer {agent.token}"} | heads(message), message)


@contextlib.asynccontextmanager
async def by_sse(agent: Agent) -> AsyncIterator[Door]:
    async with reading(agent) as client:
        yield Door(client.url.raw_path.decode(), {}, PING)
        assert (await client.ask(6, "ping"))["id"] == 6, "the session goes on"


DOORS = {"session": by_session, "stateless": stateless, "sse": by_sse}
