"""Where the requests of a client lead, other than `tools/call`: to which tool side, and in which words."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from msgspec import UNSET, Raw, UnsetType
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.agent_state import AgentState
from mcp_endpoint.broker.agent_state.catalogue import Entry
from mcp_endpoint.broker.agent_state.permission import reaches
from mcp_endpoint.broker.agent_state.tasks import Task, of_task, result_of
from mcp_endpoint.broker.call import Caller, Rewrite
from mcp_endpoint.broker.device_side.device_view import DeviceView
from mcp_endpoint.broker.device_side.no_tool import nobody
from mcp_endpoint.broker.tool_side.program import Registration, ToolProgram
from mcp_endpoint.broker.tool_side.subscriptions import MAX_SUBSCRIPTIONS, Subscriptions
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.absent_arguments import no_arguments
from mcp_endpoint.wire.mcp import Kind


class Target(NamedTuple):
    """Where one request leads. `tool` is None while the tool side of the registration is away."""

    registration: Registration
    tool: ToolProgram | None
    name: str
    """What the client asks for, in its own words."""
    params: dict[str, Raw]
    """In the words of the tool side."""
    done: Callable[[bool], None] | None = None
    """Told whether there was a result."""
    rewrite: Rewrite | None = None
    """What the result is made into."""
    overdue: Fault = Fault.CALL_TIMED_OUT
    """What is said if it is not answered in time."""
    task: Task | None = None
    """The one whose result it waits for."""


class Targets:
    """Finds them for one client. None where the request is answered already, with an error or because all is done."""

    __slots__ = ("_agent", "_device", "_subscriptions", "_view")

    def __init__(self, device: Caller, agent: AgentState, view: DeviceView, subscriptions: Subscriptions) -> None:
        self._device = device
        self._agent = agent
        self._view = view
        self._subscriptions = subscriptions

    def get_prompt(self, id_: bytes, raw: Raw | UnsetType, now: float) -> Target | None:
        """`prompts/get`, by the name of the prompt."""
        params = wire.members(raw) or {}
        name = mcp.string(params.get("name"))
        if name is None:
            self._device.fail(id_, Fault.BAD_PARAMS, member="name")
            return None
        entry = self._view.find(Kind.PROMPTS, name)
        if entry is None:
            self._not_there(id_, Fault.UNKNOWN_PROMPT, now, prompt=name[:100])
            return None
        if no_arguments(params.get("arguments", UNSET)):
            del params["arguments"]
        if entry.name != name:
            params["name"] = Raw(encode(entry.name))
        return Target(entry.registration, entry.registration.live, name, params)

    def read(self, id_: bytes, raw: Raw | UnsetType, now: float) -> Target | None:
        """`resources/read`, by URI."""
        params = wire.members(raw) or {}
        found = self._resource(id_, params.get("uri"), now)
        if found is None:
            return None
        entry, uri = found
        return Target(entry.registration, entry.registration.live, uri, _with_uri(params, entry.name, uri))

    def subscribe(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> Target | None:
        """`resources/subscribe`: sent on for the first subscriber, answered here for the others."""
        params = wire.members(raw) or {}
        found = self._resource(id_, params.get("uri"), now)
        if found is None:
            return None
        (registration, own), uri = found
        held = self._subscriptions
        if own in registration.subscribers:
            held.add(registration, own, uri)
            self._device.link.send(wire.result(id_, b"{}"), key)
            return None
        if len(held) >= MAX_SUBSCRIPTIONS:
            self._device.fail(id_, Fault.TOO_MANY_SUBSCRIPTIONS, limit=MAX_SUBSCRIPTIONS)
            return None

        def done(succeeded: bool) -> None:
            if succeeded and reaches(self._agent, registration):
                held.add(registration, own, uri)

        return Target(registration, registration.live, uri, _with_uri(params, own, uri), done)

    def unsubscribe(self, id_: bytes, key: bytes, raw: Raw | UnsetType, now: float) -> Target | None:
        """`resources/unsubscribe`: sent on for the last subscriber only."""
        params = wire.members(raw) or {}
        found = self._resource(id_, params.get("uri"), now)
        if found is None:
            return None
        (registration, own), uri = found
        held, tool = self._subscriptions, registration.live
        if held.holds(registration, own) and held.remove(registration, own) and tool is not None:
            return Target(registration, tool, uri, _with_uri(params, own, uri))
        self._device.link.send(wire.result(id_, b"{}"), key)
        return None

    def complete(self, id_: bytes, raw: Raw | UnsetType, now: float) -> Target | None:
        """`completion/complete`, by the prompt or the resource that `ref` means."""
        params = wire.members(raw) or {}
        ref = wire.members(params.get("ref", UNSET)) or {}
        if mcp.string(ref.get("type")) == "ref/prompt":
            kind, member = Kind.PROMPTS, "name"
        else:
            kind, member = Kind.TEMPLATES, "uri"
        name = mcp.string(ref.get(member))
        if name is None:
            self._device.fail(id_, Fault.BAD_PARAMS, member=f"ref.{member}")
            return None
        entry = self._view.find(kind, name) or (None if kind is Kind.PROMPTS else self._view.find_resource(name))
        if entry is None:
            fault = Fault.UNKNOWN_PROMPT if kind is Kind.PROMPTS else Fault.UNKNOWN_RESOURCE
            facts = {"prompt" if kind is Kind.PROMPTS else "uri": name[:200]}
            self._not_there(id_, fault, now, **facts)
            return None
        if entry.name != name:
            params["ref"] = Raw(encode(ref | {member: Raw(encode(entry.name))}))
        return Target(entry.registration, entry.registration.live, name, params)

    def task(self, id_: bytes, method: str, raw: Raw | UnsetType) -> Target | None:
        """`tasks/get`, `tasks/result` and `tasks/cancel`, by the id of the task."""
        params = wire.members(raw) or {}
        public = mcp.string(params.get("taskId"))
        if public is None:
            self._device.fail(id_, Fault.BAD_PARAMS, member="taskId")
            return None
        task = self._agent.tasks.find(public, self._device.peer.provider)
        if task is None:
            self._device.fail(id_, Fault.UNKNOWN_TASK, task=public[:100])
            return None
        params["taskId"] = Raw(encode(task.own))
        rewrite, overdue = partial(of_task, task), Fault.CALL_TIMED_OUT
        if method == "tasks/result":
            # It comes when the task is over. A client may give up in silence, so it waits no longer than for a call.
            rewrite, overdue = partial(result_of, task), Fault.TASK_NOT_OVER
        return Target(task.registration, task.tool, public, params, rewrite=rewrite, overdue=overdue, task=task)

    def _resource(self, id_: bytes, raw: Raw | None, now: float) -> tuple[Entry, str] | None:
        """Where a resource leads, and its URI as asked; None if the request was answered with an error.

        A tool side may have more resources than it lists, so the only one that has any is asked for what none lists.
        """
        uri = mcp.string(raw)
        if uri is None:
            self._device.fail(id_, Fault.BAD_PARAMS, member="uri")
            return None
        entry = self._view.find_resource(uri)
        if entry is None:
            only = self._agent.only_tool_side(self._device.peer.provider, Kind.RESOURCES.capability)
            if only is None or only.registration is None:
                self._not_there(id_, Fault.UNKNOWN_RESOURCE, now, uri=uri[:200])
                return None
            entry = Entry(only.registration, uri)
        return entry, uri

    def _not_there(self, id_: bytes, fault: Fault, now: float, **facts: object) -> None:
        """No such prompt or resource; or nobody who could have one."""
        if not self._agent.live_tools():
            fault, facts = nobody(self._agent, now)
        self._device.fail(id_, fault, **facts)


def _with_uri(params: dict[str, Raw], own: str, uri: str) -> dict[str, Raw]:
    return params if own == uri else params | {"uri": Raw(encode(own))}
