"""Tools of several tool sides under names that stay true.

A `Seat` is a tool side's place in its agent: it outlives the link, so that a program that reconnects finds its alias
and a device still sees its tools for a while. A `Catalogue` is what an agent's devices see at one
moment; it never changes, so a session may keep the one it was shown. Names are looked up in a table, never taken apart
(routing page, "Names").
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.link import Ended
from mcp_endpoint.wire.envelope import members

if TYPE_CHECKING:
    from mcp_endpoint.broker.tool import ToolSide

MAX_NAME = 64
RETURNS_KEPT = 100
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
    """A tool side's place in its agent, kept while it is away.

    `live` serves; `standby` are programs that look just like it (same identity, same tool names), newest first.
    """

    __slots__ = ("alias", "gone", "gone_at", "identity", "live", "owner", "returns", "standby", "tools")

    def __init__(self, owner: str, identity: str, alias: str) -> None:
        self.owner = owner
        """The agent whose token it came with."""
        self.identity = identity
        self.alias = alias
        self.tools: tuple[Tool, ...] = ()
        self.live: ToolSide | None = None
        self.standby: list[ToolSide] = []
        self.gone: Ended | None = None
        """How the link that served last ended."""
        self.gone_at = 0.0
        self.returns: deque[float] = deque(maxlen=RETURNS_KEPT)
        """When it came back, monotonic seconds."""

    def names(self) -> frozenset[str]:
        """The tool side's own tool names: what tells two programs of one name apart."""
        return names_of(self.tools)


def names_of(tools: tuple[Tool, ...]) -> frozenset[str]:
    """The names in a list of tools."""
    return frozenset(tool.name for tool in tools)


class Entry(NamedTuple):
    """Where a public name leads."""

    seat: Seat
    name: str


Publish = Callable[[str, Tool], tuple[str, bytes] | None]
"""What the settings make of a tool of the program with that alias: the name and definition to show, or None."""


class Catalogue:
    """Public names and the definitions under them, of some seats at one moment."""

    __slots__ = ("_pages", "definitions", "entries")

    def __init__(self, seats: Iterable[Seat] = (), publish: Publish = lambda _, tool: tool) -> None:
        self.entries: dict[str, Entry] = {}
        self.definitions: list[tuple[Seat, bytes]] = []
        self._pages: list[bytes] | None = None
        shown = [
            (Entry(seat, tool.name), Tool(*published))
            for seat in seats
            for tool in seat.tools
            if (published := publish(seat.alias, tool)) is not None
        ]
        for public, entry, tool in _public_names(shown):
            self.entries[public] = entry
            self.definitions.append((entry.seat, tool.definition if public == tool.name else _renamed(tool, public)))

    def same_tools(self, other: "Catalogue") -> bool:
        """Whether a client would see the same list."""
        return [raw for _, raw in self.definitions] == [raw for _, raw in other.definitions]

    def pages(self) -> list[bytes]:
        """The definitions, joined by commas, in pages that fit every client's buffer; one at least, maybe empty."""
        if self._pages is None:
            self._pages = _paged([raw for _, raw in self.definitions])
        return self._pages

    def live_page(self) -> bytes:
        """The definitions of tool sides that are connected now, as far as they fit one page."""
        return _paged([raw for seat, raw in self.definitions if seat.live is not None])[0]

    def find(self, name: str) -> Entry | None:
        """The entry under a public name, or under its spelling after the Xiaozhi server's cleaning."""
        entry = self.entries.get(name)
        if entry is None:
            entry = next((entry for public, entry in self.entries.items() if clean(public) == name), None)
        return entry


def _paged(definitions: Sequence[bytes]) -> list[bytes]:
    pages: list[list[bytes]] = [[]]
    size = 0
    for raw in definitions:
        size += len(raw) + 1
        if size > PAGE_BYTES and pages[-1]:
            pages.append([])
            size = len(raw) + 1
        pages[-1].append(raw)
    return [b",".join(page) for page in pages]


def _renamed(tool: Tool, public: str) -> bytes:
    definition = members(tool.definition)
    assert definition is not None, "a tool's definition is an object, or it would not be listed"
    return encode(definition | {"name": Raw(encode(public))})


def _public_names(shown: list[tuple[Entry, Tool]]) -> list[tuple[str, Entry, Tool]]:
    """Give every tool its public name. What it gets depends on which tools there are, never on who came first."""
    holders = Counter(clean(tool.name) for _, tool in shown)
    prefixed = [
        tool.name if holders[clean(tool.name)] == 1 else _fit(f"{entry.seat.alias}__{tool.name}")
        for entry, tool in shown
    ]
    holders = Counter(map(clean, prefixed))
    return [
        (name if holders[clean(name)] == 1 else _fit(name, _mark(entry)), entry, tool)
        for name, (entry, tool) in zip(prefixed, shown, strict=True)
    ]


def _mark(entry: Entry) -> str:
    return tail(entry.seat.owner, entry.seat.alias, entry.name)


def _fit(name: str, mark: str | None = None) -> str:
    """The name within MAX_NAME characters, with a hash tail if it had to be cut or needs a mark."""
    if mark is None:
        if len(name) <= MAX_NAME:
            return name
        mark = tail(name)
    return f"{name[: MAX_NAME - len(mark) - 1]}_{mark}"


EMPTY = Catalogue()
"""What an agent without tool sides shows."""
