"""A tool side: its handshake with the broker, its tools, and the calls pending on it."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.catalogue import PAGE_BYTES, Seat, Tool
from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.side import Side
from mcp_endpoint.errors import End, Fault, Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.device import DeviceSide
    from mcp_endpoint.broker.timers import Timer

MAX_ID = 2**31 - 1
"""Ids towards a tool side stay below this: some tool programs read nothing larger (contract, section 4)."""
PAGE_TIMEOUT = 10.0
"""Seconds a tool side has to answer each page of its list."""
LIVENESS = 60.0
"""Seconds a tool side that let a call time out in silence has to be heard of again."""
MAX_SERVER_INFO = 16_384
"""Bytes of a `serverInfo` that is passed on; icons can make it long."""
MAX_INSTRUCTIONS = 8_000
"""Characters of a tool side's instructions that are passed on."""
REFRESH_DELAY = 0.1
"""Seconds in which several `list_changed` of one tool side become one refresh."""


class Call(Struct, gc=False, eq=False):
    """A device's request on its way to a tool side. It is pending on both until it has its one outcome."""

    device: "DeviceSide"
    id: bytes
    key: bytes
    name: str
    sent: float
    deadline: float
    progress_token: Raw | None = None
    is_tool_call: bool = True


class Asked(NamedTuple):
    """A request of the broker's own on its way; `answered` gets None when the deadline passes first."""

    answered: Callable[[wire.Envelope | None, float], None]
    timer: "Timer | None"


class ToolSide(Side):
    """One link of a tool program: greeted by the broker, then asked for its tools, then called."""

    __slots__ = (
        "_answers",
        "_last_id",
        "_listing",
        "_refresh",
        "_review",
        "_watch",
        "_watched_until",
        "doubted",
        "heard",
        "info",
        "instructions",
        "listed",
        "pending",
        "protocol_version",
        "seat",
        "server_info",
        "tools",
    )
    role = Role.TOOL

    def __init__(self, agent: "Agent", link: Link, now: float) -> None:
        super().__init__(agent, link, now)
        self.heard = now
        """When the last frame of MCP came from the program."""
        self.doubted = False
        """Whether a call timed out and nothing was heard since."""
        self.seat: Seat | None = None
        self.tools: tuple[Tool, ...] = ()
        self.pending: dict[int, Call] = {}
        self.listed = False
        """Whether its handshake is over, so that no list waits for it."""
        self.info: mcp.Implementation | None = None
        self.server_info: bytes | None = None
        self.instructions: str | None = None
        self.protocol_version = ""
        self._answers: dict[int, Asked] = {}
        self._last_id = 0
        self._listing = False
        self._refresh: Timer | None = None
        self._review: Timer | None = None
        self._watch: Timer | None = None
        self._watched_until = inf

    @property
    def name(self) -> str:
        """Its alias once it has one, else what is known of it."""
        if self.seat is not None:
            return self.seat.alias
        return self.link.peer.server_id or (self.info.name if self.info else "")

    @property
    def greeting(self) -> bool:
        """Whether a list should wait for it: it may still finish its handshake."""
        return not self.listed and not {Note.DEVICE_ON_TOOL_DOOR, Note.REFUSED_INITIALIZE}.intersection(self.notes)

    # --- the handshake ---

    def greet(self, now: float) -> None:
        """Begin the handshake. It has no deadline: a child process may still be downloading itself."""
        self._review = self.agent.timers.at(now + self.agent.limits.tools_wait, self.agent.review)
        self._initialize(mcp.NEWEST, now)

    def _initialize(self, revision: str, now: float) -> None:
        def answered(answer: wire.Envelope | None, now: float) -> None:
            result = wire.members(answer.result) if answer is not None else None
            if result is not None:
                self._initialized(result, now)
            elif revision != mcp.OLDEST:
                self._initialize(mcp.OLDEST, now)
            else:
                self.note(Note.REFUSED_INITIALIZE, now)
                self.agent.settle_lists(now)

        client = {"name": "mcp-endpoint", "version": self.agent.version}
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": client}
        self._ask("initialize", encode(params), answered, None)

    def _initialized(self, result: dict[str, Raw], now: float) -> None:
        self.protocol_version = mcp.text(result.get("protocolVersion"))
        raw = result.get("serverInfo", UNSET)
        self.info = mcp.read_implementation(raw)
        # Every `initialize` of a device carries these, within the smallest buffer among clients.
        self.server_info = bytes(raw) if raw is not UNSET and len(raw) <= MAX_SERVER_INFO else None
        self.instructions = mcp.text(result.get("instructions"), MAX_INSTRUCTIONS) or None
        self.link.send(wire.notification(mcp.INITIALIZED))
        if "tools" not in (wire.members(result.get("capabilities", UNSET)) or {}):
            # It promised no tools, so nobody waits for a list; if it has one all the same, it is taken.
            self.listed = True
            self.agent.settle_lists(now)
        self._list(now)

    def _list(self, now: float) -> None:
        """Ask for all pages of the tool list, within the agent's limits."""
        limits = self.agent.limits
        self._listing = True
        tools: dict[str, Tool] = {}
        size = pages = 0
        full = False

        def ask(cursor: str | None, now: float) -> None:
            params = UNSET if cursor is None else encode({"cursor": cursor})
            self._ask("tools/list", params, page, now + PAGE_TIMEOUT)

        def page(answer: wire.Envelope | None, now: float) -> None:
            nonlocal size, pages, full
            pages += 1
            result = mcp.read_shape(mcp.ListToolsResult, answer.result) if answer is not None else None
            if result is None:
                self._listing = False
                if self.seat is None:
                    if not self.listed:
                        self.note(Note.LIST_FAILED, now)
                    self._listed((), now)
                return
            for raw in result.tools:
                head = mcp.read_shape(mcp.ToolHead, raw)
                if head is None or not head.name or len(head.name) > 256 or len(raw) > PAGE_BYTES:
                    self.drop("bad_tool_definition")
                elif head.name in tools:
                    self.drop("duplicate_tool")
                elif len(tools) >= limits.max_tools or size + len(raw) > limits.max_list_bytes:
                    full = True
                else:
                    size += len(raw)
                    tools[head.name] = Tool(head.name, bytes(raw))
            if result.next_cursor is not None and pages < limits.max_pages and not full:
                ask(result.next_cursor, now)
                return
            if full or result.next_cursor is not None:
                self.note(Note.TOO_MANY_TOOLS, now)
            self._listing = False
            self._listed(tuple(tools.values()), now)

        ask(None, now)

    def _listed(self, tools: tuple[Tool, ...], now: float) -> None:
        self.listed = True
        self.tools = tools
        self.agent.tools_listed(self, now)

    # --- frames from the tool program ---

    def receive(self, frame: bytes, now: float) -> None:
        """Take one frame: an answer, a notification, a request, or a stray print, which is dropped and counted."""
        try:
            envelope = wire.read(frame)
        except ValueError:
            self._stray(now)
            return
        self.heard = now
        if envelope.method is not UNSET:
            if envelope.id is UNSET or (envelope.id == wire.NULL and envelope.method.startswith("notifications/")):
                self._notified(envelope.method, envelope, now)
            else:
                self._asked(envelope.method, bytes(envelope.id), now)
            return
        if envelope.result is UNSET and envelope.error is UNSET and envelope.id is UNSET:
            self._stray(now)  # a program that logs in JSON
            return
        if envelope.id is UNSET:
            self.drop("answer_without_id")
            return
        raw = bytes(envelope.id)
        number = int(raw) if raw.isdigit() and len(raw) <= 10 else 0
        call = self.pending.pop(number, None)
        if call is not None:
            call.device.answered(call, self, envelope, now)
            return
        asked = self._answers.pop(number, None)
        if asked is not None:
            if asked.timer is not None:
                asked.timer.cancel()
            asked.answered(envelope, now)
        else:
            self.drop("late_answer")

    def _stray(self, now: float) -> None:
        self.drop("not_json_rpc")
        self.note(Note.PRINTS_TO_STDOUT, now)

    def _notified(self, method: str, envelope: wire.Envelope, now: float) -> None:
        if method == mcp.PROGRESS:
            self._progress(envelope, now)
        elif method == mcp.TOOLS_CHANGED:
            # Before the handshake is over the list will be asked for anyway (one hub sends it first thing).
            if self.seat is not None and self._refresh is None:
                self._refresh = self.agent.timers.at(now + REFRESH_DELAY, self._refresh_now)
        else:
            self.drop("notification_not_routed")

    def _refresh_now(self, now: float) -> None:
        if self._listing:
            self._refresh = self.agent.timers.at(now + REFRESH_DELAY, self._refresh_now)
            return
        self._refresh = None
        self._list(now)

    def _progress(self, envelope: wire.Envelope, now: float) -> None:
        params = wire.members(envelope.params)
        raw = bytes(params["progressToken"]) if params and "progressToken" in params else b""
        call = self.pending.get(int(raw)) if raw.isdigit() and len(raw) <= 10 else None
        if params is None or call is None or call.progress_token is None:
            self.drop("progress_for_nothing_pending")
            return
        params["progressToken"] = call.progress_token
        link = call.device.link
        if link.call_timeout is not None:
            call.deadline = max(call.deadline, now + link.call_timeout)
        link.send(wire.notification(mcp.PROGRESS, encode(params)), call.key)

    def _asked(self, method: str, id_: bytes, now: float) -> None:
        """Answer a request of the tool program: no client capability is claimed, so only `ping` has an answer."""
        if wire.id_key(id_) is None:
            self.drop("bad_id")
        elif method == "ping":
            self.link.send(wire.result(id_, b"{}"))
        else:
            fault = Fault.DEVICE_ON_TOOL_DOOR if method == "initialize" else Fault.NO_SUCH_METHOD
            self.link.send(self.agent.failure(id_, fault, method=method[:100]))
            if fault is Fault.DEVICE_ON_TOOL_DOOR:
                self.note(Note.DEVICE_ON_TOOL_DOOR, now)
                self.agent.settle_lists(now)

    # --- requests to the tool program ---

    def _next_id(self) -> int:
        number = self._last_id % MAX_ID + 1
        while number in self.pending or number in self._answers:
            number = number % MAX_ID + 1
        self._last_id = number
        return number

    def _ask(
        self,
        method: str,
        params: bytes | UnsetType,
        answered: Callable[[wire.Envelope | None, float], None],
        deadline: float | None,
    ) -> None:
        """Send a request of the broker's own; `answered` gets None when the deadline passes first."""
        number = self._next_id()
        timer = None
        if deadline is not None:

            def expire(now: float) -> None:
                if self._answers.pop(number, None) is not None:
                    answered(None, now)

            timer = self.agent.timers.at(deadline, expire)
        self._answers[number] = Asked(answered, timer)
        self.link.send(wire.request(number, method, params))

    def call(self, call: Call, method: str, params: bytes | Raw | UnsetType) -> None:
        """Send a device's request on, under an id of this link."""
        number = self._next_id()
        self.pending[number] = call
        if call.deadline < self._watched_until:
            self._watch_until(call.deadline)
        if call.progress_token is not None:
            params = _with_progress_token(params, number)
        self.link.send(wire.request(number, method, params))

    def cancel(self, call: Call, reason: Raw | None = None) -> None:
        """Forget a pending call and tell the tool program so."""
        for number, pending in self.pending.items():
            if pending is call:
                del self.pending[number]
                params = {"requestId": number} | ({"reason": reason} if reason is not None else {})
                self.link.send(wire.one_line(wire.notification(mcp.CANCELLED, encode(params))))
                return

    def _watch_until(self, when: float) -> None:
        """Have overdue calls ended at `when`. One timer serves all calls of the link."""
        if self._watch is not None:
            self._watch.cancel()
        self._watched_until = when
        self._watch = self.agent.timers.at(when, self._end_overdue)

    def _end_overdue(self, now: float) -> None:
        self._watch, self._watched_until = None, inf
        overdue = [call for call in self.pending.values() if call.deadline <= now]
        for call in overdue:
            self.cancel(call)
            call.device.timed_out(call, self, now)
        if self.pending:
            self._watch_until(min(call.deadline for call in self.pending.values()))
        if not self.doubted and any(call.is_tool_call and call.sent >= self.heard for call in overdue):
            self._doubt(now)

    # --- whether it is alive ---

    def ping(self, now: float, within: float, answered: Callable[[bool, float], None]) -> None:
        """Ask the program itself, not only its bridge, for a sign of life; any answer to MCP's `ping` is one."""
        self._ask("ping", UNSET, lambda answer, now: answered(answer is not None, now), now + within)

    def probe(self, now: float, within: float, probed: Callable[[bool, float], None]) -> None:
        """Ask the program and its connection; a byte from either is a sign of life."""
        self.link.ping(now)
        self.ping(now, within, lambda answered, later: probed(answered or self.link.heard >= now, later))

    def _doubt(self, now: float) -> None:
        """A call timed out in silence: a bridge whose child died would go on like that for ever."""
        self.doubted = True
        self.agent.review(now)

        def answered(alive: bool, later: float) -> None:
            self.doubted = False
            if alive or self.heard > now:
                self.agent.review(later)
            elif self.pending:
                self._doubt(later)
            else:
                self.link.close(End.NOT_ANSWERING)

        self.ping(now, LIVENESS, answered)

    # --- the end ---

    def ended(self, ended: Ended, now: float) -> None:
        """The link is gone: its calls end with errors at once, its seat stays for a while."""
        self.agent.tool_ended(self, ended, now)

    def forget(self) -> list[Call]:
        """Let go of all that is pending; the calls are for the agent to answer."""
        calls = list(self.pending.values())
        self.pending.clear()
        asked = [one.timer for one in self._answers.values()]
        self._answers.clear()
        for timer in (self._watch, self._refresh, self._review, *asked):
            if timer is not None:
                timer.cancel()
        return calls


def _with_progress_token(params: bytes | Raw | UnsetType, token: int) -> bytes:
    """The params with the device's progress token replaced by one that is unique on the tool side's link."""
    members = wire.members(params)
    meta = wire.members(members["_meta"]) if members else None
    assert members is not None, "a call has a progress token only if its params held one"
    assert meta is not None, "a call has a progress token only if its _meta held one"
    meta["progressToken"] = Raw(b"%d" % token)
    members["_meta"] = Raw(encode(meta))
    return encode(members)
