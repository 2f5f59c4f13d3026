"""Joined writes: what one piece of input makes a link send goes out in one write per link."""

from asyncio import AbstractEventLoop
from typing import Protocol


class Flushable(Protocol):
    """A link that has something to write."""

    def flush(self) -> None:
        """Write all that is waiting, in one write."""

    def fail(self, error: Exception) -> None:
        """`flush` raised `error`: end this link alone."""


class Outbox:
    """The links of one event loop that have something to write.

    While a piece of input is being worked on (between `hold` and `release`) links only collect; a send from anywhere
    else is written by the loop's next turn.
    """

    __slots__ = ("_held", "_loop", "_scheduled", "_waiting")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Flushable] = []
        self._held = False
        self._scheduled = False

    def add(self, link: Flushable) -> None:
        """Have `link` flushed soon; a link adds itself once, with its first unwritten frame."""
        self._waiting.append(link)
        if not self._held and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def hold(self) -> None:
        """A piece of input begins."""
        self._held = True

    def release(self) -> None:
        """The piece of input is worked off: write what it led to."""
        self._held = False
        if self._waiting:
            self._flush()

    def _flush(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        for link in waiting:
            try:
                link.flush()
            except Exception as error:  # noqa: BLE001  one link's end must not keep the rest from being written
                link.fail(error)
