"""One agent: its tool sides, its device sides, and what goes where."""

from collections.abc import Iterator
from itertools import chain

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.broker_state import PROVIDER, BrokerState, Trouble
from mcp_endpoint.broker.catalogue import EMPTY, Catalogue
from mcp_endpoint.broker.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Link, Scope
from mcp_endpoint.broker.log_levels import renew_levels
from mcp_endpoint.broker.offers.offer import Offer
from mcp_endpoint.broker.offers.tool_filter import ToolFilter, Unmatched
from mcp_endpoint.broker.permission import reaches
from mcp_endpoint.broker.registration import Registration
from mcp_endpoint.broker.registry import Registry
from mcp_endpoint.broker.tasks import Tasks, does_tasks
from mcp_endpoint.broker.tool_side import ToolSide
from mcp_endpoint.broker.why import State, Why, explain, explain_registration
from mcp_endpoint.errors import MESSAGES, End, Fault
from mcp_endpoint.settings.schema import BrokerSettings
from mcp_endpoint.wire.envelope import failure
from mcp_endpoint.wire.mcp import Kind

Facts = dict[str, object]
EVERYTHING = Scope()
"""What devices see, and `/stats` shows."""
UNTOLD = {State.STARTING.name.lower(), State.NEVER.name.lower()}


class Agent:
    """One Xiaozhi assistant: every tool side and every device side that came with its token.

    Tool sides of its `sources` (other agents, by the settings) serve it too; they stay theirs.
    """

    __slots__ = (
        "_known_state",
        "_troubles",
        "_unmatched",
        "bad_tokens",
        "broker",
        "catalogues",
        "cuts_results",
        "devices",
        "followers",
        "id",
        "in_flight",
        "journal",
        "last_registration",
        "limits",
        "numbers",
        "registry",
        "renewals",
        "sources",
        "tasks",
        "timers",
        "tool_filter",
        "tools",
        "version",
    )

    def __init__(self, id_: str, limits: BrokerSettings, tool_filter: ToolFilter, broker: BrokerState) -> None:
        self.id = id_
        self.limits = limits
        self.tool_filter = tool_filter
        self.cuts_results = False
        """Whether a result may be longer than what a device is given of it."""
        self.timers = broker.timers
        self.journal = broker.journal
        self.version = broker.version
        self.bad_tokens = broker.bad_tokens
        self.broker = broker
        self.numbers = broker.numbers
        self._troubles = broker.troubles
        self.tools: dict[ToolSide, None] = {}
        self.devices: dict[DeviceSide, None] = {}
        self.sources: tuple[Agent, ...] = ()
        self.followers: set[Agent] = set()
        """Agents that have this one among their sources."""
        self.catalogues: dict[Scope, Catalogue] = {EVERYTHING: EMPTY}
        """What there is to see, for each scope that some client has."""
        self.renewals = 0
        """How often that was made anew: what was found out about names holds as long as this number."""
        self.in_flight = 0
        self.tasks = Tasks()
        self.registry = Registry(self)
        self.last_registration: Registration | None = None
        """The place that was given up last: what there is to say about an agent without any."""
        self._known_state: object = None
        self._unmatched: tuple[Catalogue, ToolFilter, Unmatched] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is left of it: no link, no tool side whose return is awaited, nobody it serves, no task."""
        return not (self.tools or self.devices or self.registry.registrations or self.followers or self.tasks)

    # --- links come and go ---

    def join_tool(self, link: Link, now: float) -> ToolSide | End:
        """Admit a tool side and greet it, or say why not."""
        if len(self.tools) >= self.limits.max_tool_sides:
            return End.TOO_MANY_TOOL_SIDES
        tool = ToolSide(self, link, now)
        self.tools[tool] = None
        self.journal.opened(tool, link.peer)
        tool.greet(now)
        return tool

    def join_device(self, link: Link, now: float) -> DeviceSide | End:
        """Admit a device side, or say why not."""
        if len(self.devices) >= self.limits.max_devices:
            return End.TOO_MANY_DEVICES
        device = DeviceSide(self, link, now)
        self.devices[device] = None
        self.catalogue_for(link.peer.scope)
        if not link.peer.brief:
            self.journal.opened(device, link.peer)
        return device

    def tool_ended(self, tool: ToolSide, ended: Ended, now: float) -> None:
        """A tool side's link is gone: its calls end now; its tools stay listed for `offline_grace`."""
        del self.tools[tool]
        self.fail_pending(tool, ended)
        self.registry.left(tool, ended, now)
        for agent in (self, *self.followers):
            agent.settle_lists(now)
        self.review(now)

    def device_ended(self, device: DeviceSide) -> None:
        """A device side's link is gone."""
        del self.devices[device]
        self.tasks.left(device)

    def fail_pending(self, tool: ToolSide, ended: Ended) -> None:
        """End all that is pending on a tool side whose link has ended."""
        for call in tool.forget():
            call.relay.tool_lost(call, tool, ended)

    # --- the catalogue ---

    @property
    def catalogue(self) -> Catalogue:
        """What the agent offers."""
        return self.catalogues[EVERYTHING]

    def catalogue_for(self, scope: Scope) -> Catalogue:
        """What a client sees that asked for one tool side alone, or for all."""
        seen = self.catalogues.get(scope)
        if seen is None:
            seen = self.catalogues[scope] = self._seen(scope)
        return seen

    def _seen(self, scope: Scope) -> Catalogue:
        publish = self.tool_filter.publish if scope.provider is None else self._under_own_name
        return Catalogue(self.registrations(scope.provider), publish, ascii_names=scope.ascii_names)

    def _under_own_name(self, alias: str, tool: Offer) -> tuple[str, bytes] | None:
        """What is hidden stays hidden, but nothing is renamed."""
        return None if self.tool_filter.publish(alias, tool) is None else (tool.name, tool.definition)

    def listed(self, tool: ToolSide, kind: Kind, now: float) -> None:
        """A tool side said what it has of one kind, at the end of its handshake or because it changed."""
        if kind is Kind.TOOLS:
            self.registry.listed(tool, now)
            renew_levels(self, now)
        elif tool.registration is not None and tool.registration.live is tool:
            tool.registration.offers = tool.offers
        self.registrations_changed(now)

    def registrations_changed(self, now: float) -> None:
        """Other tool sides serve, or other tools are served: bring everybody up to date."""
        for agent in (self, *self.followers):
            agent.renew(now)

    def renew(self, now: float) -> None:
        """Rebuild the catalogue; tell the devices only if they would see another list."""
        old = self.catalogues
        wanted = {EVERYTHING} | {device.link.peer.scope for device in self.devices}
        self.catalogues = {scope: self._seen(scope) for scope in wanted}
        self.renewals += 1
        changed = {scope: seen.differs(old.get(scope, EMPTY)) for scope, seen in self.catalogues.items()}
        for device in list(self.devices):
            device.relay.subscriptions.keep(lambda registration: reaches(self, registration), now)
            kinds = changed[device.link.peer.scope]
            if kinds:
                device.view.changed(kinds)
        self.settle_lists(now)
        self.tell(now)

    def registrations(self, provider: str | None = None) -> Iterator[Registration]:
        """The places of all tool sides that serve this agent, its own first; or of the one with that alias."""
        registrations = chain(self.registry.registrations, *(source.registry.registrations for source in self.sources))
        return registrations if provider is None else (one for one in registrations if one.alias == provider)

    def all_tools(self) -> Iterator[ToolSide]:
        """Every tool link that serves this agent, or may once it has finished its handshake."""
        return chain(self.tools, *(source.tools for source in self.sources))

    def registrations_away(self) -> list[Registration]:
        """The places whose tool sides are away for now."""
        return [one for one in self.registrations() if one.live is None]

    def live_tools(self, provider: str | None = None) -> list[ToolSide]:
        """The tool sides that serve now, in the order of their registrations."""
        return [registration.live for registration in self.registrations(provider) if registration.live is not None]

    def only_tool_side(self, provider: str | None, capability: str | None = None) -> ToolSide | None:
        """The tool side there is, if there is just one (that can do this): it gets what no table has a place for."""
        live = [tool for tool in self.live_tools(provider) if capability is None or capability in tool.capabilities]
        return live[0] if len(live) == 1 else None

    # --- requests that wait ---

    def list_waits_until(self, device: DeviceSide, kind: Kind, now: float, wait: float, *, live_only: bool) -> float:
        """Until when a list asked for now should wait; `now` or earlier if it can be answered at once.

        It waits, `wait` seconds at most, while nobody is there, and while a tool side is in the first `tools_wait`
        seconds of its handshake (docs/protocol.md, section 11.2). What one has that is away is an answer, unless
        `live_only`.
        """
        provider = device.link.peer.provider
        live = bool(self.live_tools(provider))
        somebody = live or (not live_only and bool(self.catalogue_for(device.link.peer.scope)[kind].definitions))
        return max(now if somebody else now + wait, self.starting_until(device, kind, now, wait))

    def starting_until(self, device: DeviceSide, kind: Kind, now: float, wait: float) -> float:
        """Until when a tool side may still say that it has what a device asked for; `now` if none is starting."""
        provider = device.link.peer.provider
        live = bool(self.live_tools(provider))
        until = now
        for tool in self.all_tools():
            if tool.awaited(kind) and (provider is None or not live or tool.name == provider):
                until = max(until, min(now + wait, tool.opened + self.limits.tools_wait))
        return until

    def settle_lists(self, now: float) -> None:
        """Go on with requests that have nothing to wait for any more."""
        for device in list(self.devices):
            device.view.settle(now)

    # --- answers of the broker's own ---

    def introduction(self, device: DeviceSide) -> bytes:
        """The result of a device's `initialize`, in the words of the only tool side if there is just one."""
        revision = device.protocol_version
        live = self.live_tools(device.link.peer.provider)
        server: object = {"name": "mcp-endpoint", "version": self.version}
        if len(live) == 1 and live[0].server_info is not None:
            server = Raw(live[0].server_info)
        told = [(tool.name, tool.instructions) for tool in live if tool.instructions]
        answer = {"protocolVersion": revision, "capabilities": self._capabilities(live, device), "serverInfo": server}
        if len(live) == 1 and told:
            answer["instructions"] = told[0][1]
        elif told:
            answer["instructions"] = "\n\n".join(f"# {name}\n{text}" for name, text in told)
        return encode(answer)

    def _capabilities(self, live: list[ToolSide], device: DeviceSide) -> Facts:
        """What can be routed; all of it while tool sides may still come that the client would not hear of later."""
        everything = not live or any(tool.awaited(kind) for tool in self.all_tools() for kind in Kind)
        there = {name for tool in live for name in tool.capabilities}
        there |= {kind.capability for kind in Kind if self.catalogue[kind].definitions}
        known: Facts = {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "completions": {},
            "logging": {},
        }
        if does_tasks(device):
            known["tasks"] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
        return {name: facts for name, facts in known.items() if everything or name in there or name == "tools"}

    def failure(self, id_: bytes, fault: Fault, **facts: object) -> bytes:
        """An error frame whose `data` says what happened, since when, and what to do."""
        details = fault.sentence(self.limits.language, **facts)
        data: Facts = {"agent_id": self.id, "details": details, "reason": fault.reason}
        if fault is Fault.LACKS_ABILITY:
            data["requiredCapabilities"] = {str(facts["ability"]): {}}  # as the specification wants it (2026-07-28)
        return failure(id_, fault.code, MESSAGES[fault.code], data)

    def offline(self, registration: Registration, now: float) -> tuple[Fault, Facts]:
        """Why a tool that is still listed cannot be called."""
        return Fault.TOOL_SIDE_OFFLINE, {"why": explain_registration(registration, now).sentence(self.limits.language)}

    def nobody(self, now: float) -> tuple[Fault, Facts]:
        """Why there is no tool to call at all."""
        facts: Facts = {"why": self.why(now).sentence(self.limits.language)}
        if any(tool.registration is None for tool in self.all_tools()):
            return Fault.TOOL_SIDE_STARTING, facts
        return Fault.TOOL_SIDE_OFFLINE if self.registrations_away() else Fault.NEVER_CONNECTED, facts

    # --- why it is as it is ---

    def troubles(self) -> list[tuple[str, Trouble]]:
        """Alias and trouble of each server of the broker's own that should serve this agent and does not."""
        owners = (self, *self.sources)
        return [item for owner in owners for item in self._troubles.get(owner.id, {}).items()]

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
        idle = (id_ for id_ in away if id_.startswith(PROVIDER) and id_ not in self._troubles)
        return any(idle) or (bool(dial_in) and away.issuperset(dial_in))

    def why(self, now: float) -> Why:
        """The sentence that explains the agent's state."""
        return explain(self, now)

    def review(self, now: float) -> None:
        """Tell the journal of new states, of this agent and of those it serves."""
        for agent in (self, *self.followers):
            agent.tell(now)

    def tell(self, now: float) -> None:
        """Tell the journal if the agent's state is another one, unless it passes by itself or says nothing yet."""
        why = self.why(now)
        if why.key != self._known_state and why.reason not in UNTOLD:
            self._known_state = why.key
            self.journal.changed(self.id, why.reason, why.en)
