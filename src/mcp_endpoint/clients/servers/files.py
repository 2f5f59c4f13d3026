"""The files that `servers` reads and writes, and how a place in them is called."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.entries.servers_file import UnusableFile


@dataclass(frozen=True)
class Files:
    """The two files beside the settings: the list of servers, and what their tools said when first seen."""

    servers: Path
    pins: Path


def server_place(name: str, member: str = "") -> Bilingual:
    """Where something stands in the file."""
    behind = f" {member}" if member else ""
    return Bilingual(f"服务“{name}”{behind}", f'server "{name}"{behind}')


def not_listed(path: Path, name: str, servers: Iterable[str]) -> UnusableFile:
    """What to raise for a name that is none of the servers in the file at `path`."""
    known = ", ".join(map(quote_peer, servers))
    en = f"is not listed; there are: {known}" if known else "is not listed; there are no servers yet"
    zh = f"不存在，现有：{known}" if known else "不存在，目前还没有服务"
    return UnusableFile(path, server_place(name), en, zh)


def indented(text: str) -> str:
    """Lines that belong to the one above, of whoever wrote them."""
    return "\n".join("  " + quote_peer(line, 500) for line in text.splitlines())
