"""What one agent is: its tool sides and device sides, what they offer, and what may be asked of it about that."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from itertools import chain

from msgspec.json import encode

from mcp_endpoint.broker.agent_state.catalogue import EMPTY, Catalogue
from mcp_endpoint.broker.agent_state.tasks import Tasks
from mcp_endpoint.broker.broker_state import PROVIDER, BrokerState
from mcp_endpoint.broker.call import Caller
from mcp_endpoint.broker.link import Scope
from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.offers.tool_filter import ToolFilter, Unmatched
from mcp_endpoint.broker.tool_side.program import Registration, ToolProgram
from mcp_endpoint.broker.tool_side.registry import Registry
from mcp_endpoint.language import Bilingual
from mcp_endpoint.settings.schema import BrokerSettings
from mcp_endpoint.wire.mcp import LEVELS, Kind

EVERYTHING = Scope()
"""What devices see, and `/stats` shows."""
LEVEL_TIMEOUT = 10.0
"""Seconds a tool side has to answer `logging/setLevel`; nothing depends on the answer."""


class AgentState(ABC):
    """One Xiaozhi assistant: every tool side and every device side that came with its token.

    Tool sides of its `sources` (other agents, by the settings) serve it too; they stay theirs. What happens to it when
    one of them comes or goes is `Agent`'s.
    """

    __slots__ = (
        "_unmatched",
        "broker",
        "catalogues",
        "cuts_results",
        "devices",
        "followers",
        "id",
        "in_flight",
        "last_registration",
        "limits",
        "registry",
        "renewals",
        "sources",
        "tasks",
        "tool_filter",
        "tools",
    )
    devices: Collection[Caller]
    tools: Collection[ToolProgram]
    sources: "tuple[AgentState, ...]"
    followers: "Collection[AgentState]"
    """Agents that have this one among their sources."""

    def __init__(self, id_: str, limits: BrokerSettings, tool_filter: ToolFilter, broker: BrokerState) -> None:
        self.id = id_
        self.limits = limits
        self.tool_filter = tool_filter
        self.broker = broker
        self.cuts_results = False
        """Whether a result may be longer than what a device is given of it."""
        self.registry = Registry(self)
        self.last_registration: Registration | None = None
        """The registration that was given up last: what there is to say about an agent without any."""
        self.catalogues: dict[Scope, Catalogue] = {EVERYTHING: EMPTY}
        """What there is to see, for each scope that some client has."""
        self.renewals = 0
        """How often that was made anew: what was found out about names holds as long as this number."""
        self.in_flight = 0
        self.tasks = Tasks(self)
        self._unmatched: tuple[Catalogue, ToolFilter, Unmatched] | None = None

    @abstractmethod
    def review(self, now: float) -> None:
        """Tell the journal of new states, of this agent and of those it serves."""

    @abstractmethod
    def registrations_changed(self, now: float) -> None:
        """Other tool sides serve, or other tools are served: bring everybody up to date."""

    # --- the catalogue ---

    @property
    def catalogue(self) -> Catalogue:
        """What the agent offers."""
        return self.catalogues[EVERYTHING]

    def catalogue_for(self, scope: Scope) -> Catalogue:
        """What a client sees that asked for one tool side alone, or for all."""
        seen = self.catalogues.get(scope)
        if seen is None:
            seen = self.catalogues[scope] = self.seen(scope)
        return seen

    def seen(self, scope: Scope) -> Catalogue:
        """What there is to see of what is offered now."""
        publish = self.tool_filter.publish if scope.provider is None else self._under_own_name
        return Catalogue(self.registrations(scope.provider), publish, ascii_names=scope.ascii_names)

    def _under_own_name(self, alias: str, tool: Offer) -> tuple[str, bytes] | None:
        """What is hidden stays hidden, but nothing is renamed (docs/protocol.md, section 10.5)."""
        return None if self.tool_filter.publish(alias, tool) is None else (tool.name, tool.definition)

    # --- the tool sides that serve it ---

    def registrations(self, provider: str | None = None) -> Iterator[Registration]:
        """All tool sides that serve this agent, its own first; or the one with that alias."""
        registrations = chain(self.registry.registrations, *(source.registry.registrations for source in self.sources))
        return registrations if provider is None else (one for one in registrations if one.alias == provider)

    def all_tools(self) -> Iterator[ToolProgram]:
        """Every tool link that serves this agent, or may once it has finished its handshake."""
        return chain(self.tools, *(source.tools for source in self.sources))

    def registrations_away(self) -> list[Registration]:
        """Those whose tool sides are away for now."""
        return [one for one in self.registrations() if one.live is None]

    def live_tools(self, provider: str | None = None) -> list[ToolProgram]:
        """The tool sides that serve now, in the order of their registrations."""
        return [registration.live for registration in self.registrations(provider) if registration.live is not None]

    def only_tool_side(self, provider: str | None, capability: str | None = None) -> ToolProgram | None:
        """The tool side there is, if there is just one (that can do this): it gets what is in no table."""
        live = [tool for tool in self.live_tools(provider) if capability is None or capability in tool.capabilities]
        return live[0] if len(live) == 1 else None

    def starting_until(self, provider: str | None, kind: Kind, now: float, wait: float) -> float:
        """Until when a tool side may still say that it has what a client asked for; `now` if none is starting."""
        live = bool(self.live_tools(provider))
        until = now
        for tool in self.all_tools():
            if tool.awaited(kind) and (provider is None or not live or tool.name == provider):
                until = max(until, min(now + wait, tool.opened + self.limits.tools_wait))
        return until

    def list_waits_until(self, scope: Scope, kind: Kind, now: float, wait: float, *, live_only: bool) -> float:
        """Until when a list asked for now should wait; `now` or earlier if it can be answered at once.

        It waits, `wait` seconds at most, while nobody is there, and while a tool side is in the first `tools_wait`
        seconds of its handshake (docs/protocol.md, section 11.2). What one has that is away is an answer, unless
        `live_only`.
        """
        live = bool(self.live_tools(scope.provider))
        somebody = live or (not live_only and bool(self.catalogue_for(scope)[kind].definitions))
        return max(now if somebody else now + wait, self.starting_until(scope.provider, kind, now, wait))

    def renew_log_levels(self, now: float) -> None:
        """Have every tool side that serves the agent log as much as the most curious client wants to hear."""
        for owner in (self, *self.sources):
            level = owner.lowest_log_level()
            for tool in owner.tools:
                if level is not None and tool.log_level != level and "logging" in tool.capabilities:
                    tool.log_level = level
                    params = encode({"level": LEVELS[level]})
                    tool.ask("logging/setLevel", params, lambda *_: None, now + LEVEL_TIMEOUT)

    def lowest_log_level(self) -> int | None:
        """The lowest level that any client of the agent, or of one it serves, asked for."""
        levels = [device.log_level for one in (self, *self.followers) for device in one.devices]
        return min((level for level in levels if level is not None), default=None)

    # --- what keeps tools from being there ---

    def troubles(self) -> list[tuple[str, Bilingual]]:
        """Alias and trouble of each server of the broker's own that should serve this agent and does not."""
        owners = (self, *self.sources)
        return [item for owner in owners for item in self.broker.troubles.get(owner.id, {}).items()]

    def unmatched(self) -> Unmatched:
        """What the settings say of tools that nobody has; nothing while somebody may still come who has them."""
        if any(tool.awaited(Kind.TOOLS) for tool in self.all_tools()) or self._source_may_come():
            return Unmatched()
        known = self._unmatched
        if known is None or known[0] is not self.catalogue or known[1] is not self.tool_filter:
            tools = (
                (registration.alias, offer.name)
                for registration in self.registrations()
                for offer in registration.offers.get(Kind.TOOLS, ())
            )
            known = self._unmatched = self.catalogue, self.tool_filter, self.tool_filter.unmatched(tools)
        return known[2]

    def _source_may_come(self) -> bool:
        """Whether a server was not needed yet, or nobody came whom `tools_from` names; each name means two ids."""
        away = {source.id for source in self.sources if not source.registry.registrations}
        dial_in = [source.id for source in self.sources if not source.id.startswith(PROVIDER)]
        idle = (id_ for id_ in away if id_.startswith(PROVIDER) and id_ not in self.broker.troubles)
        return any(idle) or (bool(dial_in) and away.issuperset(dial_in))
