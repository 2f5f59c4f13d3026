"""The bridge: a stdio MCP server on one end, an endpoint on the other, ours or the official cloud's.

Each connection gets a fresh child, started once the endpoint has let us in: MCP's handshake belongs to one connection,
and no child runs in vain. When either end is gone the other is ended too, and after a while all begins anew. Nothing
is queued here: while the child does not read, the connection is not read either, and its pings run into their timeout.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection

from mcp_endpoint.clients.endpoint import DIAL_ERRORS, Endpoint, Failure, dial, explain
from mcp_endpoint.clients.exit_codes import NOT_FOUND, USAGE
from mcp_endpoint.clients.pipe.lines import Lines
from mcp_endpoint.clients.pipe.report import Report
from mcp_endpoint.clients.pipe.running import GOING_AWAY, run_until_signal, tool_endpoint
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.backoff import Backoff
from mcp_endpoint.providers.transports.child_environ import whole_environment
from mcp_endpoint.providers.transports.child_process import LINE_LIMIT, Child, CommandNotFound, LineTooLong, resolve
from mcp_endpoint.wire.envelope import no_separators, one_line
from mcp_endpoint.wire.repair.frames import Flaw
from mcp_endpoint.wire.repair.pieces import PIECE_WAIT

FIRST_FRAME_WAIT = 1.0
"""Seconds in which a refusal comes instead of a first frame; only then is a child worth starting."""

LAST_LINES = 1.0
JUNK_EVERY = 100
STDERR_SHOWN = 2000
STRAY = Bilingual(
    "工具程序的 stdout 中有非 JSON-RPC 的内容，未转发（日志请写到 stderr）",
    "Not JSON-RPC on the tool program's stdout, not sent (logs belong on stderr)",
)
NOT_UTF8 = Bilingual(
    "工具程序发出的消息不是 UTF-8（是 GBK 吗？），未转发；请让它输出 UTF-8",
    "A message of the tool program is not UTF-8 (is it GBK?), not sent; have it write UTF-8",
)


@dataclass
class _Relayed:
    """What went through one connection."""

    up: int = 0
    down: int = 0
    junk: int = 0

    def told(self) -> Bilingual:
        return Bilingual(
            f"收到 {self.down} 条消息，发出 {self.up} 条，另有 {self.junk} 行非消息内容",
            f"{self.down} frame{'' if self.down == 1 else 's'} in, {self.up} out, "
            f"{self.junk} stray line{'' if self.junk == 1 else 's'}",
        )


@dataclass(frozen=True)
class _Program:
    """What is bridged: the endpoint it is connected to, how it is started, and who is told of it."""

    where: Endpoint
    command: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    cwd: str | None
    report: Report


class _ChildEnded(Exception):
    """The child does not read, or does not write, any more."""


async def pipe(
    url: str | None,
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: str | None = None,
    report: Report,
    backoff: Backoff | None = None,
) -> int:
    """Bridge `command`, a stdio MCP server, to the endpoint at `url` (None: `$MCP_ENDPOINT`) until cancelled.

    Connections and their ends are reported, in words and without the token, and so is what the child writes to stderr.
    `environ` is the child's environment, `cwd` the folder it starts in. Returns an exit code at once if the URL or the
    command is unusable; otherwise it ends only by cancellation, with the child and all it started gone.
    """
    where = tool_endpoint(url, environ, report)
    if where is None:
        return USAGE
    try:
        resolved = resolve(command, environ, cwd)
    except CommandNotFound as error:
        shown = quote_peer(str(error))
        report.error(
            Bilingual(
                f"找不到程序 {shown}，请检查是否已安装、是否在 PATH 中。",
                f"There is no program {shown}; is it installed and on the PATH?",
            )
        )
        return NOT_FOUND
    return await _again_and_again(_Program(where, resolved, environ, cwd, report), backoff or Backoff())


async def _again_and_again(program: _Program, backoff: Backoff) -> int:
    loop = asyncio.get_running_loop()
    while True:
        relayed = _Relayed()
        start = loop.time()
        failure = await _connection(program, relayed)
        wait = backoff.refused() if failure.slow else backoff.failed(loop.time() - start, relayed.up > 0)
        program.report.again(failure.told, wait)
        await asyncio.sleep(wait)


async def _connection(program: _Program, relayed: _Relayed) -> Failure:
    """One connection from its dialling to its end; the outcome says why it ended."""
    where, report = program.where, program.report
    try:
        connection = await dial(where)
    except DIAL_ERRORS as error:
        return explain(error, where)
    report.info(Bilingual(f"已连接：{where.shown}", f"connected: {where.shown}"))
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
            return _failure(f"无法启动工具程序：{text}。", f"The tool program could not be started: {text}.")
        report.info(Bilingual(f"工具程序已启动：pid {child.pid}", f"tool program started: pid {child.pid}"))
        try:
            failure = await _relay(connection, child, first, program, relayed)
            why = failure.told.en
        finally:
            # The endpoint learns of the end while the child still takes its time.
            await _to_the_end(connection.close(GOING_AWAY, _close_text(why)), child.stop())
            counts = relayed.told()
            report.info(
                Bilingual(
                    f"工具程序已结束：退出码 {child.exit_code}，{counts.zh}",
                    f"tool program ended: exit code {child.exit_code}, {counts.en}",
                )
            )
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
    down = asyncio.create_task(_down(connection, child, first, program.report, relayed))
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
            return _failure(
                f"工具程序输出了超过 {limit} MB 的一行，已结束它。",
                f"The tool program printed a line of more than {limit} MB and was ended.",
            )
        return await _why_ended(child)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _why_ended(child: Child) -> Failure:
    # A program that exits closes its pipes first: its exit code follows at once.
    if not await child.exited_within(LAST_LINES):
        return _failure("工具程序关闭了输入或输出。", "The tool program closed its stdin or stdout.")
    code = child.exit_code
    return _failure(f"工具程序已退出（退出码 {code}）。", f"The tool program exited (exit code {code}).")


def _failure(zh: str, en: str) -> Failure:
    return Failure(Bilingual(zh, en))


async def _down(
    connection: ClientConnection, child: Child, first: "asyncio.Task[str | bytes]", report: Report, relayed: _Relayed
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
            report.warning(Bilingual("忽略了一个二进制帧。", "A binary frame from the endpoint was dropped."))
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
                program.report.warning(
                    Bilingual(f"工具程序的消息有误：{flaw.zh}。", f"A frame of the tool program is wrong: {flaw.en}.")
                )
        for junk in taken.junk:
            if relayed.junk % JUNK_EVERY == 0:
                shown = program.where.quote(junk[:8192].decode(errors="backslashreplace"))
                zh, en = NOT_UTF8 if _in_another_encoding(junk) else STRAY
                program.report.warning(Bilingual(f"{zh}：{shown}", f"{en}: {shown}"))
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
            shown = f"stderr: {program.where.quote(line, limit=STDERR_SHOWN)}"
            program.report.info(Bilingual(shown, shown))

    return log


def run(url: str | None, command: Sequence[str], environ: Mapping[str, str], report: Report) -> int:
    """`pipe URL -- CMD …` as a command. Returns its exit code; see `run_until_signal`."""
    return run_until_signal(pipe(url, command, environ=whole_environment({}, environ), report=report))
