"""The bridge for tools that need no program: a source in this process on one end, an endpoint on the other.

The source is opened once and outlives connections, so what its tools keep in memory stays. A connection that follows
begins with a new handshake, which ends the calls of the one before.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from loguru import logger
from websockets.asyncio.client import ClientConnection

from mcp_endpoint.clients.endpoint import DIAL_ERRORS, Endpoint, Failure, dial, explain
from mcp_endpoint.clients.pipe import GOING_AWAY, USAGE, run_until_signal, tool_endpoint
from mcp_endpoint.providers.backoff import Backoff
from mcp_endpoint.providers.outlet import Unsent
from mcp_endpoint.providers.source import Source, Stopped

FAILED = 1


async def pipe_source(
    url: str | None, source: Source, *, environ: Mapping[str, str], backoff: Backoff | None = None
) -> int:
    """Bridge `source` to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled; the source is closed then.

    Returns an exit code if the URL is unusable, and if the source cannot be opened or ends by itself.
    """
    where = tool_endpoint(url, environ)
    if where is None:
        return USAGE
    bridge = _Bridge(where, source, backoff or Backoff())
    try:
        await source.open(bridge.take, bridge.stopped)
        return await bridge.run()
    except Stopped as stopped:
        logger.error("{}", _why(stopped))
        return FAILED
    finally:
        await source.close()


def _why(stopped: Stopped) -> str:
    detail = f"\n{stopped.detail}" if stopped.detail else ""
    return f"工具无法提供：{stopped.why.zh}。 / The tools cannot be served: {stopped.why.en}.{detail}"


class _Bridge:
    """One source and the connections that it is served on, one after the other."""

    def __init__(self, where: Endpoint, source: Source, backoff: Backoff) -> None:
        self._where = where
        self._source = source
        self._backoff = backoff
        self._unsent: Unsent | None = None
        self._overflow = asyncio.Event()
        self._end: asyncio.Future[Stopped] = asyncio.get_running_loop().create_future()

    def take(self, frame: bytes) -> None:
        """Take a frame of the source; without a connection there is nobody to have it."""
        if self._unsent is not None and not self._unsent.put(frame):
            self._overflow.set()

    def stopped(self, why: Stopped) -> None:
        """The source ended by itself."""
        if not self._end.done():
            self._end.set_result(why)

    async def run(self) -> int:
        """Dial again and again. Raises Stopped once the source ended by itself."""
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            failure, useful = await self._connection()
            if self._end.done():
                raise self._end.result()
            wait = self._backoff.refused() if failure.slow else self._backoff.failed(loop.time() - start, useful)
            logger.warning(f"{failure.sentence} {wait:.1f} 秒后重试 / next try in {wait:.1f} s")
            await asyncio.wait({self._end}, timeout=wait)
            if self._end.done():
                raise self._end.result()

    async def _connection(self) -> tuple[Failure, bool]:
        """One connection from its dialling to its end: why it ended, and whether it was of use."""
        where = self._where
        try:
            connection = await dial(where)
        except DIAL_ERRORS as error:
            return explain(error, where), False
        logger.info(f"已连接 / connected: {where.shown}")
        self._overflow.clear()
        unsent = Unsent()
        down = asyncio.create_task(self._down(connection, unsent))
        up = asyncio.create_task(_up(connection, unsent))
        full = asyncio.create_task(self._overflow.wait())
        tasks: set[asyncio.Future[Any]] = {down, up, full}
        try:
            await asyncio.wait({*tasks, self._end}, return_when=asyncio.FIRST_COMPLETED)
            useful = self._unsent is unsent
            for pump in (down, up):
                broke = pump.exception() if pump.done() else None
                if broke is not None:
                    return explain(broke, where), useful
            if full.done():
                return Failure("接入点长时间不读取。 / The endpoint does not read what it is sent."), useful
            return Failure("工具已停止。 / The tools ended."), useful
        finally:
            self._unsent = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connection.close(GOING_AWAY)

    async def _down(self, connection: ClientConnection, unsent: Unsent) -> None:
        while True:
            frame = await connection.recv()
            # From the first frame on it is heard: what the source still had to say belongs to the connection before.
            self._unsent = unsent
            if isinstance(frame, str):
                self._source.send(frame.encode())


async def _up(connection: ClientConnection, unsent: Unsent) -> None:
    while True:
        frame = await unsent.first()
        await connection.send(frame.decode())
        unsent.sent()


def run_python(url: str | None, file: str, environ: Mapping[str, str]) -> int:
    """`pipe URL --python FILE` as a command: the decorated functions of a file or module. Returns its exit code."""
    from mcp_endpoint.providers.python_file import PythonFile, PythonSettings  # heavy, and needed here only

    async def work() -> int:
        source = PythonFile(PythonSettings(file, reload=True))
        return await pipe_source(url, source, environ=environ)

    return run_until_signal(work())
