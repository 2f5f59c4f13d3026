"""What one device session was shown: requests that wait for tool sides, pages, names, and lists it gets unasked."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from msgspec import Raw, UnsetType

from mcp_endpoint.broker.agent_state.agent_state import AgentState
from mcp_endpoint.broker.agent_state.catalogue import Catalogue, Entry, Listing, by_template
from mcp_endpoint.broker.agent_state.permission import usable
from mcp_endpoint.broker.call import Caller
from mcp_endpoint.broker.timers import Timer
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.definitions.client_views import ClientKind
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, LIST_ID, XIAOZHI

CONSOLE_WAIT = 1.0
"""Seconds the console's list may wait: its question is "is it connected now?" (docs/protocol.md, section 7.3)."""
NAMES_KEPT = 4096
"""How many names a session may know before those of earlier lists are forgotten."""


class Waiting(NamedTuple):
    """A request that is held back until a tool side is there."""

    until: Callable[[float], float]
    """Until when it should wait, as things are now."""
    go_on: Callable[[float], None]
    """Answers it by what there is, or sends it on."""
    timer: Timer
    kind: Kind | None = None
    """Of the list that it asks for, if it asks for one."""


class DeviceView:
    """The lists of one device session."""

    __slots__ = (
        "_agent",
        "_all_lists_empty",
        "_device",
        "_found",
        "_found_at",
        "_second_call_done",
        "_shown",
        "entries",
        "waiting",
    )

    def __init__(self, device: Caller, agent: AgentState) -> None:
        self._device = device
        self._agent = agent
        self.entries: dict[Kind, dict[str, Entry]] = {}
        """Every name the session was shown, and where it led."""
        self._found: dict[Kind, dict[str, Entry]] = {}
        """Where names lead that were looked up since the agent's catalogue was made."""
        self._found_at = -1
        self.waiting: dict[bytes, Waiting] = {}
        self._shown: dict[Kind, Listing] = {}
        # The two facts that say whether an unasked list would be taken for an answer (docs/protocol.md, section 7.1).
        self._all_lists_empty = True
        self._second_call_done = False

    @property
    def _catalogue(self) -> Catalogue:
        return self._agent.catalogue_for(self._device.peer.scope)

    @property
    def _client(self) -> ClientKind:
        """What kind of client it is: what it can take of a definition depends on it."""
        if self._device.client.name == XIAOZHI:
            return ClientKind.XIAOZHI
        if self._device.link.call_timeout is None and self._agent.cuts_results:
            return ClientKind.DEVICE
        return ClientKind.STATELESS if self._device.peer.stateless else ClientKind.HANDSHAKE

    # --- lists that were asked for ---

    def list(self, kind: Kind, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
        """Answer a list, or hold the answer while a tool side may be about to arrive."""
        params = wire.members(raw) or {}
        if "cursor" in params and params["cursor"] != wire.NULL:
            self._list_on(kind, id_, bytes(params["cursor"]))
            return
        if not self.hold(
            id_, key, lambda now: self._waits_until(kind, now), lambda _: self._show(kind, id_), now, kind
        ):
            self._show(kind, id_)

    def hold(
        self,
        id_: bytes,
        key: bytes,
        until: Callable[[float], float],
        go_on: Callable[[float], None],
        now: float,
        kind: Kind | None = None,
    ) -> bool:
        """Hold a request back if it should wait; whether there is nothing more to do about it for now.

        It may have been refused instead, because its agent has too many requests already.
        """
        deadline = until(now)
        if deadline <= now:
            return False
        if self._device.may_wait(id_):
            timer = self._agent.broker.timers.at(deadline, lambda now: self._settle_one(key, now))
            self.waiting[key] = Waiting(until, go_on, timer, kind)
        elif kind is None:
            self.call_done(key)
        return True

    def _settle_one(self, key: bytes, now: float) -> None:
        waiting = self.drop_waiting(key)
        if waiting is not None:
            waiting.go_on(now)

    def drop_waiting(self, key: bytes) -> Waiting | None:
        """Take a request out of those that wait; None if there is none of that id."""
        waiting = self.waiting.pop(key, None)
        if waiting is not None:
            waiting.timer.cancel()
            self._agent.in_flight -= 1
        return waiting

    def _waits_until(self, kind: Kind, now: float) -> float:
        agent, scope = self._agent, self._device.peer.scope
        if self._device.client.name == CONSOLE:
            return agent.list_waits_until(scope, kind, now, CONSOLE_WAIT, live_only=True)
        return agent.list_waits_until(scope, kind, now, agent.limits.tools_wait, live_only=False)

    def settle(self, now: float) -> None:
        """Go on with what waited, if there is nothing to wait for any more."""
        for key, waiting in [*self.waiting.items()]:
            if waiting.until(now) <= now:
                self._settle_one(key, now)

    def _show(self, kind: Kind, id_: bytes) -> None:
        listing = self._catalogue[kind]
        if self._device.client.name == CONSOLE:
            self._device.link.send(_page(kind, id_, listing.live_page()), wire.id_key(id_))
            return
        self._remember(listing)
        self._send_page(id_, listing, 0)

    def _list_on(self, kind: Kind, id_: bytes, cursor: bytes) -> None:
        """Answer with a later page of the list that the session was shown the first page of."""
        number = cursor.strip(b'"')
        listing = self._shown.get(kind) or self._catalogue[kind]
        if number.isdigit() and len(number) < 6 and 0 < int(number) < len(listing.pages(self._client)):
            self._send_page(id_, listing, int(number))
        else:
            self._device.fail(id_, Fault.BAD_CURSOR)

    def _send_page(self, id_: bytes, listing: Listing, number: int) -> None:
        pages = listing.pages(self._client)
        frame = _page(listing.kind, id_, pages[number], number + 1 if number + 1 < len(pages) else None)
        self._device.link.send(frame, wire.id_key(id_))

    # --- names ---

    def _remember(self, listing: Listing) -> None:
        """Keep what the session is shown: a name it saw once goes on working for it (docs/protocol.md, 10.4)."""
        known = self.entries.get(listing.kind)
        if known is None or len(known) > NAMES_KEPT:
            self.entries[listing.kind] = listing.entries
        elif self._shown.get(listing.kind) is not listing:
            self.entries[listing.kind] = known | listing.entries
        self._shown[listing.kind] = listing
        if listing.definitions and listing.kind is Kind.TOOLS:
            self._all_lists_empty = False

    def find(self, kind: Kind, name: str) -> Entry | None:
        """Where a name leads for this session: as it was shown, while its agent may still use that, else as the
        catalogue has it now."""
        agent = self._agent
        if self._found_at != agent.renewals:
            self._found, self._found_at = {}, agent.renewals
        entry = self._found[kind].get(name) if kind in self._found else None
        if entry is not None and entry.registration.live is not None:
            return entry
        known = self.entries.get(kind, {})
        shown = known.get(name)
        entry = usable(agent, kind, shown) if shown is not None else None
        if entry is None:
            entry = self._catalogue[kind].find(name)
            if entry is None:
                return None
            if shown is None and len(known) <= NAMES_KEPT:
                self.entries[kind] = known | {name: entry}
        self._found.setdefault(kind, {})[name] = entry
        return entry

    def find_resource(self, uri: str) -> Entry | None:
        """Where a URI leads for this session: a resource's own, else one made from a template it was shown."""
        entry = self.find(Kind.RESOURCES, uri)
        if entry is None and Kind.TEMPLATES in self.entries:
            found = {public: self.find(Kind.TEMPLATES, public) for public in self.entries[Kind.TEMPLATES]}
            entry = by_template({public: one for public, one in found.items() if one is not None}, uri)
        return entry if entry is not None else self._catalogue.at(uri)

    # --- lists that come unasked ---

    def changed(self, kinds: Collection[Kind]) -> None:
        """What the agent offers of these kinds changed: tell the session in the way its client understands."""
        waited_for = {waiting.kind for waiting in self.waiting.values()}  # their answer will tell
        news = [kind for kind in kinds if kind not in waited_for]
        if self._device.client.name == XIAOZHI:
            if Kind.TOOLS in news:
                self._push()
        elif self._device.client.name != CONSOLE and self._device.initialized:
            for method in dict.fromkeys(kind.changed for kind in news):
                self._device.link.send(wire.notification(method))

    def _push(self) -> None:
        """Give a Xiaozhi session the new list unasked, if it cannot take it for the answer to a call."""
        shown, tools = self._shown.get(Kind.TOOLS), self._catalogue[Kind.TOOLS]
        if shown is None or shown.same(tools):
            return
        if len(tools.pages(self._client)) == 1 and (self._all_lists_empty or self._second_call_done):
            self._remember(tools)
            self._send_page(LIST_ID, tools, 0)

    def call_done(self, key: bytes) -> None:
        """A `tools/call` has its outcome, whatever it is: after that of id 2 no list can be taken for one any more."""
        if key == LIST_ID and self._device.client.name == XIAOZHI:
            self._second_call_done = True
            self._push()

    def ended(self) -> None:
        """The session is over: nothing waits any more."""
        for key in [*self.waiting]:
            self.drop_waiting(key)


def _page(kind: Kind, id_: bytes, definitions: bytes, next_page: int | None = None) -> bytes:
    cursor = b"" if next_page is None else b',"nextCursor":"%d"' % next_page
    return wire.result(id_, b'{"%b":[%b]%b}' % (kind.member.encode(), definitions, cursor))
