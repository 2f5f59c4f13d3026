"""What one tool side has of one kind: asked for page by page within the agent's limits, and again when it changed."""

from collections.abc import Callable
from math import inf
from typing import Protocol

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.broker_state import BrokerState
from mcp_endpoint.broker.offers.offer import PAGE_BYTES, Offer
from mcp_endpoint.broker.side import AgentOfSide
from mcp_endpoint.broker.timers import Timer
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.definitions.definition_repair import repair_definition
from mcp_endpoint.wire.definitions.flaws import Flaw, FlawAt, Remark

PAGE_TIMEOUT = 10.0
"""Seconds a tool side has to answer each page of its list."""
REFRESH_DELAY = 0.1
"""Seconds in which several `list_changed` of one tool side become one refresh."""
REFRESH_PAUSE = 1.0
"""Seconds from one refresh to the next: each is work for every device of the agent, and of those it serves."""
ASKED_AGAIN = (5.0, 30.0, 180.0)
"""Seconds until tools are asked for again where that failed: a server that is just starting, or is asked too often,
refuses once and would have none until its next start."""
MOST_MENDED = 512 * 1024
"""Bytes of definitions of one list that are looked into further than to see that something is wrong with them."""
MOST_REFERENCES = 30_000
"""References in the schemas of one list: each is followed, to see that it leads somewhere."""
MOST_REMARKS = 20
"""Definitions of one list that are told of by name; the others are counted."""
NO_CURSOR = Raw(b'""')
"""How some programs say that there is no further page, while others have one under it: it is asked for, once."""
EMPTY_PAGES = 3
"""Pages in a row without anything on them, after which there is nothing more to expect."""


class Remarks:
    """What there is to tell of the definitions of one list."""

    __slots__ = ("left_out", "mended", "told")

    def __init__(self) -> None:
        self.told: list[Remark] = []
        self.left_out = 0
        """Definitions that are of no use."""
        self.mended = 0
        """Definitions that serve although something is wrong with them."""

    def add(self, remark: Remark) -> None:
        """One more, the graver ones first."""
        if remark.left_out:
            self.told.insert(min(self.left_out, MOST_REMARKS), remark)
            self.left_out += 1
        else:
            self.told.append(remark)
            self.mended += 1
        del self.told[MOST_REMARKS:]


NOTHING = Remarks()
"""What there is to tell of a list on which all is right."""


class ListingSide(Protocol):
    """A tool side, as its lists know it."""

    broker: BrokerState

    @property
    def agent(self) -> AgentOfSide:
        """Its agent, whose limits hold."""

    @property
    def registration(self) -> object | None:
        """What its agent knows it by, once it serves."""

    def ask(
        self,
        method: str,
        params: bytes | UnsetType,
        answered: Callable[[wire.Envelope | None, float], None],
        deadline: float | None,
    ) -> None:
        """Send it a request of the broker's own."""

    def note(self, note: Note, now: float) -> None:
        """Tell its owner something about it, once."""

    def drop(self, reason: str) -> None:
        """Count a part of a list that goes nowhere."""

    def listed(self, kind: mcp.Kind, offers: tuple[Offer, ...] | None, now: float) -> None:
        """A list came whole; None: it cannot be had, and what it was stays."""


class ListFetch:
    """One list of one tool side. `settled` says that nobody waits for it any more: it came, or was never promised."""

    __slots__ = (
        "_asking",
        "_cursor",
        "_empty",
        "_full",
        "_got",
        "_kind",
        "_looked",
        "_over",
        "_pages",
        "_references",
        "_refresh",
        "_refreshed",
        "_remarks",
        "_retry",
        "_room",
        "_size",
        "_tool",
        "_useless",
        "failures",
        "not_taken",
        "remarks",
        "settled",
    )

    def __init__(self, tool: ListingSide, kind: mcp.Kind) -> None:
        self._tool = tool
        self._kind = kind
        self._asking = False
        self._refresh: Timer | None = None
        self._refreshed = -inf
        """When it was asked for again."""
        self._retry: Timer | None = None
        self.failures = 0
        """How often in a row it could not be had."""
        self.not_taken = 0
        """How many there are over the limits; 0 where there are further pages, which nobody looks at."""
        self.remarks = NOTHING
        """What there is to tell of the list that came last."""
        self.settled = False

    def ask(self, now: float) -> None:
        """Ask for all pages, from the first."""
        self._asking = True
        self._stop_retry()
        self._cursor: Raw | None = None
        self._got: dict[str, Offer] = {}
        self._useless: set[int] = set()
        self._remarks = NOTHING
        self._room = MOST_MENDED
        self._references = MOST_REFERENCES
        self._size = self._pages = self._looked = self._empty = self._over = 0
        self._full = False
        self._ask_page(None, now)

    def changed(self, now: float) -> None:
        """It is not what it was: ask again soon."""
        if self._refresh is None:
            when = max(now + REFRESH_DELAY, self._refreshed + REFRESH_PAUSE)
            self._refresh = self._tool.broker.timers.at(when, self._ask_again)

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
        self._stop_retry()

    def _stop_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _try_again(self, now: float) -> None:
        """Ask again later, a few times."""
        if self.failures < len(ASKED_AGAIN):
            self._retry = self._tool.broker.timers.at(now + ASKED_AGAIN[self.failures], self.changed)
        self.failures += 1

    def remark(self, remark: Remark) -> None:
        """Something is wrong with a definition of the list that is being asked for."""
        if self._remarks is NOTHING:
            self._remarks = Remarks()
        self._remarks.add(remark)

    def _ask_page(self, cursor: Raw | None, now: float) -> None:
        self._cursor = cursor
        params = UNSET if cursor is None else encode({"cursor": cursor})
        self._tool.ask(self._kind.method, params, self._page, now + PAGE_TIMEOUT)

    def _page(self, answer: wire.Envelope | None, now: float) -> None:
        limits = self._tool.agent.limits
        self._pages += 1
        page = mcp.read_page(self._kind, answer.result) if answer is not None else None
        if page is None:
            self._failed(now)
            return
        self.failures = 0
        definitions, cursor = page
        known = len(self._got) + len(self._useless)
        for index, raw in enumerate(definitions):
            if self._looked >= limits.max_tools:
                self._full = True
                self._over += len(definitions) - index
                if cursor is not None:
                    self._over = 0
                break  # a bad one counts: 4 MB of them would hold up everybody for more than a second
            self._looked += 1
            self._take(raw)
        news = len(self._got) + len(self._useless) - known
        self._empty = 0 if definitions else self._empty + 1
        if cursor is None or self._full:
            self._finish(now)
        elif self._empty == EMPTY_PAGES or (definitions and not news):
            self._break_off(now)
        elif self._pages < limits.max_pages:
            self._ask_page(cursor, now)
        else:
            self._full = True
            self._finish(now)

    def _break_off(self, now: float) -> None:
        """Further pages bring nothing: what came is taken for all there is."""
        if self._cursor != NO_CURSOR:
            self._tool.note(Note.LIST_BROKEN_OFF, now)
        self._finish(now)

    def _finish(self, now: float) -> None:
        self.not_taken = self._over
        if self._full:
            self._tool.note(Note.TOO_MANY_TOOLS, now)
        offers = tuple(self._got.values())
        self.remarks = self._remarks
        del self._got, self._useless  # ten thousand idle tool sides keep what they show, not how it was put together
        self._done(offers, now)

    def _take(self, raw: Raw) -> None:
        if len(raw) > PAGE_BYTES:
            self._leave_out("", raw, FlawAt(Flaw.TOO_LARGE, ""))
            return
        references = bytes(raw).count(b'"$ref"')
        if references > self._references:
            self._leave_out("", raw, FlawAt(Flaw.TOO_MANY_REFERENCES, ""))
            return
        self._references -= references
        name, definition, flaws = repair_definition(self._kind, raw, self._room)
        if flaws and len(raw) <= self._room:
            self._room -= len(raw)
        if definition is None:
            self._leave_out(name, raw, *flaws)
        elif len(definition) > PAGE_BYTES:
            self._leave_out(name, raw, FlawAt(Flaw.TOO_LARGE, ""))
        elif name in self._got:
            self._tool.drop("duplicate_name")
            if self._pages == 1 or definition != self._got[name].definition:
                self.remark(Remark(name, True, (FlawAt(Flaw.LISTED_TWICE, self._kind.naming),)))
        elif self._size + len(definition) > self._tool.agent.limits.max_list_bytes:
            self._full = True
            self._over += 1
        else:
            self._size += len(definition)
            self._got[name] = Offer(name, definition)
            if flaws:
                self.remark(Remark(name, False, flaws))

    def _leave_out(self, name: str, raw: Raw, *flaws: FlawAt) -> None:
        self._tool.drop("bad_definition")
        self._useless.add(hash(bytes(raw)))
        self.remark(Remark(name or f"#{self._looked}", True, flaws))

    def _failed(self, now: float) -> None:
        """No such list: what is known stays; a tool side that has just come serves without it."""
        self._asking = False
        tools = self._kind is mcp.Kind.TOOLS
        if tools and self._pages == 1:
            self._try_again(now)
        if tools and self._tool.registration is not None and self._cursor != NO_CURSOR:
            return
        if self._pages > 1:
            self._break_off(now)
            return
        if tools and not self.settled:
            self._tool.note(Note.LIST_FAILED, now)
        self._done(None, now)

    def _done(self, offers: tuple[Offer, ...] | None, now: float) -> None:
        self._asking = False
        self.settled = True
        self._tool.listed(self._kind, offers, now)
