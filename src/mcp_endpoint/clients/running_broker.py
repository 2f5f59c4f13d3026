"""The running broker of some settings, as programs on its own machine reach it."""

import ssl
from collections.abc import Sequence
from urllib.parse import urlencode

from mcp_endpoint.clients.http_get import Json, fetch, unchecked_tls
from mcp_endpoint.settings.schema import Settings


def local_base(settings: Settings) -> str:
    """What its URLs begin with there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.server.host, settings.server.host)
    scheme = "https" if settings.server.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def local_tls(settings: Settings) -> ssl.SSLContext | None:
    """How its certificate is looked at there; None where it has none."""
    return unchecked_tls() if settings.server.tls_cert else None


async def stats(settings: Settings, base: str, tls: ssl.SSLContext | None, agents: Sequence[str] = ()) -> Json | None:
    """What its `/stats` say, of `agents` too that nobody is connected for; None if it has another key.

    Raises what `fetch` does.
    """
    path = "/stats?" + urlencode([("agent", id_) for id_ in agents])
    data = (await fetch(base, path, tls, Authorization=f"Bearer {settings.server.key}")).json().get("data")
    return data if isinstance(data, dict) and "agents" in data else None
