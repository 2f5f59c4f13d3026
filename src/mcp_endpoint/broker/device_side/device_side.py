"""A device side: its requests, where they go, and what becomes of them: one outcome each, always."""

from functools import partial

from msgspec import UNSET, DecodeError, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.agent_state import AgentState
from mcp_endpoint.broker.call import Call, Caller
from mcp_endpoint.broker.device_side.device_view import DeviceView
from mcp_endpoint.broker.device_side.no_tool import no_such_tool, offline
from mcp_endpoint.broker.device_side.own_answers import initialize, list_tasks, set_level
from mcp_endpoint.broker.device_side.results import OPENS_OBJECT, is_object, readable
from mcp_endpoint.broker.device_side.targets import Target, Targets
from mcp_endpoint.broker.link import Ended, Link
from mcp_endpoint.broker.offers.offer import definition_of
from mcp_endpoint.broker.tool_side.program import Registration
from mcp_endpoint.broker.tool_side.subscriptions import Subscriptions
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.absent_arguments import no_arguments, without_arguments, without_empty
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.repair.error_objects import EMPTY_RESULTS, is_none, proper
from mcp_endpoint.wire.repair.requests import read_request
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, FRAME_LIMIT, XIAOZHI, error_for_xiaozhi

SILENCE = 10.0
"""Seconds without a frame after which a device link is taken for a tool program's (docs/protocol.md, section 8.2)."""
UNKNOWN_METHOD_TIMEOUT = 5.0
"""Seconds the only tool side has to answer a method the broker does not know (docs/protocol.md, section 9.4)."""

Params = Raw | bytes | UnsetType


class DeviceSide(Caller):
    """One link of whoever calls an agent's tools: a Xiaozhi server, the console, or any MCP client."""

    __slots__ = ("_silence", "_targets", "calls", "subscriptions", "view")
    agent: AgentState

    def __init__(self, agent: AgentState, link: Link, now: float) -> None:
        super().__init__(agent, link, now)
        self.calls: dict[bytes, Call] = {}
        """Its requests that wait for a tool side, by the keys of their ids."""
        self.view = DeviceView(self, agent)
        self.subscriptions = Subscriptions(self)
        self._targets = Targets(self, agent, self.view, self.subscriptions)
        self._silence = self.broker.timers.at(now + SILENCE, self._check_silence)

    @property
    def pending(self) -> int:
        """How many of its requests have no outcome yet."""
        return len(self.calls) + len(self.view.waiting)

    def _check_silence(self, now: float) -> None:
        if not self.link.traffic()["frames_in"]:
            self.note(Note.SILENT_ON_DEVICE_DOOR, now)

    def definition(self, tool: str) -> bytes | None:
        """What it is shown of a tool: a door that repeats arguments elsewhere has to know the tool's schema."""
        return self.agent.catalogue_for(self.peer.scope)[Kind.TOOLS].definition(tool)

    # --- frames from the device ---

    def receive(self, frame: bytes, now: float) -> None:  # nobody asks devices on another's behalf
        """Take one frame; whatever is wrong with it is answered and harms nothing else."""
        try:
            envelope = wire.read(frame)
        except wire.NotJson:
            self._repaired(frame, now)
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

    def _repaired(self, frame: bytes, now: float) -> None:
        """What a frame that is not JSON can only mean is served; else who sent it hears so, under its own id."""
        reading = read_request(frame)
        for one in reading.frames:
            self.receive(one, now)
        if reading.lost is not None:
            flaw = reading.lost.flaw
            why = flaw.words(self.agent.limits.language)
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
        elif key in self.calls or key in self.view.waiting:
            self.fail(id_, Fault.ID_IN_FLIGHT, id=id_[:80].decode(errors="replace"))
        else:
            target: Target | None = None
            match mcp.ROUTES.get(method):
                case mcp.Route.CALL_TOOL:
                    self.call_tool(id_, key, envelope.params, now)
                case mcp.Route.INITIALIZE:
                    initialize(self.agent, self, id_, key, envelope.params)
                case mcp.Route.PING:
                    self.link.send(wire.result(id_, b"{}"), key)
                case mcp.Route.LIST:
                    self.view.list(mcp.LISTED[method], id_, key, envelope.params, now)
                case mcp.Route.GET_PROMPT:
                    target = self._targets.get_prompt(id_, envelope.params, now)
                case mcp.Route.READ:
                    target = self._targets.read(id_, envelope.params, now)
                case mcp.Route.SUBSCRIBE:
                    target = self._targets.subscribe(id_, key, envelope.params, now)
                case mcp.Route.UNSUBSCRIBE:
                    target = self._targets.unsubscribe(id_, key, envelope.params, now)
                case mcp.Route.COMPLETE:
                    target = self._targets.complete(id_, envelope.params, now)
                case mcp.Route.SET_LEVEL:
                    set_level(self.agent, self, id_, key, envelope.params, now)
                case mcp.Route.TASK if self.does_tasks:
                    target = self._targets.task(id_, method, envelope.params)
                case mcp.Route.LIST_TASKS if self.does_tasks:
                    list_tasks(self.agent, self, id_, key, envelope.params)
                case mcp.Route.REFUSE | mcp.Route.TASK | mcp.Route.LIST_TASKS:
                    self.fail(id_, Fault.NO_SUCH_METHOD, method=method)
                case _:
                    self._unknown(id_, key, method, envelope.params, now)
            if target is not None:
                self._send_on(id_, key, method, target, now)

    def _notified(self, method: str, envelope: wire.Envelope) -> None:
        if method == mcp.INITIALIZED:
            self.initialized = True
        elif method == mcp.CANCELLED:
            self._cancelled(wire.members(envelope.params) or {})
        else:
            self.drop("notification_not_routed")

    def _cancelled(self, params: dict[str, Raw]) -> None:
        """The client gave a request up: it has its outcome, and the tool side is told."""
        key = wire.id_key(params["requestId"]) if "requestId" in params else None
        if key is None:
            self.drop("cancelled_nothing_pending")
        elif key in self.calls:
            call = self._finish(key)
            call.tool.cancel(call, params.get("reason"))
            self._done(call)
        else:
            waiting = self.view.drop_waiting(key)
            if waiting is None:
                self.drop("cancelled_nothing_pending")
            elif waiting.kind is None:
                self.view.call_done(key)

    # --- what goes to a tool side ---

    def call_tool(
        self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float, waited_since: float | None = None
    ) -> None:
        """`tools/call`, by the name of the tool; one that nobody has waits, once, while a tool side is starting."""
        try:
            params = mcp.read_call_params(b"null" if raw is UNSET else raw)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            self.fail(id_, Fault.BAD_PARAMS, member="name")
            return
        name = params.name
        entry = self.view.find(Kind.TOOLS, name)
        if entry is None:
            if waited_since is None and self._held(id_, key, name, raw, now):
                return
            fault, facts = no_such_tool(self.agent, self.peer.scope, name, now)
            self.fail(id_, fault, **facts)
            self.view.call_done(key)
            return
        tool = entry.registration.live
        if tool is None:
            self._offline(id_, entry.registration, now)
            self.view.call_done(key)
            return
        if params.task is not UNSET and params.task != wire.NULL and wire.members(params.task) is None:
            self.fail(id_, Fault.BAD_PARAMS, member="task")
            self.view.call_done(key)
            return
        if not self.may_wait(id_):
            self.view.call_done(key)
            return
        token = None
        if params.meta is not UNSET:
            token = (wire.members(params.meta) or {}).get("progressToken")
        body: Params = raw
        given = params.arguments
        if given is not UNSET and memoryview(given)[0] != OPENS_OBJECT and no_arguments(given):
            body = without_arguments(raw)
        elif self.agent.limits.drop_empty or tool.peer.drop_empty:
            body = without_empty(raw, definition_of(tool.offers, entry.name)) or raw
        if entry.name != name:
            members = wire.members(body)
            assert members is not None, "params that gave a name are an object"
            body = encode(members | {"name": Raw(encode(entry.name))})
        self.last_call = name
        if params.meta is not UNSET or tool.peer.wants_caller:
            body = self.with_caller(body, tell=tool.peer.wants_caller)
        deadline = (waited_since or now) + (self.link.call_timeout or self.agent.limits.call_timeout)
        call = Call(self, tool, id_, key, name, now, deadline, token)
        if params.task is not UNSET:
            if params.task != wire.NULL and "tasks" in tool.capabilities and self.does_tasks:
                call.rewrite = partial(self.agent.tasks.begun, tool.registration or entry.registration, tool)
            else:  # who has no tasks takes the request as if it did not ask for one
                members = wire.members(body) or {}
                members.pop("task", None)
                body = encode(members)
        self.calls[key] = call
        tool.call(call, "tools/call", body)

    def _held(self, id_: bytes, key: bytes, name: str, raw: Raw | UnsetType, now: float) -> bool:
        """Whether a call waits, `tools_wait` at most, for a tool side that may bring the tool it names."""
        wait, provider = self.agent.limits.tools_wait, self.peer.provider

        def until(now: float) -> float:
            there = self.view.find(Kind.TOOLS, name) is not None
            return now if there else self.agent.starting_until(provider, Kind.TOOLS, now, wait)

        return self.view.hold(id_, key, until, lambda later: self.call_tool(id_, key, raw, later, now), now)

    def _send_on(self, id_: bytes, key: bytes, method: str, target: Target, now: float) -> None:
        """Any other request that a tool side answers."""
        tool, params = target.tool, target.params
        if tool is None:
            self._offline(id_, target.registration, now)
            return
        if not self.may_wait(id_):
            return
        meta = wire.members(params["_meta"]) if "_meta" in params else None
        token = meta.get("progressToken") if meta else None
        body: Params = encode(params)
        if meta is not None or tool.peer.wants_caller:
            body = self.with_caller(body, tell=tool.peer.wants_caller)
        deadline = now + (self.link.call_timeout or self.agent.limits.call_timeout)
        call = Call(self, tool, id_, key, target.name[:200], now, deadline, token, is_tool_call=False)
        call.done, call.rewrite, call.overdue, call.task = target.done, target.rewrite, target.overdue, target.task
        self.calls[key] = call
        tool.call(call, method, body)

    def _unknown(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """A method without a route: for the only tool side, if there is just one."""
        tool = self.agent.only_tool_side(self.peer.provider)
        if tool is None:
            self.fail(id_, Fault.NO_SUCH_METHOD, method=method[:100])
            return
        if not self.may_wait(id_):
            return
        members = wire.members(raw)
        meta = wire.members(members["_meta"]) if members and "_meta" in members else None
        token = meta.get("progressToken") if meta else None
        # params:null never reaches a tool side: TypeScript servers ignore such a request.
        body = UNSET if raw is UNSET or raw == wire.NULL else raw
        call = Call(self, tool, id_, key, method[:100], now, now + UNKNOWN_METHOD_TIMEOUT, token, is_tool_call=False)
        call.overdue = Fault.METHOD_NOT_ANSWERED
        self.calls[key] = call
        tool.call(call, method, body)

    def _offline(self, id_: bytes, registration: Registration, now: float) -> None:
        fault, facts = offline(self.agent, registration, now)
        self.fail(id_, fault, **facts)

    # --- outcomes ---

    def _finish(self, key: bytes) -> Call:
        """Take a call out of those that wait: it has its outcome, and its id is free again."""
        self.agent.in_flight -= 1
        call = self.calls.pop(key)
        if call.asks:
            self.reverse_requests.call_over(call)
        return call

    def _done(self, call: Call) -> None:
        if call.is_tool_call:
            self.view.call_done(call.key)

    def answered(self, call: Call, envelope: wire.Envelope, now: float) -> None:
        """The tool side answered: pass its result or its error on, under the id the client used."""
        self._finish(call.key)
        result, error = envelope.result, envelope.error
        # A null twin is read as absent: some programs write "error":null beside every result, or the other way round.
        if error is not UNSET and result is not UNSET and is_none(error):
            error = UNSET
        if result is not UNSET and error is not UNSET and bytes(result) in EMPTY_RESULTS:
            result = UNSET
        if result == wire.NULL:
            result = UNSET if call.is_tool_call else Raw(b"{}")
        elif result is not UNSET and not call.is_tool_call and not is_object(result):
            result = UNSET  # clients drop such an answer; of a tool's it is known what it means
        succeeded = False
        if error is UNSET and result is not UNSET:
            succeeded = True
            if call.rewrite is not None:
                result = call.rewrite(call, result, now)
            limit = self.agent.limits.max_result_bytes
            if call.is_tool_call and (
                self.client.name in (XIAOZHI, CONSOLE) or len(result) > limit or memoryview(result)[0] != OPENS_OBJECT
            ):
                result = readable(self, call.id, result)
            frame = wire.result(call.id, result)
        elif result is UNSET and error is not UNSET and error != wire.NULL:
            said = proper(error)
            if said is not error:
                call.tool.note(Note.ERRORS_RESPELLED, now)
            if self.client.name in (XIAOZHI, CONSOLE):
                room = FRAME_LIMIT - len(wire.error(call.id, b""))
                said = error_for_xiaozhi(said, room, self.agent.limits.language)
            frame = wire.error(call.id, said)
        else:
            call.tool.drop("malformed_answer")
            frame = self.failure(call.id, Fault.MALFORMED_ANSWER, tool_side=call.tool.name, tool=call.name)
        if len(frame) > FRAME_LIMIT and self.client.name in (XIAOZHI, CONSOLE):
            facts: dict[str, object] = {"tool": call.name, "size": len(frame), "limit": FRAME_LIMIT}
            frame = self.failure(call.id, Fault.RESULT_TOO_LARGE, **facts)
        self.link.send(frame, call.key)
        if call.done is not None:
            call.done(succeeded)
        self._done(call)

    def timed_out(self, call: Call, now: float) -> None:
        """The tool side did not answer in time; it was told to stop."""
        self._finish(call.key)
        silent = call.tool.heard <= call.sent
        self.fail(
            call.id,
            call.overdue,
            tool_side=call.tool.name,
            called=call.name,
            seconds=round(now - call.sent, 1),
            zh="，期间没有收到它的任何消息" if silent else "，但它仍在应答其他消息",
            en=", and nothing else was heard from it" if silent else ", though it answers otherwise",
        )
        self._done(call)

    def tool_lost(self, call: Call, ended: Ended) -> None:
        """The tool side went away before it answered."""
        self._finish(call.key)
        why = ended.end.words(self.agent.limits.language)
        self.fail(call.id, Fault.TOOL_SIDE_LOST, tool_side=call.tool.name, tool=call.name, why=why)
        self._done(call)

    def lacks(self, call: Call, ability: str) -> None:
        """The tool side needs something of the client that it does not offer."""
        self._finish(call.key)
        call.tool.cancel(call)
        self.fail(call.id, Fault.LACKS_ABILITY, ability=ability)
        self._done(call)

    # --- the end ---

    def ended(self, now: float) -> None:
        """The link is gone: nobody waits for its calls any more, so their tool sides are told to stop."""
        self._silence.cancel()
        self.view.ended()
        for key in list(self.calls):
            call = self._finish(key)
            call.tool.cancel(call)
        self.subscriptions.ended(now)
