"""The two places log lines go to, as the log's one thread sees them: a console that may stall, a file that rotates.

Neither knows loguru, and nobody else writes to them. `LogFile` raises OSError for its caller to report; `Console`
never raises: a terminal or pipe that is gone is remembered in `gone`, one that is stalled keeps its lines waiting.
"""

import contextlib
import os
import select
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import NamedTuple, Self, TextIO

from msgspec.json import encode

_COLOURS = {"TRACE": "36", "DEBUG": "34", "SUCCESS": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
"""So many bytes go into a pipe without blocking once poll() says it is writable (POSIX)."""


class Line(NamedTuple):
    """One event, ready to be shown: all text has been redacted and escaped, only a traceback has further lines."""

    time: datetime
    level: str
    text: str
    fields: Mapping[str, object] = MappingProxyType({})
    """What JSON lines say besides: of the event, and `exception` for a traceback."""

    @classmethod
    def now(cls, level: str, text: str) -> Self:
        """A line of the log about itself."""
        return cls(datetime.now().astimezone(), level, text)

    def render(self, colour: bool = False) -> str:
        """The line for people, line feed included."""
        level = f"{self.level:<7}"
        if colour and self.level in _COLOURS:
            level = f"\x1b[{_COLOURS[self.level]}m{level}\x1b[0m"
        traceback = f"\n{self.fields['exception']}" if "exception" in self.fields else ""
        return f"{timestamp(self.time)} {level} {self.text}{traceback}\n"

    def render_json(self, colour: bool = False) -> str:
        """The line for programs, an object; line feed included."""
        head = {"time": self.time.isoformat(timespec="milliseconds"), "level": self.level, "message": self.text}
        return encode({**head, **self.fields, **head}).decode() + "\n"


Render = Callable[..., str]
"""`Line.render` or `Line.render_json`."""


def timestamp(time: datetime) -> str:
    """`2026-11-20 07:00:00.123`, in the time zone of `time`."""
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}"


class Console:
    """A text stream for people; in colour if it is a terminal.

    A stream with a descriptor is written to only when that does not block; meanwhile at most `backlog` lines wait,
    further ones are counted in `dropped`. It is written around Python's buffer, whose flush at the interpreter's end
    would hang on a stalled pipe. A stream without one (an object in memory) is written to as it is.
    """

    def __init__(self, stream: TextIO, backlog: int, render: Render = Line.render) -> None:
        self._render = render
        self.dropped = 0
        self.gone: str | None = None
        self._stream = stream
        self._backlog = backlog
        self._lines: deque[Line] = deque()
        self._bytes = b""
        self._unsaid = 0
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._colour = False
        self._descriptor: int | None = None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # what was printed before the log began comes first
            self._descriptor = stream.fileno()
            self._colour = stream.isatty()
        self._poll = None
        if sys.platform != "win32" and self._descriptor is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    @property
    def waiting(self) -> bool:
        """Whether there is something the console has not taken yet."""
        return self.gone is None and bool(self._lines or self._bytes)

    def add(self, lines: Iterable[Line]) -> None:
        """Let `lines` wait for the next `pump`; those there is no room for are dropped, and a line says so later."""
        for line in lines:
            if len(self._lines) >= self._backlog:
                self.dropped += 1
                self._unsaid += 1
                continue
            self._say_dropped()
            self._lines.append(line)

    def pump(self, until: float = 0.0) -> None:
        """Write what the console takes without blocking, or by the moment `until` (monotonic seconds)."""
        try:
            while self.waiting and self._takes(max(0.0, until - monotonic())):
                self._write_some()
                if not self._lines:
                    self._say_dropped()
        except BlockingIOError:  # a descriptor that somebody made non-blocking
            return
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.gone = str(error)
            self._lines.clear()

    def _say_dropped(self) -> None:
        if self._unsaid:
            text = f"{self._unsaid} log lines were dropped: the console did not take them in time"
            self._lines.append(Line.now("WARNING", text))
            self._unsaid = 0

    def _takes(self, patience: float) -> bool:
        return self._poll is None or bool(self._poll.poll(patience * 1000))

    def _write_some(self) -> None:
        if getattr(self._stream, "closed", False):  # its descriptor may belong to somebody else by now
            raise ValueError("the stream was closed")
        if self._descriptor is None:
            text = "".join(map(self._render, self._lines))
            self._lines.clear()
            self._stream.write(text)
            self._stream.flush()
            return
        while self._lines and len(self._bytes) < _PIPE_BUF:
            self._bytes += self._render(self._lines.popleft(), self._colour).encode(self._encoding, "backslashreplace")
        self._bytes = self._bytes[os.write(self._descriptor, self._bytes[:_PIPE_BUF]) :]


class LogFile:
    """A file that is renamed to `NAME.1` before it outgrows `max_size` bytes (0: never), `NAME.1` to `NAME.2` …

    At most `backups` old files are kept. The file is readable by its owner only. It is opened by the first write,
    and again by the next one after an error, so that a disk that recovers is used again.
    """

    def __init__(self, path: Path, max_size: int, backups: int, render: Render = Line.render) -> None:
        self._render = render
        self.path = path
        self._max_size = max_size
        self._backups = backups
        self._descriptor: int | None = None
        self._size = 0
        self._rotates = True

    def write(self, lines: Iterable[Line]) -> None:
        """Append `lines`, in as few writes as rotation allows. Raises OSError; some may have been written then."""
        try:
            descriptor = self._open() if self._descriptor is None else self._descriptor
            chunk: list[bytes] = []
            for line in lines:
                data = self._render(line).encode(errors="backslashreplace")
                if self._rotates and self._size and self._size + len(data) > self._max_size > 0:
                    _write_all(descriptor, b"".join(chunk))
                    chunk.clear()
                    descriptor = self._rotate()
                chunk.append(data)
                self._size += len(data)
            _write_all(descriptor, b"".join(chunk))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = descriptor = os.open(self.path, flags, 0o600)
        facts = os.fstat(descriptor)
        self._rotates = stat.S_ISREG(
            facts.st_mode
        )  # a device such as /dev/null is neither renamed nor closed to others
        self._size = facts.st_size
        if self._rotates and sys.platform != "win32":
            with contextlib.suppress(OSError):  # somebody else's file
                os.fchmod(descriptor, 0o600)
        return descriptor

    def _rotate(self) -> int:
        self.close()
        names = [self.path, *(Path(f"{self.path}.{n}") for n in range(1, self._backups + 1))]
        rotated = True
        try:
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                if newer.exists():
                    newer.replace(older)
            if self._backups == 0:
                self.path.unlink(missing_ok=True)
        except OSError:
            rotated = False
        descriptor = self._open()
        if not rotated:
            self._size = 0  # a folder that cannot be written: go on in the same file, try again a file's size later
        return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
