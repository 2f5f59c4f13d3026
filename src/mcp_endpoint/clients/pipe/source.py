"""The bridge for tools that need no program: a source in this process on one end, an endpoint on the other.

Tools of this process are opened once and outlive connections (`pipe_source`), so what they keep in memory stays. A
connection that follows begins with a new handshake, which ends the calls of the one before. A server elsewhere has a
session with its client: each connection gets a source of its own (`pipe_anew`).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection

from mcp_endpoint.clients.endpoint import DIAL_ERRORS, Endpoint, Failure, dial, explain
from mcp_endpoint.clients.exit_codes import FAILED, USAGE
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.running import GOING_AWAY, run_until_signal, tool_endpoint
from mcp_endpoint.language import Bilingual
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.send_queue import SendQueue
from mcp_endpoint.providers.source import Source, Stopped


async def pipe_source(
    url: str | None,
    source: Source,
    *,
    environ: Mapping[str, str],
    report: Report,
    backoff: Backoff | None = None,
) -> int:
    """Bridge `source` to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled; the source is closed then.

    Returns an exit code if the URL is unusable, and if the source cannot be opened or ends by itself.
    """
    where = tool_endpoint(url, environ, report)
    if where is None:
        return USAGE
    bridge = _Bridge(where, source, report)
    try:
        await source.open(bridge.take, bridge.stopped)
        return await bridge.run(backoff or Backoff())
    except Stopped as stopped:
        report.error(_why(stopped))
        return FAILED
    finally:
        await source.close()


async def pipe_anew(
    url: str | None,
    make: Callable[[], Source],
    *,
    environ: Mapping[str, str],
    report: Report,
    backoff: Backoff | None = None,
) -> int:
    """Bridge what `make` makes, which may raise Stopped, to the endpoint at `url` until cancelled: one source for each
    connection, and both end with each other. Returns an exit code if the URL is unusable.
    """
    where = tool_endpoint(url, environ, report)
    if where is None:
        return USAGE
    pause, loop = backoff or Backoff(), asyncio.get_running_loop()
    while True:
        start = loop.time()
        failure, useful = await _one_source(where, make, report)
        wait = pause.refused() if failure.slow else pause.failed(loop.time() - start, useful)
        report.again(failure.told, wait)
        await asyncio.sleep(wait)


async def _one_source(where: Endpoint, make: Callable[[], Source], report: Report) -> tuple[Failure, bool]:
    try:
        source = make()
    except Stopped as stopped:
        return Failure(_why(stopped)), False
    bridge = _Bridge(where, source, report)
    try:
        await source.open(bridge.take, bridge.stopped)
        return await bridge.connection()
    except Stopped as stopped:
        return Failure(_why(stopped)), False
    finally:
        await source.close()


def _why(stopped: Stopped) -> Bilingual:
    zh, en = stopped.sentences()
    return Bilingual(f"工具无法提供：{zh}。", f"The tools cannot be served: {en}.")


class _Bridge:
    """One source and the connections that it is served on, one after the other."""

    def __init__(self, where: Endpoint, source: Source, report: Report) -> None:
        self._where = where
        self._source = source
        self._report = report
        self._queue: SendQueue | None = None
        self._overflow = asyncio.Event()
        self._end: asyncio.Future[Stopped] = asyncio.get_running_loop().create_future()

    def take(self, frame: bytes) -> None:
        """Take a frame of the source; without a connection there is nobody to have it."""
        if self._queue is not None and not self._queue.put(frame):
            self._overflow.set()

    def stopped(self, why: Stopped) -> None:
        """The source ended by itself."""
        if not self._end.done():
            self._end.set_result(why)

    async def run(self, backoff: Backoff) -> int:
        """Dial again and again. Raises Stopped once the source ended by itself."""
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            failure, useful = await self.connection()
            if self._end.done():
                raise self._end.result()
            wait = backoff.refused() if failure.slow else backoff.failed(loop.time() - start, useful)
            self._report.again(failure.told, wait)
            await asyncio.wait({self._end}, timeout=wait)
            if self._end.done():
                raise self._end.result()

    async def connection(self) -> tuple[Failure, bool]:
        """One connection from its dialling to its end: why it ended, and whether it was of use."""
        where = self._where
        try:
            connection = await dial(where)
        except DIAL_ERRORS as error:
            return explain(error, where), False
        self._report.info(Bilingual(f"已连接：{where.shown}", f"connected: {where.shown}"))
        self._overflow.clear()
        queue = SendQueue()
        down = asyncio.create_task(self._down(connection, queue))
        up = asyncio.create_task(_up(connection, queue))
        full = asyncio.create_task(self._overflow.wait())
        tasks: set[asyncio.Future[Any]] = {down, up, full}
        try:
            await asyncio.wait({*tasks, self._end}, return_when=asyncio.FIRST_COMPLETED)
            useful = self._queue is queue
            for pump in (down, up):
                broke = pump.exception() if pump.done() else None
                if broke is not None:
                    return explain(broke, where), useful
            if full.done():
                told = Bilingual("接入点长时间不读取。", "The endpoint does not read what it is sent.")
                return Failure(told), useful
            return Failure(_why(self._end.result())), useful
        finally:
            self._queue = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connection.close(GOING_AWAY)

    async def _down(self, connection: ClientConnection, queue: SendQueue) -> None:
        while True:
            frame = await connection.recv()
            # From the first frame on it is heard: what the source still had to say belongs to the connection before.
            self._queue = queue
            if isinstance(frame, str):
                self._source.send(frame.encode())


async def _up(connection: ClientConnection, queue: SendQueue) -> None:
    while True:
        frame = await queue.first()
        await connection.send(frame.decode())
        queue.sent()


def run_python(url: str | None, file: str, environ: Mapping[str, str], report: Report) -> int:
    """`pipe URL --python FILE` as a command: the decorated functions of a file or module. Returns its exit code."""
    from mcp_endpoint.providers.local.python.source import PythonFile, PythonSettings

    async def work() -> int:
        source = PythonFile(PythonSettings(file, reload=True))
        return await pipe_source(url, source, environ=environ, report=report)

    return run_until_signal(work())
