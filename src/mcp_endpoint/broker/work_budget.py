"""Messages that take long to work off: each holds up everybody, so there may be only so many.

A bucket of time: a few such messages pass at once, a flood of them has a hundredth of the time, and what takes less
than HOLD is not counted. Time is the processor's, in seconds, as `time.thread_time` has it.
"""

MEASURED = 8_192
"""Bytes from which on it is measured how long a message takes; a shorter one cannot take HOLD."""
LARGE = 262_144
"""Bytes of a message of which it is known beforehand that it will take long: about HOLD and more."""
BYTE = 1.3e-9
"""Seconds for each byte of a message that is one long text."""
HOLD = 0.00025
"""Seconds from which on a message counts."""
SHARE = 0.01
"""The part of the time that is for messages that count, when they come without a pause."""
BURST = 0.02
"""Seconds of work that may come at once."""
LONGEST_REST = 15.0
"""Seconds of rest at most: a peer whose pings are not answered for longer would take the broker for dead."""


class WorkBudget:
    """What one agent, or one server that the broker opened, may still send that takes long."""

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0.0
        """When all of BURST is there again, so that nothing needs to be remembered of what came."""

    def rest_after(self, work: float, now: float) -> float:
        """A message took so many seconds of work: the moment before which nothing more should be taken."""
        if work < HOLD:
            return 0.0
        self.full_at = min(max(self.full_at, now) + work / SHARE, now + BURST / SHARE + LONGEST_REST)
        return self.full_at - BURST / SHARE


def expected(size: int) -> float:
    """Seconds that a message of `size` bytes will take at least, if it is large."""
    return size * BYTE if size >= LARGE else 0.0
