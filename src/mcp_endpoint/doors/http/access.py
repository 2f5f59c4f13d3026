"""Who may come in over HTTP, at every door for MCP clients alike (docs/protocol.md, section 19).

First the Host and the Origin: a page in somebody's browser must not reach a broker on that person's own machine by a
name that it had resolved to it (DNS rebinding). Then the token, which names the agent.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from mcp_endpoint.broker.link import Peer
from mcp_endpoint.doors.http.exchange import Exchange, Header
from mcp_endpoint.doors.limits.credentials import KEY_HEADERS, agent_of
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.settings.schema import Settings

METHODS = b"GET, POST, DELETE, OPTIONS"
ALLOWED_HEADERS = (
    b"authorization, content-type, accept, last-event-id, mcp-session-id, mcp-protocol-version, mcp-method, mcp-name, "
    b"x-api-key, api-key"
)
"""Headers that a page may send."""
ARGUMENT = re.compile(r"mcp-param-[!#$%&'*+\-.^_`|~0-9a-z]+")
EXPOSED_HEADERS = b"mcp-session-id, mcp-protocol-version, www-authenticate"
"""Headers of an answer that a page may read."""
PREFLIGHT_AGE = b"600"
LONGEST = 64
"""Characters of `?device=`, `?mac=` and `?provider=` that count."""


@dataclass(frozen=True, slots=True)
class Client:
    """An MCP client that showed a good token."""

    agent_id: str
    peer: Peer


async def check_origin(exchange: Exchange) -> bool:
    """Whether the request is for this broker; False if it is answered already: a preflight, or a refusal."""
    port_state, headers = exchange.port_state, exchange.headers
    why = misdirected(port_state.settings, headers.get("host", ""), headers.get("origin"))
    if why is not None:
        await exchange.refuse(why, log=True)
        return False
    exchange.cors = cors(port_state.settings, headers.get("origin"))
    if exchange.method == "OPTIONS":
        await exchange.reply(204, headers=preflight(exchange))
        return False
    if port_state.draining:
        await exchange.refuse(Refusal.RESTARTING)
        return False
    return True


async def admit(exchange: Exchange) -> Client | None:
    """Whom a request for this broker's doors comes from; None if it is refused already, for want of a token."""
    agent_id = agent_shown(exchange)
    if isinstance(agent_id, End):
        await _refuse_token(exchange, agent_id)
        return None
    if not exchange.connection.let_in():
        await exchange.refuse(Refusal.FULL, log=True)
        return None
    return Client(agent_id, _peer(exchange))


async def _refuse_token(exchange: Exchange, end: End) -> None:
    """A bad token counts against its address as one at a WebSocket does, and no more are read than handshakes there."""
    port_state = exchange.port_state
    if not port_state.admission.handshake(exchange.address):
        await exchange.refuse(Refusal.TOO_MANY_HANDSHAKES, [(b"retry-after", b"30")], log=True)
        return
    port_state.manager.refused(end, port_state.loop.time())
    port_state.admission.refuse(exchange.address, end, "device side", penalty=True)
    # It names no metadata (RFC 9728, 5.1): a client that follows one ends at an OAuth server that does not exist.
    error = b"" if end is End.MISSING_TOKEN else b', error="invalid_token"'
    await exchange.refuse(end, [(b"www-authenticate", b'Bearer realm="mcp-endpoint"' + error)])


def agent_shown(exchange: Exchange) -> str | End:
    """The agent whose token the request shows, or why there is none."""
    headers = exchange.headers
    keys = [headers[name] for name in KEY_HEADERS if name in headers]
    return agent_of(exchange.port_state.tokens, exchange.parameters, headers.get("authorization", ""), keys)


def _peer(exchange: Exchange) -> Peer:
    query = exchange.query
    return Peer(
        address=exchange.address.shown,
        user_agent=exchange.headers.get("user-agent", "")[:200] or None,
        device=query.get("device", "")[:LONGEST] or None,
        mac=query.get("mac", "")[:LONGEST] or None,
        provider=query.get("provider", "")[:LONGEST] or None,
        ascii_names=exchange.port_state.settings.mcp.ascii_names,
    )


# --- Host and Origin ---


def misdirected(settings: Settings, host: str, origin: str | None) -> Refusal | None:
    """Why a request with these headers is not for this broker's doors; None if it is."""
    local = is_loopback(settings.server.host)
    if (local or settings.security.allowed_hosts) and not _is_own(settings, _name(host)):
        return Refusal.FOREIGN_HOST
    if origin is None or origin.lower() in settings.security.allowed_origins:
        return None
    if "*" in settings.security.allowed_origins and (not local or _is_own(settings, urlsplit_host(origin))):
        return None
    return Refusal.FOREIGN_ORIGIN


def is_loopback(name: str) -> bool:
    """Whether a name or an address stands for this machine alone."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _is_own(settings: Settings, name: str) -> bool:
    """Whether the broker goes by this name: a loopback one, that of `public_url`, or one of `allowed_hosts`."""
    return bool(name) and (
        is_loopback(name)
        or name in settings.security.allowed_hosts
        or name == urlsplit_host(settings.server.public_url)
    )


def _name(authority: str) -> str:
    """The host of `host:port`, in lower case and without brackets."""
    return urlsplit_host(f"//{authority}")


def urlsplit_host(url: str) -> str:
    """The host of a URL in lower case, without brackets; empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


# --- CORS ---


def cors(settings: Settings, origin: str | None) -> tuple[Header, ...]:
    """For a page whose origin was found good: never `*`, and never with credentials."""
    if origin is None or not settings.security.enable_cors:
        return ()
    allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
    return (allowed, (b"vary", b"origin"), (b"access-control-expose-headers", EXPOSED_HEADERS))


def _arguments(exchange: Exchange) -> list[bytes]:
    """Headers that a page means to send because a tool's schema has arguments repeated there; it names each."""
    asked = exchange.headers.get("access-control-request-headers", "").lower()
    return [name.encode() for name in ARGUMENT.findall(asked)]


def preflight(exchange: Exchange) -> Iterable[Header]:
    """What a page is told that it may send."""
    if not exchange.cors:
        return [(b"allow", METHODS)]
    return [
        (b"allow", METHODS),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", b", ".join([ALLOWED_HEADERS, *_arguments(exchange)])),
        (b"access-control-max-age", PREFLIGHT_AGE),
    ]
