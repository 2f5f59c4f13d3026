"""A client's request on its way to a tool side, and the client that made it: all that a tool side knows of devices.

What a tool side asks on the way of a call is here too: it belongs to that call, goes on its stream, begins its time
anew and ends with it (docs/protocol.md, section 15).
"""

from abc import abstractmethod
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.side import AgentOfSide, Side
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, XIAOZHI


class AgentWithDevices(AgentOfSide, Protocol):
    """An agent, as who has to tell its clients something knows it."""

    @property
    def devices(self) -> "Collection[Caller]":
        """Its clients."""


class AgentOfCaller(AgentWithDevices, Protocol):
    """An agent, as its clients know it."""

    in_flight: int
    """How many requests of its clients have no outcome yet."""


class CalledSide(Protocol):
    """The tool side of a call, as who made the call knows it."""

    heard: float

    @property
    def name(self) -> str:
        """Its alias."""

    def note(self, note: Note, now: float) -> None:
        """Tell its owner something about it, once."""

    def drop(self, reason: str) -> None:
        """Count an answer of it, or a part of one, that went nowhere."""

    def cancel(self, call: "Call", reason: Raw | None = None) -> None:
        """Forget a call, and tell the program so."""


class Caller(Side):
    """A client of an agent, as tool sides know it: what it can take, and what becomes of its calls."""

    __slots__ = (
        "abilities",
        "away_since",
        "client",
        "initialized",
        "last_call",
        "log_level",
        "protocol_version",
        "reverse_requests",
    )
    role = Role.DEVICE
    agent: AgentOfCaller

    def __init__(self, agent: AgentOfCaller, link: Link, now: float) -> None:
        super().__init__(agent, link, now)
        self.client = mcp.Implementation()
        self.protocol_version = ""
        self.initialized = False
        self.last_call = ""
        """The tool it called last."""
        self.log_level: int | None = None
        """From which of `mcp.LEVELS` on it wants to hear log messages; None: it never said."""
        self.abilities: frozenset[str] = frozenset()
        """What it said in its handshake that tool sides may ask it for."""
        self.away_since: float | None = None
        """Since when its client has what it was asked, and is to come again with the answers."""
        self.reverse_requests = ReverseRequests(link)

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.client.name

    @property
    def does_tasks(self) -> bool:
        """Whether it has tasks in this form: they came with 2025-11-25, and the stateless era has others."""
        without = self.client.name in (XIAOZHI, CONSOLE) or self.peer.stateless
        return self.protocol_version == mcp.TASKS_REVISION and not without

    def may_be_asked(self, ability: str) -> bool:
        """Whether its agent's settings let tool sides ask its clients for that."""
        return ability in self.agent.limits.ask_clients

    @abstractmethod
    def definition(self, tool: str) -> bytes | None:
        """What it is shown of a tool."""

    def fail(self, id_: bytes, fault: Fault, **facts: object) -> None:
        """Answer a request with an error of the broker's own."""
        self.link.send(self.failure(id_, fault, **facts), wire.id_key(id_))

    def may_wait(self, id_: bytes) -> bool:
        """Count one more request among the agent's in flight, or refuse it because there are too many."""
        limit = self.agent.limits.max_calls
        if self.agent.in_flight >= limit:
            self.fail(id_, Fault.TOO_MANY_CALLS, limit=limit)
            return False
        self.agent.in_flight += 1
        return True

    # --- what becomes of its calls: each has one of these outcomes ---

    @abstractmethod
    def answered(self, call: "Call", envelope: wire.Envelope, now: float) -> None:
        """The tool side answered."""

    @abstractmethod
    def timed_out(self, call: "Call", now: float) -> None:
        """The tool side did not answer in time; it was told to stop."""

    @abstractmethod
    def tool_lost(self, call: "Call", ended: Ended) -> None:
        """The tool side went away before it answered."""

    @abstractmethod
    def lacks(self, call: "Call", ability: str) -> None:
        """The tool side needs something of the client that it does not offer."""

    # --- what tool sides are told of it ---

    def with_caller(self, body: Raw | bytes | UnsetType, *, tell: bool) -> Raw | bytes | UnsetType:
        """The params with the facts about the caller in `_meta`, or at least without any that the peer made up."""
        params = wire.members(body)
        assert params is not None, "params that gave a name are an object"
        meta = (wire.members(params["_meta"]) if "_meta" in params else None) or {}
        if not tell and mcp.CALLER not in meta:
            return body
        meta.pop(mcp.CALLER, None)
        if tell:
            meta[mcp.CALLER] = Raw(encode(self._facts()))
        return encode(params | {"_meta": Raw(encode(meta))})

    def _facts(self) -> dict[str, object]:
        """What a tool side that asked for it is told about who calls (docs/protocol.md, section 12.4)."""
        peer = self.peer
        return {
            "agent": self.agent_id,
            "link": self.number,
            "client": {"name": self.client.name, "version": self.client.version},
            "protocolVersion": self.protocol_version,
            "device": peer.device,
            "mac": peer.mac,
        }


class Call(Struct, gc=False, eq=False):
    """A device's request on its way to a tool side. It is pending on both until it has its one outcome."""

    caller: Caller
    tool: CalledSide
    id: bytes
    key: bytes
    name: str
    sent: float
    deadline: float
    progress_token: Raw | None = None
    is_tool_call: bool = True
    overdue: Fault = Fault.CALL_TIMED_OUT
    """What is said if it is not answered in time."""
    done: Callable[[bool], None] | None = None
    """Told whether it had a result, once it was answered."""
    rewrite: "Rewrite | None" = None
    """What its result is made into, where the client cannot have it as it is."""
    task: object | None = None
    """The one whose result it waits for."""
    asks: int = 0
    """Requests of the tool side to the client that are taken to be made for it."""
    number: int = 0
    """Its id towards the tool side, which is its progress token there; 0 if it has none."""

    def renew(self, now: float) -> None:
        """Give it its time anew, where its client's time is so (`Link.call_timeout`)."""
        timeout = self.caller.link.call_timeout
        if timeout is not None:
            self.deadline = max(self.deadline, now + timeout)


Rewrite = Callable[[Call, Raw, float], Raw]


class ReverseRequest(NamedTuple):
    """A tool side's request on its way, and the call that it is taken to be made for."""

    call: Call
    answer: Callable[[wire.Envelope | None], None]
    """Gets what the client says, or None if the call is over before."""


class ReverseRequests:
    """What one client is asked by tool sides, by the numbers that are the ids of these requests on its link."""

    __slots__ = ("_asked", "_last", "_link")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._asked: dict[int, ReverseRequest] = {}
        self._last = 0

    def add(self, call: Call, answer: Callable[[wire.Envelope | None], None]) -> int:
        """Take a request that is to be sent; its number. Who keeps that does so first: the answer may come at once."""
        self._last += 1
        self._asked[self._last] = ReverseRequest(call, answer)
        call.asks += 1
        return self._last

    def send(self, number: int, method: str, params: Raw | UnsetType, now: float) -> None:
        """Send it on. Its call has its time anew: a person may have to answer."""
        call = self._asked[number].call
        call.renew(now)
        # params:null never reaches a client either: TypeScript programs ignore such a request.
        frame = wire.request(number, method, UNSET if params == wire.NULL else params)
        self._link.send(frame, call.key)

    def answered(self, envelope: wire.Envelope, now: float) -> bool:
        """The client answers; whether it was asked for that."""
        raw = b"" if envelope.id is UNSET else bytes(envelope.id)
        asked = self._take(int(raw)) if raw.isdigit() and len(raw) <= 10 else None
        if asked is None:
            return False
        asked.call.renew(now)
        asked.answer(envelope)
        return True

    def give_up(self, number: int, reason: Raw | None) -> None:
        """The tool side does not want to know any more."""
        asked = self._take(number)
        if asked is not None:
            self._tell_cancelled(number, asked.call, reason)

    def call_over(self, call: Call) -> None:
        """A call has its outcome: what was asked on its way is of no use any more."""
        for number in [number for number, asked in self._asked.items() if asked.call is call]:
            asked = self._take(number)
            assert asked is not None
            self._tell_cancelled(number, call, None)
            asked.answer(None)

    def _tell_cancelled(self, number: int, call: Call, reason: Raw | None) -> None:
        """On the stream of the call, where the question came."""
        params = {"requestId": number} | ({"reason": reason} if reason is not None else {})
        self._link.send(wire.notification(mcp.CANCELLED, encode(params)), call.key)

    def _take(self, number: int) -> ReverseRequest | None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.call.asks -= 1
        return asked
