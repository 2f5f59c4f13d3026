"""Jobs as tasks of MCP 2025-11-25, for the clients that know them.

A server that has no tasks of its own gets them here: its tools that may take long say so, a call that asks for a task
begins a job at once, and what is asked about the task is answered by the job of that number.
"""

from collections.abc import Callable

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.providers.jobs.job_manager import JobManager
from mcp_endpoint.providers.jobs.job_store import KEPT, Job, Status
from mcp_endpoint.providers.jobs.job_tools import sentence
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

METHODS = frozenset({"tasks/get", "tasks/result", "tasks/cancel"})
"""What is asked of whoever began a task; `tasks/list` is the broker's own to answer."""
POLL_INTERVAL = 2000
"""Milliseconds that a client is advised to leave between two questions."""
WORDS = {
    Status.RUNNING: "working",
    Status.DONE: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_CAPABILITY = Raw(encode({"cancel": {}, "requests": {"tools": {"call": {}}}}))
_OPTIONAL = Raw(encode({"taskSupport": "optional"}))


def claimed(result: Raw) -> bytes | None:
    """An answer to `initialize` with tasks among its capabilities; None if the server has tasks of its own."""
    members = wire.members(result) or {}
    capabilities = wire.members(members.get("capabilities", UNSET)) or {}
    if mcp.begins_tasks(capabilities):
        return None
    return encode(members | {"capabilities": Raw(encode(capabilities | {"tasks": _CAPABILITY}))})


def marked(definition: bytes) -> bytes:
    """The definition of a tool that may be called as a task."""
    return encode((wire.members(definition) or {}) | {"execution": _OPTIONAL})


def caller(params: dict[str, Raw]) -> str | None:
    """The id of the agent that asks, by what the broker tells about it."""
    meta = wire.members(params.get("_meta", UNSET)) or {}
    return mcp.string((wire.members(meta.get(mcp.CALLER, UNSET)) or {}).get("agent"))


class JobTasks:
    """What one run of a source answers about the jobs of all runs: a client may ask after a restart, too."""

    def __init__(self, job_manager: JobManager, clock: Callable[[], float], to_broker: Callable[[bytes], None]) -> None:
        self._job_manager = job_manager
        self._clock = clock
        self._to_broker = to_broker
        self._waiting: dict[int, Job] = {}
        """Requests for the results of jobs that are still under way."""

    def begun(self, number: int, job: Job) -> None:
        """A call has become a task, and its caller hears so."""
        job.watchers.add(self._ended)
        self.answer(number, {"task": self._facts(job)})

    def asked(self, number: int, method: str, params: dict[str, Raw]) -> None:
        """Answer one of METHODS, now or when the job is over."""
        id_, agent_id = mcp.string(params.get("taskId")) or "", caller(params)
        job = self._job_manager.jobs.find(agent_id, id_) if agent_id is not None else None
        if job is None:
            self._refuse(number, Code.INVALID_PARAMS, f"没有编号为 {id_[:20]} 的任务。 / There is no task {id_[:20]}.")
            return
        if job.status is Status.RUNNING:
            job.watchers.add(self._ended)  # it may have begun in an earlier run
        if method == "tasks/get":
            self.answer(number, self._facts(job))
        elif method == "tasks/result":
            self._waiting[number] = job
            if job.status is not Status.RUNNING:
                self._give(job)
        elif job.status is not Status.RUNNING:
            self._refuse(number, Code.INVALID_PARAMS, f"任务 {id_} 已结束。 / Task {id_} is over.")
        else:
            self._job_manager.jobs.cancel(job, self._clock())
            self.answer(number, self._facts(job))

    def cancelled(self, number: int) -> None:
        """Nobody waits for the answer to that request any more."""
        self._waiting.pop(number, None)

    def _ended(self, job: Job) -> None:
        self._to_broker(wire.notification(mcp.TASK_STATUS, encode(self._facts(job))))
        self._give(job)

    def _give(self, job: Job) -> None:
        """Answer those who wait for the result of a job that is over."""
        for number in [number for number, one in self._waiting.items() if one is job]:
            del self._waiting[number]
            if job.result is not None:
                self._to_broker(wire.result(b"%d" % number, job.result))
            else:
                text = sentence(job, self._clock(), self._job_manager.language(job.agent_id))
                self._refuse(number, Code.TOOL_SIDE_FAILED, text)

    def _facts(self, job: Job) -> dict[str, object]:
        told = job.why or job.progress
        ttl = round((self._job_manager.longest() + KEPT) * 1000)
        facts: dict[str, object] = {"taskId": job.id, "status": WORDS[job.status]}
        facts |= {"statusMessage": told} if told else {}
        facts |= {
            "createdAt": self._job_manager.stamp(job.began),
            "lastUpdatedAt": self._job_manager.stamp(job.updated),
        }
        return facts | {"ttl": ttl, "pollInterval": POLL_INTERVAL}

    def answer(self, number: int, result: object) -> None:
        """Answer the request of that number."""
        self._to_broker(wire.result(b"%d" % number, encode(result)))

    def _refuse(self, number: int, code: Code, text: str) -> None:
        self._to_broker(wire.failure(b"%d" % number, int(code), text))
