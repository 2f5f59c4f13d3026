"""One server that the broker opens itself: run, watched, run again, and told about."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from mcp_endpoint.broker.agent_state.why import duration
from mcp_endpoint.broker.broker_state import PROVIDER
from mcp_endpoint.broker.connection_manager import ConnectionManager
from mcp_endpoint.broker.link import Ended, Peer, Role
from mcp_endpoint.broker.offers.pattern import Pattern
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.advice import advice, in_container
from mcp_endpoint.providers.definitions import Definitions, Withhold
from mcp_endpoint.providers.entries.entry import Kind, Server, expanded
from mcp_endpoint.providers.jobs.job_manager import JobManager
from mcp_endpoint.providers.jobs.job_watch import JobWatch
from mcp_endpoint.providers.link import ProviderLink
from mcp_endpoint.providers.source import Stopped, StopReason

if TYPE_CHECKING:
    from mcp_endpoint.providers.source import Source

CLOSE_TIMEOUT = 15.0
LOOPING_AFTER = 5
"""Ends in a row, with nothing of use between them, after which a server is in a crash loop."""
LOOPING_WAIT = 300.0
"""Seconds between two starts of one that is."""
STEADY = 10.0
"""Seconds of serving after which a start counts as good."""


class State(StrEnum):
    """How a server is."""

    IDLE = "idle"
    """Not needed yet."""
    STARTING = "starting"
    SERVING = "serving"
    FINISHING = "finishing"
    """Another instance serves in its place; its jobs go on."""
    WAITING = "waiting"
    """It ended; the next start is due soon."""
    LOOPING = "looping"
    """It ended again and again; the next start is due later."""
    BAD_ENTRY = "bad_entry"
    """It has never been started: its entry cannot be used."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What all servers of one broker share."""

    manager: ConnectionManager
    loop: asyncio.AbstractEventLoop
    environ: Mapping[str, str]
    folder: Path
    """That of the file: relative paths in it start there."""
    make_source: "Callable[[Server], Source]"
    """The source of an entry whose variables are put in. Raises Stopped."""
    job_manager: JobManager
    backoff: Callable[[], Backoff] = Backoff


class Provider:
    """One server, or one agent's instance of it."""

    def __init__(self, server: Server, agent_id: str, context: ProviderContext, withhold: Withhold) -> None:
        self.server = server
        self.agent_id = agent_id
        self.state = State.IDLE
        self.since = context.loop.time()
        """When it came into its state."""
        self.starts = 0
        self.failure: Stopped | None = None
        """Why it ended last, until it serves again."""
        self.said: tuple[str, ...] = ()
        """What its last run wrote for its owner."""
        self.definitions = Definitions(server.shown, server.tools)
        self._context = context
        self._withhold = withhold
        self._long = [Pattern(text) for text in server.tools.background]
        self._backoff = context.backoff()
        self._failures = 0
        self._provider_link: ProviderLink | None = None
        self._source: Source | None = None
        self._over: asyncio.Future[Stopped] = context.loop.create_future()
        self._serving: asyncio.Future[None] = context.loop.create_future()
        self._retry = asyncio.Event()
        self._no_job = asyncio.Event()
        self._stopping = self._withdrawn = False
        self._closing: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run it from now on; the broker knows at once that it is coming. Safe to do twice."""
        if self._task is None:
            self._join()
            self._task = self._context.loop.create_task(self._run())

    def retry_now(self) -> None:
        """Do not wait any longer for the next start."""
        self._retry.set()

    def list_again(self) -> None:
        """Other tools of it may be shown than before."""
        if self._provider_link is not None:
            self._provider_link.list_again()

    @property
    def has_jobs(self) -> bool:
        """Whether calls go on that were answered as jobs."""
        return self._provider_link is not None and self._provider_link.has_jobs

    @property
    def finishing(self) -> bool:
        """Whether only its jobs go on."""
        return self.state is State.FINISHING

    def _jobs_over(self) -> None:
        if self._stopping:
            self._no_job.set()

    def end_jobs_now(self) -> None:
        """Do not wait any longer for jobs to be over."""
        self._no_job.set()

    async def stop(self, *, finish: bool, withdrawn: bool = False) -> None:
        """End it for good, and all it started; `finish` says that its jobs may come to their ends before.

        `withdrawn` says that its agent is to have it no longer, so that nothing of it stays listed.
        """
        self._tell(None)
        self._stopping = True
        self._withdrawn = withdrawn
        if finish and self.has_jobs:
            self._part(str(Stopped(StopReason.STOPPED)))
            self._become(State.FINISHING)
            await self._no_job.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._closing is not None:
            await self._closing
        self._become(State.STOPPED)

    # --- a run ---

    def _join(self) -> None:
        """Make it a tool side. Lists wait for its handshake, unless it is known that it failed before."""
        context, server = self._context, self.server
        peer = Peer(
            address=f"{server.kind} {server.name}",
            server_id=server.shown,
            own_names=self.definitions.own_names,
            wants_caller=server.kind is Kind.PYTHON or bool(server.tools.background),
            awaited=self.failure is None,
            drop_empty=server.tools.drop_empty,
        )
        clock = context.loop.time
        timers, local = context.manager.timers, server.kind is Kind.PYTHON
        provider_link = ProviderLink(peer, self.definitions, self._withhold, timers, clock, server.timeout, local=local)
        if peer.wants_caller:
            job_watch = JobWatch(context.job_manager, timers, clock, provider_link.to_broker, provider_link.to_source)
            job_watch.on_no_job = self._jobs_over
            provider_link.watch(job_watch, self._may_take_long, shared=self.agent_id.startswith(PROVIDER))
        self._over = context.loop.create_future()
        self._serving = context.loop.create_future()
        provider_link.on_greeted = self._greeted
        provider_link.pays = context.manager.pays
        provider_link.on_close = lambda end: self._stopped(Stopped(StopReason.STOPPED, end.en))
        session = context.manager.join(Role.TOOL, self.agent_id, provider_link, clock())
        if isinstance(session, End):
            self._stopped(Stopped(StopReason.NOT_STARTED, session.en))
            return
        provider_link.join(session)
        self._provider_link = provider_link
        self.starts += 1
        self._become(State.STARTING)

    def _may_take_long(self, tool: str) -> bool:
        """Whether the file says so, or the decorator of a function (`PythonFile.background`)."""
        marked: frozenset[str] = getattr(self._source, "background", frozenset())
        return tool in marked or any(pattern.fits(tool) for pattern in self._long)

    def _stopped(self, why: Stopped) -> None:
        if not self._over.done():
            self._over.set_result(why)

    async def _run(self) -> None:
        while True:
            began = self._context.loop.time()
            why = Stopped(StopReason.STOPPED)
            try:
                why = await self._one_run()
            except Exception:  # noqa: BLE001  this run ends here, with its reason; the others go on
                logger.exception("server {} failed inside the broker", quote_peer(self.server.name))
                why = Stopped(StopReason.INTERNAL)
            finally:
                await self._end_run(why)
            if self._stopping:
                return
            lasted = self._context.loop.time() - began
            served = self.state is State.SERVING
            self._failures = 0 if served and lasted >= STEADY else self._failures + 1
            looping = self._failures >= LOOPING_AFTER
            wait = LOOPING_WAIT if looping else self._backoff.failed(lasted, served)
            if why.why is StopReason.SESSION_LOST and self._failures <= 1:
                wait = 0.0  # it is there, and wants nothing but to be greeted
            why.todo = self._advice(why) or why.todo
            self.failure = why
            self._become(State.LOOPING if looping else State.WAITING)
            self._tell(self._trouble(wait))
            logger.bind(event="server", server=self.server.name, reason=why.why.reason).warning(
                "server {}: {} ({}){}; the next start is in {:.0f} s{}",
                quote_peer(self.server.name),
                why.why.en,
                why.why.reason,
                f": {quote_peer(why.detail)}" if why.detail else "",
                wait,
                f"; {why.todo.en}" if why.todo.en else "",
            )
            self._retry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._retry.wait()
            self._join()

    def _advice(self, why: Stopped) -> Bilingual | None:
        return advice(self.server, why.why, contained=in_container(self._context.environ))

    async def _one_run(self) -> Stopped:
        """From the start to the end; why it ended."""
        provider_link = self._provider_link
        if provider_link is None:
            return await self._over
        try:
            source = self._source = self._context.make_source(self._ready())
            async with asyncio.timeout(self.server.start_timeout) as deadline:
                await source.open(provider_link.take, self._stopped)
                provider_link.connect(source)
                either: set[asyncio.Future[Any]] = {self._over, self._serving}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                deadline.reschedule(None)
        except Stopped as why:
            return why
        except TimeoutError:
            return Stopped(StopReason.NO_HANDSHAKE, f"{self.server.start_timeout:g} s")
        return await self._over

    def _ready(self) -> Server:
        try:
            return expanded(self.server, self._context.environ)
        except KeyError as error:
            raise Stopped(StopReason.NO_VARIABLE, str(error.args[0])) from None

    def _greeted(self) -> None:
        self._serving.set_result(None)
        self.failure = None
        self._become(State.SERVING)
        self._tell(None)
        logger.bind(event="server", server=self.server.name, reason="serving").info(
            "server {}: serving", quote_peer(self.server.name)
        )

    async def _end_run(self, why: Stopped) -> None:
        """Close the source; the broker hears of the end first, so that nobody waits for what cannot come."""
        self._part(str(why))
        provider_link, self._provider_link = self._provider_link, None
        source, self._source = self._source, None
        if provider_link is not None:
            provider_link.leave(str(why))
        if source is not None:
            # Whoever is stopped meanwhile must not leave behind what the source had started.
            self._closing = self._context.loop.create_task(self._close(source))
            await asyncio.shield(self._closing)

    async def _close(self, source: "Source") -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await source.close()
        self.said = tuple(source.said)

    def _part(self, why: str) -> None:
        """Take its link from the broker."""
        provider_link = self._provider_link
        session = provider_link.session if provider_link is not None else None
        if provider_link is not None and session is not None:
            provider_link.part()
            end = End.SERVER_ENDED
            self._context.manager.ended(
                session, provider_link, Ended(end, end.code, why, for_good=self._withdrawn), self._context.loop.time()
            )

    # --- what there is to tell ---

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state, self.since = state, self._context.loop.time()

    def _trouble(self, wait: float) -> Bilingual:
        assert self.failure is not None
        then = Bilingual(
            f"，将在 {duration(wait, 'zh')}后重试",
            f", and is tried again in {duration(wait, 'en')}",
        )
        return self.failure.sentences(120, then)

    def _tell(self, trouble: Bilingual | None) -> None:
        if self._stopping:
            return  # another instance may serve under this name
        self._context.manager.troubled(self.agent_id, self.server.shown, trouble, self._context.loop.time())

    def report(self, stamp: Callable[[float], str]) -> dict[str, object]:
        """What `/stats` shows of it."""
        failure = self.failure
        lines = tuple(self._source.said) if self._source is not None else self.said
        return {
            "name": self.server.name,
            "kind": self.server.kind.value,
            "agent": None if self.agent_id.startswith(PROVIDER) else self.agent_id,
            "state": self.state.value,
            "since": stamp(self.since),
            "starts": self.starts,
            "failure": failure
            and {
                "reason": failure.why.reason,
                "zh": failure.why.zh,
                "en": failure.why.en,
                "detail": quote_peer(failure.detail),
                "cause": {"zh": quote_peer(failure.cause.zh), "en": quote_peer(failure.cause.en)},
                "todo": failure.todo._asdict(),
            },
            "tools": list(self.definitions.own_names()),
            "left_out": self.definitions.left_out,
            "not_listed": 0 if self._provider_link is None else self._provider_link.not_listed,
            "unmatched": list(self.definitions.unmatched.what),
            "said": list(lines),
        }
