"""A tool side: its handshake with the broker, its tools, and the calls pending on it."""

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.call import Asked, Call
from mcp_endpoint.broker.frame_repair import Deliver, Mending, is_echo, meant
from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.list_fetch import ListFetch
from mcp_endpoint.broker.log_levels import listeners
from mcp_endpoint.broker.offers.offer import Offer, Offers
from mcp_endpoint.broker.offers.tool_filter import Unmatched
from mcp_endpoint.broker.registration import Registration
from mcp_endpoint.broker.reverse_requests import MOST_ASKED, refuse_to_ask, whom_to_ask
from mcp_endpoint.broker.side import Side
from mcp_endpoint.broker.subscriptions import subscribers
from mcp_endpoint.broker.tasks import status_told
from mcp_endpoint.errors import End, Fault, Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.definitions.flaws import Remark
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.repair.ids import respelled

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.device_side import DeviceSide
    from mcp_endpoint.broker.tasks import Task
    from mcp_endpoint.broker.timers import Timer

MAX_ID = 2**31 - 1
"""Ids towards a tool side stay below this: some tool programs read nothing larger."""
GIVEN_UP_KEPT = 256
LIVENESS = 60.0
"""Seconds a tool side that let a call time out in silence has to be heard of again."""
MAX_SERVER_INFO = 16_384
"""Bytes of a `serverInfo` that is passed on; icons can make it long."""
MAX_INSTRUCTIONS = 8_000
"""Characters of a tool side's instructions that are passed on."""


class ToolSide(Side):
    """One link of a tool program: greeted by the broker, then asked for its tools, then called."""

    __slots__ = (
        "_answers",
        "_given_up",
        "_last_id",
        "_mending",
        "_review",
        "_watch",
        "_watched_until",
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
        "reverse_requests",
        "server_info",
        "tasks",
        "unmatched",
    )
    role = Role.TOOL

    def __init__(self, agent: "Agent", link: Link, now: float) -> None:
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
        self.pending: dict[int, Call] = {}
        self.reverse_requests: dict[bytes, tuple[DeviceSide, int]] = {}
        """Its requests that wait for a client's answer, by the keys of their ids: whom it asks, and their ids there."""
        self.tasks: dict[int, Task] = {}
        """Those whose progress somebody wants to hear of, by the ids of the calls that began them."""
        self.info: mcp.Implementation | None = None
        self.server_info: bytes | None = None
        self.instructions: str | None = None
        self.protocol_version = ""
        self._answers: dict[int, Asked] = {}
        self._given_up: dict[int, str] = {}
        """Whose calls were cancelled lately: a late answer costs as much as one in time, and they pay for it."""
        self._last_id = 0
        self._mending: Mending | None = None
        self._review: Timer | None = None
        self._watch: Timer | None = None
        self._watched_until = inf

    @property
    def name(self) -> str:
        """Its alias once it has one, else what is known of it."""
        if self.registration is not None:
            return self.registration.alias
        return self.link.peer.server_id or (self.info.name if self.info else "")

    def awaited(self, kind: Kind) -> bool:
        """Whether a list of that kind should wait for it: it may still finish its handshake."""
        hopeless = {Note.DEVICE_ON_TOOL_DOOR, Note.REFUSED_INITIALIZE}.intersection(self.notes)
        return self.link.peer.awaited and not self.lists[kind].settled and not hopeless

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

        client = {"name": mcp.OWN_NAME, "version": self.agent.version}
        may_ask: dict[str, object] = {ability: {} for ability in self.agent.limits.ask_clients}
        params = {"protocolVersion": revision, "capabilities": may_ask, "clientInfo": client}
        self.ask("initialize", encode(params), answered, None)

    def _initialized(self, result: dict[str, Raw], now: float) -> None:
        self.protocol_version = mcp.text(result.get("protocolVersion"))
        raw = result.get("serverInfo", UNSET)
        self.info = mcp.read_implementation(raw)
        # Every `initialize` of a device carries these, within the smallest buffer among clients.
        self.server_info = bytes(raw) if raw is not UNSET and len(raw) <= MAX_SERVER_INFO else None
        self.instructions = mcp.text(result.get("instructions"), MAX_INSTRUCTIONS) or None
        capabilities = wire.members(result.get("capabilities", UNSET)) or {}
        if not mcp.begins_tasks(capabilities):
            capabilities.pop("tasks", None)
        self.capabilities = frozenset(capabilities)
        self.link.send(wire.notification(mcp.INITIALIZED))
        for kind, listing in self.lists.items():
            listing.settled = kind.capability not in self.capabilities
        self.agent.settle_lists(now)
        for kind, listing in self.lists.items():
            # It may have tools that it did not promise: nobody waits for them, but they are taken.
            if not listing.settled or kind is Kind.TOOLS:
                listing.ask(now)

    def listed(self, kind: Kind, offers: tuple[Offer, ...], now: float) -> None:
        """A list came whole, or will not come: the agent shows what there is."""
        self.offers = {**self.offers, kind: offers}
        self.agent.listed(self, kind, now)

    def remark(self, kind: Kind, remark: Remark) -> None:
        """Something was wrong with a definition on the page that comes next."""
        self.lists[kind].remark(remark)

    def changed(self, kind: Kind, now: float) -> None:
        """The program says that a list is another one. Before its handshake is over it will be asked for anyway."""
        if self.registration is not None and kind.capability in self.capabilities | {Kind.TOOLS.capability}:
            self.lists[kind].changed(now)

    # --- frames from the tool program ---

    def receive(self, frame: bytes, now: float) -> str | None:
        """Take one frame: an answer, a notification, a request, or a stray print, which is dropped and counted."""
        try:
            envelope = wire.read(frame)
        except ValueError:
            return self._mended(frame, now)
        self.heard = now
        if envelope.method is not UNSET:
            if envelope.id is UNSET or (envelope.id == wire.NULL and envelope.method.startswith("notifications/")):
                return self._notified(envelope.method, envelope, now)
            self._asked(envelope.method, bytes(envelope.id), envelope.params, now)
            return None
        if envelope.result is UNSET and envelope.error is UNSET and envelope.id is UNSET:
            return self._mended(frame, now)  # a program that logs in JSON, or a piece of a frame
        raw = b"" if envelope.id is UNSET else bytes(envelope.id)
        number = int(raw) if raw.isdigit() and len(raw) <= 10 else meant(self, raw, envelope.error, now)
        if not number and envelope.id is UNSET:
            self.drop("answer_without_id")
            return None
        call = self.pending.pop(number, None)
        if call is not None:
            call.relay.answered(call, self, envelope, now)
            return call.relay.device.agent_id
        asked = self._answers.pop(number, None)
        if asked is not None:
            if asked.timer is not None:
                asked.timer.cancel()
            asked.answered(envelope, now)
        else:
            self.drop("late_answer")
        return self._given_up.pop(number, None)

    def _mended(self, frame: bytes, now: float) -> str | None:
        payers = [self.receive(one, now) for one in self.mend(frame, now, self.receive)]
        return next(filter(None, payers), None)

    def mend(self, frame: bytes, now: float, deliver: Deliver) -> list[bytes]:
        """What can be made of a frame that cannot be read; see `Mending.mend`."""
        if self._mending is None:
            self._mending = Mending(self)
        return self._mending.mend(frame, now, deliver)

    def stray(self, now: float) -> None:
        """Something that is no frame came."""
        self.drop("not_json_rpc")
        self.note(Note.PRINTS_TO_STDOUT, now)

    @property
    def gave_up(self) -> bool:
        """Whether answers may come that nobody waits for any more."""
        return bool(self._given_up)

    @property
    def awaited_ids(self) -> list[int]:
        """The ids of answers that are waited for."""
        return [*self.pending, *self._answers]

    def _notified(self, method: str, envelope: wire.Envelope, now: float) -> str | None:
        """The agent that a notification is for, where it is for one that asked."""
        if method == mcp.PROGRESS:
            return self._progress(envelope, now)
        if method in mcp.CHANGED:
            for kind in mcp.CHANGED[method]:
                self.changed(kind, now)
        elif method == mcp.RESOURCE_UPDATED:
            self._updated(wire.members(envelope.params) or {})
        elif method == mcp.CANCELLED:
            self._gave_up(wire.members(envelope.params) or {})
        elif method == mcp.TASK_STATUS:
            if not status_told(self, wire.members(envelope.params) or {}):
                self.drop("status_of_unknown_task")
        elif method == mcp.MESSAGE:
            self._said(wire.members(envelope.params) or {}, envelope.params)
        else:
            self.drop("notification_not_routed")
        return None

    def _gave_up(self, params: dict[str, Raw]) -> None:
        """The program does not wait any longer for what it asked a client."""
        key = wire.id_key(params["requestId"]) if "requestId" in params else None
        if key is None or key not in self.reverse_requests:
            self.drop("cancelled_nothing_pending")
            return
        device, number = self.reverse_requests[key]
        device.reverse_requests.give_up(number, params.get("reason"))

    def _updated(self, params: dict[str, Raw]) -> None:
        """A resource changed: tell those who subscribed to it, or to one that it is part of."""
        uri = mcp.string(params.get("uri"))
        served = self.registration if self.registration is not None and self.registration.live is self else None
        told = subscribers(served, uri) if served is not None and uri is not None else []
        if not told:
            self.drop("update_for_nobody")
        for device, public in told:
            body = params if public == uri else params | {"uri": Raw(encode(public))}
            device.link.send(wire.notification(mcp.RESOURCE_UPDATED, encode(body)))

    def _said(self, params: dict[str, Raw], raw: Raw | UnsetType) -> None:
        """The program logs something: pass it to the clients that want to hear it."""
        level = mcp.string(params.get("level"))
        if level not in mcp.LEVELS:
            self.drop("bad_log_level")
            return
        frame = wire.notification(mcp.MESSAGE, raw)
        told = list(listeners(self, mcp.LEVELS.index(level)))
        if not told:
            self.drop("log_for_nobody")
        for device, about in told:
            device.link.send(frame, about)

    def _progress(self, envelope: wire.Envelope, now: float) -> str | None:
        params = wire.members(envelope.params)
        raw = bytes(params["progressToken"]) if params and "progressToken" in params else b""
        number = respelled(raw)
        call, about = self.pending.get(number), True
        if call is None and number in self.tasks:
            call, about = self.tasks[number].call, False  # its own request has its answer
        if params is None or call is None or call.progress_token is None:
            self.drop("progress_for_nothing_pending")
            return None
        params["progressToken"] = call.progress_token
        call.renew(now)
        call.relay.device.link.send(wire.notification(mcp.PROGRESS, encode(params)), call.key if about else None)
        return call.relay.device.agent_id

    def _asked(self, method: str, id_: bytes, raw: Raw | UnsetType, now: float) -> None:
        """Answer a request of the tool program, or send it on to the client that it can only be meant for."""
        key = wire.id_key(id_)
        if key is None:
            self.drop("bad_id")
        elif method == "ping":
            self.link.send(wire.result(id_, b"{}"))
        elif key in self.reverse_requests:
            self.link.send(self.failure(id_, Fault.ID_IN_FLIGHT, id=id_[:80].decode(errors="replace")))
        elif method in mcp.ASKS:
            ability = mcp.ASKS[method]
            if len(self.reverse_requests) >= MOST_ASKED:
                self.link.send(self.failure(id_, Fault.TOO_MANY_QUESTIONS, limit=MOST_ASKED))
                return
            call = whom_to_ask(self, ability, raw, now)
            if call is None:
                refuse_to_ask(self, id_, ability, raw)
            else:
                call.relay.device.reverse_requests.ask(self, id_, key, method, raw, call, now)
        elif is_echo(self, method, id_, raw):
            self.drop("echo")
            self.note(Note.ECHOES, now)
        else:
            fault = Fault.DEVICE_ON_TOOL_DOOR if method == "initialize" else Fault.NO_SUCH_METHOD
            self.link.send(self.failure(id_, fault, method=method[:100]))
            if fault is Fault.DEVICE_ON_TOOL_DOOR and Note.DEVICE_ON_TOOL_DOOR not in self.notes:
                self.note(Note.DEVICE_ON_TOOL_DOOR, now)
                self.agent.settle_lists(now)

    # --- requests to the tool program ---

    def _next_id(self) -> int:
        number = self._last_id % MAX_ID + 1
        while number in self.pending or number in self._answers:
            number = number % MAX_ID + 1
        self._last_id = number
        return number

    def ask(
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
            call.number = number
        self.link.send(wire.request(number, method, params))

    def cancel(self, call: Call, reason: Raw | None = None) -> None:
        """Forget a pending call and tell the tool program so."""
        for number, pending in self.pending.items():
            if pending is call:
                del self.pending[number]
                self._given_up[number] = call.relay.device.agent_id
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
        self._watch = self.agent.timers.at(when, self._end_overdue)

    def _end_overdue(self, now: float) -> None:
        self._watch, self._watched_until = None, inf
        overdue = [call for call in self.pending.values() if call.deadline <= now]
        for call in overdue:
            self.cancel(call)
            call.relay.timed_out(call, self, now)
        if self.pending:
            self._watch_until(min(call.deadline for call in self.pending.values()))
        if not self.doubted and any(call.is_tool_call and call.sent >= self.heard for call in overdue):
            self._doubt(now)

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

    def ended(self, ended: Ended, now: float) -> None:
        """The link is gone: its calls end with errors at once, its registration stays for a while."""
        self.agent.tool_ended(self, ended, now)

    def forget(self) -> list[Call]:
        """Let go of all that is pending; the calls are for the agent to answer."""
        calls = list(self.pending.values())
        self.pending.clear()
        asked = [one.timer for one in self._answers.values()]
        self._answers.clear()
        for timer in (self._watch, self._review, *asked):
            if timer is not None:
                timer.cancel()
        if self._mending is not None:
            self._mending.forget()
        for listing in self.lists.values():
            listing.forget()
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
