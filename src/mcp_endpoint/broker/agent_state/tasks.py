"""Tasks of MCP 2025-11-25: calls that a tool side answered with a promise, and who may ask what became of them.

A task belongs to the agent whose call began it, whichever of its clients asks; it is found by a table, under the id
that the tool side gave it unless another tool side of the agent gave the same one (docs/protocol.md, section 16).
"""

from typing import Protocol

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.permission import AgentWithTools, reaches
from mcp_endpoint.broker.call import AgentWithDevices, Call, Caller
from mcp_endpoint.broker.tool_side.program import Registration, ToolProgram
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

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


class AgentOfTasks(AgentWithDevices, AgentWithTools, Protocol):
    """An agent, as its tasks know it."""


class Task:
    """One of them. `own` is its id at the tool side, `id` the one that the agent's clients know."""

    __slots__ = (
        "_link",
        "_tasks",
        "_timer",
        "agent",
        "call",
        "expires",
        "facts",
        "id",
        "number",
        "over",
        "own",
        "registration",
    )

    def __init__(
        self,
        tasks: "Tasks",
        id_: str,
        own: str,
        registration: Registration,
        tool: ToolProgram,
        call: Call,
        expires: float,
    ) -> None:
        self._tasks = tasks
        self.agent = tasks.agent
        self.id = id_
        self.own = own
        self.registration = registration
        self.over = False
        self.facts: dict[str, Raw] = {"taskId": Raw(encode(id_))}
        """What was told of it last, as far as it is short."""
        self.call: Call | None = call if call.progress_token is not None else None
        """What began it, while its progress is of interest."""
        self.number = call.number
        self._link = tool.number
        self.expires = expires
        self._timer = self.agent.broker.timers.at(expires, lambda _: self.forget())
        registration.tasks[own] = self
        registration.count_begun(self.agent, 1)

    @property
    def tool(self) -> ToolProgram | None:
        """Whom to ask: the link that it began on, else what serves in its stead, else the program elsewhere."""
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
        call, self.call = self.call, None
        tool = self.tool
        if call is not None and tool is not None and tool.begun.get(self.number) is call:
            del tool.begun[self.number]

    def status_told(self, tool: ToolProgram, params: dict[str, Raw]) -> bool:
        """A tool side says how it is: its agent's clients hear of it. Whether it is that one's to say."""
        if self.tool is not tool:
            return False  # of two look-alikes each may count its tasks
        self.told(params)
        frame = wire.notification(mcp.TASK_STATUS, encode(self.facts))
        alias = self.registration.alias
        for device in list(self.agent.devices) if reaches(self.agent, self.registration) else ():
            if device.does_tasks and device.initialized and device.peer.provider in (None, alias):
                device.link.send(frame)
        return True

    def moved(self, tool: ToolProgram, registration: Registration) -> None:
        """A tool side has another registration now: what began on its link goes with it."""
        if tool.number != self._link:
            return
        del self.registration.tasks[self.own]
        registration.tasks[self.own] = self
        if not self.over:
            self.registration.count_begun(self.agent, -1)
            registration.count_begun(self.agent, 1)
        self.registration = registration

    def forget(self) -> None:
        """Nobody can ask for it any more."""
        self._timer.cancel()
        self.end()
        self._tasks.remove(self)
        if self.registration.tasks.get(self.own) is self:
            del self.registration.tasks[self.own]


class Tasks:
    """The tasks of one agent, in the order in which they began."""

    __slots__ = ("_by_id", "agent")

    def __init__(self, agent: AgentOfTasks) -> None:
        self.agent = agent
        self._by_id: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def kept_until(self) -> float:
        """When the last of them will be forgotten; 0 if there is none."""
        return max((task.expires for task in self._by_id.values()), default=0.0)

    def begun(self, registration: Registration, tool: ToolProgram, call: Call, result: Raw, now: float) -> Raw:
        """A call that asked for a task is answered: the answer as its client is to see it."""
        members = wire.members(result) or {}
        facts = wire.members(members.get("task", UNSET)) or {}
        own = mcp.string(facts.get("taskId"))
        if own is None or len(own) > LONGEST_ID:
            return result  # answered at once, or with what no client could ask for
        if len(self._by_id) >= MOST_TASKS:
            tasks = self._by_id.values()
            next((task for task in tasks if task.over), next(iter(tasks))).forget()
        earlier = registration.tasks.get(own)
        if earlier is not None:
            earlier.forget()
        public, number = own, 2
        while public in self._by_id:
            public, number = f"{own}~{number}", number + 1
        task = self._by_id[public] = Task(self, public, own, registration, tool, call, now + _seconds_kept(facts))
        if task.call is not None:
            tool.begun[task.number] = task.call
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

    def left(self, device: Caller) -> None:
        """A client is gone; its tasks go on, and any other one of the agent may ask for them."""
        for task in self._by_id.values():
            if task.call is not None and task.call.caller is device:
                task.hear_no_more()

    def remove(self, task: Task) -> None:
        """A task is forgotten."""
        del self._by_id[task.id]


def _seconds_kept(facts: dict[str, Raw]) -> float:
    raw = bytes(facts.get("ttl", b""))
    return min(int(raw) / 1000, LONGEST_KEPT) if raw.isdigit() and len(raw) < 12 else LONGEST_KEPT


# --- what a tool side answers ---


def of_task(task: Task, call: Call, result: Raw, now: float) -> Raw:
    """The answer to `tasks/get` or `tasks/cancel`, under the id that the client knows."""
    facts = wire.members(result)
    if facts is None:
        return result
    task.told(facts)
    return Raw(encode(facts | {"taskId": task.facts["taskId"]}))


def result_of(task: Task, call: Call, result: Raw, now: float) -> Raw:
    """The answer to `tasks/result`: that of the call itself, with a mark that says whose it is."""
    members = wire.members(result)
    if members is None:
        return result
    task.ended(failed=bytes(members.get("isError", b"")) == b"true")
    meta = wire.members(members.get("_meta", UNSET)) or {}
    meta[mcp.RELATED_TASK] = Raw(encode({"taskId": task.id}))
    return Raw(encode(members | {"_meta": Raw(encode(meta))}))
