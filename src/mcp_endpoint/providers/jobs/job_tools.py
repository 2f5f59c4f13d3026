"""Where an agent asks about its jobs: three tools, listed only while it has any.

One more tool side of the agent, which is inside the broker and answers at once.
"""

import asyncio
import re
from collections.abc import Callable, Mapping

from msgspec import UNSET, Raw
from msgspec.json import encode

from mcp_endpoint.broker.agent_state.why import duration
from mcp_endpoint.broker.link import Peer, Session
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.language import Bilingual
from mcp_endpoint.providers.arguments.meanings import arguments_of, declared, is_blank, is_word_for_nothing, whole
from mcp_endpoint.providers.jobs.job_store import WORDS, Job, JobStore, Status
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp

ALIAS = "jobs"
NO_JOBS = Bilingual("没有后台任务。", "There are no jobs.")
_ID = {
    "type": "object",
    "properties": {"job_id": {"type": "string", "description": "任务编号 / number of the job"}},
}
TOOLS = [
    {
        "name": "job_status",
        "description": "查询后台任务的进度；不填编号则列出全部。 / How a background job is; without a number, all.",
        "inputSchema": _ID,
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "job_result",
        "description": "获取已完成的后台任务的结果。 / The result of a background job that is done.",
        "inputSchema": _ID | {"required": ["job_id"]},
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "job_cancel",
        "description": "取消正在进行的后台任务。 / Cancel a background job that is running.",
        "inputSchema": _ID | {"required": ["job_id"]},
        "annotations": {"destructiveHint": True},
    },
]


class JobTools:
    """The link to the tools for one agent's jobs."""

    call_timeout: float | None = None

    def __init__(
        self,
        agent_id: str,
        jobs: JobStore,
        language: Callable[[], str],
        loop: asyncio.AbstractEventLoop,
        left: Callable[[], None],
    ) -> None:
        self.peer = Peer(address="broker", server_id=ALIAS)
        self.heard = loop.time()
        self._agent_id = agent_id
        self._jobs = jobs
        self._language = language
        self._loop = loop
        self._left = left
        self.session: Session | None = None

    # --- Link ---

    def ping(self, now: float) -> None:
        """It is inside the broker, and lives."""
        self.heard = now

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """Answer soon: not from within one of the broker's own calls."""
        self._loop.call_soon(self._answer, frame)

    def close(self, end: End) -> None:
        """The broker wants it gone."""
        self._loop.call_soon(self._left)

    def traffic(self) -> Mapping[str, float | int | None]:
        """Nothing goes over a wire."""
        names = ("frames_in", "frames_out", "bytes_in", "bytes_out", "last_frame", "ping_rtt_ms")
        return dict.fromkeys(names, 0) | {"last_frame": None, "ping_rtt_ms": None}

    def _answer(self, frame: bytes) -> None:
        envelope = wire.read(frame)
        if self.session is None or envelope.id is UNSET or envelope.method is UNSET:
            return
        now = self.heard = self._loop.time()
        id_ = bytes(envelope.id)
        match envelope.method:
            case "initialize":
                answer: object = {
                    "protocolVersion": mcp.NEWEST,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": ALIAS, "version": "1"},
                }
            case "tools/list":
                answer = {"tools": TOOLS}
            case "tools/call":
                params = wire.members(envelope.params) or {}
                name = mcp.string(params.get("name")) or ""
                answer = self._call(name, number_in(params.get("arguments")), now)
            case "ping":
                answer = {}
            case method:
                self.session.receive(wire.failure(id_, -32601, f"no {method}"), now)
                return
        raw = answer if isinstance(answer, bytes) else encode(answer)
        self.session.receive(wire.result(id_, raw), now)

    # --- the tools ---

    def _call(self, name: str, number: str, now: float) -> object:
        if name == "job_status" and not number:
            jobs = self._jobs.of(self._agent_id)
            said = [self._sentence(job, now) for job in jobs]
            structured = {"jobs": [_facts(job, now) for job in jobs]}
            return _text("\n".join(said) or NO_JOBS.to(self._language()), structured)
        job = self._jobs.find(self._agent_id, number)
        if job is None:
            known = "、".join(job.id for job in self._jobs.of(self._agent_id)) or "-"
            no_job = Bilingual(
                f"没有编号为 {number} 的任务，现有：{known}。", f"There is no job {number}; there are: {known}."
            )
            return _text(no_job.to(self._language()), None, is_error=True)
        match name:
            case "job_result" if job.status is Status.DONE and job.result is not None:
                return bytes(job.result)
            case "job_cancel":
                self._jobs.cancel(job, now)
        return _text(self._sentence(job, now), _facts(job, now), is_error=name == "job_result")

    def _sentence(self, job: Job, now: float) -> str:
        return sentence(job, now, self._language())


def number_in(raw: Raw | None) -> str:
    """The number of a job in a call's arguments, as callers write it; empty for none."""
    given, _ = declared(arguments_of(raw) or {}, ["job_id"])
    value = given.get("job_id")
    number = value if type(value) is int else whole(value)
    if number is not None:
        return str(number)
    if not isinstance(value, str) or is_blank(value) or is_word_for_nothing(value):
        return ""
    runs = re.findall(r"[0-9]+", value)
    return runs[0] if len(runs) == 1 else value.strip()[:200]


def sentence(job: Job, now: float, language: str) -> str:
    """How a job is, as a device reads it out."""
    zh, en = WORDS[job.status]
    took = duration((job.ended or now) - job.began, language)
    more = job.why or (job.progress if job.status is Status.RUNNING else "")
    return Bilingual(
        f"任务 {job.id}（{job.tool}）{zh}，用时 {took}{f'：{more}' if more else ''}。",
        f"Job {job.id} ({job.tool}) {en}, after {took}{f': {more}' if more else ''}.",
    ).to(language)


def _facts(job: Job, now: float) -> dict[str, object]:
    return {
        "job_id": job.id,
        "tool": job.tool,
        "status": job.status.value,
        "progress": job.progress,
        "seconds": round((job.ended or now) - job.began, 1),
        "why": job.why,
    }


def _text(text: str, structured: object, *, is_error: bool = False) -> dict[str, object]:
    result: dict[str, object] = {"content": [{"type": "text", "text": text}]}
    if structured is not None:
        result["structuredContent"] = structured
    return result | ({"isError": True} if is_error else {})
