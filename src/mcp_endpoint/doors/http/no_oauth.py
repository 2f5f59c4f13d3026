"""Where clients look for OAuth once their token is refused: there is none, and they are told so in its own form.

Whatever else they found, a page or a 401, they would take for an authorization server that is broken, and show that.
"""

from http import HTTPStatus

from msgspec.json import encode

from mcp_endpoint.doors.http.access import cors, misdirected, preflight
from mcp_endpoint.doors.http.exchange import Exchange
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.http_status import ADVICE

WELL_KNOWN = ".well-known"
ENDPOINTS = frozenset({"register", "authorize", "token"})
"""Where these are by default, beside a server that names none (specification 2025-03-26, "Authorization", 2.3.3)."""

_ADVICE = ADVICE[End.BAD_TOKEN]
# RFC 6749, 5.2: SDK clients show the description to their users.
_BODY = encode(
    {
        "error": "not_found",
        "error_description": "There is no OAuth here: the agent's token alone counts, and it was missing or wrong"
        f"{_ADVICE.en} / 本服务不使用 OAuth，只认智能体的 token，而 token 缺失或有误{_ADVICE.zh}",
    }
)


def asks_for_oauth(path: str) -> bool:
    """Whether a path is one of these, behind whatever prefix."""
    if WELL_KNOWN in path and WELL_KNOWN in path.split("/"):
        return True
    return path.rstrip("/").rpartition("/")[2] in ENDPOINTS


async def refuse_oauth(exchange: Exchange) -> None:
    """404, whatever the method; a page of an allowed origin may read it."""
    settings, origin = exchange.port_state.settings, exchange.headers.get("origin")
    if misdirected(settings, exchange.headers.get("host", ""), origin) is None:
        exchange.cors = cors(settings, origin)
    if exchange.method == "OPTIONS" and exchange.cors and "access-control-request-method" in exchange.headers:
        await exchange.reply(HTTPStatus.NO_CONTENT, headers=preflight(exchange))
    else:
        await exchange.reply(HTTPStatus.NOT_FOUND, _BODY)
