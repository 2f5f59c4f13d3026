"""A JSON object that comes line by line: written with indentation, or with line breaks within its texts."""

import re

MOST_BYTES = 1024 * 1024
MOST_LINES = 65_536
PIECE_WAIT = 2.0
"""Seconds until the next line of an object has to come."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


class Pieces:
    """The lines of one object so far. Each is looked at once."""

    def __init__(self, first: bytes) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._in_string = False
        self.add(first)

    def add(self, line: bytes) -> bytes | None:
        """Take one more line; the whole text if it is the last one."""
        self._lines.append(line)
        self._size += len(line)
        rest = line
        if self._in_string:
            end = _REST_OF_STRING.match(line)
            if end is None:
                return None
            rest = line[end.end() :]
        rest, quote, _ = _STRING.sub(b"", rest).partition(b'"')
        self._in_string = bool(quote)
        self._depth += rest.count(b"{") + rest.count(b"[") - rest.count(b"}") - rest.count(b"]")
        return self.text if self._depth <= 0 and not self._in_string else None

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""
        return self._size > MOST_BYTES or len(self._lines) > MOST_LINES

    @property
    def text(self) -> bytes:
        """All lines."""
        return b"\n".join(self._lines)
