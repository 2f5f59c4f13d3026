"""Tasks of MCP 2025-11-25: calls that a tool side answered with a promise, and who may ask what became of them.

A task belongs to the agent whose call began it, whichever of its clients asks; it is found by a table, under the id
that the tool side gave it unless another tool side of the agent gave the same one (routing page, "Requests from a
client": rewritten is the task id).
"""

from typing import TYPE_CHECKING

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.xiaozhi import CONSOLE, XIAOZHI

if TYPE_CHECKING:
    from mcp_endpoint.broker.agent import Agent
    from mcp_endpoint.broker.device import DeviceSide
    from mcp_endpoint.broker.seat import Seat
    from mcp_endpoint.broker.tool import Call, ToolSide

MOST_TASKS = 1000
"""Tasks of one agent that are known; one more, and the oldest that is over is forgotten, else the oldest."""
LONGEST_KEPT = 86_400.0
"""Seconds after its beginning that a task is known, whatever its tool side promises."""
LONGEST_ID = 256
"""Characters of a tool side's id of a task."""
LONGEST_FACT = 500
"""Bytes of each member of a task that is kept for `tasks/list`."""
OVER = frozenset({"completed", "failed", "cancelled"})
_KEPT = ("taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt", "ttl", "pollInterval")


class Task:
    """One of them. `own` is its id at the tool side, `id` the one that the agent's clients know."""

    __slots__ = ("_link", "agent", "call", "expires", "facts", "id", "number", "own", "seat")

    def __init__(self, id_: str, own: str, seat: "Seat", call: "Call", tool: "ToolSide", expires: float) -> None:
        self.id = id_
        self.own = own
        self.seat = seat
        self.agent = call.relay.device.agent
        self.expires = expires
        self.facts: dict[str, Raw] = {}
        """What was told of it last, as far as it is short."""
        self.call: Call | None = call if call.progress_token is not None else None
        """What began it, while its progress is of interest."""
        self.number = call.number
        self._link = tool.number

    @property
    def tool(self) -> "ToolSide | None":
        """Whom to ask: the link that it began on, or another one that serves from the same place."""
        began = (
            tool for tool in (self.seat.live, *self.seat.standby) if tool is not None and tool.number == self._link
        )
        return next(began, self.seat.live)

    def told(self, facts: dict[str, Raw]) -> None:
        """The tool side said how it is."""
        self.facts = {name: facts[name] for name in _KEPT if name in facts and len(facts[name]) <= LONGEST_FACT}
        self.facts["taskId"] = Raw(encode(self.id))
        if mcp.string(facts.get("status")) in OVER:
            self.hear_no_more()

    def hear_no_more(self) -> None:
        """Nobody wants its progress any more."""
        self.call = None
        tool = self.tool
        if tool is not None and tool.tasks.get(self.number) is self:
            del tool.tasks[self.number]


class Tasks:
    """The tasks of one agent."""

    __slots__ = ("_agent", "_by_id")

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._by_id: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def kept_until(self) -> float:
        """When the last of them will be forgotten; 0 if there is none."""
        return max((task.expires for task in self._by_id.values()), default=0.0)

    def begun(self, seat: "Seat", call: "Call", tool: "ToolSide", result: Raw, now: float) -> Raw:
        """A call that asked for a task is answered: the answer as its client is to see it."""
        members = wire.members(result) or {}
        facts = wire.members(members.get("task", UNSET)) or {}
        own = mcp.string(facts.get("taskId"))
        if own is None or len(own) > LONGEST_ID:
            return result  # answered at once, or with what no client could ask for
        self.forget_old(now)
        while len(self._by_id) >= MOST_TASKS:
            over = (task for task in self._by_id.values() if mcp.string(task.facts.get("status")) in OVER)
            self._forget(next(over, None) or next(iter(self._by_id.values())))
        earlier = seat.tasks.get(own)
        if earlier is not None:
            earlier.agent.tasks._forget(earlier)
        public, number = own, 2
        while public in self._by_id:
            public, number = f"{own}~{number}", number + 1
        task = Task(public, own, seat, call, tool, now + _seconds_kept(facts))
        self._by_id[public] = seat.tasks[own] = task
        if task.call is not None:
            tool.tasks[task.number] = task
        task.told(facts)
        facts["taskId"] = task.facts["taskId"]
        return Raw(encode(members | {"task": Raw(encode(facts))}))

    def find(self, id_: str, provider: str | None, now: float) -> Task | None:
        """The task with that id, for a client that sees one tool side alone or all of them."""
        self.forget_old(now)
        task = self._by_id.get(id_)
        return task if task is not None and provider in (None, task.seat.alias) else None

    def listed(self, provider: str | None, now: float) -> bytes:
        """The result of `tasks/list`: each as it was told of last."""
        self.forget_old(now)
        seen = [task.facts for task in self._by_id.values() if provider in (None, task.seat.alias)]
        return encode({"tasks": seen})

    def left(self, device: "DeviceSide") -> None:
        """A client is gone; its tasks go on, and any other one of the agent may ask for them."""
        for task in self._by_id.values():
            if task.call is not None and task.call.relay.device is device:
                task.hear_no_more()

    def forget_old(self, now: float) -> None:
        """Let go of those that their tool sides do not keep any longer."""
        for task in [task for task in self._by_id.values() if task.expires <= now]:
            self._forget(task)

    def _forget(self, task: Task) -> None:
        task.hear_no_more()
        del self._by_id[task.id]
        if task.seat.tasks.get(task.own) is task:
            del task.seat.tasks[task.own]


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
    meta = (wire.members(members["_meta"]) if "_meta" in members else {}) if members is not None else None
    if members is None or meta is None:
        return result
    task.hear_no_more()
    meta[mcp.RELATED_TASK] = Raw(encode({"taskId": task.id}))
    return Raw(encode(members | {"_meta": Raw(encode(meta))}))


def status_told(tool: "ToolSide", params: dict[str, Raw]) -> bool:
    """A tool side says how a task is: its agent's clients hear of it. Whether there is such a task."""
    own = mcp.string(params.get("taskId"))
    task = tool.seat.tasks.get(own) if tool.seat is not None and own is not None else None
    if task is None:
        return False
    task.told(params)
    frame = wire.notification(mcp.TASK_STATUS, encode(params | {"taskId": task.facts["taskId"]}))
    for device in list(task.agent.devices):
        if does_tasks(device) and device.initialized and device.link.peer.provider in (None, task.seat.alias):
            device.link.send(frame)
    return True


def does_tasks(device: "DeviceSide") -> bool:
    """Whether a client has tasks in this form: they came with 2025-11-25, and the stateless era has others."""
    known = device.client.name in (XIAOZHI, CONSOLE) or device.link.peer.brief
    return device.protocol_version == mcp.TASKS_REVISION and not known
