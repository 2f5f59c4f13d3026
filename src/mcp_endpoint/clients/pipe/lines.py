"""What the bridge makes of the lines of a tool program: frames, and what is to be told of those that are none."""

from typing import NamedTuple

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.repair import frames as repair
from mcp_endpoint.wire.repair.answers import unreadable
from mcp_endpoint.wire.repair.frames import Flaw, Reading
from mcp_endpoint.wire.repair.pieces import Pieces


class Taken(NamedTuple):
    """What lines became."""

    frames: tuple[bytes, ...] = ()
    junk: tuple[bytes, ...] = ()
    """Lines that are no frame."""
    flaws: tuple[Flaw, ...] = ()
    """What was wrong with frames."""


class Lines:
    """The lines of one program. A frame that is spread over several is kept until its last one."""

    def __init__(self) -> None:
        self._pieces: Pieces | None = None

    @property
    def waits(self) -> bool:
        """Whether the rest of a frame is waited for."""
        return self._pieces is not None

    def take(self, line: bytes) -> Taken:
        """Take one line; whatever is a JSON object in UTF-8 is a frame as it is."""
        if _is_object(line) and (self._pieces is None or _is_frame(line)):
            before = self.give_up()
            return before._replace(frames=(*before.frames, line.strip()))
        if not line.strip(repair.BLANK):
            return Taken()
        reading = repair.read(line)
        if self._pieces is not None and not reading.frames:
            whole = self._pieces.add(line)
            if whole is None:
                return self.give_up() if self._pieces.full else Taken()
            self._pieces = None
            reading = repair.read(whole)
            return _taken(reading._replace(flaws=(*reading.flaws, Flaw.SEVERAL)), whole)
        before = self.give_up()
        if reading.goes_on:
            self._pieces = Pieces(line)
            return before
        now = _taken(reading, line)
        return Taken(before.frames + now.frames, before.junk + now.junk, before.flaws + now.flaws)

    def give_up(self) -> Taken:
        """The rest of a frame does not come."""
        if self._pieces is None:
            return Taken()
        text, self._pieces = self._pieces.text, None
        return _taken(repair.read(text)._replace(flaws=()), text)


def _taken(reading: Reading, text: bytes) -> Taken:
    if not reading.frames and reading.lost is None:
        return Taken(junk=tuple(text.split(b"\n")))
    frames = tuple(wire.one_line(frame) for frame in reading.frames)
    lost = reading.lost
    if lost is None:
        return Taken(frames, flaws=reading.flaws)
    return Taken(frames if lost.is_request else (*frames, unreadable(lost)), flaws=(*reading.flaws, lost.flaw))


def _is_object(line: bytes) -> bool:
    try:
        str(line, "utf-8")
    except UnicodeDecodeError:
        return False
    return wire.members(line) is not None


def _is_frame(line: bytes) -> bool:
    return bool((wire.members(line) or {}).keys() & {"jsonrpc"})
