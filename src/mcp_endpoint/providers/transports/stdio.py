"""A tool server that is a child process: one frame a line, as MCP's stdio transport has it."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loguru import logger

from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.send_queue import QUEUE_BYTES, QUEUE_FRAMES, SendQueue
from mcp_endpoint.providers.source import OnFrame, Stopped, StopReason
from mcp_endpoint.providers.source_output import Pacer, SourceOutput, end_tasks
from mcp_endpoint.providers.transports.child_environ import child_environment, secrets_of_environment
from mcp_endpoint.providers.transports.child_process import Child, CommandNotFound, LineTooLong, resolve
from mcp_endpoint.wire.envelope import no_separators, one_line

LINE_LIMIT = 1024 * 1024
LAST_LINES = 1.0
"""Seconds in which what a program printed before it ended is still read."""
SAID_LINES = 50
SAID_LENGTH = 500
"""Characters of one line of stderr that are kept."""


@dataclass(frozen=True)
class StdioSettings:
    """How to start a program that speaks MCP on its stdin and stdout; no shell is involved."""

    command: Sequence[str] = field(repr=False)
    """The program and its arguments, which may hold secrets."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables beside the inherited ones."""
    cwd: str | None = None
    """The folder it starts in; the broker's own if None."""
    proxy_env: bool = True
    """Whether it gets the broker's variables for proxies, mirrors and certificates."""
    line_limit: int = LINE_LIMIT
    """Bytes of one line of its stdout."""
    unread_bytes: int = QUEUE_BYTES
    """Bytes of frames that wait while it does not read its stdin."""
    unread_frames: int = QUEUE_FRAMES
    """How many frames may wait."""


class StdioSource:
    """One run of a program. Its stdout is passed on line by line, whatever it prints there."""

    def __init__(self, settings: StdioSettings, environ: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        mine = os.environ if environ is None else environ
        self._environ = child_environment(settings.env, mine, proxy_env=settings.proxy_env)
        self._output = SourceOutput(settings.env.values(), secrets_of_environment(self._environ))
        self._queue = SendQueue(settings.unread_bytes, settings.unread_frames)
        self._said: deque[str] = deque(maxlen=SAID_LINES)
        self._child: Child | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Start the program. Raises Stopped: NO_COMMAND, NOT_STARTED."""
        settings = self._settings
        self._output.open(take, stopped)
        try:
            command = resolve(settings.command, self._environ, settings.cwd)
            child = await Child.start(command, self._environ, self._hear, settings.cwd, settings.line_limit)
        except CommandNotFound as error:
            raise Stopped(StopReason.NO_COMMAND, quote_peer(str(error))) from None
        except (OSError, ValueError) as error:
            raise Stopped(StopReason.NOT_STARTED, self._output.quote(str(error))) from None
        self._child = child
        reading = asyncio.create_task(self._read(child))
        self._tasks = [
            reading,
            asyncio.create_task(self._write(child)),
            asyncio.create_task(self._watch(child, reading)),
        ]

    def send(self, frame: bytes) -> None:
        """Queue a frame for the program's stdin; one that does not fit any more ends it with TOO_MUCH_UNREAD."""
        if not self._output.shut and not self._queue.put(no_separators(one_line(frame))):
            self._output.end_soon(Stopped(StopReason.TOO_MUCH_UNREAD))

    async def close(self) -> None:
        """End the program and all it started: stdin closed, then SIGTERM, then SIGKILL, each to its process group.

        Must not be cancelled: what the program started could stay behind.
        """
        self._output.close()
        await end_tasks(*self._tasks)
        if self._child is not None:
            await self._child.stop()

    @property
    def said(self) -> Sequence[str]:
        """The last 50 lines of its stderr, without values of `env`, escaped, at most 500 characters each."""
        return [self._output.quote(line, SAID_LENGTH) for line in self._said]

    @property
    def pid(self) -> int | None:
        """The process, which leads its own process group; None before it is started."""
        return None if self._child is None else self._child.pid

    def _hear(self, line: str) -> None:
        if line.strip():
            self._said.append(line)  # quoted when somebody reads it: most lines are gone before

    async def _read(self, child: Child) -> None:
        pacer = Pacer()
        try:
            while True:
                line = await child.read_line()
                await pacer.frame(self._output.frame(line) if line.strip() else 0.0)
        except EOFError:
            # A program that exits closes its pipes first: its exit code follows at once.
            if not await child.exited_within(LAST_LINES):
                self._output.end(Stopped(StopReason.EXITED, "it closed its stdout"))
        except LineTooLong:
            self._output.end(Stopped(StopReason.LINE_TOO_LONG, f"over {self._settings.line_limit} bytes"))
        except Exception:  # noqa: BLE001  this task ends here, and the source with it
            logger.exception("Reading from a tool program failed")
            self._output.end(Stopped(StopReason.INTERNAL))

    async def _write(self, child: Child) -> None:
        try:
            while True:
                frame = await self._queue.first()
                await child.write_line(frame)
                self._queue.sent()
        except OSError:
            # It cannot read any more. That alone ends nothing: what it still prints is read, and its exit is watched.
            if not await child.exited_within(LAST_LINES):
                self._output.end(Stopped(StopReason.EXITED, "it closed its stdin"))

    async def _watch(self, child: Child, reading: "asyncio.Task[None]") -> None:
        await child.exited.wait()
        # Whoever inherited its stdout may hold it open for ever.
        await asyncio.wait({reading}, timeout=LAST_LINES)
        self._output.end(Stopped(StopReason.EXITED, _how(child.exit_code)))


def _how(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
