"""What an agent may use now: a name that one of its sessions saw once goes on working, but for no longer than that.

Whatever joins, leaves or is renamed, the name leads where it led. What its owner takes away is taken from sessions that
know it too: by the agents that a server is for, by `tools_from`, `allow` and `deny`, or because a tool changed.
"""

from collections.abc import Iterable
from typing import Protocol

from mcp_endpoint.broker.catalogue import Entry
from mcp_endpoint.broker.choice import Choice
from mcp_endpoint.broker.seat import Seat, names_of
from mcp_endpoint.wire.mcp import Kind


class User(Protocol):
    """An agent, as far as it is asked about here."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def sources(self) -> "Iterable[User]":
        """Agents whose tool sides serve it too."""

    @property
    def choice(self) -> Choice:
        """What its settings say about tools."""

    def seats(self) -> Iterable[Seat]:
        """The places of all tool sides that serve it."""


def reaches(agent: User, seat: Seat) -> bool:
    """Whether the tool side of a place serves the agent, or would if it came back."""
    return not seat.withdrawn and any(seat.owner == owner.id for owner in (agent, *agent.sources))


def usable(agent: User, kind: Kind, entry: Entry) -> Entry | None:
    """Where an entry leads now that the agent could use once; None if it may not use it any more."""
    found = _place(agent, kind, entry)
    if found is None or (kind is Kind.TOOLS and not agent.choice.allows(found.seat.alias, found.name)):
        return None
    return found


def _place(agent: User, kind: Kind, entry: Entry) -> Entry | None:
    """A session may know a program by a place that was given up meanwhile, and the program be back in another."""
    seats, known = list(agent.seats()), entry.seat
    if known in seats:
        name = _listed_name(known, kind, entry)
        own_names = known.live.link.peer.own_names if known.live is not None and kind is Kind.TOOLS else None
        if name is None and own_names is not None:
            return None  # what it does not list must not be called
        return Entry(known, name or entry.name)
    heirs = [seat for seat in seats if seat.identity == known.identity]
    for seat in sorted(heirs, key=lambda seat: seat.live is None):
        name = _listed_name(seat, kind, entry)
        if name is not None:
            return Entry(seat, name)
    return entry if reaches(agent, known) else None


def _listed_name(seat: Seat, kind: Kind, entry: Entry) -> str | None:
    """The name under which a place lists now what an entry leads to; None if it does not."""
    listed = names_of(seat.offers, kind)
    own = entry.seat.own_names.get(entry.name)
    own_names = seat.live.link.peer.own_names if seat.live is not None and kind is Kind.TOOLS else None
    if entry.name in listed or own is None or own_names is None:
        return entry.name if entry.name in listed else None
    return next((name for name, its in own_names().items() if its == own and name in listed), None)
