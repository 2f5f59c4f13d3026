"""The opening handshake of a WebSocket: which door a URL leads to, and who is turned away before the upgrade."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from mcp_endpoint.broker.link import Peer, Role
from mcp_endpoint.doors.paths import role_of
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.settings.schema import Settings

REFUSALS = {404: Refusal.NO_DOOR, 403: Refusal.FOREIGN_ORIGIN}
"""What a handshake was refused for, by the status of its answer; the rest are bad handshakes."""

_quiet = logging.getLogger("mcp_endpoint.websocket")
_quiet.setLevel(logging.WARNING)


class WebSocket(ServerProtocol):
    """ServerProtocol with the settings' limits; of the subprotocols that a client offers it takes `mcp` only."""

    def __init__(self, settings: Settings) -> None:
        origins = settings.security.allowed_origins
        super().__init__(
            origins=None if "*" in origins else [*map(Origin, origins), None],
            max_size=settings.websocket.max_message_size,
            logger=_quiet,
        )

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """`mcp` if it is offered: official SDK clients insist on it (docs/protocol.md, section 1.3)."""
        return Subprotocol("mcp") if "mcp" in subprotocols else None

    def forget(self) -> None:
        """Drop all input, and the parser, which refers back to this object; nothing may be read from here on."""
        self.fail(1006)
        self.data_to_send()
        self.parser.close()


def answer(ws: ServerProtocol, request: Request, *, draining: bool) -> Role | Refusal | None:
    """Queue the answer to a request: the side it is upgraded for, or why it is not; None while the broker restarts."""
    response = ws.accept(request)
    role = role_of(request.path.partition("?")[0])
    restarting = False
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        if draining:
            restarting = True
            response = ws.reject(HTTPStatus.SERVICE_UNAVAILABLE, "The broker is restarting; come back.\n")
        elif role is None:
            text = "There is no door here. Tool programs dial …/mcp/?token=…, devices …/call/?token=…\n"
            response = ws.reject(HTTPStatus.NOT_FOUND, text)
    ws.send_response(response)
    if restarting:
        return None
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and role is not None:
        return role
    return REFUSALS.get(response.status_code, Refusal.BAD_HANDSHAKE)


def peer_of(address: str, query: Mapping[str, str], headers: Headers) -> Peer:
    """What a request tells about who sends it."""
    return Peer(
        address=address,
        server_id=query.get("server_id", "")[:64] or None,
        user_agent=(headers.get_all("User-Agent") or [""])[0][:200] or None,
        device=query.get("device", "")[:64] or None,
        mac=query.get("mac", "")[:64] or None,
        wants_caller=query.get("caller") == "1",
        provider=query.get("provider", "")[:64] or None,
    )
