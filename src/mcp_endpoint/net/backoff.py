"""How long a client waits before it dials again: pure, with its randomness passed in."""

import random
from collections.abc import Callable

FIRST = 1.0
MOST = 30.0
STEADY = 10.0


class Backoff:
    """Waits that double from `first` to `most` seconds, with jitter, and start anew after a success.

    A success is a connection that lasted `steady` seconds and was of use: a program that answers one frame and dies
    would otherwise be started every second for ever. Jitter keeps all clients from coming back at the same moment
    after a restart of the server; every wait stays between `first` and `most`.
    """

    def __init__(
        self,
        first: float = FIRST,
        most: float = MOST,
        steady: float = STEADY,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._most = most
        self._steady = steady
        self._chance = chance
        self._failures = 0

    def failed(self, lasted: float, useful: bool) -> float:
        """Seconds to wait after a connection that `lasted` so many seconds (0 if there was none)."""
        if useful and lasted >= self._steady:
            self._failures = 0
        low = self._first * 2.0 ** min(self._failures, 64)
        self._failures += 1
        return min(low, self._most / 1.5) * (1 + self._chance() / 2)

    def refused(self) -> float:
        """Seconds to wait after a refusal that only a person can mend, such as a wrong token."""
        return self._most
