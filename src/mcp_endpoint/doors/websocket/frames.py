"""Incoming bytes of a WebSocket, cut into frames.

Nearly all that arrives are whole, unfragmented text frames; these are cut and unmasked here. Everything else (control
frames, fragments, frames that are not whole yet, and whatever breaks the protocol) is ServerProtocol's, byte for byte,
so that its checks hold. Reading costs a third of a relayed call this way instead of half (docs/performance.md).
"""

import sys

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled extension on this platform
    from websockets.utils import apply_mask

PIECE = 65_536
"""Bytes of an unfinished frame that are taken at a time: memory for them is what costs, not reading them."""
FINAL_TEXT = 0x81
MASKED = 0x80
MAX_LAST_FRAMES = 10_000
"""Frames that a peer may still have on their way when it is sent a close frame."""

Event = bytes | Frame
"""A whole text message as bytes, or whatever else ServerProtocol read."""


class FrameReader:
    """Cuts what arrives on one connection after its opening handshake."""

    __slots__ = ("_fragmented", "_limit", "_owed", "_piece", "_rest", "_ws", "more", "unfinished")

    def __init__(self, ws: ServerProtocol, limit: int, piece: int = PIECE) -> None:
        self._ws = ws
        self._piece = piece
        self._limit = limit
        self._rest = b""
        """What is not cut yet: the beginning of a header, or what is over `feed`'s `most`."""
        self._owed = 0
        """Bytes that are missing of the frame ServerProtocol has begun to read."""
        self._fragmented = False
        """Whether a fragmented message is under way; ServerProtocol decides then what may come."""
        self.more = False
        """Whether there may be more to cut without further input."""
        self.unfinished = 0
        """Bytes of a frame that is not whole yet."""

    def keep(self, data: bytes) -> None:
        """Take input that the next `feed` shall cut."""
        self._rest += data

    def leave(self) -> tuple[int, bytes]:
        """Read nothing any more: how many bytes of the present frame are missing, and what was not cut yet."""
        rest, owed = self._rest, self._owed
        self._rest, self._owed, self.unfinished, self.more = b"", sys.maxsize, 0, False
        return owed, rest

    def feed(self, data: bytes, most: int = sys.maxsize) -> list[Event]:
        """What is complete with `data`, in order, at most `most`; errors and closes are in ServerProtocol's state."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        events: list[Event] = []
        end = len(data)
        place = 0
        self.more = False
        if self._owed:
            place = min(self._owed, end, self._piece)
            self._owed -= place
            self.unfinished = self.unfinished + place if self._owed else 0
            self._hand_over(data[:place], events)
            if self._owed and place < end:
                self._rest, self.more = data[place:], True
                return events
        while place < end and not self._owed:
            if len(events) >= most:
                self._rest, self.more = data[place:], True
                break
            if end - place < 2:
                self._rest = data[place:]
                break
            second = data[place + 1]
            if second < MASKED:
                self._hand_over(data[place:], events)  # a client's frame must be masked: this one ends the connection
                break
            length = second & 0x7F
            body = place + 6
            if length >= 126:
                size = 2 if length == 126 else 8
                body += size
                length = int.from_bytes(data[place + 2 : place + 2 + size])
            if body > end:
                self._rest = data[place:]
                break
            stop = body + length
            if data[place] == FINAL_TEXT and stop <= end and length <= self._limit and not self._fragmented:
                events.append(apply_mask(data[body:stop], data[body - 4 : body]))
            else:
                here = min(stop, end, place + self._piece)
                self._owed = stop - here
                self.unfinished = here - place if self._owed else 0
                self._hand_over(data[place:here], events)
                if self._owed and here < end:
                    self._rest, self.more = data[here:], True
                    break
            place = stop
        return events

    def _hand_over(self, data: bytes, events: list[Event]) -> None:
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            assert type(event) is Frame, "the request came before"
            if event.opcode < Opcode.CLOSE:
                whole = event.fin and not self._fragmented and event.opcode is Opcode.TEXT
                self._fragmented = not event.fin
                events.append(bytes(event.data) if whole else event)
            else:
                events.append(event)
        if self._ws.parser_exc is not None or self._ws.close_rcvd is not None:
            # Nothing counts any more: ServerProtocol discards it.
            self._owed, self.unfinished = sys.maxsize, 0


class LastFrames:
    """What a peer sends after the broker's close frame: skipped up to its own close frame, neither kept nor answered.

    It may be in the middle of a frame of which `missing` bytes are to come.
    """

    __slots__ = ("_left", "_missing", "_rest")

    def __init__(self, missing: int = 0) -> None:
        self._missing = missing
        self._left = MAX_LAST_FRAMES
        self._rest = b""

    def feed(self, data: bytes) -> bool:
        """Whether the close frame is whole, or no use waiting for."""
        data = self._rest + data
        place, end = self._missing, len(data)
        while end - place >= 2:
            first, second = data[place], data[place + 1]
            length, body = second & 0x7F, place + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[place + 2 : body])
            stop = body + length + (4 if second & MASKED else 0)
            if body > end:
                break
            if first & 0x0F == Opcode.CLOSE:
                if stop <= end or length > 125:
                    return True
                break
            self._left -= 1
            if not self._left:
                return True
            place = stop
        self._missing = max(place - end, 0)
        self._rest = data[place:]
        return False
