"""Tools of several tool sides under names that stay true.

A `Seat` is a tool side's place in its agent: it outlives the link, so that a program that reconnects finds its alias
and a device still sees its tools for a while. A `Catalogue` is what an agent's devices see at one
moment; it never changes, so a session may keep the one it was shown. Names are looked up in a table, never taken apart
(routing page, "Names").
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.errors import End
from mcp_endpoint.wire.envelope import members

if TYPE_CHECKING:
    from mcp_endpoint.broker.tool import ToolSide

MAX_NAME = 64
PAGE_BYTES = 1_048_576 - 4_096
"""A list answer stays below 1 MiB, the smallest buffer among clients (contract, section 5), with room for its frame."""

_UNCLEAN = re.compile(r"[^a-zA-Z0-9_\-\u4e00-\u9fff]")


def clean(name: str) -> str:
    """The name as the Xiaozhi server spells it; two tools that collide after this overwrite each other there."""
    return _UNCLEAN.sub("_", name)


def slug(name: str) -> str:
    """An alias made from a `server_id` or a server's name."""
    return clean(name)[:32] or "tools"


def tail(*parts: str) -> str:
    """A short hash that tells names apart that would otherwise be equal."""
    return sha256("\0".join(parts).encode()).hexdigest()[:8]


class Tool(NamedTuple):
    """One tool as its tool side defines it."""

    name: str
    definition: bytes


class Seat:
    """A tool side's place in its agent, kept while it is away."""

    __slots__ = ("alias", "gone", "gone_at", "identity", "live", "tools")

    def __init__(self, identity: str, alias: str) -> None:
        self.identity = identity
        self.alias = alias
        self.tools: tuple[Tool, ...] = ()
        self.live: ToolSide | None = None
        self.gone = End.CONNECTION_LOST
        self.gone_at = 0.0

    def names(self) -> frozenset[str]:
        """The tool side's own tool names: what tells two programs of one name apart."""
        return frozenset(tool.name for tool in self.tools)


class Entry(NamedTuple):
    """Where a public name leads."""

    seat: Seat
    name: str


class Catalogue:
    """Public names and the definitions under them, of some seats at one moment."""

    __slots__ = ("_pages", "definitions", "entries")

    def __init__(self, seats: Iterable[Seat] = ()) -> None:
        self.entries: dict[str, Entry] = {}
        self.definitions: list[tuple[Seat, bytes]] = []
        self._pages: list[list[bytes]] | None = None
        for public, holder, tool in _public_names([(seat, tool) for seat in seats for tool in seat.tools]):
            self.entries[public] = Entry(holder, tool.name)
            self.definitions.append((holder, tool.definition if public == tool.name else _renamed(tool, public)))

    def same_tools(self, other: "Catalogue") -> bool:
        """Whether a client would see the same list."""
        return [raw for _, raw in self.definitions] == [raw for _, raw in other.definitions]

    def pages(self) -> list[list[bytes]]:
        """The definitions in pages that fit every client's buffer; at least one page, maybe empty."""
        if self._pages is None:
            self._pages = _paged([raw for _, raw in self.definitions])
        return self._pages

    def live_page(self) -> list[bytes]:
        """The definitions of tool sides that are connected now, as far as they fit one page."""
        return _paged([raw for seat, raw in self.definitions if seat.live is not None])[0]

    def find(self, name: str) -> Entry | None:
        """The entry under a public name, or under its spelling after the Xiaozhi server's cleaning."""
        entry = self.entries.get(name)
        if entry is None:
            entry = next((entry for public, entry in self.entries.items() if clean(public) == name), None)
        return entry


def _paged(definitions: Sequence[bytes]) -> list[list[bytes]]:
    pages: list[list[bytes]] = [[]]
    size = 0
    for raw in definitions:
        size += len(raw) + 1
        if size > PAGE_BYTES and pages[-1]:
            pages.append([])
            size = len(raw) + 1
        pages[-1].append(raw)
    return pages


def _renamed(tool: Tool, public: str) -> bytes:
    definition = members(tool.definition)
    assert definition is not None, "a tool's definition is an object, or it would not be listed"
    return encode(definition | {"name": Raw(encode(public))})


def _public_names(tools: list[tuple[Seat, Tool]]) -> list[tuple[str, Seat, Tool]]:
    """Give every tool its public name. What it gets depends on which tools there are, never on who came first."""
    holders = Counter(clean(tool.name) for _, tool in tools)
    prefixed = [
        tool.name if holders[clean(tool.name)] == 1 else _fit(f"{seat.alias}__{tool.name}") for seat, tool in tools
    ]
    holders = Counter(map(clean, prefixed))
    return [
        (name if holders[clean(name)] == 1 else _fit(name, tail(seat.alias, tool.name)), seat, tool)
        for name, (seat, tool) in zip(prefixed, tools, strict=True)
    ]


def _fit(name: str, mark: str | None = None) -> str:
    """The name within MAX_NAME characters, with a hash tail if it had to be cut or needs a mark."""
    if mark is None:
        if len(name) <= MAX_NAME:
            return name
        mark = tail(name)
    return f"{name[: MAX_NAME - len(mark) - 1]}_{mark}"


EMPTY = Catalogue()
"""What an agent without tool sides shows."""
