"""What one tool side has of one kind: asked for page by page within the agent's limits, and again when it changed."""

from math import inf
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.catalogue import PAGE_BYTES
from mcp_endpoint.broker.seat import Offer
from mcp_endpoint.errors import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

if TYPE_CHECKING:
    from mcp_endpoint.broker.timers import Timer
    from mcp_endpoint.broker.tool import ToolSide

PAGE_TIMEOUT = 10.0
"""Seconds a tool side has to answer each page of its list."""
REFRESH_DELAY = 0.1
"""Seconds in which several `list_changed` of one tool side become one refresh."""
REFRESH_PAUSE = 1.0
"""Seconds from one refresh to the next: each is work for every device of the agent, and of those it serves."""
LONGEST_NAME = {mcp.Kind.TOOLS: 256, mcp.Kind.PROMPTS: 256, mcp.Kind.RESOURCES: 4096, mcp.Kind.TEMPLATES: 4096}


class Listing:
    """One list of one tool side. `settled` says that nobody waits for it any more: it came, or was never promised."""

    __slots__ = (
        "_asking",
        "_full",
        "_got",
        "_kind",
        "_looked",
        "_pages",
        "_refresh",
        "_refreshed",
        "_size",
        "_tool",
        "settled",
    )

    def __init__(self, tool: "ToolSide", kind: mcp.Kind) -> None:
        self._tool = tool
        self._kind = kind
        self._asking = False
        self._refresh: Timer | None = None
        self._refreshed = -inf
        """When it was asked for again."""
        self.settled = False

    def ask(self, now: float) -> None:
        """Ask for all pages, from the first."""
        self._asking = True
        self._got: dict[str, Offer] = {}
        self._size = self._pages = self._looked = 0
        self._full = False
        self._ask_page(None, now)

    def changed(self, now: float) -> None:
        """It is not what it was: ask again soon."""
        if self._refresh is None:
            when = max(now + REFRESH_DELAY, self._refreshed + REFRESH_PAUSE)
            self._refresh = self._tool.agent.timers.at(when, self._ask_again)

    def _ask_again(self, now: float) -> None:
        self._refresh = None
        if self._asking:
            self.changed(now)
        else:
            self._refreshed = now
            self.ask(now)

    def forget(self) -> None:
        """The link is gone."""
        if self._refresh is not None:
            self._refresh.cancel()

    def _ask_page(self, cursor: str | None, now: float) -> None:
        params = UNSET if cursor is None else encode({"cursor": cursor})
        self._tool.ask(self._kind.method, params, self._page, now + PAGE_TIMEOUT)

    def _page(self, answer: wire.Envelope | None, now: float) -> None:
        limits = self._tool.agent.limits
        self._pages += 1
        page = mcp.read_page(self._kind, answer.result) if answer is not None else None
        if page is None:
            self._failed(now)
            return
        definitions, cursor = page
        for raw in definitions:
            if self._looked >= limits.max_tools:
                self._full = True
                break  # a bad one counts: 4 MB of them would hold up everybody for more than a second
            self._looked += 1
            self._take(raw)
        if cursor is not None and self._pages < limits.max_pages and not self._full:
            self._ask_page(cursor, now)
            return
        if self._full or cursor is not None:
            self._tool.note(Note.TOO_MANY_TOOLS, now)
        offers = tuple(self._got.values())
        del self._got  # ten thousand idle tool sides keep what they show, not how it was put together
        self._done(offers, now)

    def _take(self, raw: Raw) -> None:
        limits = self._tool.agent.limits
        name = mcp.string((wire.members(raw) or {}).get(self._kind.naming))
        if not name or len(name) > LONGEST_NAME[self._kind] or len(raw) > PAGE_BYTES:
            self._tool.drop("bad_definition")
        elif name in self._got:
            self._tool.drop("duplicate_name")
        elif self._size + len(raw) > limits.max_list_bytes:
            self._full = True
        else:
            self._size += len(raw)
            self._got[name] = Offer(name, bytes(raw))

    def _failed(self, now: float) -> None:
        """No such list: what is known stays; a tool side that has just come serves without it."""
        self._asking = False
        tools = self._kind is mcp.Kind.TOOLS
        if tools and self._tool.seat is not None:
            return
        if tools and not self.settled:
            self._tool.note(Note.LIST_FAILED, now)
        self._done(self._tool.offers.get(self._kind, ()), now)

    def _done(self, offers: tuple[Offer, ...], now: float) -> None:
        self._asking = False
        self.settled = True
        self._tool.listed(self._kind, offers, now)
