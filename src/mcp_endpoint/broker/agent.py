"""What happens to one agent: tool sides and device sides come and go, and everybody is brought up to date."""

from mcp_endpoint.broker.agent_state.agent_state import EVERYTHING, AgentState
from mcp_endpoint.broker.agent_state.catalogue import EMPTY
from mcp_endpoint.broker.agent_state.permission import reaches
from mcp_endpoint.broker.agent_state.why import State, explain
from mcp_endpoint.broker.broker_state import BrokerState
from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Link
from mcp_endpoint.broker.offers.tool_filter import ToolFilter
from mcp_endpoint.broker.tool_side.program import ToolProgram
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.settings.schema import BrokerSettings
from mcp_endpoint.wire.mcp import Kind

UNTOLD = {State.STARTING.name.lower(), State.NEVER.name.lower()}
"""States that pass by themselves, or say nothing yet."""


class Agent(AgentState):
    """An agent that is there: its links, and what their coming and going means for the others."""

    __slots__ = ("_known_state",)
    sources: "tuple[Agent, ...]"

    def __init__(self, id_: str, limits: BrokerSettings, tool_filter: ToolFilter, broker: BrokerState) -> None:
        super().__init__(id_, limits, tool_filter, broker)
        self.tools: dict[ToolSide, None] = {}
        self.devices: dict[DeviceSide, None] = {}
        self.sources = ()
        self.followers: set[Agent] = set()
        self._known_state: object = None

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
        self.broker.journal.opened(tool, tool.peer)
        tool.greet(now)
        return tool

    def join_device(self, link: Link, now: float) -> DeviceSide | End:
        """Admit a device side, or say why not."""
        if len(self.devices) >= self.limits.max_devices:
            return End.TOO_MANY_DEVICES
        device = DeviceSide(self, link, now)
        self.devices[device] = None
        self.catalogue_for(device.peer.scope)
        if not device.peer.stateless:
            self.broker.journal.opened(device, device.peer)
        return device

    def tool_ended(self, tool: ToolSide, ended: Ended, now: float) -> None:
        """A tool side's link is gone: its calls end now; its tools stay listed for `offline_grace`."""
        del self.tools[tool]
        tool.ended(ended)
        self.registry.left(tool, ended, now)
        for agent in (self, *self.followers):
            agent.settle_lists(now)
        self.review(now)

    def device_ended(self, device: DeviceSide, now: float) -> None:
        """A device side's link is gone: nobody waits for its calls any more."""
        device.ended(now)
        del self.devices[device]
        self.tasks.left(device)

    # --- what is offered changes ---

    def listed(self, tool: ToolProgram, kind: Kind, now: float) -> None:
        """A tool side said what it has of one kind, at the end of its handshake or because it changed."""
        if kind is Kind.TOOLS:
            self.registry.listed(tool, now)
            self.renew_log_levels(now)
        elif tool.registration is not None and tool.registration.live is tool:
            tool.registration.offers = tool.offers
        self.registrations_changed(now)

    def registrations_changed(self, now: float) -> None:
        """Other tool sides serve, or other tools are served: bring everybody up to date."""
        for agent in (self, *self.followers):
            agent.renew(now)

    def renew(self, now: float) -> None:
        """Rebuild the catalogue; tell the devices only if they would see another list (docs/protocol.md, 11.3)."""
        old = self.catalogues
        wanted = {EVERYTHING} | {device.peer.scope for device in self.devices}
        self.catalogues = {scope: self.seen(scope) for scope in wanted}
        self.renewals += 1
        changed = {scope: seen.differs(old.get(scope, EMPTY)) for scope, seen in self.catalogues.items()}
        for device in list(self.devices):
            device.subscriptions.keep(lambda registration: reaches(self, registration), now)
            kinds = changed[device.peer.scope]
            if kinds:
                device.view.changed(kinds)
        self.settle_lists(now)
        self.tell(now)

    def settle_lists(self, now: float) -> None:
        """Go on with requests that have nothing to wait for any more."""
        for device in list(self.devices):
            device.view.settle(now)

    # --- what the journal is told ---

    def review(self, now: float) -> None:
        """Tell the journal of new states, of this agent and of those it serves."""
        for agent in (self, *self.followers):
            agent.tell(now)

    def tell(self, now: float) -> None:
        """Tell the journal if the agent's state is another one, unless it passes by itself or says nothing yet."""
        why = explain(self, now)
        if why.key != self._known_state and why.reason not in UNTOLD:
            self._known_state = why.key
            self.broker.journal.changed(self.id, why.reason, why.en)
