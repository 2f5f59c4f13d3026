"""All agents: who is let in, what is overdue, and what there is to tell of all of them."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from mcp_endpoint.broker.agent import Agent
from mcp_endpoint.broker.agent_state.agent_state import EVERYTHING
from mcp_endpoint.broker.broker_state import BrokerState
from mcp_endpoint.broker.device_side.device_side import DeviceSide
from mcp_endpoint.broker.link import Ended, Journal, Link, Role, Session
from mcp_endpoint.broker.offers.tool_filter import ToolFilter
from mcp_endpoint.broker.report import EndedLink, Report, Stamp, agent_report, ended_report
from mcp_endpoint.broker.timers import Timer, Timers
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.broker.tool_side.tool_side import ToolSide
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.language import Bilingual
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE

ENDED_KEPT = 200
"""How many ended links `/stats` remembers."""

REMEMBERED = 1000
"""Of how many agents without links it is known which tool side they had last."""


class ConnectionManager:
    """The broker: pairs tool sides and device sides by agent. Synchronous and without I/O; time is passed in."""

    def __init__(self, settings: Settings, journal: Journal, version: str) -> None:
        self.timers = Timers()
        self._settings = settings
        self._state = BrokerState(self.timers, journal, version)
        self._journal = journal
        self._agents: dict[str, Agent] = {}
        self._forgetting: dict[Agent, Timer] = {}
        """When agents without a link are let go."""
        self._last_registrations: dict[str, Registration] = {}
        self._ended: deque[EndedLink] = deque(maxlen=ENDED_KEPT)
        self._ends: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._providers: Mapping[str, Callable[[str], bool]] = {}
        self.wanted: Callable[[str, str | None], None] = lambda agent_id, provider: None
        """Told of every agent that a device comes for, and of the one tool side it wants if it does not want all.

        Servers that the broker opens itself may have to start.
        """
        self.pays: Callable[[str, float], None] = lambda agent_id, work: None
        """Told of seconds of work that were done for an agent, where no link of a door tells of them."""
        self.tool_connections = 0
        self.robot_connections = 0

    # --- links ---

    def join(self, role: Role, agent_id: str, link: Link, now: float) -> Session | End:
        """Let a link in for an agent, or say why not. The caller tells `ended` exactly once for a session."""
        agent = self._agent(agent_id)
        if role is Role.DEVICE:
            self.wanted(agent_id, link.peer.provider)
        if not agent.sources and self._sources(agent_id):
            self._connect_sources(agent)
            agent.renew(now)
        session: ToolSide | DeviceSide | End
        session = agent.join_tool(link, now) if role is Role.TOOL else agent.join_device(link, now)
        if isinstance(session, End):
            self.refused(session, now)
            return session
        if role is Role.TOOL:
            self.tool_connections += 1
        else:
            self.robot_connections += 1
        return session

    def _agent(self, agent_id: str) -> Agent:
        """The agent of that id; made, with what is remembered of it, if it has no link now."""
        agent = self._agents.get(agent_id)
        if agent is None:
            agent = self._agents[agent_id] = self._make(agent_id)
            self._last_registrations.pop(agent_id, None)
        return agent

    def _make(self, agent_id: str) -> Agent:
        settings = self._settings
        agent = Agent(agent_id, settings.limits(agent_id), ToolFilter(settings.agent(agent_id)), self._state)
        agent.cuts_results = agent.limits.max_result_bytes < settings.websocket.max_message_size
        agent.last_registration = self._last_registrations.get(agent_id)
        return agent

    def _sources(self, agent_id: str) -> tuple[str, ...]:
        """The ids of agents whose tool sides serve this one too: by its settings, and of servers opened here."""
        servers = (source for source, serves in self._providers.items() if serves(agent_id))
        return (*self._settings.sources(agent_id), *servers)

    def provide(self, providers: Mapping[str, Callable[[str], bool]], now: float) -> None:
        """Which servers the broker opens itself: the id of the agent that each is, and whether it serves another."""
        self._providers = providers
        self._reconnect(now)

    def tell(self, agent_id: str, frame: bytes) -> None:
        """Send a notification of the broker's own to the clients of an agent; the console listens to none."""
        agent = self._agents.get(agent_id)
        for device in agent.devices if agent is not None else ():
            if device.initialized and device.client.name != CONSOLE:
                device.link.send(frame)

    def agents_with_devices(self) -> list[str]:
        """The ids of agents that have a client now."""
        return [agent.id for agent in self._agents.values() if agent.devices]

    def troubled(self, agent_id: str, alias: str, trouble: Bilingual | None, now: float) -> None:
        """What keeps a server from serving that the broker opens itself for an agent; None: nothing any more."""
        troubles = self._state.troubles.setdefault(agent_id, {})
        if trouble is None:
            troubles.pop(alias, None)
        else:
            troubles[alias] = trouble
        if not troubles:
            del self._state.troubles[agent_id]
        if agent_id in self._agents:
            self._agents[agent_id].review(now)

    def _connect_sources(self, agent: Agent) -> None:
        """Let the tool sides of the agents named in `tools_from` serve this one; what serves those is not handed on."""
        before = agent.sources
        agent.sources = tuple(self._agent(source) for source in self._sources(agent.id))
        for source in agent.sources:
            source.followers.add(agent)
        for source in before:
            if source not in agent.sources:
                source.followers.discard(agent)
                self._let_go_if_idle(source)

    def reconfigure(self, settings: Settings, now: float) -> None:
        """Take over new settings: limits, choice of tools and sources of every agent. No link is dropped."""
        self._settings = settings
        for agent in list(self._agents.values()):
            agent.limits = settings.limits(agent.id)
            agent.cuts_results = agent.limits.max_result_bytes < settings.websocket.max_message_size
            agent.tool_filter = ToolFilter(settings.agent(agent.id))
        self._reconnect(now)

    def _reconnect(self, now: float) -> None:
        for agent in list(self._agents.values()):
            self._connect_sources(agent)
        for agent in self._agents.values():
            agent.renew(now)

    def ended(self, session: Session, link: Link, ended: Ended, now: float) -> None:
        """A link is gone."""
        assert isinstance(session, ToolSide | DeviceSide)
        if not link.peer.stateless:
            name, opened, peer = session.name, session.opened, link.peer
            self._ended.append(EndedLink(session.role, session.agent_id, name, peer.address, opened, now, ended))
            self._ends[ended.end.reason] += 1
            self._journal.ended(session, peer, ended, now - opened)
        agent = self._agents[session.agent_id]
        if isinstance(session, ToolSide):
            self.tool_connections -= 1
            agent.tool_ended(session, ended, now)
        else:
            self.robot_connections -= 1
            agent.device_ended(session, now)
        self._let_go(agent, now)

    def _let_go(self, agent: Agent, now: float) -> None:
        """Forget an agent of which nothing is left, now or when its last tool side is given up."""
        earlier = self._forgetting.pop(agent, None)
        if earlier is not None:
            earlier.cancel()
        if agent.idle:
            self._forget(agent)
        elif not agent.tools and not agent.devices:
            due = max(now + agent.limits.offline_grace, agent.tasks.kept_until)
            self._forgetting[agent] = self.timers.at(due, lambda now: self._let_go_if_idle(agent))

    def _let_go_if_idle(self, agent: Agent) -> None:
        if agent.idle and self._agents.get(agent.id) is agent:
            self._forget(agent)

    def _forget(self, agent: Agent) -> None:
        del self._agents[agent.id]
        waiting = self._forgetting.pop(agent, None)
        if waiting is not None:
            waiting.cancel()
        for source in agent.sources:
            source.followers.discard(agent)
            self._let_go_if_idle(source)
        if agent.last_registration is not None:
            self._last_registrations[agent.id] = agent.last_registration
            if len(self._last_registrations) > REMEMBERED:
                del self._last_registrations[next(iter(self._last_registrations))]

    def refused(self, end: End, now: float) -> None:
        """Count a peer that was not let in."""
        self._refused[end.reason] += 1
        if end is End.BAD_TOKEN:
            self._state.bad_tokens.add(now)

    def sweep(self, now: float) -> None:
        """End what is overdue; the app's timer calls this several times a second."""
        self.timers.sweep(now)

    # --- what there is to tell ---

    def counts(self) -> Report:
        """The counters that `/health` and `/stats` show to everybody."""
        return {
            "tool_connections": self.tool_connections,
            "robot_connections": self.robot_connections,
            "total_connections": self.tool_connections + self.robot_connections,
        }

    def counts_by_agent(self) -> dict[str, int]:
        """How many device sides each agent has; agents without one are left out."""
        return {agent.id: len(agent.devices) for agent in self._agents.values() if agent.devices}

    def _as_if_here(self, agent_id: str, now: float) -> Agent:
        """The agent of that id; if it has no link, as a device that came now would find it. Nothing of that is kept."""
        agent = self._agents.get(agent_id)
        if agent is None:
            agent = self._make(agent_id)
            agent.sources = tuple(self._agents.get(source) or self._make(source) for source in self._sources(agent_id))
            agent.catalogues.clear()  # `renew` would tell the journal
            agent.catalogue_for(EVERYTHING)
        return agent

    def report(self, now: float, stamp: Stamp, asked: Iterable[str] = ()) -> Report:
        """Per agent and per link what an operator wants to know, and the links that ended last.

        Agents are told of if they have a link or a tool side whose return is awaited, and if their ids are `asked` for.
        """
        agents = [one for one in self._agents.values() if one.tools or one.devices or one.registry.registrations]
        agents += [self._as_if_here(id_, now) for id_ in asked]
        return {
            "agents": {agent.id: agent_report(agent, now, stamp) for agent in agents},
            "ended": [ended_report(one, stamp) for one in reversed(self._ended)],
            "ended_by_reason": dict(self._ends),
            "refused_by_reason": dict(self._refused),
            "errors_by_reason": dict(self._state.errors),
            "notes_by_reason": dict(self._state.notes),
        }
