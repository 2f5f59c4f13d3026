"""What an agent may use now: a name that one of its sessions saw once goes on working, but for no longer than that.

Whatever joins, leaves or is renamed, the name leads where it led. What its owner takes away is taken from sessions that
know it too: by the agents that a server is for, by `tools_from`, `allow` and `deny`, or because a tool changed.
"""

from collections.abc import Iterable
from typing import Protocol

from mcp_endpoint.broker.agent_state.catalogue import Entry
from mcp_endpoint.broker.offers.offer import names_of
from mcp_endpoint.broker.offers.tool_filter import ToolFilter
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.wire.mcp import Kind


class AgentWithTools(Protocol):
    """An agent, as far as it is asked about here."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def sources(self) -> "Iterable[AgentWithTools]":
        """Agents whose tool sides serve it too."""

    @property
    def tool_filter(self) -> ToolFilter:
        """What its settings say about tools."""

    def registrations(self) -> Iterable[Registration]:
        """All tool sides that serve it."""


def reaches(agent: AgentWithTools, registration: Registration) -> bool:
    """Whether the tool side of a registration serves the agent, or would if it came back."""
    return not registration.withdrawn and any(registration.owner == owner.id for owner in (agent, *agent.sources))


def usable(agent: AgentWithTools, kind: Kind, entry: Entry) -> Entry | None:
    """Where an entry leads now that the agent could use once; None if it may not use it any more."""
    found = _registered_now(agent, kind, entry)
    if found is None or (kind is Kind.TOOLS and not agent.tool_filter.allows(found.registration.alias, found.name)):
        return None
    return found


def _registered_now(agent: AgentWithTools, kind: Kind, entry: Entry) -> Entry | None:
    """A session may know a program by a registration that was given up, and the program be back under another."""
    registrations, known = list(agent.registrations()), entry.registration
    if known in registrations:
        name = _listed_name(known, kind, entry)
        if name is None and kind is Kind.TOOLS and known.lists_all:
            return None  # what it does not list must not be called
        return Entry(known, name or entry.name)
    heirs = [registration for registration in registrations if registration.identity == known.identity]
    for registration in sorted(heirs, key=lambda registration: registration.live is None):
        name = _listed_name(registration, kind, entry)
        if name is not None:
            return Entry(registration, name)
    return entry if reaches(agent, known) else None


def _listed_name(registration: Registration, kind: Kind, entry: Entry) -> str | None:
    """The name under which a registration lists now what an entry leads to; None if it does not."""
    listed = names_of(registration.offers, kind)
    if entry.name in listed:
        return entry.name
    own = entry.registration.own_names.get(entry.name) if kind is Kind.TOOLS else None
    if own is None:
        return None
    return next((name for name, its in registration.listed_names().items() if its == own and name in listed), None)
