"""Logs: one event is one line, on a console and in a rotating file, without secrets.

Code says `from loguru import logger` and `logger.info("…")`; libraries use the standard `logging` and `warnings`.
`Logs` brings all of it into two sinks:

    loguru, logging, warnings → redact, escape → bounded queue → one thread → console, file

Whoever logs never waits for a sink and never sees an error of one. What finds the queue full is dropped and counted.
uvicorn has to be given `log_config=None`, or it installs handlers of its own beside these.
"""

import contextlib
import logging
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Collection
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TextIO

from loguru import logger

from mcp_endpoint.logs.redaction import Redactor, escape_controls, quote_peer, redact
from mcp_endpoint.logs.sinks import Console, Line, LogFile

if TYPE_CHECKING:
    from loguru import Record

__all__ = ["Logs", "quote_peer", "redact"]

_MESSAGE_LIMIT = 4_000
"""Characters of one message; a line per event is no place for a whole frame."""
_REDACTION_LIMIT = 65_536
"""Characters of one message that are looked at: redaction is linear, but a message may have megabytes."""
_TRACEBACK_LIMIT = 8_000
"""Characters kept of a traceback's beginning, and again of its end."""
_CONSOLE_RETRY = 0.1
"""Seconds between two looks at a stalled console."""

_Exception = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Logs:
    """All logging of the process, from `start()` to `stop()`. One per process, as loguru's logger is.

    `level` is a name of loguru's (TRACE … CRITICAL). `debug` shows the traceback of every logged exception; without
    it those of ERROR and above have one, the rest end with the exception's own line. `max_file_size` in bytes (0: no
    rotation), `backup_count` old files. `secrets` never appear in a line, nor does what looks like one (see
    `redaction`). With `json` each line is an object: time, level, message, what the event was bound with, and a
    traceback as `exception`. `console` None is none, "stdout" whatever `sys.stdout` is at `start()`. `queue_size` in
    lines.
    """

    def __init__(
        self,
        *,
        level: str,
        debug: bool,
        log_file: Path | None,
        max_file_size: int,
        backup_count: int,
        secrets: Collection[str],
        json: bool = False,
        console: TextIO | Literal["stdout"] | None = "stdout",
        queue_size: int = 10_000,
    ) -> None:
        self._level = level.upper()
        self._debug = debug
        self._redact = Redactor(secrets)
        self._queue_size = queue_size
        self._stream = console
        self._console: Console | None = None
        self._render = Line.render_json if json else Line.render
        self._file = LogFile(log_file, max_file_size, backup_count, self._render) if log_file is not None else None
        self._file_lost = 0
        self._queue: deque[Line] = deque()
        self._dropped = 0
        self._unsaid = 0
        self._changed = threading.Condition()  # re-entrant: a finalizer may log while its thread is in here
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._undo = contextlib.ExitStack()
        self._sink = -1
        self._levelled: list[logging.Logger] = []

    @property
    def dropped(self) -> int:
        """How many lines were dropped because the queue, or that of a stalled console, was full."""
        return self._dropped + (self._console.dropped if self._console is not None else 0)

    def start(self) -> None:
        """Start the writing thread and send loguru, `logging` and `warnings` through it.

        Every loguru sink there was is removed, as it would show secrets. Raises ValueError for an unknown level,
        RuntimeError if it runs already. A file that cannot be opened is only reported, on the console.
        """
        if self._thread is not None:
            raise RuntimeError("the logs have been started already")
        number = logger.level(self._level).no
        stream = sys.stdout if self._stream == "stdout" else self._stream
        self._console = Console(stream, 2 * self._queue_size, self._render) if stream is not None else None
        self._deadline = None
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        logger.remove()
        self._sink = self._add_sink(number)
        self._undo.callback(self._after_stop)
        self._intercept_logging(number)
        self._undo.callback(setattr, warnings, "showwarning", warnings.showwarning)
        warnings.showwarning = _log_warning

    def stop(self, timeout: float = 2.0) -> None:
        """Write what is queued, within `timeout` seconds, and undo what `start()` changed.

        Of loguru's sinks none comes back; warnings and errors logged after this go to stderr, redacted as before. A
        console that still blocks the thread is left behind with it.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._undo.close()
        with self._changed:
            self._deadline = monotonic() + timeout
            self._changed.notify()
        thread.join(timeout + _CONSOLE_RETRY)

    def change(self, *, level: str, debug: bool) -> None:
        """Show more or less from now on, while it runs; see the class for both. Raises ValueError for the level."""
        number = logger.level(level.upper()).no
        self._level, self._debug = level.upper(), debug
        before, self._sink = self._sink, self._add_sink(number)
        with contextlib.suppress(ValueError):  # somebody else has removed all sinks
            logger.remove(before)
        for item in self._levelled:
            item.setLevel(number)

    # In the caller's thread

    def _take(self, record: "Record") -> bool:
        try:
            line = self._line(record)
        except Exception:  # noqa: BLE001  a log line ends here; its caller has other things to do
            line = Line.now("ERROR", "a log line could not be formatted and was left out")
        with self._changed:
            if len(self._queue) >= self._queue_size:
                self._dropped += 1
                self._unsaid += 1
            else:
                self._queue.append(line)
                if len(self._queue) == 1:
                    self._changed.notify()
        return False

    def _line(self, record: "Record") -> Line:
        text = self._clean(record["message"].rstrip("\r\n"))
        fields = {name: self._field(value) for name, value in record["extra"].items() if value is not None}
        exception = record["exception"]
        if exception is not None:
            if self._debug or record["level"].no >= logging.ERROR:
                fields["exception"] = self._traceback((exception.type, exception.value, exception.traceback))
            elif exception.type is not None:
                summary = "".join(traceback.format_exception_only(exception.type, exception.value)).strip()
                text += f" ({self._clean(summary)})"
        return Line(record["time"], record["level"].name, text, fields)

    def _field(self, value: object) -> str | float:
        """A number as it is, anything else as text."""
        return value if isinstance(value, int | float) else self._clean(str(value))

    def _clean(self, text: str) -> str:
        redacted = self._redact(text[:_REDACTION_LIMIT])
        cut = len(redacted) > _MESSAGE_LIMIT or len(text) > _REDACTION_LIMIT
        return escape_controls(redacted[:_MESSAGE_LIMIT]) + ("…" if cut else "")

    def _traceback(self, exception: _Exception) -> str:
        text = self._redact("".join(traceback.format_exception(*exception))).rstrip("\n")
        if len(text) > 2 * _TRACEBACK_LIMIT:
            text = f"{text[:_TRACEBACK_LIMIT]}\n…\n{text[-_TRACEBACK_LIMIT:]}"
        # Indented, so that no line feed in an exception's message makes up an event of its own.
        return "\n".join("    " + escape_controls(line) for line in text.split("\n"))

    # In the writing thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._unsaid and self._deadline is None:
                    stalled = self._console is not None and self._console.waiting
                    if not self._changed.wait(_CONSOLE_RETRY if stalled else None):
                        break
                batch = list(self._queue)
                self._queue.clear()
                unsaid, self._unsaid = self._unsaid, 0
                deadline = self._deadline
            if unsaid:
                batch.append(Line.now("WARNING", f"{unsaid} log lines were dropped: the log's queue was full"))
            if batch:
                batch += self._write_file(batch)
            if self._console is not None:
                self._write_console(self._console, batch)
            if deadline is not None and not batch:
                break
        if self._console is not None and self._console.waiting:
            self._console.pump(until=deadline)
        if self._file is not None:
            self._file.close()

    def _write_file(self, batch: list[Line]) -> list[Line]:
        """Append `batch` to the file; what there is to say about that on the console."""
        if self._file is None:
            return []
        lost = self._file_lost
        missing = f"{lost} log lines are missing here: the file could not be written"
        try:
            self._file.write([Line.now("WARNING", missing), *batch] if lost else batch)
        except OSError as error:
            self._file_lost += len(batch)
            why = escape_controls(str(error))
            text = f"the log file cannot be written: {why}; lines go to the console only until it can"
            return [] if lost else [Line.now("ERROR", text)]
        self._file_lost = 0
        return []

    def _write_console(self, console: Console, batch: list[Line]) -> None:
        if console.gone is not None:
            return
        console.add(batch)
        console.pump()
        if console.gone is not None:
            why = escape_controls(console.gone)
            self._write_file([Line.now("WARNING", f"the console is gone: {why}; lines go to the file only")])

    # What start() changes and stop() undoes

    def _after_stop(self) -> None:
        with contextlib.suppress(ValueError):  # somebody else has removed all sinks
            logger.remove(self._sink)
            logger.add(_no_sink, level="WARNING", filter=self._print, catch=False, backtrace=False, diagnose=False)

    def _print(self, record: "Record") -> bool:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError: there is no stderr
            sys.stderr.write(self._render(self._line(record)))
        return False

    def _add_sink(self, number: int) -> int:
        # The work is done in the filter, not in the sink: loguru calls filters outside its lock, which is not
        # re-entrant (a task's finalizer logs wherever it happens to run), and never gets to format the exception.
        return logger.add(_no_sink, level=number, filter=self._take, catch=False, backtrace=False, diagnose=False)

    def _intercept_logging(self, number: int) -> None:
        root = logging.getLogger()
        self._levelled = [root]
        known = [item for item in root.manager.loggerDict.values() if isinstance(item, logging.Logger)]
        for item in known:
            # With a handler of its own a logger would print past the sinks; its level may hide lines from them.
            if item.handlers or item.name.split(".")[0] in ("uvicorn", "websockets", "asyncio"):
                self._undo.callback(_restore, item, item.handlers[:], item.level, item.propagate)
                item.handlers[:], item.propagate = [], True
                item.setLevel(number)
                self._levelled.append(item)
        self._undo.callback(_restore, root, root.handlers[:], root.level, root.propagate)
        root.handlers[:] = [_Intercept()]
        root.setLevel(number)


def _no_sink(message: str) -> None:
    """Loguru wants a sink; its filter has done the work."""


def _restore(item: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    item.handlers[:], item.propagate = handlers, propagate
    item.setLevel(level)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """`warnings.showwarning` for the log: one line, without the source line."""
    logger.warning(f"{category.__name__}: {message} ({filename}:{lineno})")


class _Intercept(logging.Handler):
    """Hands records of the standard `logging` on to loguru, under the nearest level that loguru has a name for."""

    _LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (10, "DEBUG"))

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises, and never prints the arguments to stderr as `logging` does when they do not fit."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  a log line ends here; any argument's __str__ may be broken
            text = f"a log call whose arguments do not fit its message ({record.pathname}:{record.lineno})"
        if not record.name.startswith("uvicorn"):
            text = f"{record.name}: {text}"
        level = next((name for number, name in self._LEVELS if record.levelno >= number), "TRACE")
        exception = record.exc_info if record.exc_info and record.exc_info[0] else None
        logger.opt(exception=exception).log(level, text)
