"""Who asks about jobs and hears of them: a tool side for each agent that has any, a word to clients when one ends."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.json import encode

from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.link import Ended, Role
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.language import Bilingual
from mcp_endpoint.providers.jobs.job_store import Job, JobStore, Status
from mcp_endpoint.providers.jobs.job_tools import ALIAS, JobTools, sentence
from mcp_endpoint.settings.schema import Settings
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

RESTARTING = Bilingual("服务正在重启", "the broker is restarting")


class JobManager:
    """The jobs of one broker, and the tool sides through which agents ask about theirs."""

    def __init__(
        self,
        manager: ConnectionManager,
        loop: asyncio.AbstractEventLoop,
        settings: Callable[[], Settings],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._manager = manager
        self._loop = loop
        self._settings = settings
        self._wall = wall
        self._job_tools: dict[str, JobTools] = {}
        self.jobs = JobStore(self._told, lambda: settings().jobs.max_running, lambda: settings().jobs.max_kept)

    def answer_within(self) -> float:
        """Seconds after which a call becomes a job."""
        return self._settings().jobs.answer_within

    def longest(self) -> float:
        """Seconds a job may take."""
        return self._settings().jobs.max_seconds

    def language(self, agent_id: str) -> str:
        """The language of an agent."""
        return self._settings().limits(agent_id).language

    def stamp(self, moment: float) -> str:
        """A moment of the loop's clock as ISO 8601 has it."""
        return datetime.fromtimestamp(self._wall() - (self._loop.time() - moment), UTC).isoformat(timespec="seconds")

    def opened(self, agent_id: str) -> None:
        """An agent has a job: it can ask for it from now on."""
        if agent_id in self._job_tools:
            return
        job_tools = JobTools(
            agent_id, self.jobs, lambda: self.language(agent_id), self._loop, lambda: self._close(agent_id)
        )
        session = self._manager.join(Role.TOOL, agent_id, job_tools, self._loop.time())
        if not isinstance(session, End):
            job_tools.session = session
            self._job_tools[agent_id] = job_tools

    def _close(self, agent_id: str) -> None:
        job_tools = self._job_tools.pop(agent_id, None)
        if job_tools is not None and job_tools.session is not None:
            session, job_tools.session = job_tools.session, None
            end = End.SERVER_ENDED
            self._manager.ended(session, job_tools, Ended(end, end.code), self._loop.time())

    def _told(self, job: Job) -> None:
        """A job ended: the clients of its agent hear of it as a log message, which all of them may ignore."""
        text = sentence(job, self._loop.time(), self.language(job.agent_id))
        data = {"job_id": job.id, "tool": job.tool, "status": job.status.value, "text": text}
        params = {"level": "notice", "logger": ALIAS, "data": data}
        self._manager.tell(job.agent_id, wire.notification(mcp.MESSAGE, encode(params)))

    def sweep(self, now: float) -> None:
        """Forget what ended long ago; an agent without jobs has no tools for them."""
        for agent_id in self.jobs.sweep(now):
            self._close(agent_id)

    def stop(self) -> None:
        """The broker ends: whoever waits for a job hears that it will not come."""
        for job in self.jobs.running():
            why = RESTARTING.to(self.language(job.agent_id))
            self.jobs.end(job, Status.FAILED, self._loop.time(), None, why)
        for agent_id in list(self._job_tools):
            self._close(agent_id)
