"""Which door a plain HTTP request is for: one for MCP clients, or the pages for people and monitors.

The paths are those of the WebSocket doors, so that one URL serves whichever transport a client brings (wire contract,
section 1): a GET that is neither for a stream nor from an MCP client gets the page with help.
"""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_endpoint.doors.access import Visitor, admit
from mcp_endpoint.doors.body import Refused
from mcp_endpoint.doors.exchange import Exchange
from mcp_endpoint.doors.front import Front
from mcp_endpoint.doors.handshake import role_of

Door = Callable[[Exchange, Visitor], Awaitable[None]]
"""Answers the requests of those who may come in, or raises Refused."""

MCP_HEADERS = frozenset({b"mcp-session-id", b"mcp-protocol-version", b"last-event-id", b"mcp-method"})


class ByPath:
    """The ASGI app of the port: hands `mcp` what comes from MCP clients, and `pages` the rest."""

    def __init__(self, front: Front, pages: ASGIApp, mcp: Door) -> None:
        self._front = front
        self._pages = pages
        self._mcp = mcp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] == "http" and role_of(scope["path"]) is not None and _from_mcp_client(scope):
            await self._visit(Exchange(self._front, scope, receive, send), self._mcp)
        else:
            await self._pages(scope, receive, send)

    async def _visit(self, exchange: Exchange, door: Door) -> None:
        visitor = await admit(exchange)
        if visitor is None:
            return
        try:
            await door(exchange, visitor)
        except Refused as refused:
            exchange.about(refused.id)
            await exchange.refuse(refused.why, refused.headers, log=True, facts=refused.facts)


def _from_mcp_client(scope: Scope) -> bool:
    """A browser that opened the URL, or curl, is a GET without any of this."""
    if scope["method"] not in ("GET", "HEAD"):
        return True
    return any(
        name in MCP_HEADERS or (name == b"accept" and b"text/event-stream" in value.lower())
        for name, value in scope["headers"]
    )
