"""Deadlines of the broker: what is due is called when the app's one timer passes the time in."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

TIDY = 1000
"""Cancelled deadlines that may be kept before they are looked for."""


class Timer:
    """A deadline that may be cancelled before it is due."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[float], None]) -> None:
        self.action: Callable[[float], None] | None = action

    def cancel(self) -> None:
        """Never call the action; safe to do twice and after it was called."""
        self.action = None


class Timers:
    """Deadlines in order; times are monotonic seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._tidy_at = TIDY

    def at(self, when: float, action: Callable[[float], None]) -> Timer:
        """Have `action(now)` called by the first sweep at or after `when`."""
        if len(self._heap) > self._tidy_at:
            # Those that were cancelled would else stay until they are due: a deadline is often minutes, a request not.
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapify(self._heap)
            self._tidy_at = 2 * len(self._heap) + TIDY
        timer = Timer(action)
        heappush(self._heap, (when, next(self._order), timer))
        return timer

    def sweep(self, now: float) -> None:
        """Call what is due, in the order of deadlines."""
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            action, timer.action = timer.action, None
            if action is not None:
                action(now)

    def __len__(self) -> int:
        return sum(timer.action is not None for _, _, timer in self._heap)
