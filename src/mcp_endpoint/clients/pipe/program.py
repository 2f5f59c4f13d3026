"""The bridge: a stdio MCP server on one end, an endpoint on the other, ours or the official cloud's.

Each connection gets a fresh child, started once the endpoint has let us in: MCP's handshake belongs to one connection,
and no child runs in vain. When either end is gone the other is ended too, and after a while all begins anew. Nothing
is queued here: while the child does not read, the connection is not read either, and its pings run into their timeout.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loguru import logger
from websockets.asyncio.client import ClientConnection

from mcp_endpoint.clients.endpoint import DIAL_ERRORS, Endpoint, Failure, UnusableURL, dial, endpoint, explain
from mcp_endpoint.clients.pipe.lines import Lines
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.transports.child_environ import whole_environment
from mcp_endpoint.providers.transports.child_process import LINE_LIMIT, Child, CommandNotFound, LineTooLong, resolve
from mcp_endpoint.wire.envelope import no_separators, one_line
from mcp_endpoint.wire.repair.frames import Flaw
from mcp_endpoint.wire.repair.pieces import PIECE_WAIT

if TYPE_CHECKING:
    from loguru import Logger, Record

URL_VARIABLE = "MCP_ENDPOINT"
FIRST_FRAME_WAIT = 1.0
"""Seconds in which a refusal comes instead of a first frame; only then is a child worth starting."""

LAST_LINES = 1.0
JUNK_EVERY = 100
STDERR_SHOWN = 2000
GOING_AWAY = 1001
NO_URL = f"没有给出接入点地址。 / No endpoint URL was given, and ${URL_VARIABLE} is not set."
STRAY = (
    "工具程序的 stdout 中有非 JSON-RPC 的内容，未转发（日志请写到 stderr）"
    " / Not JSON-RPC on the tool program's stdout, not sent (logs belong on stderr)"
)
NOT_UTF8 = (
    "工具程序发出的消息不是 UTF-8（是 GBK 吗？），未转发；请让它输出 UTF-8"
    " / A message of the tool program is not UTF-8 (is it GBK?), not sent; have it write UTF-8"
)
USAGE, NOT_FOUND = 2, 127
"""Exit codes for a bad URL and for a command that does not exist, as shells have them."""


@dataclass
class _Relayed:
    """What went through one connection."""

    up: int = 0
    down: int = 0
    junk: int = 0

    def __str__(self) -> str:
        return f"{self.down} frames in, {self.up} out, {self.junk} stray lines"


@dataclass(frozen=True)
class _Program:
    """What is bridged: the endpoint it is connected to, how it is started, and the log that knows its name."""

    where: Endpoint
    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    cwd: str | None
    log: "Logger"


class _ChildEnded(Exception):
    """The child does not read, or does not write, any more."""


async def pipe(
    url: str | None,
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: str | None = None,
    name: str | None = None,
    backoff: Backoff | None = None,
) -> int:
    """Bridge `command`, a stdio MCP server, to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled.

    Connections and their ends go to the log, in words and without the token, and so does what the child writes to
    stderr; each line begins with `name` if there is one. `environ` is the child's environment, `cwd` the folder it
    starts in. Returns an exit code at once if the URL or the command is unusable; otherwise it ends only by
    cancellation, with the child and all it started gone.
    """
    log = logger if name is None else logger.patch(named(name))
    where = tool_endpoint(url, environ, log)
    if where is None:
        return USAGE
    try:
        resolved = resolve(command, environ, cwd)
    except CommandNotFound as error:
        shown = quote_peer(str(error))
        log.error(
            f"找不到程序 {shown}，请检查是否已安装。 / There is no program {shown}; is it installed and on the PATH?"
        )
        return NOT_FOUND
    return await _again_and_again(_Program(where, resolved, environ, cwd, log), backoff or Backoff())


def tool_endpoint(url: str | None, environ: Mapping[str, str], log: "Logger" = logger) -> Endpoint | None:
    """The endpoint of a tool side at `url` (None: `$MCP_ENDPOINT`); None if it is unusable, which the log says."""
    url = url or environ.get(URL_VARIABLE)
    if not url:
        log.error(NO_URL)
        return None
    try:
        where = endpoint(url, "mcp")
    except UnusableURL as error:
        log.error(f"{error}")
        return None
    for note in where.notes:
        log.info(note)
    return where


def named(name: str) -> "Callable[[Record], None]":
    """Lets each line of the log begin with the name of the program that it is about."""
    label = f"[{quote_peer(name)}] "

    def put(record: "Record") -> None:
        record["message"] = label + record["message"]

    return put


async def _again_and_again(program: _Program, backoff: Backoff) -> int:
    loop = asyncio.get_running_loop()
    while True:
        relayed = _Relayed()
        start = loop.time()
        failure = await _connection(program, relayed)
        wait = backoff.refused() if failure.slow else backoff.failed(loop.time() - start, relayed.up > 0)
        program.log.warning(f"{failure.sentence} {wait:.1f} 秒后重试 / next try in {wait:.1f} s")
        await asyncio.sleep(wait)


async def _connection(program: _Program, relayed: _Relayed) -> Failure:
    """One connection from its dialling to its end; the outcome says why it ended."""
    where, log = program.where, program.log
    try:
        connection = await dial(where)
    except DIAL_ERRORS as error:
        return explain(error, where)
    log.info(f"已连接 / connected: {where.shown}")
    first = asyncio.create_task(connection.recv())
    why = "bridge stopped"
    try:
        await asyncio.wait({first}, timeout=FIRST_FRAME_WAIT)
        refusal = first.exception() if first.done() else None
        if refusal is not None:
            return explain(refusal, where)
        try:
            child = await Child.start(program.command, program.environ, _stderr_log(program), program.cwd)
        except OSError as error:
            why = "the tool program could not be started"
            text = where.quote(str(error))
            return Failure(f"无法启动工具程序：{text} / The tool program could not be started: {text}")
        log.info(f"工具程序已启动 / tool program started: pid {child.pid}")
        try:
            failure = await _relay(connection, child, first, program, relayed)
            why = failure.sentence.rpartition(" / ")[2]
        finally:
            # The endpoint learns of the end while the child still takes its time.
            await _to_the_end(connection.close(GOING_AWAY, _close_text(why)), child.stop())
            log.info(f"工具程序已结束 / tool program ended: exit code {child.exit_code}, {relayed}")
        return failure
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await connection.close(GOING_AWAY, _close_text(why))


async def _to_the_end(*works: Coroutine[Any, Any, None]) -> None:
    """Wait for work that is bounded and must not be cut short; a cancellation counts when it is done."""
    tasks = [asyncio.create_task(work) for work in works]
    cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        task.result()
    if cancelled:
        raise asyncio.CancelledError


def _close_text(why: str) -> str:
    """A close frame has room for 123 bytes of reason."""
    return why.encode()[:120].decode(errors="ignore")


async def _relay(
    connection: ClientConnection,
    child: Child,
    first: "asyncio.Task[str | bytes]",
    program: _Program,
    relayed: _Relayed,
) -> Failure:
    """Pass frames and lines on until one end is gone; says which."""
    where = program.where
    down = asyncio.create_task(_down(connection, child, first, program.log, relayed))
    up = asyncio.create_task(_up(connection, child, program, relayed))
    exited = asyncio.create_task(child.exited.wait())
    closed = asyncio.create_task(connection.wait_closed())
    tasks: set[asyncio.Task[Any]] = {down, up, exited, closed}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not closed.done() and not up.done():
            # What the child printed before it died still belongs to the endpoint.
            await asyncio.wait({up, closed}, timeout=LAST_LINES, return_when=asyncio.FIRST_COMPLETED)
        # A reader may learn of a close a moment before `closed` does.
        for pump in (down, up):
            error = pump.exception() if pump.done() else None
            if error is not None and not isinstance(error, _ChildEnded | LineTooLong):
                return explain(error, where)
        if closed.done():
            return explain(connection.protocol.close_exc, where)
        if up.done() and isinstance(up.exception(), LineTooLong):
            limit = LINE_LIMIT // 1024 // 1024
            return Failure(
                f"工具程序输出了超过 {limit} MB 的一行，已结束它。"
                f" / The tool program printed a line of more than {limit} MB and was ended."
            )
        return await _why_ended(child)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _why_ended(child: Child) -> Failure:
    # A program that exits closes its pipes first: its exit code follows at once.
    if not await child.exited_within(LAST_LINES):
        return Failure("工具程序关闭了输入或输出。 / The tool program closed its stdin or stdout.")
    return Failure(f"工具程序已退出（{child.exit_code}）。 / The tool program exited (exit code {child.exit_code}).")


async def _down(
    connection: ClientConnection, child: Child, first: "asyncio.Task[str | bytes]", log: "Logger", relayed: _Relayed
) -> None:
    """Endpoint to child: each frame becomes one line."""
    frame = await asyncio.shield(first)
    while True:
        if isinstance(frame, str):
            try:
                await child.write_line(no_separators(one_line(frame.encode())))
            except OSError:
                raise _ChildEnded from None
            relayed.down += 1
        else:
            log.warning("忽略了一个二进制帧。 / A binary frame from the endpoint was dropped.")
        frame = await connection.recv()


async def _up(connection: ClientConnection, child: Child, program: _Program, relayed: _Relayed) -> None:
    """Child to endpoint: each line that is a JSON object becomes one frame; the rest are stray prints."""
    lines = Lines()
    told: set[Flaw] = set()
    while True:
        try:
            async with asyncio.timeout(PIECE_WAIT if lines.waits else None):
                line = await child.read_line()
        except TimeoutError:
            taken = lines.give_up()
        except EOFError:
            taken, line = lines.give_up(), b""
            if not (taken.frames or taken.junk):
                raise _ChildEnded from None
        else:
            taken = lines.take(line)
        for frame in taken.frames:
            await connection.send(frame.decode())
            relayed.up += 1
        for flaw in taken.flaws:
            if flaw not in told:
                told.add(flaw)
                program.log.warning(
                    f"工具程序的消息有误：{flaw.zh}。 / A frame of the tool program is wrong: {flaw.en}."
                )
        for junk in taken.junk:
            if relayed.junk % JUNK_EVERY == 0:
                shown = program.where.quote(junk[:8192].decode(errors="backslashreplace"))
                program.log.warning(f"{NOT_UTF8 if _in_another_encoding(junk) else STRAY}: {shown}")
            relayed.junk += 1


def _in_another_encoding(line: bytes) -> bool:
    """Whether a line is a frame but for its encoding, not a stray print."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.lstrip().startswith(b"{")
    return False


def _stderr_log(program: _Program) -> Callable[[str], None]:
    def log(line: str) -> None:
        if line.strip():
            program.log.info("stderr: {}", program.where.quote(line, limit=STDERR_SHOWN))

    return log


def run(url: str | None, command: Sequence[str], environ: Mapping[str, str]) -> int:
    """`pipe` as a command. Returns its exit code; see `run_until_signal`."""
    return run_until_signal(pipe(url, command, environ=whole_environment({}, environ)))


def run_until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`, which Ctrl-C, SIGTERM and a closed terminal cancel, so that it ends in good order.

    Returns its exit code: 130 after Ctrl-C, 143 after SIGTERM, as shells expect it.
    """
    try:
        return asyncio.run(_until_signal(work))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.create_task(work)
    got: list[int] = []

    def stop(number: int) -> None:
        # Only the first one cancels: the end it starts is bounded, and must not be cut short.
        if not got:
            task.cancel()
        got.append(number)

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if got:
            return 128 + got[0]
        raise
