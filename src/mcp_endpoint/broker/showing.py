"""What one device session was shown: lists that wait for tool sides, pages, names, and lists it gets unasked."""

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw, UnsetType

from mcp_endpoint.broker.catalogue import EMPTY, Catalogue, Entry
from mcp_endpoint.errors import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.xiaozhi import CONSOLE, LIST_ID, XIAOZHI

if TYPE_CHECKING:
    from mcp_endpoint.broker.device import DeviceSide
    from mcp_endpoint.broker.timers import Timer

CONSOLE_WAIT = 1.0
"""Seconds the console's list may wait: its question is "is it connected now?" (contract, section 5)."""
NAMES_KEPT = 4096
"""How many names a session may know before those of earlier lists are forgotten."""


class Waiting(NamedTuple):
    """A `tools/list` whose answer is held back until a tool side is there."""

    id: bytes
    timer: "Timer"


class Showing:
    """The lists of one device session."""

    __slots__ = ("_all_lists_empty", "_device", "_second_call_done", "_shown", "entries", "waiting")

    def __init__(self, device: "DeviceSide") -> None:
        self._device = device
        self.entries: dict[str, Entry] = EMPTY.entries
        """Every name the session was shown, and where it leads."""
        self.waiting: dict[bytes, Waiting] = {}
        self._shown: Catalogue | None = None
        # The two facts that say whether an unasked list would be taken for an answer (contract, section 5).
        self._all_lists_empty = True
        self._second_call_done = False

    # --- lists that were asked for ---

    def list(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
        """Answer `tools/list`, or hold the answer while a tool side may be about to arrive."""
        params = wire.members(raw) or {}
        if "cursor" in params and params["cursor"] != wire.NULL:
            self._list_on(id_, bytes(params["cursor"]))
            return
        until = self._waits_until(now)
        if until <= now:
            self._show(id_)
        elif not self._device.may_wait(id_):
            return
        else:
            self.waiting[key] = Waiting(id_, self._device.agent.timers.at(until, lambda _: self._settle_one(key)))

    def _settle_one(self, key: bytes) -> None:
        waiting = self.drop_waiting(key)
        if waiting is not None:
            self._show(waiting.id)

    def drop_waiting(self, key: bytes) -> Waiting | None:
        """Take a list out of those that wait; None if there is none of that id."""
        waiting = self.waiting.pop(key, None)
        if waiting is not None:
            waiting.timer.cancel()
            self._device.agent.in_flight -= 1
        return waiting

    def _waits_until(self, now: float) -> float:
        agent = self._device.agent
        if self._device.client.name == CONSOLE:
            return agent.list_waits_until(now, CONSOLE_WAIT, live_only=True)
        return agent.list_waits_until(now, agent.limits.tools_wait, live_only=False)

    def settle(self, now: float) -> None:
        """Answer the lists that waited, if there is nothing to wait for any more."""
        if self.waiting and self._waits_until(now) <= now:
            for key in [*self.waiting]:
                self._settle_one(key)

    def _show(self, id_: bytes) -> None:
        catalogue = self._device.agent.catalogue
        if self._device.client.name == CONSOLE:
            self._device.link.send(_page(id_, catalogue.live_page()), wire.id_key(id_))
            return
        self._remember(catalogue)
        self._send_page(id_, catalogue, 0)

    def _list_on(self, id_: bytes, cursor: bytes) -> None:
        """Answer with a later page of the list that the session was shown the first page of."""
        number = cursor.strip(b'"')
        pages = self._shown.pages() if self._shown is not None else []
        if number.isdigit() and len(number) < 6 and 0 < int(number) < len(pages):
            self._send_page(id_, self._shown or EMPTY, int(number))
        else:
            self._device.fail(id_, Fault.BAD_CURSOR)

    def _send_page(self, id_: bytes, catalogue: Catalogue, number: int) -> None:
        pages = catalogue.pages()
        frame = _page(id_, pages[number], number + 1 if number + 1 < len(pages) else None)
        self._device.link.send(frame, wire.id_key(id_))

    # --- names ---

    def _remember(self, catalogue: Catalogue) -> None:
        """Keep what the session is shown: a name it saw once goes on working for it (routing page, "Names")."""
        if self._shown is None or len(self.entries) > NAMES_KEPT:
            self.entries = catalogue.entries
        elif self._shown is not catalogue:
            self.entries = self.entries | catalogue.entries
        self._shown = catalogue
        if catalogue.definitions:
            self._all_lists_empty = False

    def find(self, name: str) -> Entry | None:
        """Where a name leads for this session: as it was shown, else as the catalogue has it now."""
        entry = self.entries.get(name)
        if entry is None:
            entry = self._device.agent.catalogue.find(name)
            if entry is not None and len(self.entries) <= NAMES_KEPT:
                self.entries = self.entries | {name: entry}
        return entry

    # --- lists that come unasked ---

    def changed(self, catalogue: Catalogue) -> None:
        """The agent's tools changed: tell the session in the way its client understands."""
        if self.waiting:
            return  # their answer will tell
        if self._device.client.name == XIAOZHI:
            self._push(catalogue)
        elif self._device.client.name != CONSOLE and self._device.initialized:
            self._device.link.send(wire.notification(mcp.TOOLS_CHANGED))

    def _push(self, catalogue: Catalogue) -> None:
        """Give a Xiaozhi session the new list unasked, if it cannot take it for the answer to a call."""
        if self._shown is None or self._shown.same_tools(catalogue):
            return
        if len(catalogue.pages()) == 1 and (self._all_lists_empty or self._second_call_done):
            self._remember(catalogue)
            self._send_page(LIST_ID, catalogue, 0)

    def call_done(self, key: bytes) -> None:
        """A `tools/call` has its outcome, whatever it is: after that of id 2 no list can be taken for one any more."""
        if key == LIST_ID and self._device.client.name == XIAOZHI:
            self._second_call_done = True
            self._push(self._device.agent.catalogue)

    def ended(self) -> None:
        """The session is over: nothing waits any more."""
        for key in [*self.waiting]:
            self.drop_waiting(key)


def _page(id_: bytes, definitions: bytes, next_page: int | None = None) -> bytes:
    cursor = b"" if next_page is None else b',"nextCursor":"%d"' % next_page
    return wire.result(id_, b'{"tools":[%b]%b}' % (definitions, cursor))
