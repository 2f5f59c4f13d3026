"""A device side: its handshake, what it was shown, and the calls it waits for."""

from typing import TYPE_CHECKING

from msgspec import UNSET, DecodeError, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.showing import Showing
from mcp_endpoint.broker.side import Side
from mcp_endpoint.broker.tool import Call, ToolSide
from mcp_endpoint.errors import Fault, Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.xiaozhi import CONSOLE, FRAME_LIMIT, XIAOZHI, for_xiaozhi

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent

UNKNOWN_METHOD_TIMEOUT = 5.0
"""Seconds the only tool side has to answer a method the broker does not know (routing page)."""
SILENCE = 10.0
"""Seconds without a frame after which a device link is taken for a tool program's (contract, section 6)."""


class DeviceSide(Side):
    """One link of whoever calls an agent's tools: a Xiaozhi server, the console, or any MCP client."""

    __slots__ = ("_silence", "calls", "client", "initialized", "last_call", "protocol_version", "showing")
    role = Role.DEVICE

    def __init__(self, agent: "Agent", link: Link, now: float) -> None:
        super().__init__(agent, link, now)
        self.client = mcp.Implementation()
        self.protocol_version = ""
        self.initialized = False
        self.last_call = ""
        """The tool it called last."""
        self.calls: dict[bytes, tuple[Call, ToolSide]] = {}
        self.showing = Showing(self)
        self._silence = agent.timers.at(now + SILENCE, self._check_silence)

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.client.name

    @property
    def pending(self) -> int:
        """How many of its requests have no outcome yet."""
        return len(self.calls) + len(self.showing.waiting)

    def _check_silence(self, now: float) -> None:
        if not self.link.traffic()["frames_in"]:
            self.note(Note.SILENT_ON_DEVICE_DOOR, now)

    # --- frames from the device ---

    def receive(self, frame: bytes, now: float) -> None:
        """Take one frame; whatever is wrong with it is answered and harms nothing else."""
        try:
            envelope = wire.read(frame)
        except wire.NotJson:
            self.fail(wire.NULL_ID, Fault.NOT_JSON)
            return
        except wire.NotAnEnvelope as error:
            self.fail(error.id, Fault.NOT_A_REQUEST, why=error)
            return
        method = envelope.method
        if method is UNSET:
            self._answer_or_nothing(envelope)
        elif envelope.id is UNSET:
            self._notified(method, envelope)
        else:
            self._requested(method, envelope, now)

    def _answer_or_nothing(self, envelope: wire.Envelope) -> None:
        """The broker asks devices nothing, so an answer is dropped; a frame that is nothing at all is an error."""
        if envelope.result is UNSET and envelope.error is UNSET:
            id_ = wire.NULL_ID if envelope.id is UNSET or wire.id_key(envelope.id) is None else bytes(envelope.id)
            self.fail(id_, Fault.NOT_A_REQUEST, why="no method")
        else:
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
        elif key in self.calls or key in self.showing.waiting:
            self.fail(id_, Fault.ID_IN_FLIGHT, id=id_[:80].decode(errors="replace"))
        else:
            match mcp.ROUTES.get(method):
                case mcp.Route.CALL_TOOL:
                    self._call_tool(id_, key, envelope.params, now)
                case mcp.Route.INITIALIZE:
                    self._initialize(id_, key, envelope.params)
                case mcp.Route.PING:
                    self.link.send(wire.result(id_, b"{}"), key)
                case mcp.Route.LIST_TOOLS:
                    self.showing.list(id_, key, envelope.params, now)
                case mcp.Route.REFUSE:
                    self.fail(id_, Fault.NO_SUCH_METHOD, method=method)
                case _:
                    self._call_unknown(id_, key, method, envelope.params, now)

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
        elif key in self.calls:
            call, tool = self._finish(key)
            tool.cancel(call, params.get("reason"))
            self._call_done(call)
        elif self.showing.drop_waiting(key) is None:
            self.drop("cancelled_nothing_pending")

    def _initialize(self, id_: bytes, key: bytes, raw: Raw | UnsetType) -> None:
        revision, self.client = mcp.read_initialize(raw)
        self.protocol_version = revision if revision in mcp.REVISIONS else mcp.NEWEST
        self.link.send(wire.result(id_, self.agent.introduction(self.protocol_version)), key)

    def may_wait(self, id_: bytes) -> bool:
        """Count one more request among the agent's in flight, or refuse it because there are too many."""
        limit = self.agent.limits.max_calls
        if self.agent.in_flight >= limit:
            self.fail(id_, Fault.TOO_MANY_CALLS, limit=limit)
            return False
        self.agent.in_flight += 1
        return True

    # --- calls ---

    def _call_tool(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
        agent = self.agent
        try:
            params = mcp.read_call_params(b"null" if raw is UNSET else raw)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            self.fail(id_, Fault.BAD_PARAMS, why="params must be an object with the name of a tool")
            return
        name = params.name
        entry = self.showing.find(name)
        if entry is None:
            self._no_such_tool(id_, name, now)
            self.showing.call_done(key)
            return
        tool = entry.seat.live or agent.successor(entry)
        if tool is None:
            fault, facts = agent.offline(entry.seat, now)
            self.fail(id_, fault, **facts)
            self.showing.call_done(key)
            return
        if not self.may_wait(id_):
            self.showing.call_done(key)
            return
        token = None
        if params.meta is not UNSET:
            token = (wire.members(params.meta) or {}).get("progressToken")
        body: Raw | bytes | UnsetType = raw
        if entry.name != name:
            members = wire.members(body)
            assert members is not None, "params that gave a name are an object"
            body = encode(members | {"name": Raw(encode(entry.name))})
        self.last_call = name
        if params.meta is not UNSET or tool.link.peer.wants_caller:
            body = self._with_caller(body, tell=tool.link.peer.wants_caller)
        timeout = self.link.call_timeout or agent.limits.call_timeout
        call = Call(self, id_, key, name, now, now + timeout, token)
        self._send_call(call, tool, "tools/call", body)

    def _with_caller(self, body: Raw | bytes | UnsetType, *, tell: bool) -> Raw | bytes | UnsetType:
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
        """What a tool side that asked for it is told about who calls (issue B, part 6)."""
        peer = self.link.peer
        return {
            "agent": self.agent.id,
            "link": self.number,
            "client": {"name": self.client.name, "version": self.client.version},
            "protocolVersion": self.protocol_version,
            "device": peer.device,
            "mac": peer.mac,
        }

    def _call_unknown(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        tool = self.agent.only_tool_side()
        if tool is None:
            self.fail(id_, Fault.NO_SUCH_METHOD, method=method[:100])
            return
        if not self.may_wait(id_):
            return
        members = wire.members(raw)
        meta = wire.members(members["_meta"]) if members and "_meta" in members else None
        token = meta.get("progressToken") if meta else None
        # params:null never reaches a tool side: TypeScript servers ignore such a request (contract, section 5).
        body = UNSET if raw is UNSET or raw == wire.NULL else raw
        call = Call(self, id_, key, method[:100], now, now + UNKNOWN_METHOD_TIMEOUT, token, is_tool_call=False)
        self._send_call(call, tool, method, body)

    def _send_call(self, call: Call, tool: ToolSide, method: str, params: Raw | bytes | UnsetType) -> None:
        self.calls[call.key] = (call, tool)
        tool.call(call, method, params)

    def _finish(self, key: bytes) -> tuple[Call, ToolSide]:
        """Take a call out of those that wait: it has its outcome, and its id is free again."""
        self.agent.in_flight -= 1
        return self.calls.pop(key)

    def answered(self, call: Call, tool: ToolSide, envelope: wire.Envelope, now: float) -> None:
        """The tool side answered: pass its result or its error on, under the id the device used."""
        self._finish(call.key)
        result, error = envelope.result, envelope.error
        # A null twin is read as absent: some programs write "error":null beside every result, or the other way round.
        if error == wire.NULL:
            error = UNSET
        if result == wire.NULL and (error is not UNSET or call.is_tool_call):
            result = UNSET
        if error is UNSET and result is not UNSET:
            if self.client.name == XIAOZHI and call.is_tool_call:
                frame = wire.result(call.id, for_xiaozhi(result))
            else:
                frame = wire.result(call.id, result)
        elif result is UNSET and error is not UNSET and bytes(error)[:1] == b"{":
            frame = wire.error(call.id, error)
        else:
            tool.drop("malformed_answer")
            frame = self._failure(call.id, Fault.MALFORMED_ANSWER, tool_side=tool.name, tool=call.name)
        if len(frame) > FRAME_LIMIT and self.client.name in (XIAOZHI, CONSOLE):
            size = len(frame)
            frame = self._failure(call.id, Fault.RESULT_TOO_LARGE, tool=call.name, size=size, limit=FRAME_LIMIT)
        self.link.send(frame, call.key)
        self._call_done(call)

    def timed_out(self, call: Call, tool: ToolSide, now: float) -> None:
        """The tool side did not answer in time; it was told to stop."""
        self._finish(call.key)
        if call.is_tool_call:
            seconds = round(now - call.sent, 1)
            silent = tool.heard <= call.sent
            self.fail(
                call.id,
                Fault.CALL_TIMED_OUT,
                tool_side=tool.name,
                tool=call.name,
                seconds=seconds,
                zh="，期间没有收到它的任何消息" if silent else "，但它仍在应答其他消息",
                en=", and nothing else was heard from it" if silent else ", though it answers otherwise",
            )
        else:
            self.fail(call.id, Fault.METHOD_NOT_ANSWERED, tool_side=tool.name, method=call.name)
        self._call_done(call)

    def tool_lost(self, call: Call, tool: ToolSide, ended: Ended) -> None:
        """The tool side went away before it answered."""
        self._finish(call.key)
        why = ended.end.words(self.agent.limits.language)
        self.fail(call.id, Fault.TOOL_SIDE_LOST, tool_side=tool.name, tool=call.name, why=why)
        self._call_done(call)

    def _call_done(self, call: Call) -> None:
        if call.is_tool_call:
            self.showing.call_done(call.key)

    def _no_such_tool(self, id_: bytes, name: str, now: float) -> None:
        known = list(self.agent.catalogue.entries)
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
        self.showing.ended()
        for key in list(self.calls):
            call, tool = self._finish(key)
            tool.cancel(call)
        self.agent.device_ended(self)

    def _failure(self, id_: bytes, fault: Fault, **facts: object) -> bytes:
        return self.agent.failure(id_, fault, **facts)

    def fail(self, id_: bytes, fault: Fault, **facts: object) -> None:
        """Answer a request with an error of the broker's own."""
        self.link.send(self.agent.failure(id_, fault, **facts), wire.id_key(id_))
