"""A tool program as who asks it something knows it, and its registration with its agent, which outlives its link."""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.call import AgentWithDevices, Call, Caller
from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.offers.offer import Offer, Offers
from mcp_endpoint.broker.offers.tool_filter import Unmatched
from mcp_endpoint.broker.side import Side
from mcp_endpoint.broker.timers import Timer
from mcp_endpoint.broker.tool_side.list_fetch import ListFetch
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.mcp import Kind

MAX_ID = 2**31 - 1
"""Ids towards a tool side stay below this: some tool programs read nothing larger (docs/protocol.md, section 4.2)."""
GIVEN_UP_KEPT = 256
LIVENESS = 60.0
"""Seconds a tool side that let a call time out in silence has to be heard of again."""
RETURNS_KEPT = 100
NAMES_KEPT = 4096
"""Names of tools that were listed under a registration, before those of earlier lists are forgotten."""

Answered = Callable[[wire.Envelope | None, float], None]
"""Gets the answer to a request of the broker's own, or None when its deadline passes first."""


class AgentOfToolSide(AgentWithDevices, Protocol):
    """An agent, as its tool sides know it."""

    def settle_lists(self, now: float) -> None:
        """Go on with requests that have nothing to wait for any more."""

    def listed(self, tool: "ToolProgram", kind: Kind, now: float) -> None:
        """A tool side said what it has of one kind, at the end of its handshake or because it changed."""


class RunningTask(Protocol):
    """A call that a tool side goes on with after its answer, as its registration knows it."""

    def status_told(self, tool: "ToolProgram", params: dict[str, Raw]) -> bool:
        """The tool side says how it is; whether it is that one's to say."""

    def moved(self, tool: "ToolProgram", registration: "Registration") -> None:
        """The tool side has another registration now: what began on its link goes with it."""

    def forget(self) -> None:
        """Nobody can ask for it any more."""


class Registration:
    """What an agent knows a tool side by: it outlives the link, so that a program that reconnects finds its alias.

    `live` serves; `standby` are programs that look just like it (same identity, same tool names), newest first.
    """

    __slots__ = (
        "_deadline",
        "alias",
        "begun",
        "gone",
        "gone_at",
        "identity",
        "live",
        "offers",
        "own_names",
        "owner",
        "returns",
        "standby",
        "subscribers",
        "tasks",
        "withdrawn",
    )

    def __init__(self, owner: str, identity: str, alias: str) -> None:
        self.owner = owner
        """The agent whose token it came with."""
        self.identity = identity
        self.alias = alias
        self.offers: Offers = {}
        self.own_names: dict[str, str] = {}
        """Names that tools had in any list, and what their program calls them, if that is told (`Peer.own_names`)."""
        self.withdrawn = False
        """Whether its agent is to have its tool side no longer."""
        self.live: ToolProgram | None = None
        self.standby: list[ToolProgram] = []
        self.subscribers: dict[str, dict[Caller, str]] = {}
        """Own URI of a resource → who wants to hear of its changes, and the URI they know it by."""
        self.tasks: dict[str, RunningTask] = {}
        """By the tool side's own ids: calls that it goes on with, or went on with."""
        self.begun: dict[AgentWithDevices, int] = {}
        """How many of them are not over, for each agent that has any."""
        self.gone: Ended | None = None
        """How the link that served last ended."""
        self.gone_at = 0.0
        self.returns: deque[float] = deque(maxlen=RETURNS_KEPT)
        """When it came back, monotonic seconds."""
        self._deadline: Timer | None = None

    @property
    def lists_all(self) -> bool:
        """Whether what its tool side lists is all that may be called; so of servers that the broker opens itself."""
        return self.live is not None and self.live.peer.own_names is not None

    def listed_names(self) -> Mapping[str, str]:
        """The names in that list, and what the program calls these tools; none where it is not all."""
        own_names = None if self.live is None else self.live.peer.own_names
        return {} if own_names is None else own_names()

    def listed(self, offers: Offers) -> None:
        """The tool side that serves under it said what it has."""
        self.offers = offers
        if self.lists_all:
            known = self.own_names if len(self.own_names) < NAMES_KEPT else {}
            self.own_names = {**known, **self.listed_names()}

    def count_begun(self, agent: AgentWithDevices, more: int) -> None:
        """So many more of an agent's tasks here are not over."""
        count = self.begun.get(agent, 0) + more
        if count:
            self.begun[agent] = count
        else:
            del self.begun[agent]

    def wait_until(self, deadline: Timer | None) -> None:
        """Keep it while it is away until that deadline, and no other; None: nobody is waited for."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline


class ToolProgram(Side):
    """What is known of a tool program, and what it is asked and answers: calls, and requests of the broker's own."""

    __slots__ = (
        "_answers",
        "_given_up",
        "_last_id",
        "_watch",
        "_watched_until",
        "begun",
        "capabilities",
        "doubted",
        "heard",
        "info",
        "instructions",
        "lists",
        "log_level",
        "offers",
        "pending",
        "protocol_version",
        "registration",
        "server_info",
        "unmatched",
    )
    role = Role.TOOL
    agent: AgentOfToolSide

    def __init__(self, agent: AgentOfToolSide, link: Link, now: float) -> None:
        super().__init__(agent, link, now)
        self.heard = now
        """When the last frame of MCP came from the program."""
        self.doubted = False
        """Whether a call timed out and nothing was heard since."""
        self.registration: Registration | None = None
        self.offers: Offers = {}
        self.unmatched = Unmatched()
        """What its entry in the servers file says of tools that it does not have."""
        self.lists = {kind: ListFetch(self, kind) for kind in Kind}
        self.capabilities: frozenset[str] = frozenset()
        """What it said in its handshake that it can do."""
        self.log_level: int | None = None
        """From which of `mcp.LEVELS` on it was asked to log."""
        self.info: mcp.Implementation | None = None
        self.server_info: bytes | None = None
        self.instructions: str | None = None
        self.protocol_version = ""
        self.pending: dict[int, Call] = {}
        self.begun: dict[int, Call] = {}
        """Calls that were answered with a task, whose progress somebody wants to hear of, by the ids they had."""
        self._answers: dict[int, tuple[Answered, Timer | None]] = {}
        """Requests of the broker's own, and their deadlines."""
        self._given_up: dict[int, str] = {}
        """Whose calls were cancelled lately: a late answer costs as much as one in time, and they pay for it."""
        self._last_id = 0
        self._watch: Timer | None = None
        self._watched_until = inf

    @property
    def name(self) -> str:
        """Its alias once it has one, else what is known of it."""
        if self.registration is not None:
            return self.registration.alias
        return self.peer.server_id or (self.info.name if self.info else "")

    # --- its lists ---

    def awaited(self, kind: Kind) -> bool:
        """Whether a list of that kind should wait for it: it may still finish its handshake."""
        hopeless = {Note.DEVICE_ON_TOOL_DOOR, Note.REFUSED_INITIALIZE}.intersection(self.notes)
        return self.peer.awaited and not self.lists[kind].settled and not hopeless

    def listed(self, kind: Kind, offers: tuple[Offer, ...] | None, now: float) -> None:
        """A list came whole, or will not come (None: what it was is what there is): the agent shows what there is."""
        self.offers = {**self.offers, kind: self.offers.get(kind, ()) if offers is None else offers}
        self.agent.listed(self, kind, now)

    # --- requests to it ---

    @property
    def awaited_ids(self) -> list[int]:
        """The ids of answers that are waited for."""
        return [*self.pending, *self._answers]

    def _next_id(self) -> int:
        number = self._last_id % MAX_ID + 1
        while number in self.pending or number in self._answers:
            number = number % MAX_ID + 1
        self._last_id = number
        return number

    def ask(self, method: str, params: bytes | UnsetType, answered: Answered, deadline: float | None) -> None:
        """Send a request of the broker's own; `answered` gets None when the deadline passes first."""
        number = self._next_id()
        timer = None
        if deadline is not None:

            def expire(now: float) -> None:
                if self._answers.pop(number, None) is not None:
                    answered(None, now)

            timer = self.broker.timers.at(deadline, expire)
        self._answers[number] = answered, timer
        self.link.send(wire.request(number, method, params))

    def call(self, call: Call, method: str, params: bytes | Raw | UnsetType) -> None:
        """Send a device's request on, under an id of this link."""
        number = self._next_id()
        self.pending[number] = call
        if call.deadline < self._watched_until:
            self._watch_until(call.deadline)
        if call.progress_token is not None:
            params = _with_progress_token(params, number)
            call.number = number
        self.link.send(wire.request(number, method, params))

    def cancel(self, call: Call, reason: Raw | None = None) -> None:
        """Forget a pending call and tell the tool program so."""
        for number, pending in self.pending.items():
            if pending is call:
                del self.pending[number]
                self._given_up[number] = call.caller.agent_id
                if len(self._given_up) > GIVEN_UP_KEPT:
                    del self._given_up[next(iter(self._given_up))]
                params = {"requestId": number} | ({"reason": reason} if reason is not None else {})
                self.link.send(wire.one_line(wire.notification(mcp.CANCELLED, encode(params))))
                return

    def overdue(self, number: int, now: float) -> None:
        """The link has a limit of its own for a call, which is over before the caller's is."""
        call = self.pending.get(number)
        if call is not None:
            call.deadline = now
            self._watch_until(now)

    def _watch_until(self, when: float) -> None:
        """Have overdue calls ended at `when`. One timer serves all calls of the link."""
        if self._watch is not None:
            self._watch.cancel()
        self._watched_until = when
        self._watch = self.broker.timers.at(when, self._end_overdue)

    def _end_overdue(self, now: float) -> None:
        self._watch, self._watched_until = None, inf
        overdue = [call for call in self.pending.values() if call.deadline <= now]
        for call in overdue:
            self.cancel(call)
            call.caller.timed_out(call, now)
        if self.pending:
            self._watch_until(min(call.deadline for call in self.pending.values()))
        if not self.doubted and any(call.is_tool_call and call.sent >= self.heard for call in overdue):
            self._doubt(now)

    # --- its frames ---

    def receive(self, frame: bytes, now: float) -> str | None:
        """Take one frame. Answers end here, where their requests began; the rest is for who knows what it may say."""
        try:
            envelope = wire.read(frame)
        except ValueError:
            return self.unreadable(frame, now)
        self.heard = now
        if envelope.method is not UNSET:
            if envelope.id is UNSET or (envelope.id == wire.NULL and envelope.method.startswith("notifications/")):
                return self.notified(envelope.method, envelope, now)
            self.requested(envelope.method, bytes(envelope.id), envelope.params, now)
            return None
        if envelope.result is UNSET and envelope.error is UNSET and envelope.id is UNSET:
            return self.unreadable(frame, now)  # a program that logs in JSON, or a piece of a frame
        raw = b"" if envelope.id is UNSET else bytes(envelope.id)
        number = int(raw) if raw.isdigit() and len(raw) <= 10 else self.meant(raw, envelope.error, now)
        if not number and envelope.id is UNSET:
            self.drop("answer_without_id")
            return None
        call = self.pending.pop(number, None)
        if call is not None:
            call.caller.answered(call, envelope, now)
            return call.caller.agent_id
        answer = self._answers.pop(number, None)
        if answer is not None:
            answered, timer = answer
            if timer is not None:
                timer.cancel()
            answered(envelope, now)
        else:
            self.drop("late_answer")
        return self._given_up.pop(number, None)

    @abstractmethod
    def unreadable(self, frame: bytes, now: float) -> str | None:
        """Take a frame that cannot be read."""

    @abstractmethod
    def meant(self, raw: bytes, error: Raw | UnsetType, now: float) -> int:
        """Which of our ids an answer means that has none of them as we spelled it; 0 where that is not clear."""

    @abstractmethod
    def notified(self, method: str, envelope: wire.Envelope, now: float) -> str | None:
        """Take a notification; the agent that it is for, where it is for one that asked."""

    @abstractmethod
    def requested(self, method: str, id_: bytes, raw: Raw | UnsetType, now: float) -> None:
        """Take a request of the program."""

    # --- whether it is alive ---

    def ping(self, now: float, within: float, answered: Callable[[bool, float], None]) -> None:
        """Ask the program itself, not only its bridge, for a sign of life; any answer to MCP's `ping` is one."""
        self.ask("ping", UNSET, lambda answer, now: answered(answer is not None, now), now + within)

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

    def ended(self, ended: Ended) -> None:
        """Nothing more comes from the program: its calls end with errors at once."""
        calls = list(self.pending.values())
        self.pending.clear()
        timers = [timer for _, timer in self._answers.values()]
        self._answers.clear()
        for timer in (self._watch, *timers):
            if timer is not None:
                timer.cancel()
        for fetch in self.lists.values():
            fetch.forget()
        for call in calls:
            call.caller.tool_lost(call, ended)


def _with_progress_token(params: bytes | Raw | UnsetType, token: int) -> bytes:
    """The params with the device's progress token replaced by one that is unique on the tool side's link."""
    members = wire.members(params)
    meta = wire.members(members["_meta"]) if members else None
    assert members is not None, "a call has a progress token only if its params held one"
    assert meta is not None, "a call has a progress token only if its _meta held one"
    meta["progressToken"] = Raw(b"%d" % token)
    members["_meta"] = Raw(encode(meta))
    return encode(members)
