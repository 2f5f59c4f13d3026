"""A device side: its handshake, what it was shown, and the calls it waits for."""

from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.device_view import DeviceView
from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.log_levels import renew_levels
from mcp_endpoint.broker.relay import Relay
from mcp_endpoint.broker.reverse_requests import ReverseRequests, abilities_of
from mcp_endpoint.broker.side import Side
from mcp_endpoint.broker.tasks import does_tasks
from mcp_endpoint.errors import Fault, Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.definitions.client_views import Client
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.repair.requests import read_request
from mcp_endpoint.wire.xiaozhi.answers import XIAOZHI

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent

SILENCE = 10.0
"""Seconds without a frame after which a device link is taken for a tool program's."""


class DeviceSide(Side):
    """One link of whoever calls an agent's tools: a Xiaozhi server, the console, or any MCP client."""

    __slots__ = (
        "_silence",
        "abilities",
        "away_since",
        "client",
        "initialized",
        "last_call",
        "log_level",
        "protocol_version",
        "relay",
        "reverse_requests",
        "view",
    )
    role = Role.DEVICE

    def __init__(self, agent: "Agent", link: Link, now: float) -> None:
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
        self.reverse_requests = ReverseRequests(self)
        self.away_since: float | None = None
        """Since when its client has what it was asked, and is to come again with the answers."""
        self.relay = Relay(self)
        self.view = DeviceView(self)
        self._silence = agent.timers.at(now + SILENCE, self._check_silence)

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.client.name

    @property
    def kind(self) -> Client:
        """What kind of client it is: what it can take of a definition depends on it."""
        if self.client.name == XIAOZHI:
            return Client.XIAOZHI
        if self.link.call_timeout is None and self.agent.cuts_results:
            return Client.DEVICE
        return Client.STATELESS if self.link.peer.brief else Client.HANDSHAKE

    @property
    def pending(self) -> int:
        """How many of its requests have no outcome yet."""
        return len(self.relay.calls) + len(self.view.waiting)

    def _check_silence(self, now: float) -> None:
        if not self.link.traffic()["frames_in"]:
            self.note(Note.SILENT_ON_DEVICE_DOOR, now)

    def definition(self, tool: str) -> bytes | None:
        """What it is shown of a tool: a door that repeats arguments elsewhere has to know the tool's schema."""
        return self.agent.catalogue_for(self.link.peer.scope)[Kind.TOOLS].definition(tool)

    # --- frames from the device ---

    def receive(self, frame: bytes, now: float) -> None:  # nobody asks devices on another's behalf
        """Take one frame; whatever is wrong with it is answered and harms nothing else."""
        try:
            envelope = wire.read(frame)
        except wire.NotJson:
            self._mend(frame, now)
            return
        except wire.NotAnEnvelope as error:
            self.fail(error.id, Fault.NOT_A_REQUEST, why=error)
            return
        method = envelope.method
        if method is UNSET:
            self._answer_or_nothing(envelope, now)
        elif envelope.id is UNSET:
            self._notified(method, envelope)
        else:
            self._requested(method, envelope, now)

    def _mend(self, frame: bytes, now: float) -> None:
        """What a frame that is not JSON can only mean is served; else who sent it hears so, under its own id."""
        reading = read_request(frame)
        for one in reading.frames:
            self.receive(one, now)
        if reading.lost is not None:
            flaw = reading.lost.flaw
            why = flaw.zh if self.agent.limits.language == "zh" else flaw.en
            self.fail(reading.lost.id, Fault.UNREADABLE, why=why)
        elif not reading.frames:
            self.fail(wire.NULL_ID, Fault.NOT_JSON)

    def _answer_or_nothing(self, envelope: wire.Envelope, now: float) -> None:
        """An answer to what a tool side asked is sent on; a frame that is nothing at all is an error."""
        if envelope.result is UNSET and envelope.error is UNSET:
            id_ = wire.NULL_ID if envelope.id is UNSET or wire.id_key(envelope.id) is None else bytes(envelope.id)
            self.fail(id_, Fault.NOT_A_REQUEST, why="no method")
        elif not self.reverse_requests.answered(envelope, now):
            self.drop("answer_to_nothing")

    def _requested(self, method: str, envelope: wire.Envelope, now: float) -> None:
        assert envelope.id is not UNSET, "a frame without an id is a notification"
        id_ = bytes(envelope.id)
        key = wire.id_key(id_)
        if key is None:
            if id_ == wire.NULL_ID and method.startswith("notifications/"):
                self._notified(method, envelope)
            else:
                self.fail(wire.NULL_ID, Fault.NOT_A_REQUEST, why="id must be a string or an integer")
        elif envelope.jsonrpc != "2.0":
            self.fail(id_, Fault.NOT_A_REQUEST, why='jsonrpc must be "2.0"')
        elif key in self.relay.calls or key in self.view.waiting:
            self.fail(id_, Fault.ID_IN_FLIGHT, id=id_[:80].decode(errors="replace"))
        else:
            match mcp.ROUTES.get(method):
                case mcp.Route.CALL_TOOL:
                    self.relay.call_tool(id_, key, envelope.params, now)
                case mcp.Route.INITIALIZE:
                    self._initialize(id_, key, envelope.params)
                case mcp.Route.PING:
                    self.link.send(wire.result(id_, b"{}"), key)
                case mcp.Route.LIST:
                    self.view.list(mcp.LISTED[method], id_, key, envelope.params, now)
                case mcp.Route.GET_PROMPT:
                    self.relay.get_prompt(id_, key, method, envelope.params, now)
                case mcp.Route.READ:
                    self.relay.read(id_, key, method, envelope.params, now)
                case mcp.Route.SUBSCRIBE:
                    self.relay.subscribe(id_, key, method, envelope.params, now)
                case mcp.Route.UNSUBSCRIBE:
                    self.relay.unsubscribe(id_, key, method, envelope.params, now)
                case mcp.Route.COMPLETE:
                    self.relay.complete(id_, key, method, envelope.params, now)
                case mcp.Route.SET_LEVEL:
                    self._set_level(id_, key, envelope.params, now)
                case mcp.Route.TASK if does_tasks(self):
                    self.relay.task(id_, key, method, envelope.params, now)
                case mcp.Route.LIST_TASKS if does_tasks(self):
                    self._list_tasks(id_, key, envelope.params)
                case mcp.Route.REFUSE | mcp.Route.TASK | mcp.Route.LIST_TASKS:
                    self.fail(id_, Fault.NO_SUCH_METHOD, method=method)
                case _:
                    self.relay.unknown(id_, key, method, envelope.params, now)

    def _notified(self, method: str, envelope: wire.Envelope) -> None:
        if method == mcp.INITIALIZED:
            self.initialized = True
        elif method == mcp.CANCELLED:
            self._cancelled(wire.members(envelope.params) or {})
        else:
            self.drop("notification_not_routed")

    def _cancelled(self, params: dict[str, Raw]) -> None:
        key = wire.id_key(params["requestId"]) if "requestId" in params else None
        if key is None:
            self.drop("cancelled_nothing_pending")
        elif key in self.relay.calls:
            self.relay.cancel(key, params.get("reason"))
        else:
            waiting = self.view.drop_waiting(key)
            if waiting is None:
                self.drop("cancelled_nothing_pending")
            elif waiting.kind is None:
                self.view.call_done(key)

    def _initialize(self, id_: bytes, key: bytes, raw: Raw | UnsetType) -> None:
        revision, self.client, capabilities = mcp.read_initialize(raw)
        self.abilities = abilities_of(self, capabilities)
        self.protocol_version = revision if revision in mcp.REVISIONS else mcp.NEWEST
        answer = self.agent.introduction(self)
        self.link.send(wire.result(id_, answer), key)

    def _set_level(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
        """`logging/setLevel` is this client's wish; tool sides are asked for the lowest of all."""
        level = mcp.string((wire.members(raw) or {}).get("level"))
        if level not in mcp.LEVELS:
            self.fail(id_, Fault.BAD_PARAMS, member=f"level ({', '.join(mcp.LEVELS)})")
            return
        self.log_level = mcp.LEVELS.index(level)
        self.link.send(wire.result(id_, b"{}"), key)
        renew_levels(self.agent, now)

    def _list_tasks(self, id_: bytes, key: bytes, raw: Raw | UnsetType) -> None:
        cursor = (wire.members(raw) or {}).get("cursor", wire.NULL)
        asked = None if cursor == wire.NULL else mcp.string(cursor) or ""
        listed = self.agent.tasks.listed(self.link.peer.provider, asked)
        if listed is None:
            self.fail(id_, Fault.BAD_CURSOR)
        else:
            self.link.send(wire.result(id_, listed), key)

    def may_wait(self, id_: bytes) -> bool:
        """Count one more request among the agent's in flight, or refuse it because there are too many."""
        limit = self.agent.limits.max_calls
        if self.agent.in_flight >= limit:
            self.fail(id_, Fault.TOO_MANY_CALLS, limit=limit)
            return False
        self.agent.in_flight += 1
        return True

    # --- what is said to a tool side and to the client ---

    def with_caller(self, body: Raw | bytes | UnsetType, *, tell: bool) -> Raw | bytes | UnsetType:
        """The params with the facts about the caller in `_meta`, or at least without any that the peer made up."""
        params = wire.members(body)
        assert params is not None, "params that gave a name are an object"
        meta = (wire.members(params["_meta"]) if "_meta" in params else None) or {}
        if not tell and mcp.CALLER not in meta:
            return body
        meta.pop(mcp.CALLER, None)
        if tell:
            meta[mcp.CALLER] = Raw(encode(self._caller()))
        return encode(params | {"_meta": Raw(encode(meta))})

    def _caller(self) -> dict[str, object]:
        """What a tool side that asked for it is told about who calls."""
        peer = self.link.peer
        return {
            "agent": self.agent.id,
            "link": self.number,
            "client": {"name": self.client.name, "version": self.client.version},
            "protocolVersion": self.protocol_version,
            "device": peer.device,
            "mac": peer.mac,
        }

    def no_such_tool(self, id_: bytes, name: str, now: float) -> None:
        """There is no tool of that name: say which there are, or why there are none."""
        known = list(self.agent.catalogue_for(self.link.peer.scope)[Kind.TOOLS].entries)
        if known or self.agent.live_tools():
            shown = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
            why = self.agent.why(now).sentence(self.agent.limits.language)
            self.fail(id_, Fault.UNKNOWN_TOOL, tool=name[:100], known=shown or "-", why=why)
        else:
            fault, facts = self.agent.nobody(now)
            self.fail(id_, fault, **facts)

    # --- the end ---

    def ended(self, ended: Ended, now: float) -> None:
        """The link is gone: nobody waits for its calls any more, so their tool sides are told to stop."""
        self._silence.cancel()
        self.view.ended()
        self.relay.ended(now)
        self.agent.device_ended(self)

    def fail(self, id_: bytes, fault: Fault, **facts: object) -> None:
        """Answer a request with an error of the broker's own."""
        self.link.send(self.failure(id_, fault, **facts), wire.id_key(id_))
