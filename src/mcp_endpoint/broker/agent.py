"""One agent: its tool sides, its device sides, and what goes where."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.catalogue import EMPTY, Catalogue, Entry, Seat
from mcp_endpoint.broker.choice import Choice
from mcp_endpoint.broker.device import DeviceSide
from mcp_endpoint.broker.link import Ended, Journal, Link
from mcp_endpoint.broker.seating import Seating
from mcp_endpoint.broker.timers import Timers
from mcp_endpoint.broker.tool import ToolSide
from mcp_endpoint.broker.why import State, Why, explain, explain_seat
from mcp_endpoint.errors import MESSAGES, End, Fault
from mcp_endpoint.settings import BrokerSettings
from mcp_endpoint.wire.envelope import failure

Facts = dict[str, object]
LATELY = 600.0
"""Seconds for which a refused token is worth a word."""


UNTOLD = {State.STARTING.name.lower(), State.NEVER.name.lower()}


class BadTokens:
    """When tokens were refused lately. They name no agent, so every agent without tools hears of their number."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=10_000)

    def add(self, now: float) -> None:
        """One more was refused."""
        self._times.append(now)

    def lately(self, now: float) -> int:
        """How many there were in the last ten minutes."""
        while self._times and now - self._times[0] > LATELY:
            self._times.popleft()
        return len(self._times)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all agents of one broker share."""

    timers: Timers
    journal: Journal
    version: str
    bad_tokens: BadTokens = field(default_factory=BadTokens)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Numbers for links."""


class Agent:
    """One Xiaozhi assistant: every tool side and every device side that came with its token.

    Tool sides of its `sources` (other agents, by the settings) serve it too; they stay theirs.
    """

    __slots__ = (
        "_known_state",
        "bad_tokens",
        "catalogue",
        "choice",
        "devices",
        "followers",
        "id",
        "in_flight",
        "journal",
        "last_seat",
        "limits",
        "numbers",
        "seating",
        "sources",
        "timers",
        "tools",
        "version",
    )

    def __init__(self, id_: str, limits: BrokerSettings, choice: Choice, shared: Surroundings) -> None:
        self.id = id_
        self.limits = limits
        self.choice = choice
        self.timers = shared.timers
        self.journal = shared.journal
        self.version = shared.version
        self.bad_tokens = shared.bad_tokens
        self.numbers = shared.numbers
        self.tools: dict[ToolSide, None] = {}
        self.devices: dict[DeviceSide, None] = {}
        self.sources: tuple[Agent, ...] = ()
        self.followers: set[Agent] = set()
        """Agents that have this one among their sources."""
        self.catalogue = EMPTY
        self.in_flight = 0
        self.seating = Seating(self)
        self.last_seat: Seat | None = None
        """The place that was given up last: what there is to say about an agent without any."""
        self._known_state: object = None

    @property
    def idle(self) -> bool:
        """Whether nothing is left of it: no link, no tool side whose return is awaited, nobody it serves."""
        return not (self.tools or self.devices or self.seating.seats or self.followers)

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
        if not link.peer.brief:
            self.journal.opened(device, link.peer)
        return device

    def tool_ended(self, tool: ToolSide, ended: Ended, now: float) -> None:
        """A tool side's link is gone: its calls end now; its tools stay listed for `offline_grace`."""
        del self.tools[tool]
        self.fail_pending(tool, ended)
        self.seating.left(tool, ended, now)
        for agent in (self, *self.followers):
            agent.settle_lists(now)
        self.review(now)

    def device_ended(self, device: DeviceSide) -> None:
        """A device side's link is gone."""
        del self.devices[device]

    def fail_pending(self, tool: ToolSide, ended: Ended) -> None:
        """End all that is pending on a tool side whose link has ended."""
        for call in tool.forget():
            call.device.tool_lost(call, tool, ended)

    # --- the catalogue ---

    def tools_listed(self, tool: ToolSide, now: float) -> None:
        """A tool side said what it has, at the end of its handshake or because it changed."""
        self.seating.listed(tool, now)
        self.seats_changed(now)

    def seats_changed(self, now: float) -> None:
        """Other tool sides serve, or other tools are served: bring everybody up to date."""
        for agent in (self, *self.followers):
            agent.renew(now)

    def renew(self, now: float) -> None:
        """Rebuild the catalogue; tell the devices only if they would see another list (routing page)."""
        old, self.catalogue = self.catalogue, Catalogue(self.seats(), self.choice.publish)
        if not old.same_tools(self.catalogue):
            for device in list(self.devices):
                device.showing.changed(self.catalogue)
        self.settle_lists(now)
        self.tell(now)

    def seats(self) -> Iterator[Seat]:
        """The places of all tool sides that serve this agent, its own first."""
        return chain(self.seating.seats, *(source.seating.seats for source in self.sources))

    def all_tools(self) -> Iterator[ToolSide]:
        """Every tool link that serves this agent, or may once it has finished its handshake."""
        return chain(self.tools, *(source.tools for source in self.sources))

    def seats_away(self) -> list[Seat]:
        """The places whose tool sides are away for now."""
        return [seat for seat in self.seats() if seat.live is None]

    def live_tools(self) -> list[ToolSide]:
        """The tool sides that serve now, in the order of their seats."""
        return [seat.live for seat in self.seats() if seat.live is not None]

    def only_tool_side(self) -> ToolSide | None:
        """The agent's tool side if there is just one: it gets what the broker has no route for."""
        live = self.live_tools()
        return live[0] if len(live) == 1 else None

    def successor(self, entry: Entry) -> ToolSide | None:
        """The same program in another place: a session may know it by a place that was given up meanwhile."""
        seats = list(self.seats())
        if entry.seat in seats:
            return None
        heirs = (seat for seat in seats if seat.identity == entry.seat.identity and entry.name in seat.names())
        return next((seat.live for seat in heirs if seat.live is not None), None)

    # --- lists that wait ---

    def list_waits_until(self, now: float, wait: float, *, live_only: bool) -> float:
        """Until when a list asked for now should wait; `now` or earlier if it can be answered at once.

        It waits, `wait` seconds at most, while nobody is there, and while a tool side is in the first `tools_wait`
        seconds of its handshake (contract, section 6). Tools of one that is away are an answer, unless `live_only`.
        """
        somebody = bool(self.live_tools()) or (not live_only and bool(self.catalogue.definitions))
        until = now if somebody else now + wait
        for tool in self.all_tools():
            if tool.greeting:
                until = max(until, min(now + wait, tool.opened + self.limits.tools_wait))
        return until

    def settle_lists(self, now: float) -> None:
        """Answer the lists that have nothing to wait for any more."""
        for device in list(self.devices):
            device.showing.settle(now)

    # --- answers of the broker's own ---

    def introduction(self, revision: str) -> bytes:
        """The result of a device's `initialize`, in the words of the only tool side if there is just one."""
        live = self.live_tools()
        server: object = {"name": "mcp-endpoint", "version": self.version}
        if len(live) == 1 and live[0].server_info is not None:
            server = Raw(live[0].server_info)
        told = [(tool.name, tool.instructions) for tool in live if tool.instructions]
        answer = {"protocolVersion": revision, "capabilities": {"tools": {"listChanged": True}}, "serverInfo": server}
        if len(live) == 1 and told:
            answer["instructions"] = told[0][1]
        elif told:
            answer["instructions"] = "\n\n".join(f"# {name}\n{text}" for name, text in told)
        return encode(answer)

    def failure(self, id_: bytes, fault: Fault, **facts: object) -> bytes:
        """An error frame whose `data` says what happened, since when, and what to do (contract, section 4)."""
        details = fault.sentence(self.limits.language, **facts)
        data: Facts = {"agent_id": self.id, "details": details, "reason": fault.reason}
        return failure(id_, fault.code, MESSAGES[fault.code], data)

    def offline(self, seat: Seat, now: float) -> tuple[Fault, Facts]:
        """Why a tool that is still listed cannot be called."""
        return Fault.TOOL_SIDE_OFFLINE, {"why": explain_seat(seat, now).sentence(self.limits.language)}

    def nobody(self, now: float) -> tuple[Fault, Facts]:
        """Why there is no tool to call at all."""
        facts: Facts = {"why": self.why(now).sentence(self.limits.language)}
        if any(tool.seat is None for tool in self.all_tools()):
            return Fault.TOOL_SIDE_STARTING, facts
        return Fault.TOOL_SIDE_OFFLINE if self.seats_away() else Fault.NEVER_CONNECTED, facts

    # --- why it is as it is ---

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
