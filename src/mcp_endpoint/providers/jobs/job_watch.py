"""Calls of one running source that may become jobs: watched until they are answered, or accepted and let go on.

It stands between the provider's link, which hands it frames both ways, and the jobs of all agents.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.timers import Timer, Timers
from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.language import Bilingual
from mcp_endpoint.providers.jobs.job_manager import JobManager
from mcp_endpoint.providers.jobs.job_store import Job, Status, TooManyJobs
from mcp_endpoint.providers.jobs.job_tasks import JobTasks, caller
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.repair.error_objects import proper

LONGEST_PROGRESS = 200
TOO_MANY = Bilingual("后台任务太多了，请稍后再试。", "Too many jobs are running; try again later.")


class PendingCall(NamedTuple):
    """A call that is not answered yet."""

    agent_id: str
    tool: str
    timer: Timer


class JobWatch:
    """The long calls of one run of a source."""

    def __init__(
        self,
        job_manager: JobManager,
        timers: Timers,
        clock: Callable[[], float],
        to_broker: Callable[[bytes], None],
        to_source: Callable[[bytes], None],
    ) -> None:
        self._job_manager = job_manager
        self._timers = timers
        self._clock = clock
        self._to_broker = to_broker
        self._to_source = to_source
        self._pending: dict[int, PendingCall] = {}
        self._jobs: dict[int, Job] = {}
        self._limits: dict[int, Timer] = {}
        """When running jobs have to be done."""
        self._own_tokens: set[int] = set()
        self._told_early: dict[int, str] = {}
        """Progress of calls that are no jobs yet."""
        self._heard: set[int] = set()
        """Jobs whose callers go on hearing of their progress: tasks that asked for it."""
        self.tasks = JobTasks(job_manager, clock, to_broker)
        self.on_no_job: Callable[[], None] = lambda: None
        """Told when the last of its jobs is over."""

    def __bool__(self) -> bool:
        return bool(self._pending or self._jobs)

    def call(self, number: int, tool: str, params: dict[str, Raw], *, as_task: bool) -> dict[str, Raw] | None:
        """A call of a tool that may take long; its params for the source, which is asked for progress.

        None: there are too many jobs for a task, and its caller heard so.
        """
        meta = wire.members(params.get("_meta", UNSET)) or {}
        agent_id = caller(params)
        if agent_id is None:
            return params
        now = self._clock()
        if as_task:
            job = self._begin(number, agent_id, tool, now)
            if job is None:
                told = TOO_MANY.to(self._job_manager.language(agent_id))
                self._to_broker(wire.failure(b"%d" % number, int(Code.NOT_SENT), told))
                return None
            if "progressToken" in meta:
                self._heard.add(number)
            self.tasks.begun(number, job)
        else:
            timer = self._timers.at(now + self._job_manager.answer_within(), lambda now: self._accept(number, now))
            self._pending[number] = PendingCall(agent_id, tool, timer)
        if "progressToken" in meta:
            return params
        self._own_tokens.add(number)
        return params | {"_meta": Raw(encode(meta | {"progressToken": number}))}

    def cancelled(self, number: int) -> None:
        """The caller gave up before it was answered, or it is answered now; or nobody waits for a task's result."""
        self.tasks.cancelled(number)
        self._told_early.pop(number, None)
        call = self._pending.pop(number, None)
        if call is not None:
            call.timer.cancel()
            self._own_tokens.discard(number)

    def answered(self, number: int, envelope: wire.Envelope) -> bool:
        """A call's answer came; whether it was a job's, so that the broker must not see it."""
        self.cancelled(number)
        job = self._take(number)
        if job is None:
            return False
        now = self._clock()
        # A null twin is read as absent, as the broker reads it.
        if envelope.result is not UNSET and (envelope.result != wire.NULL or envelope.error is UNSET):
            head = mcp.read_call_result(envelope.result)
            failed = head is not None and head.is_error
            why = next((block.text for block in head.content if block.text), "") if head is not None and failed else ""
            self._job_manager.jobs.end(job, Status.FAILED if failed else Status.DONE, now, envelope.result, why[:500])
        else:
            error = {} if envelope.error is UNSET else wire.members(proper(envelope.error)) or {}
            self._job_manager.jobs.end(job, Status.FAILED, now, None, mcp.text(error.get("message"), 500))
        return True

    def progressed(self, params: dict[str, Raw]) -> bool:
        """Progress came; whether it was asked for here, so that the broker must not see it."""
        raw = bytes(params.get("progressToken", Raw(b"")))
        number = int(raw) if raw.isdigit() and len(raw) <= 10 else 0
        job = self._jobs.get(number)
        if job is not None or number in self._pending:
            done, total = mcp.text(params.get("progress")), mcp.text(params.get("total"))
            told = f"{done}/{total}" if total else done
            text = " ".join(filter(None, (told, mcp.text(params.get("message")))))[:LONGEST_PROGRESS]
            if job is not None:
                job.told(text, self._clock())
            else:
                self._told_early[number] = text
        return (job is not None and number not in self._heard) or number in self._own_tokens

    @property
    def has_jobs(self) -> bool:
        """Whether any of its calls has become a job that is not over."""
        return bool(self._jobs)

    def parted(self) -> None:
        """The link is gone, and with it those who waited for answers; jobs go on as long as the source does."""
        for number, call in self._pending.items():
            call.timer.cancel()
            self._to_source(wire.notification(mcp.CANCELLED, encode({"requestId": number})))
        self._pending.clear()
        self._told_early.clear()

    def ended(self, why: str) -> None:
        """The source is gone: its jobs have failed."""
        for number in list(self._jobs):
            job = self._take(number)
            assert job is not None
            self._job_manager.jobs.end(job, Status.FAILED, self._clock(), None, why)

    def _take(self, number: int) -> Job | None:
        """A job that goes on no longer."""
        self._own_tokens.discard(number)
        self._heard.discard(number)
        limit = self._limits.pop(number, None)
        if limit is not None:
            limit.cancel()
        job = self._jobs.pop(number, None)
        if job is not None and not self._jobs:
            self.on_no_job()
        return job

    def _accept(self, number: int, now: float) -> None:
        """It takes long: answer the caller, and let it go on as a job."""
        call = self._pending.pop(number)
        job = self._begin(number, call.agent_id, call.tool, now)
        if job is None:
            self._to_source(wire.notification(mcp.CANCELLED, encode({"requestId": number})))
            said = TOO_MANY.to(self._job_manager.language(call.agent_id))
            self.tasks.answer(number, {"content": [{"type": "text", "text": said}], "isError": True})
            return
        job.told(self._told_early.pop(number, ""), now)
        begun = Bilingual(
            f"已开始，任务编号 {job.id}，完成后可以问我结果。",
            f"It has begun, as job {job.id}; ask for the result later.",
        )
        said = begun.to(self._job_manager.language(call.agent_id))
        facts = {"job_id": job.id, "status": Status.RUNNING.value}
        self.tasks.answer(number, {"content": [{"type": "text", "text": said}], "structuredContent": facts})

    def _begin(self, number: int, agent_id: str, tool: str, now: float) -> Job | None:
        """Make a job of a call; None if its agent has as many as it may have."""
        job_manager = self._job_manager
        try:
            job = job_manager.jobs.begin(agent_id, tool, lambda: self._stop(number), now)
        except TooManyJobs:
            return None
        self._jobs[number] = job
        self._limits[number] = self._timers.at(now + job_manager.longest(), lambda now: self._overdue(number, now))
        job_manager.opened(agent_id)
        return job

    def _overdue(self, number: int, now: float) -> None:
        job = self._jobs.get(number)
        if job is not None:
            self._stop(number)
            seconds = f"{self._job_manager.longest():g}"
            why = Bilingual(f"超过了 {seconds} 秒的上限", f"it took longer than the limit of {seconds} s")
            told = why.to(self._job_manager.language(job.agent_id))
            self._job_manager.jobs.end(job, Status.FAILED, now, None, told)

    def _stop(self, number: int) -> None:
        if self._take(number) is not None:
            self._to_source(wire.notification(mcp.CANCELLED, encode({"requestId": number})))
