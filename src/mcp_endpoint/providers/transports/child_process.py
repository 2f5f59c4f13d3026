"""A stdio MCP server as a child process: lines in, lines out, and an end that leaves nothing of it running."""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcp_endpoint.providers.source_output import Pacer

LINE_LIMIT = 4 * 1024 * 1024
"""Bytes of one line of stdout: what fits into one frame."""

STDERR_LINE = 8192
"""Bytes of one line of stderr that are passed on; the rest of the line is cut."""

_STAND_INS = {"python": ("python3",), "python3": ("python",), "py": ("python3", "python")}
"""Names of one program on several systems."""

CLOSE_GRACE = 1.0
KILL_GRACE = 5.0
_POLL = 0.05


class LineTooLong(Exception):
    """The child printed a line of more bytes than it may."""


class CommandNotFound(Exception):
    """There is no such program; the message is its name."""


def resolve(command: Sequence[str], environ: Mapping[str, str], cwd: str | None = None) -> list[str]:
    """The command with its program as a path, found as a shell in `cwd` would (on Windows `npx` is `npx.cmd`).

    Where there is no program of that name, it may be a whole command line (`npx -y package`), or what another system
    calls it (`cmd /c npx`, `npx.cmd`, `python` for `python3`). Raises CommandNotFound.
    """
    program = _found(command[0], environ, cwd)
    if program is not None:
        return [program, *command[1:]]
    try:
        line = [*shlex.split(command[0], posix=sys.platform != "win32"), *command[1:]]
    except ValueError:  # a quote that is never closed
        line = []
    if line[2:] and line[0].lower() in ("cmd", "cmd.exe") and line[1].lower() == "/c":
        return resolve(line[2:], environ, cwd)
    for name in _other_names(line[0]) if line else ():
        program = _found(name, environ, cwd)
        if program is not None:
            return [program, *line[1:]]
    raise CommandNotFound(command[0])


def _other_names(name: str) -> tuple[str, ...]:
    """A name as it stands, and what the same program is called elsewhere."""
    stem, dot, ending = name.rpartition(".")
    plain = stem if dot and ending.lower() in ("cmd", "exe", "bat") else name
    return (name, plain, *_STAND_INS.get(plain, ()))


def _check_folder(cwd: str | None) -> None:
    """Raises OSError; the system would say of the program that it is not there."""
    if cwd is not None and not os.path.isdir(cwd):
        raise NotADirectoryError(f"there is no folder {cwd} (cwd)")


def _found(name: str, environ: Mapping[str, str], cwd: str | None) -> str | None:
    if name.startswith("~"):
        name = os.path.expanduser(name)
    if cwd is not None and os.path.dirname(name):
        name = os.path.abspath(os.path.join(cwd, name))
    return shutil.which(name, path=environ.get("PATH"))


class _Protocol(SubprocessStreamProtocol):
    """Tells when the process itself is gone: `Process.wait()` also waits for whoever inherited its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, line_limit: int) -> None:
        super().__init__(limit=line_limit, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Child:
    """One running child in a process group of its own. Make it with `start`; `stop` must be called in the end."""

    def __init__(self, transport: asyncio.SubprocessTransport, process: Process, exited: asyncio.Event) -> None:
        self._transport = transport
        self._process = process
        self._stderr: asyncio.Task[None] | None = None
        self.exited = exited
        """Set once the process itself has ended, whatever its descendants do."""
        self.pid = process.pid

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environ: Mapping[str, str],
        on_stderr: Callable[[str], None],
        cwd: str | None = None,
        line_limit: int = LINE_LIMIT,
    ) -> "Child":
        """Start `command` (as `resolve` returns it) in `cwd`; every line of its stderr goes to `on_stderr`, cut.

        A line of its stdout may have `line_limit` bytes. Raises OSError.
        """
        _check_folder(cwd)
        loop = asyncio.get_running_loop()
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop, line_limit),
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(environ),
            cwd=cwd,
            **group,
        )
        process = Process(transport, protocol, loop)
        child = cls(transport, process, protocol.exited)
        assert process.stderr is not None
        child._stderr = asyncio.create_task(_pass_on(process.stderr, on_stderr))
        return child

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def read_line(self) -> bytes:
        """The next line of stdout without its end. Raises EOFError when there are no more, LineTooLong."""
        assert self._process.stdout is not None
        try:
            return (await self._process.stdout.readuntil(b"\n")).rstrip(b"\r\n")
        except asyncio.LimitOverrunError:
            raise LineTooLong from None
        except asyncio.IncompleteReadError as end:
            if end.partial:
                return end.partial
            raise EOFError from None

    async def write_line(self, line: bytes) -> None:
        """Write one line to stdin; waits while the child does not read. Raises OSError once it cannot read any more."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def stop(self) -> None:
        """End the child and all it started: close stdin, then SIGTERM, after 5 s SIGKILL, each to the whole group."""
        assert self._process.stdin is not None
        assert self._stderr is not None
        try:
            self._process.stdin.close()
            await self.exited_within(CLOSE_GRACE)
            self._terminate()
            if not await self._gone_within(KILL_GRACE):
                await self._kill()
                await self._gone_within(KILL_GRACE)
            await asyncio.wait({self._stderr}, timeout=_POLL)
        finally:
            self._stderr.cancel()
            self._transport.close()
            if self._process.stdin.transport.get_write_buffer_size():
                # Whoever inherited the pipe does not read it: what waits for them is given up.
                self._process.stdin.transport.abort()

    async def exited_within(self, seconds: float) -> bool:
        """Whether the process itself ended in time."""
        try:
            async with asyncio.timeout(seconds):
                await self.exited.wait()
        except TimeoutError:
            return False
        return True

    async def _gone_within(self, seconds: float) -> bool:
        """Whether the process and its group ended in time. Nothing tells of a group's end, so it is asked for."""
        deadline = asyncio.get_running_loop().time() + seconds
        if not await self.exited_within(seconds):
            return False
        while self._group_alive():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_POLL)
        return True

    if sys.platform == "win32":

        def _terminate(self) -> None:
            if self.exit_code is None:
                self._process.send_signal(signal.CTRL_BREAK_EVENT)

        def _group_alive(self) -> bool:
            return False

        async def _kill(self) -> None:
            # Ends the descendants too; after the grace all that is left is force.
            killer = await asyncio.create_subprocess_exec("taskkill", "/PID", str(self.pid), "/T", "/F")
            await killer.wait()

    else:

        def _terminate(self) -> None:
            self._signal_group(signal.SIGTERM)

        def _group_alive(self) -> bool:
            return self._signal_group(0) and _somebody_lives(self.pid)

        async def _kill(self) -> None:
            self._signal_group(signal.SIGKILL)

        def _signal_group(self, number: int) -> bool:
            """Whether there was somebody in the group to get the signal."""
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                # macOS answers EPERM for a group in which only dead processes are left.
                return False
            return True


def _somebody_lives(group: int) -> bool:
    """Whether a process group has more than dead members that nobody collects, as in containers without an init."""
    try:
        stats = [entry / "stat" for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return True
    for stat in stats:
        try:
            # pid (name) state parent group …, and the name may hold anything.
            state, _, its_group, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state not in "ZX":
            return True
    return not stats


async def _pass_on(stderr: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    rest, cut = b"", False
    pacer = Pacer()
    while chunk := await stderr.read(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not cut:
                on_line(_text(line))
            cut = False
            await pacer.frame()
        if len(rest) > STDERR_LINE:
            if not cut:
                on_line(_text(rest))
            rest, cut = b"", True
    if rest and not cut:
        on_line(_text(rest))


def _text(line: bytes) -> str:
    short = line.rstrip(b"\r")
    text = short[:STDERR_LINE].decode(errors="backslashreplace")
    return text if len(short) <= STDERR_LINE else text + "…"
