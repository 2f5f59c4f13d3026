"""What several tool sides offer, under names that stay true.

A `Catalogue` is what an agent's devices see at one moment: tools, prompts, resources and templates of resources, a
`Listing` for each. It never changes, so a session may keep the one it was shown. Names are looked up in a table, never
taken apart (docs/protocol.md, section 10.1).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.offers.naming import clean, model_names, public_names, public_uris
from mcp_endpoint.broker.offers.offer import PAGE_BYTES, Offer
from mcp_endpoint.broker.offers.pattern import Pattern
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.wire.definitions.client_views import ClientKind, shown
from mcp_endpoint.wire.envelope import members
from mcp_endpoint.wire.mcp import Kind


class Entry(NamedTuple):
    """Where a public name or URI leads: whom to ask, and for what."""

    registration: Registration
    name: str


Publish = Callable[[str, Offer], tuple[str, bytes] | None]
"""What the settings make of a tool of the program with that alias: the name and definition to show, or None."""


class Listing:
    """Public names of one kind and the definitions under them."""

    __slots__ = ("_pages", "_shown", "definitions", "entries", "kind")

    def __init__(
        self,
        kind: Kind,
        registrations: Iterable[Registration] = (),
        publish: Publish | None = None,
        *,
        ascii_names: bool = False,
    ) -> None:
        self.kind = kind
        self.entries: dict[str, Entry] = {}
        self.definitions: list[tuple[Registration, bytes]] = []
        self._shown: dict[str, bytes] = {}
        self._pages: dict[ClientKind, list[bytes]] = {}
        entries: list[Entry] = []
        shown: list[tuple[str, bytes]] = []
        for registration in registrations:
            for offer in registration.offers.get(kind, ()):
                published = offer if publish is None else publish(registration.alias, offer)
                if published is not None:
                    entries.append(Entry(registration, offer.name))
                    shown.append(published)
        holders = [(entry.registration.owner, entry.registration.alias, entry.name) for entry in entries]
        named = public_names if kind.naming == "name" else public_uris
        public = named(holders, [name for name, _ in shown])
        if ascii_names:
            public = model_names(holders, public)
        for name, entry, (own, definition) in zip(public, entries, shown, strict=True):
            self.entries[name] = entry
            raw = self._shown[name] = definition if name == own else _renamed(kind, definition, name)
            self.definitions.append((entry.registration, raw))

    def same(self, other: "Listing") -> bool:
        """Whether a client would see the same list."""
        return [raw for _, raw in self.definitions] == [raw for _, raw in other.definitions]

    def pages(self, client: ClientKind = ClientKind.STATELESS) -> list[bytes]:
        """The definitions as a kind of client can take them, joined by commas, in pages that fit its buffer.

        There is one page at least, maybe an empty one. What each kind is shown is worked out when the first one asks.
        """
        pages = self._pages.get(client)
        if pages is None:
            definitions = [raw for _, raw in self.definitions]
            if self.kind is Kind.TOOLS:
                definitions = shown(client, definitions)
            pages = self._pages[client] = _paged(definitions)
        return pages

    def live_page(self) -> bytes:
        """The definitions of tool sides that are connected now, as far as they fit one page."""
        return _paged([raw for registration, raw in self.definitions if registration.live is not None])[0]

    def find(self, name: str) -> Entry | None:
        """The entry under a public name or URI; of a tool, also under its spelling after the Xiaozhi cleaning."""
        entry = self.entries.get(name)
        if entry is None and self.kind is Kind.TOOLS:
            entry = next((entry for public, entry in self.entries.items() if clean(public) == name), None)
        return entry

    def definition(self, name: str) -> bytes | None:
        """The definition that is shown under a public name."""
        return self._shown.get(name)


_BARE = {kind: Listing(kind) for kind in Kind}


class Catalogue:
    """The listings of all kinds at one moment."""

    __slots__ = ("_listings",)

    def __init__(
        self, registrations: Iterable[Registration] = (), publish: Publish | None = None, *, ascii_names: bool = False
    ) -> None:
        registrations = list(registrations)
        # Most agents have tools alone: what is bare is the same for all of them.
        self._listings = {
            kind: (
                Listing(kind, registrations, publish, ascii_names=ascii_names)
                if kind is Kind.TOOLS
                else Listing(kind, registrations)
            )
            if any(registration.offers.get(kind) for registration in registrations)
            else _BARE[kind]
            for kind in Kind
        }

    def __getitem__(self, kind: Kind) -> Listing:
        return self._listings[kind]

    def differs(self, other: "Catalogue") -> list[Kind]:
        """The kinds of which a client would see another list."""
        return [kind for kind in Kind if not self[kind].same(other[kind])]

    def at(self, uri: str) -> Entry | None:
        """Where a resource leads: by its own URI, else by the template that says most about it."""
        entry = self[Kind.RESOURCES].find(uri)
        return entry if entry is not None else by_template(self[Kind.TEMPLATES].entries, uri)


def by_template(templates: dict[str, Entry], uri: str) -> Entry | None:
    """The entry of the template with the most literal text that a URI may be made from, asked for with that URI."""
    best: tuple[int, Entry] | None = None
    for public, entry in templates.items():
        pattern = Pattern.of_template(public)
        if pattern.fits(uri) and (best is None or pattern.literal > best[0]):
            # A template that several have stands behind a prefix, which is not the tool side's.
            best = pattern.literal, Entry(entry.registration, uri[len(public) - len(entry.name) :])
    return best[1] if best is not None else None


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


def _renamed(kind: Kind, raw: bytes, public: str) -> bytes:
    definition = members(raw)
    assert definition is not None, "a definition is an object, or it would not be listed"
    return encode(definition | {kind.naming: Raw(encode(public))})


EMPTY = Catalogue()
"""What an agent without tool sides shows."""
