"""Which side the path of a URL leads to: one table for WebSockets and HTTP, so that one URL serves either transport."""

from urllib.parse import unquote

from mcp_endpoint.broker.link import Role

ROLES = {"mcp": Role.TOOL, "call": Role.DEVICE}
"""Last segment of the path → side."""


def role_of(path: str) -> Role | None:
    """The side that a path is for; reverse proxies may put any prefix in front (docs/protocol.md, section 1.2)."""
    return ROLES.get(unquote(path).rstrip("/").rpartition("/")[2])
