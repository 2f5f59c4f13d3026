"""Which door a plain HTTP request is for: one for MCP clients, or the pages for people and monitors.

The paths are those of WebSockets, so that one URL serves whichever transport a client brings (docs/protocol.md, section
1.2): a GET that is neither for a stream nor from an MCP client gets the page with help, unless its token is wrong.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_endpoint.doors.http.access import Client, admit, agent_shown, check_origin
from mcp_endpoint.doors.http.body import Refused
from mcp_endpoint.doors.http.exchange import Exchange
from mcp_endpoint.doors.http.no_oauth import asks_for_oauth, refuse_oauth
from mcp_endpoint.doors.paths import role_of
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.close_codes import End

Door = Callable[[Exchange, Client], Awaitable[None]]
"""Answers the requests of those who may come in, or raises Refused."""
OpenDoor = Callable[[Exchange], Awaitable[None]]
"""The same for requests whose URL is authority enough."""

MCP_HEADERS = frozenset({b"mcp-session-id", b"mcp-protocol-version", b"last-event-id", b"mcp-method"})

WRONG = frozenset({End.BAD_TOKEN, End.TWO_TOKENS})


class Router:
    """The ASGI app of the port: hands `mcp`, `sse` and `messages` what comes from MCP clients, and `pages` the rest."""

    def __init__(self, port_state: PortState, pages: ASGIApp, mcp: Door, sse: Door, messages: OpenDoor) -> None:
        self._port_state = port_state
        self._pages = pages
        self._mcp = mcp
        self._sse = sse
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        exchange = Exchange(self._port_state, scope, receive, send)
        if asks_for_oauth(scope["path"]):
            await refuse_oauth(exchange)
            return
        door = self._door(scope, exchange)
        if door is None:
            await self._pages(scope, receive, send)
            return
        if not await check_origin(exchange):
            return
        try:
            await door(exchange)
        except Refused as refused:
            exchange.about(refused.id)
            await exchange.refuse(refused.why, refused.headers, log=True, details=refused.details, facts=refused.facts)

    def _door(self, scope: Scope, exchange: Exchange) -> OpenDoor | None:
        path: str = scope["path"]
        match path.rstrip("/").rpartition("/")[2]:
            case "sse":
                return partial(_admitted, self._sse)
            case "messages":
                return self._messages
        # The page with help would not tell whoever opens it with a wrong token that it is wrong.
        if role_of(path) is not None and (_from_mcp_client(scope) or agent_shown(exchange) in WRONG):
            return partial(_admitted, self._mcp)
        return None


async def _admitted(door: Door, exchange: Exchange) -> None:
    client = await admit(exchange)
    if client is not None:
        await exchange.port_state.fairness.request(client.agent_id)
        await door(exchange, client)


def _from_mcp_client(scope: Scope) -> bool:
    """A browser that opened the URL, or curl, is a GET without any of this."""
    if scope["method"] not in ("GET", "HEAD"):
        return True
    return any(
        name in MCP_HEADERS or (name == b"accept" and b"text/event-stream" in value.lower())
        for name, value in scope["headers"]
    )
