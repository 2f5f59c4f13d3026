"""Requests of one client that are sent on to a tool side, and what becomes of them: one outcome each, always."""

from collections.abc import Callable
from functools import partial
from sys import maxsize
from typing import TYPE_CHECKING

from msgspec import UNSET, DecodeError, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.call import Call, Rewrite
from mcp_endpoint.broker.catalogue import Entry
from mcp_endpoint.broker.link import Ended
from mcp_endpoint.broker.offers.offer import definition_of
from mcp_endpoint.broker.permission import reaches
from mcp_endpoint.broker.registration import Registration
from mcp_endpoint.broker.subscriptions import MAX_SUBSCRIPTIONS, Subscriptions
from mcp_endpoint.broker.tasks import Task, does_tasks, of_task, result_of
from mcp_endpoint.broker.tool_side import ToolSide
from mcp_endpoint.errors import Fault, Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.absent_arguments import no_arguments, without_arguments, without_empty
from mcp_endpoint.wire.mcp import Kind
from mcp_endpoint.wire.repair.error_objects import EMPTY_RESULTS, is_none, proper
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, FRAME_LIMIT, XIAOZHI, error_for_xiaozhi, for_xiaozhi
from mcp_endpoint.wire.xiaozhi.cut import shortened
from mcp_endpoint.wire.xiaozhi.spoken import spoken

if TYPE_CHECKING:
    from mcp_endpoint.broker.device_side import DeviceSide

UNKNOWN_METHOD_TIMEOUT = 5.0
"""Seconds the only tool side has to answer a method the broker does not know."""
AROUND_RESULT = len(wire.result(b"", b""))
"""Bytes of an answer beside its result and its id."""
OPENS_OBJECT = ord("{")
"""The first byte of a value that is an object. Where each call comes by, it is looked at without a function's cost."""

Params = Raw | bytes | UnsetType


class Relay:
    """The requests of one device side that wait for a tool side, by the key of their id."""

    __slots__ = ("calls", "device", "subscriptions")

    def __init__(self, device: "DeviceSide") -> None:
        self.device = device
        self.calls: dict[bytes, tuple[Call, ToolSide]] = {}
        self.subscriptions = Subscriptions(device)

    # --- where to ---

    def call_tool(
        self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float, waited_since: float | None = None
    ) -> None:
        """`tools/call`, by the name of the tool; one that nobody has waits, once, while a tool side is starting."""
        device = self.device
        try:
            params = mcp.read_call_params(b"null" if raw is UNSET else raw)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            device.fail(id_, Fault.BAD_PARAMS, member="name")
            return
        name = params.name
        entry = device.view.find(Kind.TOOLS, name)
        if entry is None:
            if waited_since is None and self._held(id_, key, name, raw, now):
                return
            device.no_such_tool(id_, name, now)
            device.view.call_done(key)
            return
        tool = entry.registration.live
        if tool is None:
            self._offline(id_, entry.registration, now)
            device.view.call_done(key)
            return
        if params.task is not UNSET and params.task != wire.NULL and wire.members(params.task) is None:
            device.fail(id_, Fault.BAD_PARAMS, member="task")
            device.view.call_done(key)
            return
        if not device.may_wait(id_):
            device.view.call_done(key)
            return
        token = None
        if params.meta is not UNSET:
            token = (wire.members(params.meta) or {}).get("progressToken")
        body: Params = raw
        given = params.arguments
        if given is not UNSET and memoryview(given)[0] != OPENS_OBJECT and no_arguments(given):
            body = without_arguments(raw)
        elif device.agent.limits.drop_empty or tool.link.peer.drop_empty:
            body = without_empty(raw, definition_of(tool.offers, entry.name)) or raw
        if entry.name != name:
            members = wire.members(body)
            assert members is not None, "params that gave a name are an object"
            body = encode(members | {"name": Raw(encode(entry.name))})
        device.last_call = name
        if params.meta is not UNSET or tool.link.peer.wants_caller:
            body = device.with_caller(body, tell=tool.link.peer.wants_caller)
        deadline = (waited_since or now) + (device.link.call_timeout or device.agent.limits.call_timeout)
        call = Call(self, id_, key, name, now, deadline, token)
        if params.task is not UNSET:
            if params.task != wire.NULL and "tasks" in tool.capabilities and does_tasks(device):
                call.rewrite = partial(device.agent.tasks.begun, tool.registration or entry.registration)
            else:  # who has no tasks takes the request as if it did not ask for one
                members = wire.members(body) or {}
                members.pop("task", None)
                body = encode(members)
        self.calls[key] = (call, tool)
        tool.call(call, "tools/call", body)

    def _held(self, id_: bytes, key: bytes, name: str, raw: Raw | UnsetType, now: float) -> bool:
        """Whether a call waits, `tools_wait` at most, for a tool side that may bring the tool it names."""
        device, view = self.device, self.device.view
        wait = device.agent.limits.tools_wait

        def until(now: float) -> float:
            there = view.find(Kind.TOOLS, name) is not None
            return now if there else device.agent.starting_until(device, Kind.TOOLS, now, wait)

        return view.hold(id_, key, until, lambda later: self.call_tool(id_, key, raw, later, now), now)

    def get_prompt(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """`prompts/get`, by the name of the prompt."""
        params = wire.members(raw) or {}
        name = mcp.string(params.get("name"))
        if name is None:
            self.device.fail(id_, Fault.BAD_PARAMS, member="name")
            return
        entry = self.device.view.find(Kind.PROMPTS, name)
        if entry is None:
            self._not_there(id_, Fault.UNKNOWN_PROMPT, now, prompt=name[:100])
            return
        if no_arguments(params.get("arguments", UNSET)):
            del params["arguments"]
        if entry.name != name:
            params["name"] = Raw(encode(entry.name))
        self._send(id_, key, method, params, entry.registration, entry.registration.live, name, now)

    def read(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """`resources/read`, by URI."""
        params = wire.members(raw) or {}
        target = self._resource(id_, params.get("uri"), now)
        if target is not None:
            registration, tool, own, uri = target
            self._send(id_, key, method, _with_uri(params, own, uri), registration, tool, uri, now)

    def subscribe(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """`resources/subscribe`: sent on for the first subscriber, answered here for the others."""
        params = wire.members(raw) or {}
        target = self._resource(id_, params.get("uri"), now)
        if target is None:
            return
        registration, tool, own, uri = target
        held = self.subscriptions
        if own in registration.subscribers:
            held.add(registration, own, uri)
            self.device.link.send(wire.result(id_, b"{}"), key)
        elif len(held) >= MAX_SUBSCRIPTIONS:
            self.device.fail(id_, Fault.TOO_MANY_SUBSCRIPTIONS, limit=MAX_SUBSCRIPTIONS)
        else:

            def done(succeeded: bool) -> None:
                if succeeded and reaches(self.device.agent, registration):
                    held.add(registration, own, uri)

            self._send(id_, key, method, _with_uri(params, own, uri), registration, tool, uri, now, done)

    def unsubscribe(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """`resources/unsubscribe`: sent on for the last subscriber only."""
        params = wire.members(raw) or {}
        target = self._resource(id_, params.get("uri"), now)
        if target is None:
            return
        registration, tool, own, uri = target
        if (
            self.subscriptions.holds(registration, own)
            and self.subscriptions.remove(registration, own)
            and tool is not None
        ):
            self._send(id_, key, method, _with_uri(params, own, uri), registration, tool, uri, now)
        else:
            self.device.link.send(wire.result(id_, b"{}"), key)

    def complete(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """`completion/complete`, by the prompt or the resource that `ref` means."""
        params = wire.members(raw) or {}
        ref = wire.members(params.get("ref", UNSET)) or {}
        if mcp.string(ref.get("type")) == "ref/prompt":
            kind, member = Kind.PROMPTS, "name"
        else:
            kind, member = Kind.TEMPLATES, "uri"
        name = mcp.string(ref.get(member))
        if name is None:
            self.device.fail(id_, Fault.BAD_PARAMS, member=f"ref.{member}")
            return
        view = self.device.view
        entry = view.find(kind, name) or (None if kind is Kind.PROMPTS else view.find_resource(name))
        if entry is None:
            fault = Fault.UNKNOWN_PROMPT if kind is Kind.PROMPTS else Fault.UNKNOWN_RESOURCE
            facts = {"prompt" if kind is Kind.PROMPTS else "uri": name[:200]}
            self._not_there(id_, fault, now, **facts)
            return
        if entry.name != name:
            params["ref"] = Raw(encode(ref | {member: Raw(encode(entry.name))}))
        self._send(id_, key, method, params, entry.registration, entry.registration.live, name, now)

    def task(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """`tasks/get`, `tasks/result` and `tasks/cancel`, by the id of the task."""
        device = self.device
        params = wire.members(raw) or {}
        public = mcp.string(params.get("taskId"))
        if public is None:
            device.fail(id_, Fault.BAD_PARAMS, member="taskId")
            return
        task = device.agent.tasks.find(public, device.link.peer.provider)
        if task is None:
            device.fail(id_, Fault.UNKNOWN_TASK, task=public[:100])
            return
        params["taskId"] = Raw(encode(task.own))
        rewrite, overdue = partial(of_task, task), Fault.CALL_TIMED_OUT
        if method == "tasks/result":
            # It comes when the task is over. A client may give up in silence, so it waits no longer than for a call.
            rewrite, overdue = partial(result_of, task), Fault.TASK_NOT_OVER
        self._send(
            id_,
            key,
            method,
            params,
            task.registration,
            task.tool,
            public,
            now,
            rewrite=rewrite,
            overdue=overdue,
            task=task,
        )

    def unknown(self, id_: bytes, key: bytes, method: str, raw: Raw | UnsetType, now: float) -> None:
        """A method without a route: for the only tool side, if there is just one."""
        device = self.device
        tool = device.agent.only_tool_side(device.link.peer.provider)
        if tool is None:
            device.fail(id_, Fault.NO_SUCH_METHOD, method=method[:100])
            return
        if not device.may_wait(id_):
            return
        members = wire.members(raw)
        meta = wire.members(members["_meta"]) if members and "_meta" in members else None
        token = meta.get("progressToken") if meta else None
        # params:null never reaches a tool side: TypeScript servers ignore such a request.
        body = UNSET if raw is UNSET or raw == wire.NULL else raw
        deadline = now + UNKNOWN_METHOD_TIMEOUT
        call = Call(self, id_, key, method[:100], now, deadline, token, is_tool_call=False)
        call.overdue = Fault.METHOD_NOT_ANSWERED
        self.calls[key] = (call, tool)
        tool.call(call, method, body)

    def _resource(
        self, id_: bytes, raw: Raw | None, now: float
    ) -> tuple[Registration, ToolSide | None, str, str] | None:
        """Place, tool side, own URI and URI as asked of a resource; None if the request was answered with an error.

        A tool side may have more resources than it lists, so the only one that has any is asked for what none lists.
        """
        uri = mcp.string(raw)
        if uri is None:
            self.device.fail(id_, Fault.BAD_PARAMS, member="uri")
            return None
        agent = self.device.agent
        entry = self.device.view.find_resource(uri)
        if entry is None:
            only = agent.only_tool_side(self.device.link.peer.provider, Kind.RESOURCES.capability)
            if only is None or only.registration is None:
                self._not_there(id_, Fault.UNKNOWN_RESOURCE, now, uri=uri[:200])
                return None
            entry = Entry(only.registration, uri)
        return entry.registration, entry.registration.live, entry.name, uri

    # --- on the way ---

    def _timeout(self) -> float:
        return self.device.link.call_timeout or self.device.agent.limits.call_timeout

    def _send(
        self,
        id_: bytes,
        key: bytes,
        method: str,
        params: dict[str, Raw],
        registration: Registration,
        tool: ToolSide | None,
        name: str,
        now: float,
        done: Callable[[bool], None] | None = None,
        rewrite: Rewrite | None = None,
        overdue: Fault = Fault.CALL_TIMED_OUT,
        task: Task | None = None,
    ) -> None:
        device = self.device
        if tool is None:
            self._offline(id_, registration, now)
            return
        if not device.may_wait(id_):
            return
        meta = wire.members(params["_meta"]) if "_meta" in params else None
        token = meta.get("progressToken") if meta else None
        body: Params = encode(params)
        if meta is not None or tool.link.peer.wants_caller:
            body = device.with_caller(body, tell=tool.link.peer.wants_caller)
        deadline = now + self._timeout()
        call = Call(self, id_, key, name[:200], now, deadline, token, is_tool_call=False, done=done)
        call.rewrite, call.overdue, call.task = rewrite, overdue, task
        self.calls[key] = (call, tool)
        tool.call(call, method, body)

    def _offline(self, id_: bytes, registration: Registration, now: float) -> None:
        fault, facts = self.device.agent.offline(registration, now)
        self.device.fail(id_, fault, **facts)

    def _not_there(self, id_: bytes, fault: Fault, now: float, **facts: object) -> None:
        """No such prompt or resource; or nobody who could have one."""
        agent = self.device.agent
        if not agent.live_tools():
            fault, facts = agent.nobody(now)
        self.device.fail(id_, fault, **facts)

    def cancel(self, key: bytes, reason: Raw | None = None) -> None:
        """The client gave a request up: it has its outcome, and the tool side is told."""
        call, tool = self._finish(key)
        tool.cancel(call, reason)
        self._done(call)

    def ended(self, now: float) -> None:
        """Nobody waits for an answer any more."""
        for key in list(self.calls):
            call, tool = self._finish(key)
            tool.cancel(call)
        self.subscriptions.ended(now)

    # --- outcomes ---

    def _finish(self, key: bytes) -> tuple[Call, ToolSide]:
        """Take a call out of those that wait: it has its outcome, and its id is free again."""
        self.device.agent.in_flight -= 1
        call, tool = self.calls.pop(key)
        if call.asks:
            self.device.reverse_requests.call_over(call)
        return call, tool

    def answered(self, call: Call, tool: ToolSide, envelope: wire.Envelope, now: float) -> None:
        """The tool side answered: pass its result or its error on, under the id the client used."""
        device = self.device
        self._finish(call.key)
        result, error = envelope.result, envelope.error
        # A null twin is read as absent: some programs write "error":null beside every result, or the other way round.
        if error is not UNSET and result is not UNSET and is_none(error):
            error = UNSET
        if result is not UNSET and error is not UNSET and bytes(result) in EMPTY_RESULTS:
            result = UNSET
        if result == wire.NULL:
            result = UNSET if call.is_tool_call else Raw(b"{}")
        elif result is not UNSET and not call.is_tool_call and not _is_object(result):
            result = UNSET  # clients drop such an answer; of a tool's it is known what it means
        succeeded = False
        if error is UNSET and result is not UNSET:
            succeeded = True
            if call.rewrite is not None:
                result = call.rewrite(call, tool, result, now)
            limit = device.agent.limits.max_result_bytes
            if call.is_tool_call and (
                device.client.name in (XIAOZHI, CONSOLE) or len(result) > limit or memoryview(result)[0] != OPENS_OBJECT
            ):
                result = self._readable(call, result)
            frame = wire.result(call.id, result)
        elif result is UNSET and error is not UNSET and error != wire.NULL:
            said = proper(error)
            if said is not error:
                tool.note(Note.ERRORS_RESPELLED, now)
            if device.client.name in (XIAOZHI, CONSOLE):
                room = FRAME_LIMIT - len(wire.error(call.id, b""))
                said = error_for_xiaozhi(said, room, device.agent.limits.language)
            frame = wire.error(call.id, said)
        else:
            tool.drop("malformed_answer")
            frame = device.failure(call.id, Fault.MALFORMED_ANSWER, tool_side=tool.name, tool=call.name)
        if len(frame) > FRAME_LIMIT and device.client.name in (XIAOZHI, CONSOLE):
            facts: dict[str, object] = {"tool": call.name, "size": len(frame), "limit": FRAME_LIMIT}
            frame = device.failure(call.id, Fault.RESULT_TOO_LARGE, **facts)
        device.link.send(frame, call.key)
        if call.done is not None:
            call.done(succeeded)
        self._done(call)

    def _readable(self, call: Call, result: Raw) -> Raw:
        """The result of a tool as its client can read it, and as much of it as it can take."""
        device, limits = self.device, self.device.agent.limits
        # Programs that come by HTTP have time and room; a device reads its results out.
        limit = limits.max_result_bytes if device.link.call_timeout is None else maxsize
        if device.client.name in (XIAOZHI, CONSOLE):
            limit = min(limit, FRAME_LIMIT - AROUND_RESULT - len(call.id))
        if not _is_object(result):
            result = Raw(spoken(result, limits.language))
        make = for_xiaozhi if device.client.name == XIAOZHI else shortened
        return Raw(make(result, limit, limits.language))

    def timed_out(self, call: Call, tool: ToolSide, now: float) -> None:
        """The tool side did not answer in time; it was told to stop."""
        self._finish(call.key)
        silent = tool.heard <= call.sent
        self.device.fail(
            call.id,
            call.overdue,
            tool_side=tool.name,
            called=call.name,
            seconds=round(now - call.sent, 1),
            zh="，期间没有收到它的任何消息" if silent else "，但它仍在应答其他消息",
            en=", and nothing else was heard from it" if silent else ", though it answers otherwise",
        )
        self._done(call)

    def tool_lost(self, call: Call, tool: ToolSide, ended: Ended) -> None:
        """The tool side went away before it answered."""
        self._finish(call.key)
        why = ended.end.words(self.device.agent.limits.language)
        self.device.fail(call.id, Fault.TOOL_SIDE_LOST, tool_side=tool.name, tool=call.name, why=why)
        self._done(call)

    def lacks(self, call: Call, tool: ToolSide, ability: str) -> None:
        """The tool side needs something of the client that it does not offer."""
        self._finish(call.key)
        tool.cancel(call)
        self.device.fail(call.id, Fault.LACKS_ABILITY, ability=ability)
        self._done(call)

    def _done(self, call: Call) -> None:
        if call.is_tool_call:
            self.device.view.call_done(call.key)


def _with_uri(params: dict[str, Raw], own: str, uri: str) -> dict[str, Raw]:
    return params if own == uri else params | {"uri": Raw(encode(own))}


def _is_object(value: Raw) -> bool:
    return memoryview(value)[0] == OPENS_OBJECT
