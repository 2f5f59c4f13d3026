"""One agent: its tool sides, its device sides, and what goes where."""

from dataclasses import dataclass

from msgspec import Raw
from msgspec.json import encode

from mcp_endpoint.broker.catalogue import EMPTY, Catalogue, Entry, Seat, Tool, slug, tail
from mcp_endpoint.broker.device import DeviceSide
from mcp_endpoint.broker.link import Ended, Journal, Link
from mcp_endpoint.broker.timers import Timers
from mcp_endpoint.broker.tool import ToolSide
from mcp_endpoint.errors import MESSAGES, End, Fault
from mcp_endpoint.settings import BrokerSettings
from mcp_endpoint.wire.envelope import failure

Facts = dict[str, object]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all agents of one broker share: limits, deadlines, the journal, and the broker's version."""

    limits: BrokerSettings
    timers: Timers
    journal: Journal
    version: str


class Agent:
    """One Xiaozhi assistant: every tool side and every device side that came with its token."""

    __slots__ = (
        "_seats",
        "catalogue",
        "devices",
        "id",
        "in_flight",
        "journal",
        "limits",
        "timers",
        "tools",
        "version",
    )

    def __init__(self, id_: str, shared: Surroundings) -> None:
        self.id = id_
        self.limits = shared.limits
        self.timers = shared.timers
        self.journal = shared.journal
        self.version = shared.version
        self.tools: dict[ToolSide, None] = {}
        self.devices: dict[DeviceSide, None] = {}
        self.catalogue = EMPTY
        self.in_flight = 0
        self._seats: list[Seat] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is left of it: no link, and no tool side whose return is awaited."""
        return not (self.tools or self.devices or self._seats)

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
        self.journal.opened(device, link.peer)
        return device

    def tool_ended(self, tool: ToolSide, ended: Ended, now: float) -> None:
        """A tool side's link is gone: its calls end now; its tools stay listed for `offline_grace`."""
        del self.tools[tool]
        seat = tool.seat
        # A link that was replaced has lost its seat to the newer one, and takes nothing with it.
        if seat is not None:
            seat.live, seat.gone, seat.gone_at = None, ended.end, now
            self.timers.at(now + self.limits.offline_grace, lambda _: self._give_up(seat, now))
        self._fail_pending(tool, ended)
        self.settle_lists(now)

    def device_ended(self, device: DeviceSide) -> None:
        """A device side's link is gone."""
        del self.devices[device]

    def _fail_pending(self, tool: ToolSide, ended: Ended) -> None:
        for call in tool.forget():
            call.device.tool_lost(call, tool, ended)

    # --- the catalogue ---

    def tools_listed(self, tool: ToolSide, tools: tuple[Tool, ...], now: float) -> None:
        """A tool side said what it has, at the end of its handshake or because it changed."""
        if tool.seat is None:
            self._take_seat(tool, tools)
        assert tool.seat is not None
        tool.seat.tools = tools
        self._renew_catalogue()
        self.settle_lists(now)

    def _take_seat(self, tool: ToolSide, tools: tuple[Tool, ...]) -> None:
        """Find the tool side's place: the one it had before, that of its older self, or a new one."""
        assert tool.info is not None, "tools are listed after the handshake"
        identity = tool.link.peer.server_id or tool.info.name
        names = frozenset(tool.name for tool in tools)
        alike = [seat for seat in self._seats if seat.identity == identity]
        seat = next((seat for seat in alike if seat.names() == names), None)
        seat = seat or next((seat for seat in alike if seat.live is None), None)
        if seat is None:
            seat = Seat(identity, self._free_alias(identity, names))
            self._seats.append(seat)
        elder, seat.live, tool.seat = seat.live, tool, seat
        self._bound_seats()
        if elder is not None:
            elder.seat = None
            elder.link.close(End.REPLACED)
            self._fail_pending(elder, Ended(End.REPLACED, End.REPLACED.code))

    def _free_alias(self, identity: str, names: frozenset[str]) -> str:
        alias = slug(identity)
        if any(seat.alias == alias for seat in self._seats):
            alias = f"{alias}_{tail(identity, *sorted(names))}"
        return alias

    def _bound_seats(self) -> None:
        """A program that comes back under ever new names must not fill the memory with places for its old ones."""
        surplus = max(len(self._seats) - self.limits.max_tool_sides, 0)
        for seat in sorted(self.seats_away(), key=lambda seat: seat.gone_at)[:surplus]:
            self._seats.remove(seat)

    def _give_up(self, seat: Seat, gone_at: float) -> None:
        if seat.live is None and seat.gone_at == gone_at and seat in self._seats:
            self._seats.remove(seat)
            self._renew_catalogue()

    def _renew_catalogue(self) -> None:
        """Rebuild the catalogue; tell the devices only if they would see another list (routing page)."""
        old, self.catalogue = self.catalogue, Catalogue(self._seats)
        if not old.same_tools(self.catalogue):
            for device in list(self.devices):
                device.catalogue_changed(self.catalogue)

    def successor(self, entry: Entry) -> ToolSide | None:
        """The same program in another place: a session may know it by a place that was given up meanwhile."""
        if entry.seat in self._seats:
            return None
        heirs = (seat for seat in self._seats if seat.identity == entry.seat.identity and entry.name in seat.names())
        return next((seat.live for seat in heirs if seat.live is not None), None)

    def seats_away(self) -> list[Seat]:
        """The places whose tool sides are away for now."""
        return [seat for seat in self._seats if seat.live is None]

    def live_tools(self) -> list[ToolSide]:
        """The tool sides that are connected and have finished their handshake, in the order of their seats."""
        return [seat.live for seat in self._seats if seat.live is not None]

    def only_tool_side(self) -> ToolSide | None:
        """The agent's tool side if there is just one: it gets what the broker has no route for."""
        live = self.live_tools()
        return live[0] if len(live) == 1 else None

    # --- lists that wait ---

    def list_waits_until(self, now: float, wait: float, *, live_only: bool) -> float:
        """Until when a list asked for now should wait; `now` or earlier if it can be answered at once.

        It waits, `wait` seconds at most, while nobody is there, and while a tool side is in the first `tools_wait`
        seconds of its handshake (contract, section 6). Tools of one that is away are an answer, unless `live_only`.
        """
        somebody = any(seat.live for seat in self._seats) or (not live_only and bool(self.catalogue.definitions))
        until = now if somebody else now + wait
        for tool in self.tools:
            if tool.greeting:
                until = max(until, min(now + wait, tool.opened + self.limits.tools_wait))
        return until

    def settle_lists(self, now: float) -> None:
        """Answer the lists that have nothing to wait for any more."""
        for device in list(self.devices):
            device.settle_lists(now)

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
        language = self.limits.language
        ago = duration(now - seat.gone_at, language)
        return Fault.TOOL_SIDE_OFFLINE, {"tool_side": seat.alias, "ago": ago, "why": seat.gone.words(language)}

    def nobody(self, now: float) -> tuple[Fault, Facts]:
        """Why there is no tool to call at all."""
        greeting = next((tool for tool in self.tools if tool.greeting), None)
        if greeting is not None:
            return Fault.TOOL_SIDE_STARTING, {"seconds": round(now - greeting.opened)}
        if self._seats:
            return self.offline(max(self._seats, key=lambda seat: seat.gone_at), now)
        return Fault.NEVER_CONNECTED, {}


def duration(seconds: float, language: str) -> str:
    """A length of time as a person says it: "12 min", "12 分钟"."""
    for size, zh, en in ((3600, "小时", "h"), (60, "分钟", "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {zh if language == 'zh' else en}"
    return f"{max(seconds, 1):.0f} {'秒' if language == 'zh' else 's'}"
