"""WebSocket pings: every open link is asked in turn, and one that is not heard from in time is ended."""

import math
from typing import Protocol


class Pinged(Protocol):
    """A link as the heartbeat sees it. Times are monotonic seconds."""

    heard: float
    """When the last bytes came from the peer."""

    def ping(self, now: float) -> None:
        """Send a ping; `heard` is below `now` from here on until a byte comes, even within the clock's own step."""

    def unheard(self) -> None:
        """No byte came since the ping: the link is half open."""


class Heartbeat:
    """Pings every `interval` seconds and gives `timeout` seconds to answer; an interval of 0 turns it off.

    Any byte counts as an answer. A half-open link is ended at most `interval` + `timeout` and a sweep after its last
    byte, for it is held to the first ping after that byte; later pings win it no time. Both queues are in order of
    time, because every link has the same interval, so a sweep looks at no more links than are due.
    """

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = interval or math.inf
        self._timeout = timeout
        self._due: dict[Pinged, float] = {}
        self._asked: dict[Pinged, float] = {}
        """When each link was asked what it has not answered yet."""
        self._swept = -math.inf

    def __len__(self) -> int:
        return len(self._due)

    def add(self, link: Pinged, now: float) -> None:
        """Begin to ping a link that has just been opened."""
        self._due[link] = now + self._interval

    def change(self, interval: float, timeout: float, now: float) -> None:
        """Other times from now on, for open links too; one that was asked has the new timeout from its ping on."""
        self._interval = interval or math.inf
        self._timeout = timeout
        latest = now + self._interval
        if interval:  # what is due sooner stays so, and the queue stays in order
            self._due = {link: min(when, latest) for link, when in self._due.items()}
        else:
            self._due = dict.fromkeys(self._due, latest)
            self._asked.clear()

    def discard(self, link: Pinged) -> None:
        """Stop pinging a link; safe to do twice."""
        self._due.pop(link, None)
        self._asked.pop(link, None)

    def sweep(self, now: float) -> None:
        """Ping the links that are due and end those that did not answer.

        Who is overdue is judged by the time of the sweep before: what came until then has been read by now, however
        long the process stood still in between.
        """
        read, self._swept = self._swept, now
        while self._due:
            link, when = next(iter(self._due.items()))
            if when > now:
                break
            del self._due[link]
            self._due[link] = now + self._interval
            if link.heard >= self._asked.get(link, math.inf):
                del self._asked[link]
            self._asked.setdefault(link, now)
            link.ping(now)
        while self._asked:
            link, asked = next(iter(self._asked.items()))
            if asked + self._timeout > read:
                break
            del self._asked[link]
            if link.heard < asked:
                self.discard(link)
                link.unheard()
