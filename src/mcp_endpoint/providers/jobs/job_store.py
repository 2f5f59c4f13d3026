"""Calls that go on after their caller was answered: what there is of them, whose they are, and until when.

Pure: time is passed in, and whoever runs a call says what becomes of it. A job belongs to one agent, and no other one
can see it.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Raw

KEPT = 3600.0
"""Seconds a job that has ended is remembered."""


class Status(StrEnum):
    """How a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


WORDS = {
    Status.RUNNING: ("进行中", "is running"),
    Status.DONE: ("已完成", "is done"),
    Status.FAILED: ("失败了", "has failed"),
    Status.CANCELLED: ("已取消", "was cancelled"),
}
"""What a device reads out, in Chinese and English."""


@dataclass(eq=False)
class Job:
    """One call that goes on by itself."""

    id: str
    """Short and made of digits, so that it can be said; it is looked up only among its agent's own."""
    agent_id: str
    tool: str
    began: float
    stop: Callable[[], None] = field(repr=False)
    """Tells whoever does the work that nobody wants it any more."""
    status: Status = Status.RUNNING
    progress: str = ""
    """What was told last of how far it is."""
    result: Raw | bytes | None = None
    """That of the call, once it is done or failed by itself."""
    why: str = ""
    """Why it failed, where the call had no result."""
    ended: float | None = None
    watchers: set[Callable[["Job"], None]] = field(default_factory=set, repr=False)
    """Hear when it ended, beside those who hear of every job."""

    def __post_init__(self) -> None:
        self.updated = self.began
        """When it was told of last."""

    def told(self, progress: str, now: float) -> None:
        """Whoever does the work says how far it is."""
        self.progress, self.updated = progress, now


class TooManyJobs(Exception):
    """An agent has as many running jobs as it may have."""


class JobStore:
    """The jobs of all agents. `told` hears of each that ended."""

    def __init__(self, told: Callable[[Job], None], most: Callable[[], int], kept: Callable[[], int]) -> None:
        self._told = told
        self._most = most
        self._kept = kept
        self._by_agent: dict[str, dict[str, Job]] = {}
        self._numbers: set[str] = set()
        """Of all agents': a server that serves several of them may have each job as a task by its number."""

    def begin(self, agent_id: str, tool: str, stop: Callable[[], None], now: float) -> Job:
        """A call has become a job. Raises TooManyJobs."""
        jobs = self._by_agent.setdefault(agent_id, {})
        if sum(job.status is Status.RUNNING for job in jobs.values()) >= self._most():
            raise TooManyJobs
        while len(jobs) >= self._kept() and (old := _oldest_ended(jobs)) is not None:
            self._forget(jobs, old)
        number, digits = str(secrets.randbelow(9000) + 1000), 4
        while number in self._numbers:
            digits += 1
            number = str(secrets.randbelow(9 * 10 ** (digits - 1)) + 10 ** (digits - 1))
        self._numbers.add(number)
        job = jobs[number] = Job(number, agent_id, tool, now, stop)
        return job

    def of(self, agent_id: str) -> list[Job]:
        """The jobs of an agent, in the order in which they began."""
        return list(self._by_agent.get(agent_id, {}).values())

    def find(self, agent_id: str, id_: str) -> Job | None:
        """The job of that number, if it is this agent's."""
        return self._by_agent.get(agent_id, {}).get(id_)

    def end(self, job: Job, status: Status, now: float, result: Raw | bytes | None = None, why: str = "") -> None:
        """A job has its outcome; the first one counts."""
        if job.status is Status.RUNNING:
            job.status, job.ended, job.result, job.why = status, now, result, why
            job.updated = now
            self._told(job)
            for hears in job.watchers:
                hears(job)
            job.watchers.clear()

    def cancel(self, job: Job, now: float) -> None:
        """Nobody wants it any more."""
        if job.status is Status.RUNNING:
            job.stop()
            self.end(job, Status.CANCELLED, now)

    def sweep(self, now: float) -> list[str]:
        """Forget what ended long ago; the agents of which nothing is left."""
        gone = []
        for agent_id, jobs in list(self._by_agent.items()):
            for job in list(jobs.values()):
                if job.ended is not None and now - job.ended > KEPT:
                    self._forget(jobs, job)
            if not jobs:
                del self._by_agent[agent_id]
                gone.append(agent_id)
        return gone

    def _forget(self, jobs: dict[str, Job], job: Job) -> None:
        del jobs[job.id]
        self._numbers.discard(job.id)

    def running(self) -> list[Job]:
        """All that are under way."""
        return [job for jobs in self._by_agent.values() for job in jobs.values() if job.status is Status.RUNNING]


def _oldest_ended(jobs: dict[str, Job]) -> Job | None:
    return next((job for job in jobs.values() if job.status is not Status.RUNNING), None)
