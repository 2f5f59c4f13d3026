"""The files that `servers` reads and writes, and how a place in them is called."""

from dataclasses import dataclass
from pathlib import Path

from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer


@dataclass(frozen=True)
class Files:
    """The two files beside the settings: the list of servers, and what their tools said when first seen."""

    servers: Path
    pins: Path


def server_place(name: str, member: str = "") -> Bilingual:
    """Where something stands in the file."""
    behind = f" {member}" if member else ""
    return Bilingual(f"服务“{name}”{behind}", f'server "{name}"{behind}')


def indented(text: str) -> str:
    """Lines that belong to the one above, of whoever wrote them."""
    return "\n".join("  " + quote_peer(line, 500) for line in text.splitlines())
