"""Tasks of MCP 2025-11-25: calls that a tool side answered with a promise, and who may ask what became of them.

A task belongs to the agent whose call began it, whichever of its clients asks; it is found by a table, under the id
that the tool side gave it unless another tool side of the agent gave the same one
(docs/protocol.md, section 16).
"""

from typing import TYPE_CHECKING

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.permission import reaches
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.xiaozhi.answers import CONSOLE, XIAOZHI

if TYPE_CHECKING:
    from mcp_endpoint.broker.call import Call
    from mcp_endpoint.broker.device_side import DeviceSide
    from mcp_endpoint.broker.registration import Registration
    from mcp_endpoint.broker.tool_side import ToolSide

MOST_TASKS = 1000
"""Tasks of one agent that are known; one more, and the oldest that is over is forgotten, else the oldest."""
LONGEST_KEPT = 86_400.0
"""Seconds after its beginning that a task is known, whatever its tool side promises."""
LONGEST_ID = 256
"""Characters of a tool side's id of a task."""
LONGEST_FACT, LONGEST_MESSAGE = 64, 1000
"""Bytes of each member of a task, and of its message, that are kept and told."""
PAGE = 100
"""Tasks in one answer to `tasks/list`."""
OVER = ("completed", "failed", "cancelled")
STATUSES = frozenset({"working", "input_required", *OVER})
NEEDED = frozenset({"status", "createdAt", "lastUpdatedAt", "ttl"})
"""Members without which the SDKs take no task, nor a list that it is in."""
_TEXTS = {"statusMessage": LONGEST_MESSAGE, "createdAt": LONGEST_FACT, "lastUpdatedAt": LONGEST_FACT}
_NUMBERS = ("ttl", "pollInterval")


class Task:
    """One of them. `own` is its id at the tool side, `id` the one that the agent's clients know."""

    __slots__ = ("_link", "agent", "call", "expires", "facts", "id", "number", "over", "own", "registration", "timer")

    def __init__(
        self, id_: str, own: str, registration: "Registration", call: "Call", tool: "ToolSide", expires: float
    ) -> None:
        self.id = id_
        self.own = own
        self.registration = registration
        self.agent = call.relay.device.agent
        self.over = False
        self.facts: dict[str, Raw] = {"taskId": Raw(encode(id_))}
        """What was told of it last, as far as it is short."""
        self.call: Call | None = call if call.progress_token is not None else None
        """What began it, while its progress is of interest."""
        self.number = call.number
        self._link = tool.number
        self.expires = expires
        self.timer = self.agent.timers.at(expires, lambda _: self.agent.tasks.forget(self))
        registration.tasks[own] = self
        registration.count_begun(self.agent, 1)

    @property
    def tool(self) -> "ToolSide | None":
        """Whom to ask: the link that it began on, else one that serves from its place, else the program elsewhere."""
        registration = self.registration
        began = (
            tool
            for tool in (registration.live, *registration.standby)
            if tool is not None and tool.number == self._link
        )
        heirs = (
            one.live
            for one in self.agent.registrations()
            if one.identity == registration.identity and one.live is not None
        )
        return next(began, registration.live) or next(heirs, None)

    def began_on(self, tool: "ToolSide") -> bool:
        """Whether that is the link it began on."""
        return tool.number == self._link

    def told(self, facts: dict[str, Raw]) -> None:
        """The tool side said how it is; what cannot be meant, or is too long, is as if it had not been said."""
        self.facts.pop("statusMessage", None)
        for name, limit in _TEXTS.items():
            raw = facts.get(name)
            if raw is not None and len(raw) <= limit and mcp.string(raw) is not None:
                self.facts[name] = raw
        for name in _NUMBERS:
            raw = facts.get(name)
            if raw is not None and len(raw) <= LONGEST_FACT and (bytes(raw).isdigit() or raw == wire.NULL):
                self.facts[name] = raw
        status = mcp.string(facts.get("status"))
        if status in STATUSES and not self.over:
            self.facts["status"] = facts["status"]
            if status in OVER:
                self.end()

    def ended(self, *, failed: bool) -> None:
        """Its result was told."""
        if not self.over:
            self.facts["status"] = Raw(b'"failed"' if failed else b'"completed"')
            self.end()

    def end(self) -> None:
        """Nothing more is told of it unasked."""
        self.hear_no_more()
        if not self.over:
            self.over = True
            self.registration.count_begun(self.agent, -1)

    def hear_no_more(self) -> None:
        """Nobody wants its progress any more."""
        self.call = None
        tool = self.tool
        if tool is not None and tool.tasks.get(self.number) is self:
            del tool.tasks[self.number]


class Tasks:
    """The tasks of one agent, in the order in which they began."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def kept_until(self) -> float:
        """When the last of them will be forgotten; 0 if there is none."""
        return max((task.expires for task in self._by_id.values()), default=0.0)

    def begun(self, registration: "Registration", call: "Call", tool: "ToolSide", result: Raw, now: float) -> Raw:
        """A call that asked for a task is answered: the answer as its client is to see it."""
        members = wire.members(result) or {}
        facts = wire.members(members.get("task", UNSET)) or {}
        own = mcp.string(facts.get("taskId"))
        if own is None or len(own) > LONGEST_ID:
            return result  # answered at once, or with what no client could ask for
        if len(self._by_id) >= MOST_TASKS:
            tasks = self._by_id.values()
            self.forget(next((task for task in tasks if task.over), next(iter(tasks))))
        earlier = registration.tasks.get(own)
        if earlier is not None:
            earlier.agent.tasks.forget(earlier)
        public, number = own, 2
        while public in self._by_id:
            public, number = f"{own}~{number}", number + 1
        task = self._by_id[public] = Task(public, own, registration, call, tool, now + _seconds_kept(facts))
        if task.call is not None:
            tool.tasks[task.number] = task
        task.told(facts)
        return Raw(encode(members | {"task": Raw(encode(facts | {"taskId": task.facts["taskId"]}))}))

    def find(self, id_: str, provider: str | None) -> Task | None:
        """The task with that id, for a client that sees one tool side alone or all of them."""
        task = self._by_id.get(id_)
        if (
            task is None
            or provider not in (None, task.registration.alias)
            or not reaches(task.agent, task.registration)
        ):
            return None
        return task

    def listed(self, provider: str | None, cursor: str | None) -> bytes | None:
        """The result of `tasks/list`, each as it was told of last; None for a cursor that is none (any more)."""
        if cursor is not None and cursor not in self._by_id:
            return None
        ids = list(self._by_id)
        behind = ids[ids.index(cursor) + 1 :] if cursor is not None else ids
        seen = [task for id_ in behind if (task := self.find(id_, provider)) and task.facts.keys() >= NEEDED]
        page: dict[str, object] = {"tasks": [task.facts for task in seen[:PAGE]]}
        return encode(page | ({"nextCursor": seen[PAGE - 1].id} if len(seen) > PAGE else {}))

    def left(self, device: "DeviceSide") -> None:
        """A client is gone; its tasks go on, and any other one of the agent may ask for them."""
        for task in self._by_id.values():
            if task.call is not None and task.call.relay.device is device:
                task.hear_no_more()

    def forget(self, task: Task) -> None:
        """Nobody can ask for a task any more."""
        task.timer.cancel()
        task.end()
        del self._by_id[task.id]
        if task.registration.tasks.get(task.own) is task:
            del task.registration.tasks[task.own]


def _seconds_kept(facts: dict[str, Raw]) -> float:
    raw = bytes(facts.get("ttl", b""))
    return min(int(raw) / 1000, LONGEST_KEPT) if raw.isdigit() and len(raw) < 12 else LONGEST_KEPT


# --- what a tool side says of a task ---


def of_task(task: Task, call: "Call", tool: "ToolSide", result: Raw, now: float) -> Raw:
    """The answer to `tasks/get` or `tasks/cancel`, under the id that the client knows."""
    facts = wire.members(result)
    if facts is None:
        return result
    task.told(facts)
    return Raw(encode(facts | {"taskId": task.facts["taskId"]}))


def result_of(task: Task, call: "Call", tool: "ToolSide", result: Raw, now: float) -> Raw:
    """The answer to `tasks/result`: that of the call itself, with a mark that says whose it is."""
    members = wire.members(result)
    if members is None:
        return result
    task.ended(failed=bytes(members.get("isError", b"")) == b"true")
    meta = wire.members(members.get("_meta", UNSET)) or {}
    meta[mcp.RELATED_TASK] = Raw(encode({"taskId": task.id}))
    return Raw(encode(members | {"_meta": Raw(encode(meta))}))


def status_told(tool: "ToolSide", params: dict[str, Raw]) -> bool:
    """A tool side says how a task is: its agent's clients hear of it. Whether there is such a task."""
    own = mcp.string(params.get("taskId"))
    task = tool.registration.tasks.get(own) if tool.registration is not None and own is not None else None
    if task is None or task.tool is not tool:
        return False  # of two look-alikes each may count its tasks
    task.told(params)
    frame = wire.notification(mcp.TASK_STATUS, encode(task.facts))
    for device in list(task.agent.devices) if reaches(task.agent, task.registration) else ():
        if does_tasks(device) and device.initialized and device.link.peer.provider in (None, task.registration.alias):
            device.link.send(frame)
    return True


def moved(tool: "ToolSide", before: "Registration", after: "Registration") -> None:
    """A tool side has another place now: what began on its link goes with it."""
    for task in [task for task in before.tasks.values() if task.began_on(tool)]:
        del before.tasks[task.own]
        after.tasks[task.own] = task
        if not task.over:
            before.count_begun(task.agent, -1)
            after.count_begun(task.agent, 1)
        task.registration = after


def does_tasks(device: "DeviceSide") -> bool:
    """Whether a client has tasks in this form: they came with 2025-11-25, and the stateless era has others."""
    without = device.client.name in (XIAOZHI, CONSOLE) or device.link.peer.brief
    return device.protocol_version == mcp.TASKS_REVISION and not without
