"""A device side: its handshake, what it was shown, and the calls it waits for."""

from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, DecodeError, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.catalogue import EMPTY, Catalogue, Entry
from mcp_endpoint.broker.link import Ended, Link, Role
from mcp_endpoint.broker.tool import Call, ToolSide
from mcp_endpoint.errors import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.xiaozhi import FRAME_LIMIT, LIST_ID, for_xiaozhi

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.timers import Timer

XIAOZHI = "XiaozhiMCPEndpointClient"
CONSOLE = "xz-mcp-broker"
CONSOLE_WAIT = 1.0
"""Seconds the console's list may wait: its question is "is it connected now?" (contract, section 5)."""
UNKNOWN_METHOD_TIMEOUT = 5.0
"""Seconds the only tool side has to answer a method the broker does not know (routing page)."""
SILENCE = 10.0
"""Seconds without a frame after which a device link is taken for a tool program's (contract, section 6)."""


class Waiting(NamedTuple):
    """A `tools/list` whose answer is held back until a tool side is there."""

    id: bytes
    timer: "Timer"


class DeviceSide:
    """One link of whoever calls an agent's tools: a Xiaozhi server, the console, or any MCP client."""

    __slots__ = (
        "_all_lists_empty",
        "_second_call_done",
        "_shown",
        "_waiting",
        "agent",
        "calls",
        "client",
        "drops",
        "entries",
        "initialized",
        "last_call",
        "link",
        "notes",
        "number",
        "opened",
        "protocol_version",
    )
    role = Role.DEVICE

    def __init__(self, agent: "Agent", link: Link, now: float) -> None:
        self.agent = agent
        self.link = link
        self.number = next(agent.numbers)
        self.opened = now
        self.last_call = ""
        """The tool it called last."""
        self.client = mcp.Implementation()
        self.protocol_version = ""
        self.initialized = False
        self.calls: dict[bytes, tuple[Call, ToolSide]] = {}
        self.entries: dict[str, Entry] = EMPTY.entries
        self.drops: dict[str, int] = {}
        self.notes: list[str] = []
        self._shown: Catalogue | None = None
        self._waiting: dict[bytes, Waiting] = {}
        # The two facts that say whether an unasked list would be taken for an answer (contract, section 5).
        self._all_lists_empty = True
        self._second_call_done = False
        agent.timers.at(now + SILENCE, self._check_silence)

    @property
    def agent_id(self) -> str:
        """The agent whose tools it calls."""
        return self.agent.id

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.client.name

    @property
    def pending(self) -> int:
        """How many of its requests have no outcome yet."""
        return len(self.calls) + len(self._waiting)

    def _check_silence(self, now: float) -> None:
        if self in self.agent.devices and not self.link.traffic()["frames_in"]:
            self.note("silent_on_device_door")
            self.agent.review(now)

    # --- frames from the device ---

    def receive(self, frame: bytes, now: float) -> None:
        """Take one frame; whatever is wrong with it is answered and harms nothing else."""
        try:
            envelope = wire.read(frame)
        except wire.NotJson:
            self._fail(wire.NULL_ID, Fault.NOT_JSON)
            return
        except wire.NotAnEnvelope as error:
            self._fail(error.id, Fault.NOT_A_REQUEST, why=error)
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
            self._fail(id_, Fault.NOT_A_REQUEST, why="no method")
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
                self._fail(wire.NULL_ID, Fault.NOT_A_REQUEST, why="id must be a string or an integer")
        elif envelope.jsonrpc != "2.0":
            self._fail(id_, Fault.NOT_A_REQUEST, why='jsonrpc must be "2.0"')
        elif key in self.calls or key in self._waiting:
            self._fail(id_, Fault.ID_IN_FLIGHT, id=id_[:80].decode())
        elif method == "tools/call":
            self._call_tool(id_, key, envelope.params, now)
        else:
            match mcp.ROUTES.get(method):
                case mcp.Route.INITIALIZE:
                    self._initialize(id_, envelope.params)
                case mcp.Route.PING:
                    self.link.send(wire.result(id_, b"{}"))
                case mcp.Route.LIST_TOOLS:
                    self._list(id_, key, envelope.params, now)
                case _:
                    self._call_unknown(id_, key, method, envelope.params, now)

    def _notified(self, method: str, envelope: wire.Envelope) -> None:
        if method == "notifications/initialized":
            self.initialized = True
        elif method == "notifications/cancelled":
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
        elif key in self._waiting:
            self._waiting.pop(key).timer.cancel()
        else:
            self.drop("cancelled_nothing_pending")

    def _initialize(self, id_: bytes, raw: Raw | UnsetType) -> None:
        params = mcp.read_shape(mcp.InitializeParams, raw) or mcp.InitializeParams()
        self.client = params.client_info
        known = params.protocol_version in mcp.REVISIONS
        self.protocol_version = params.protocol_version if known else mcp.NEWEST
        self.link.send(wire.result(id_, self.agent.introduction(self.protocol_version)))

    # --- lists ---

    def _list(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
        params = wire.members(raw) or {}
        if "cursor" in params and params["cursor"] != wire.NULL:
            self._list_on(id_, bytes(params["cursor"]))
            return
        until = self._list_waits_until(now)
        if until <= now:
            self._show(id_, self.agent.catalogue)
            return

        def overdue(now: float) -> None:
            if self._waiting.pop(key, None) is not None:
                self._show(id_, self.agent.catalogue)

        self._waiting[key] = Waiting(id_, self.agent.timers.at(until, overdue))

    def _list_waits_until(self, now: float) -> float:
        if self.client.name == CONSOLE:
            return self.agent.list_waits_until(now, CONSOLE_WAIT, live_only=True)
        return self.agent.list_waits_until(now, self.agent.limits.tools_wait, live_only=False)

    def settle_lists(self, now: float) -> None:
        """Answer the lists that waited, if there is nothing to wait for any more."""
        if not self._waiting or self._list_waits_until(now) > now:
            return
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.timer.cancel()
            self._show(one.id, self.agent.catalogue)

    def _show(self, id_: bytes, catalogue: Catalogue) -> None:
        if self.client.name == CONSOLE:
            self.link.send(_page(id_, catalogue.live_page()))
            return
        self._remember(catalogue)
        self._send_page(id_, catalogue, 0)

    def _list_on(self, id_: bytes, cursor: bytes) -> None:
        """Answer with a later page of the list that the session was shown the first page of."""
        number = cursor.strip(b'"')
        pages = self._shown.pages() if self._shown is not None else []
        if number.isdigit() and len(number) < 6 and 0 < int(number) < len(pages):
            self._send_page(id_, self._shown or EMPTY, int(number))
        else:
            self._fail(id_, Fault.BAD_CURSOR)

    def _send_page(self, id_: bytes, catalogue: Catalogue, number: int) -> None:
        pages = catalogue.pages()
        self.link.send(_page(id_, pages[number], number + 1 if number + 1 < len(pages) else None))

    def _remember(self, catalogue: Catalogue) -> None:
        """Keep what the session is shown: a name it saw once goes on working for it (routing page, "Names")."""
        if self._shown is None:
            self.entries = catalogue.entries
        elif self._shown is not catalogue:
            self.entries = self.entries | catalogue.entries
        self._shown = catalogue
        if catalogue.definitions:
            self._all_lists_empty = False

    def catalogue_changed(self, catalogue: Catalogue) -> None:
        """The agent's tools changed: tell the session in the way its client understands."""
        if self._waiting:
            return  # its answer will tell
        if self.client.name == XIAOZHI:
            self._push_list(catalogue)
        elif self.client.name != CONSOLE and self.initialized:
            self.link.send(wire.notification("notifications/tools/list_changed"))

    def _push_list(self, catalogue: Catalogue) -> None:
        """Give a Xiaozhi session the new list unasked, if it cannot take it for the answer to a call."""
        if self._shown is None or self._shown.same_tools(catalogue):
            return
        pages = catalogue.pages()
        if len(pages) == 1 and (self._all_lists_empty or self._second_call_done):
            self._remember(catalogue)
            self._send_page(LIST_ID, catalogue, 0)

    # --- calls ---

    def _call_tool(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> None:
        agent = self.agent
        try:
            params = mcp.read_call_params(b"null" if raw is UNSET else raw)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            self._fail(id_, Fault.BAD_PARAMS, why="params must be an object with the name of a tool")
            return
        name = params.name
        entry = self.entries.get(name) or agent.catalogue.find(name)
        if entry is None:
            self._no_such_tool(id_, name, now)
            return
        tool = entry.seat.live or agent.successor(entry)
        if tool is None:
            fault, facts = agent.offline(entry.seat, now)
            self._fail(id_, fault, **facts)
            return
        limits = agent.limits
        if agent.in_flight >= limits.max_calls:
            self._fail(id_, Fault.TOO_MANY_CALLS, limit=limits.max_calls)
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
        call = Call(self, id_, key, name, now, now + limits.call_timeout, token)
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
        if tool is None or self.agent.in_flight >= self.agent.limits.max_calls:
            self._fail(id_, Fault.NO_SUCH_METHOD, method=method[:100])
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
        self.agent.in_flight += 1
        tool.call(call, method, params)

    def _finish(self, key: bytes) -> tuple[Call, ToolSide]:
        """Take a call out of those that wait: it has its outcome, and its id is free again."""
        self.agent.in_flight -= 1
        return self.calls.pop(key)

    def answered(self, call: Call, tool: ToolSide, envelope: wire.Envelope, now: float) -> None:
        """The tool side answered: pass its result or its error on, under the id the device used."""
        self._finish(call.key)
        # A null twin is read as absent: some programs write "error":null beside every result.
        result = UNSET if envelope.result == wire.NULL else envelope.result
        error = UNSET if envelope.error == wire.NULL else envelope.error
        if error is UNSET and result is not UNSET:
            frame = wire.result(call.id, result)
            if self.client.name == XIAOZHI and call.is_tool_call:
                frame = wire.result(call.id, for_xiaozhi(result))
                if len(frame) > FRAME_LIMIT:
                    frame = self._failure(
                        call.id, Fault.RESULT_TOO_LARGE, tool=call.name, size=len(frame), limit=FRAME_LIMIT
                    )
        elif result is UNSET and error is not UNSET and bytes(error)[:1] == b"{":
            frame = wire.error(call.id, error)
        else:
            tool.drop("malformed_answer")
            frame = self._failure(call.id, Fault.MALFORMED_ANSWER, tool_side=tool.name, tool=call.name)
        self.link.send(frame)
        self._call_done(call)

    def timed_out(self, call: Call, tool: ToolSide, now: float) -> None:
        """The tool side did not answer in time; it was told to stop."""
        self._finish(call.key)
        if call.is_tool_call:
            seconds = round(now - call.sent, 1)
            silent = tool.heard <= call.sent
            self._fail(
                call.id,
                Fault.CALL_TIMED_OUT,
                tool_side=tool.name,
                tool=call.name,
                seconds=seconds,
                zh="，期间没有收到它的任何消息" if silent else "，但它仍在应答其他消息",
                en=", and nothing else was heard from it" if silent else ", though it answers otherwise",
            )
        else:
            self._fail(call.id, Fault.METHOD_NOT_ANSWERED, tool_side=tool.name, method=call.name)
        self._call_done(call)

    def tool_lost(self, call: Call, tool: ToolSide, ended: Ended) -> None:
        """The tool side went away before it answered."""
        self._finish(call.key)
        why = ended.end.words(self.agent.limits.language)
        self._fail(call.id, Fault.TOOL_SIDE_LOST, tool_side=tool.name, tool=call.name, why=why)
        self._call_done(call)

    def _call_done(self, call: Call) -> None:
        if call.key == LIST_ID and self.client.name == XIAOZHI:
            self._second_call_done = True
            self._push_list(self.agent.catalogue)

    def _no_such_tool(self, id_: bytes, name: str, now: float) -> None:
        known = list(self.agent.catalogue.entries)
        if known or self.agent.only_tool_side() is not None:
            shown = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
            why = self.agent.why(now).sentence(self.agent.limits.language)
            self._fail(id_, Fault.UNKNOWN_TOOL, tool=name[:100], known=shown or "-", why=why)
        else:
            fault, facts = self.agent.nobody(now)
            self._fail(id_, fault, **facts)

    # --- the end ---

    def ended(self, ended: Ended, now: float) -> None:
        """The link is gone: nobody waits for its calls any more, so their tool sides are told to stop."""
        for waiting in self._waiting.values():
            waiting.timer.cancel()
        self._waiting.clear()
        for key in list(self.calls):
            call, tool = self._finish(key)
            tool.cancel(call)
        self.agent.device_ended(self)

    def drop(self, reason: str) -> None:
        """Count a frame that went nowhere."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def note(self, note: str) -> None:
        """Tell the owner something about this client, once."""
        if note not in self.notes:
            self.notes.append(note)
            self.agent.journal.noted(self, self.link.peer, note)

    def _failure(self, id_: bytes, fault: Fault, **facts: object) -> bytes:
        return self.agent.failure(id_, fault, **facts)

    def _fail(self, id_: bytes, fault: Fault, **facts: object) -> None:
        self.link.send(self.agent.failure(id_, fault, **facts))


def _page(id_: bytes, definitions: list[bytes], next_page: int | None = None) -> bytes:
    cursor = b"" if next_page is None else b',"nextCursor":"%d"' % next_page
    return wire.result(id_, b'{"tools":[%b]%b}' % (b",".join(definitions), cursor))
