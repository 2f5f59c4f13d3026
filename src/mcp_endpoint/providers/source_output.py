"""What the sources of this folder have in common: how they speak to their owner, and whose turn it is."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

from mcp_endpoint.broker.work_budget import HOLD, WorkBudget
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import Redactor, quote_peer
from mcp_endpoint.providers.source import OnFrame, Stopped

FRAMES = 16
"""Frames of one source in one turn of the event loop, as many as an agent's links have (`doors/limits/fairness.py`)."""
SHORTEST_SECRET = 8
"""Characters from which on a value of the settings is cut out of a peer's words; shorter ones are words and numbers."""


class SourceOutput:
    """A source's side of its contract: frames, then one end, and nothing before it is opened or after it is shut."""

    def __init__(self, values: Iterable[str] = (), secrets: Iterable[str] = ()) -> None:
        """`values`, which may be secret, and `secrets` are cut out of all that is told about the peer's own words."""
        self._redact = Redactor([*(value for value in values if len(value) >= SHORTEST_SECRET), *secrets])
        self._take: OnFrame | None = None
        self._stopped: Callable[[Stopped], None] | None = None
        self.shut = False
        """Whether nothing is told any more: the source ended, or was closed."""

    def open(self, take: OnFrame, stopped: Callable[[Stopped], None]) -> None:
        """Speak to these from now on."""
        self._take, self._stopped = take, stopped

    def frame(self, frame: bytes) -> float:
        """Tell one frame; the seconds of work that it was for the server itself to pay (see `Pacer`)."""
        if self.shut or self._take is None:
            return 0.0
        return self._take(frame) or 0.0

    def end(self, why: Stopped) -> None:
        """Tell the end; only the first one counts."""
        if not self.shut and self._stopped is not None:
            self.shut = True
            self._stopped(self.clean(why))

    def end_soon(self, why: Stopped) -> None:
        """Tell the end, but not before whoever is sending something has returned."""
        asyncio.get_running_loop().call_soon(self.end, why)

    def frame_soon(self, frame: bytes) -> None:
        """Tell a frame, but not before whoever is sending something has returned."""
        asyncio.get_running_loop().call_soon(self.frame, frame)

    def quote(self, text: str, limit: int = 200) -> str:
        """Words of a peer for one line of at most `limit` characters, without secrets."""
        return quote_peer(self._redact(text), limit)

    def clean(self, why: Stopped) -> Stopped:
        """The same reason, without secrets."""
        return Stopped(why.why, Bilingual(self.quote(why.cause.zh), self.quote(why.cause.en)), why.todo)

    def close(self) -> None:
        """Tell nothing any more."""
        self.shut = True


class Pacer:
    """Holds the readers of one server to their turns: what it has said in one go may be thousands of frames.

    Measured with a flood beside the calls of another agent: without turns their p99 is 28 times as long.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._budget = WorkBudget()

    async def frame(self, work: float = 0.0) -> None:
        """One more frame was worked off, which took so many seconds; everybody else may have a turn now."""
        self._frames += 1
        if work >= HOLD:
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(max(self._budget.rest_after(work, now) - now, 0))
        elif self._frames % FRAMES == 0:
            await asyncio.sleep(0)


async def end_tasks(*tasks: "asyncio.Task[None] | None") -> None:
    """Cancel tasks and wait until they are over."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def secrets_of(url: str, headers: Mapping[str, str]) -> set[str]:
    """What may be secret in how a URL is connected to: values of its query and of headers, a password, a token."""
    found = set(headers.values()) | {value.partition(" ")[2] for value in headers.values()}
    try:
        parts = urlsplit(url)
        return found | {value for _, value in parse_qsl(parts.query)} | {parts.password or "", parts.username or ""}
    except ValueError:
        return found
