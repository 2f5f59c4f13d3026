"""Which era of MCP a request on the clients' URL is of (specification 2026-07-28, "Versioning and Compatibility").

The header `MCP-Protocol-Version` tells, and where it does not the body: a stateless request carries its envelope, and
the door of the handshake era passes it on once it has read it.
"""

from mcp_endpoint.doors.access import Visitor
from mcp_endpoint.doors.by_path import Door
from mcp_endpoint.doors.exchange import Exchange
from mcp_endpoint.wire.mcp import REVISIONS
from mcp_endpoint.wire.stateless import REVISION, VERSION_HEADER


class ByEra:
    """The door for both eras, so that clients of either share one URL."""

    def __init__(self, handshake: Door, stateless: Door) -> None:
        self._handshake = handshake
        self._stateless = stateless

    async def __call__(self, exchange: Exchange, visitor: Visitor) -> None:
        """Answer one request by the door of its era."""
        await (self._stateless if is_stateless(exchange) else self._handshake)(exchange, visitor)


def is_stateless(exchange: Exchange) -> bool:
    """Whether the head of a request is of the stateless era.

    A version that nobody here knows is one of that era's too, since only there an answer can say which are known;
    unless the request belongs to a session, which no newer revision has.
    """
    version = exchange.headers.get(VERSION_HEADER)
    if version is None or version in REVISIONS:
        return False
    return version == REVISION or (exchange.method == "POST" and "mcp-session-id" not in exchange.headers)
