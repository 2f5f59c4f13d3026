"""Who sits where among an agent's tool sides: places that outlive links, and what happens to look-alikes.

A tool side is known by its identity (`?server_id=`, else the name it gives itself) and its tool names. A newcomer that
looks just like one that serves is its restart, or a second copy; which of the two only the elder's silence can tell. So
the newcomer serves at once and the elder is probed: silent, it is closed; alive, it stands by and takes over later.
"""

from functools import partial
from typing import TYPE_CHECKING

from mcp_endpoint.broker.link import Ended
from mcp_endpoint.broker.naming import slug, tail
from mcp_endpoint.broker.seat import Seat, names_of
from mcp_endpoint.broker.subscriptions import renew
from mcp_endpoint.broker.tasks import moved
from mcp_endpoint.errors import End, Note

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.tool import ToolSide

PROBE = 2.0
"""Seconds a look-alike has to give a sign of life, and one that stands by to answer before it takes over."""


class Seating:
    """The places of one agent's tool sides, in the order in which they came to be."""

    __slots__ = ("_agent", "seats")

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self.seats: list[Seat] = []

    def listed(self, tool: "ToolSide", now: float) -> None:
        """A tool side said what tools it has: give it its place, or bring its place up to date."""
        seat = before = tool.seat
        if seat is not None and seat.live is not tool and names_of(tool.offers) != names_of(seat.offers):
            seat.standby.remove(tool)  # it looks like the one that serves no longer
            seat = tool.seat = None
        if seat is None:
            seat = self._take(tool, now)
            if before is not None:
                moved(tool, before, seat)
        if seat.live is tool:
            seat.listed(tool)

    def _take(self, tool: "ToolSide", now: float) -> Seat:
        """The place it had before, that of its look-alike, or a new one."""
        assert tool.info is not None, "tools are listed after the handshake"
        identity = tool.link.peer.server_id or tool.info.name
        names = names_of(tool.offers)
        alike = [seat for seat in self.seats if seat.identity == identity]
        seat = next((seat for seat in alike if names_of(seat.offers) == names), None)
        seat = seat or next((seat for seat in alike if seat.live is None), None)
        if seat is None:
            seat = Seat(self._agent.id, identity, self._free_alias(identity, names))
            last = self._agent.last_seat
            if last is not None and last.identity == identity:
                seat.returns = last.returns
                seat.returns.append(now)
            self.seats.append(seat)
        elif seat.live is None:
            seat.returns.append(now)
        elder, seat.live, tool.seat = seat.live, tool, seat
        renew(seat, now)
        seat.wait_until(None)
        self._bound()
        if elder is not None:
            seat.standby.insert(0, elder)
            elder.probe(now, PROBE, partial(self._probed, seat, elder))
        return seat

    def _probed(self, seat: Seat, elder: "ToolSide", alive: bool, now: float) -> None:
        if elder not in seat.standby:
            return
        if alive:
            for look_alike in (elder, seat.live):
                if look_alike is not None:
                    look_alike.note(Note.LOOK_ALIKE, now)
        else:
            self._close(seat, elder, End.REPLACED)

    def _close(self, seat: Seat, tool: "ToolSide", end: End) -> None:
        seat.standby.remove(tool)
        self._agent.fail_pending(tool, Ended(end, end.code))
        tool.seat = None
        tool.link.close(end)

    def left(self, tool: "ToolSide", ended: Ended, now: float) -> None:
        """A tool side's link is gone: its place is kept for `offline_grace`, or goes to one that stands by."""
        seat = tool.seat
        if seat is None:
            return  # closed for a newer link, which has the place now
        tool.seat = None
        if seat.live is not tool:
            seat.standby.remove(tool)
            return
        seat.live, seat.gone, seat.gone_at = None, ended, now
        if seat.standby:
            self._keep(seat, now + self._agent.limits.offline_grace)
            self._promote(seat, now)
        elif ended.for_good:
            seat.withdrawn = True
            self._remove(seat)
            self._agent.seats_changed(now)
        elif any(seat.offers.values()):
            self._keep(seat, now + self._agent.limits.offline_grace)
        else:
            self.seats.remove(seat)  # it had nothing that anybody could miss

    def _promote(self, seat: Seat, now: float) -> None:
        """Ask all that stand by, newest first; the first that answers takes over."""
        if seat.live is None:
            for heir in list(seat.standby):
                heir.ping(now, PROBE, partial(self._asked, seat, heir))

    def _asked(self, seat: Seat, heir: "ToolSide", alive: bool, now: float) -> None:
        if heir not in seat.standby:
            return
        if not alive:
            self._close(seat, heir, End.NOT_ANSWERING)
        elif seat.live is None:
            seat.standby.remove(heir)
            seat.live, seat.offers = heir, heir.offers
            renew(seat, now)
            seat.wait_until(None)
            self._agent.seats_changed(now)

    def _keep(self, seat: Seat, until: float) -> None:
        seat.wait_until(self._agent.timers.at(until, lambda now: self._give_up(seat, now)))

    def _give_up(self, seat: Seat, now: float) -> None:
        due = seat.gone_at + self._agent.limits.offline_grace
        if now >= due and not seat.standby:
            self._remove(seat)
            self._agent.seats_changed(now)
        else:  # one that stands by is being asked, or the settings changed
            self._keep(seat, max(due, now + PROBE))

    def _remove(self, seat: Seat) -> None:
        self.seats.remove(seat)
        seat.wait_until(None)
        seat.offers = {}
        if not seat.withdrawn:
            self._agent.last_seat = seat

    def _free_alias(self, identity: str, names: frozenset[str]) -> str:
        taken = {seat.alias for seat in self.seats}
        alias, salt = slug(identity), ""
        while alias in taken:
            # By what it has, not by when it came; a salt only if another had just these tools before it changed them.
            alias = f"{slug(identity)}_{tail(identity, salt, *sorted(names))}"
            salt += "+"
        return alias

    def _bound(self) -> None:
        """A program that comes back under ever new names must not fill the memory with places for its old ones."""
        surplus = max(len(self.seats) - self._agent.limits.max_tool_sides, 0)
        away = sorted((seat for seat in self.seats if seat.live is None), key=lambda seat: seat.gone_at)
        for seat in away[:surplus]:
            self._remove(seat)
