"""Which era of MCP a request on the clients' URL is of (specification 2026-07-28, "Versioning and Compatibility").

What a request is tells its body: `initialize` is of the handshake era, a request with an envelope of the stateless one.
For all others the header `MCP-Protocol-Version` does.
"""

from collections.abc import Awaitable, Callable

from mcp_endpoint.doors.http.access import Client
from mcp_endpoint.doors.http.body import Post, Refused, read_post
from mcp_endpoint.doors.http.exchange import Exchange
from mcp_endpoint.doors.http.router import Door
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.wire.mcp import REVISIONS
from mcp_endpoint.wire.stateless import REVISION, VERSION_HEADER, has_envelope

PostDoor = Callable[[Exchange, Client, Post], Awaitable[None]]
"""Answers a POST that was read."""


class EraRouter:
    """The door for both eras, so that clients of either share one URL."""

    def __init__(self, handshake: Door, handshake_post: PostDoor, stateless_post: PostDoor) -> None:
        self._handshake = handshake
        self._handshake_post = handshake_post
        self._stateless_post = stateless_post

    async def __call__(self, exchange: Exchange, client: Client) -> None:
        """Answer one request by the door of its era."""
        if exchange.method == "POST":
            posted = await read_post(exchange, client.agent_id)
            await (self._stateless_post if is_stateless(exchange, posted) else self._handshake_post)(
                exchange, client, posted
            )
        elif exchange.single(VERSION_HEADER) == REVISION:
            raise Refused(Refusal.METHOD_NOT_TAKEN, headers=((b"allow", b"POST, OPTIONS"),))
        else:
            await self._handshake(exchange, client)


def is_stateless(exchange: Exchange, posted: Post) -> bool:
    """Whether a POST is of the stateless era.

    A version that nobody here knows is one of that era's too, since only there an answer can say which are known;
    unless the request begins or belongs to a session, which no newer revision has.
    """
    version, first = exchange.single(VERSION_HEADER), posted.messages[0].envelope
    in_session = exchange.single("mcp-session-id") is not None and version != REVISION
    if not in_session and not posted.is_batch and has_envelope(first.params):
        return True
    if in_session or first.method == "initialize":
        return False
    return version is not None and version not in REVISIONS
