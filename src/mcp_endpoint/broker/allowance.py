"""Messages of megabytes: each holds up everybody for milliseconds, so there may be only so many (issue 3, part 7).

A bucket of bytes: a few such messages pass at once, a flood of them at a steady rate, and smaller ones are not counted.
"""

LARGE = 262_144
"""Bytes from which on a message counts: a quarter of a millisecond or so."""
BURST = 16 * 1024 * 1024
"""Bytes of large messages that may come at once."""
RATE = 8 * 1024 * 1024
"""Bytes of large messages a second, when they come without a pause: at most one hundredth of the time is for them."""


class Allowance:
    """What one agent, or one server that the broker opened, may still send in large messages."""

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at = 0.0
        """When all of BURST may be sent again."""

    def rest_after(self, size: int, now: float) -> float:
        """A message of `size` bytes was worked off: the moment before which nothing more should be taken."""
        if size < LARGE:
            return 0.0
        self._full_at = max(self._full_at, now) + size / RATE
        return self._full_at - BURST / RATE

    def is_full(self, now: float) -> bool:
        """Whether nothing needs to be remembered of what came."""
        return self._full_at <= now
