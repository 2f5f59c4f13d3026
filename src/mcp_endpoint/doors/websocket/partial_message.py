"""A message that is not whole yet: the fragments that came of it, and what it takes of its agent's share."""

from websockets.frames import Frame

from mcp_endpoint.doors.limits.fairness import Share

MAX_FRAGMENTS = 1024
"""Pieces one message may come in."""


class TooManyFragments(Exception):
    """A message has more than MAX_FRAGMENTS."""


class PartialMessage:
    """One such message of a link, as long as it is under way."""

    __slots__ = ("_counted", "_fragments", "_pieces", "_share")

    def __init__(self, share: Share) -> None:
        self._share = share
        self._counted = 0
        """Bytes that it counts for in the share."""
        self._fragments: bytearray | None = None
        self._pieces = 0

    def begin(self, frame: Frame) -> None:
        """Its first fragment came."""
        self._fragments, self._pieces = bytearray(frame.data), 1

    def add(self, frame: Frame) -> bytes | None:
        """One more fragment; the message if it was the last one. Raises TooManyFragments."""
        if self._fragments is None:
            return None
        self._pieces += 1
        if self._pieces > MAX_FRAGMENTS:
            self._fragments = None
            raise TooManyFragments
        self._fragments += frame.data
        if not frame.fin:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return whole

    def count(self, unfinished: int) -> bool:
        """Count its fragments and the `unfinished` bytes of a frame in the share; whether there is anything of it."""
        size = unfinished + (0 if self._fragments is None else len(self._fragments))
        self._share.unfinished += size - self._counted
        self._counted = size
        return size > 0 or self._fragments is not None

    def forget(self) -> None:
        """It is not waited for any more."""
        self._share.unfinished -= self._counted
        self._counted = 0
