"""What a server inside this process offers, and what a handler of it sees of one call.

Whoever turns functions or documents into tools makes a `ServerSpec`; `server.py` answers frames for it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import DecodeError, Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.mcp import Kind

LONGEST_TEXT = 4000
"""Characters of a log message, or of a message about progress."""
MOST_MESSAGES = 1000
"""Log messages of one call; what it says beyond is left out."""
PROGRESS_EVERY = 0.05


class Refused(Exception):
    """A call ends as an error of the tool; the message is a sentence for the caller."""


@dataclass(frozen=True)
class Limits:
    """How calls are bounded."""

    calls: int = 32
    """Calls at a time, those included that were given up and have not ended."""
    timeout: float = 60.0
    """Seconds one call may take."""
    result: int = 2 * 1024 * 1024
    """Bytes of one result."""
    page: int = 0
    """Bytes of a page of a list, where more than usual may be taken at once."""


class Session(Protocol):
    """What a call needs of the server that runs it."""

    @property
    def level(self) -> int:
        """Which log messages are wanted: an index of `mcp.LEVELS`."""

    def time(self) -> float:
        """Seconds by the loop's clock."""

    def tell(self, call: "Call", frame: bytes) -> None:
        """Send what a call has to say, from whatever thread, while somebody waits for its answer."""

    def ignored(self, call: "Call", argument: str) -> None:
        """A call had an argument that nobody declared."""


class Call:
    """One request for a tool, a prompt or a resource, as its handler sees it. Its methods may be used in any thread."""

    def __init__(
        self, session: "Session", name: str, arguments: dict[str, Any], meta: Mapping[str, Raw], deadline: float
    ) -> None:
        self.name = name
        """The name, or of a resource the URI."""
        self.arguments = arguments
        self.caller: Mapping[str, Any] = _facts(meta.get(mcp.CALLER))
        """The facts the broker tells about the caller."""
        self.deadline = deadline
        """By the loop's clock, in seconds."""
        self.ended = False
        """Whether nobody waits for its answer any more."""
        self._session = session
        self._token = meta.get("progressToken")
        self._messages = 0
        self._last_progress = float("-inf")

    @property
    def time_left(self) -> float:
        """Seconds until it is answered with an error."""
        return self.deadline - self._session.time()

    def ignored(self, argument: str) -> None:
        """It was given something under a name that nobody declared, and goes on without."""
        self._session.ignored(self, argument)

    def progress(self, done: float, total: float | None, message: str) -> None:
        """Tell how far it is, if the caller asked; at most every 50 ms but for the last."""
        now = self._session.time()
        if self._token is None or (now < self._last_progress + PROGRESS_EVERY and done != total):
            return
        self._last_progress = now
        params: dict[str, object] = {"progressToken": self._token, "progress": done}
        if total is not None:
            params["total"] = total
        if message:
            params["message"] = message[:LONGEST_TEXT]
        self._session.tell(self, wire.notification(mcp.PROGRESS, encode(params)))

    def log(self, level: str, text: str) -> None:
        """Send a log message, if the level is wanted. Raises ValueError for a level that there is not."""
        if mcp.LEVELS.index(level) < self._session.level or self._messages >= MOST_MESSAGES:
            return
        self._messages += 1
        params = {"level": level, "logger": self.name[:100], "data": text[:LONGEST_TEXT]}
        self._session.tell(self, wire.notification(mcp.MESSAGE, encode(params)))


Handler = Callable[[Call], Awaitable[Mapping[str, object]]]
"""Makes the result of one call, as MCP has it. Raises Refused or BadArguments; anything else is a fault of its own."""


@dataclass(frozen=True)
class FeatureSpec:
    """One tool, prompt, resource or template: as it is listed, and what answers for it."""

    definition: Mapping[str, object]
    answer: Handler
    timeout: float | None = None
    """Seconds one call may take; None: as the limits say."""
    fits: Callable[[str], bool] = lambda _uri: False
    """Of a template: whether a URI is made from it."""


@dataclass(frozen=True)
class ServerSpec:
    """All that a server offers, and who it says it is."""

    name: str
    version: str = ""
    instructions: str = ""
    changes: bool = False
    """Whether another one may follow in the same session."""
    kinds: Mapping[Kind, Sequence[FeatureSpec]] = field(default_factory=dict)
    """In the order of their lists; names are unique within a kind."""

    def of(self, kind: Kind) -> Sequence[FeatureSpec]:
        """What it offers of one kind."""
        return self.kinds.get(kind, ())


def failed(text: str) -> dict[str, object]:
    """The result of a tool that failed, with a sentence about why."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _facts(raw: Raw | None) -> Mapping[str, Any]:
    """A JSON object; an empty one where there is none."""
    try:
        return decode(raw or b"{}", type=dict[str, Any])
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return {}
