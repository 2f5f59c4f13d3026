"""What all agents of one broker share."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from mcp_endpoint.broker.link import Journal
from mcp_endpoint.broker.timers import Timers
from mcp_endpoint.language import Bilingual

PROVIDER = "@"
"""What the ids of agents begin with that stand for a server the broker opens itself; no token has such an id."""
LATELY = 600.0
"""Seconds for which a refused token is worth a word."""


class BadTokens:
    """When tokens were refused lately. They name no agent, so every agent without tools hears of their number."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=10_000)

    def add(self, now: float) -> None:
        """One more was refused."""
        self._times.append(now)

    def lately(self, now: float) -> int:
        """How many there were in the last ten minutes."""
        while self._times and now - self._times[0] > LATELY:
            self._times.popleft()
        return len(self._times)


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The clock, the journal and the counters of one broker's run."""

    timers: Timers
    journal: Journal
    version: str
    bad_tokens: BadTokens = field(default_factory=BadTokens)
    errors: Counter[str] = field(default_factory=Counter)
    """Reason → how many requests the broker answered with an error of its own, links that ended included."""
    notes: Counter[str] = field(default_factory=Counter)
    """Reason → how many links something was remarked on."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Numbers for links."""
    troubles: dict[str, dict[str, Bilingual]] = field(default_factory=dict)
    """By agent and by alias: what keeps servers of the broker's own from serving, to stand inside a sentence."""
