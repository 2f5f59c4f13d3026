"""Frames of one tool program that cannot be read: what they can only mean is taken, and whose answer is lost hears so.

A call whose answer cannot be read ends at once, with the reason. Nothing here is reached by frames that are as they
should be.
"""

from collections.abc import Callable

from msgspec import UNSET, Raw, UnsetType

from mcp_endpoint.broker.side import error_of
from mcp_endpoint.broker.timers import Timer
from mcp_endpoint.broker.tool_side.program import ToolProgram
from mcp_endpoint.errors.json_rpc import Fault
from mcp_endpoint.errors.notes import Note
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.repair import frames as repair
from mcp_endpoint.wire.repair.frames import Flaw, Lost, Reading
from mcp_endpoint.wire.repair.ids import respelled
from mcp_endpoint.wire.repair.pieces import PIECE_WAIT, Pieces

MOST_IN_VAIN = 65_536
"""Bytes in one second that may be looked through for nothing: a program that prints a lot is not worth the time."""

NOTES = {
    Flaw.HALF_CHARACTER: Note.HALF_CHARACTERS,
    Flaw.NOT_A_NUMBER: Note.NOT_A_NUMBER,
    Flaw.OTHER_TEXT: Note.TEXT_BESIDE_FRAMES,
    Flaw.SEVERAL: Note.FRAMES_NOT_BY_LINE,
    Flaw.UTF16: Note.UTF16,
    Flaw.GBK: Note.GBK,
    Flaw.NOT_UTF8: Note.NOT_UTF8,
}
"""What the owner is told of a flaw; of any other that it is no valid JSON."""

Deliver = Callable[[bytes, float], object]
"""Takes a frame that can be read."""


class FrameRepair:
    """What one tool side said that cannot be read, and what becomes of it."""

    __slots__ = ("_in_vain", "_pieces", "_second", "_timer", "_tool")

    def __init__(self, tool: ToolProgram) -> None:
        self._tool = tool
        self._pieces: Pieces | None = None
        self._timer: Timer | None = None
        self._second = self._in_vain = 0

    def repair(self, frame: bytes, now: float, deliver: Deliver) -> list[bytes]:
        """The frames that are in a text, and errors in the place of answers that are lost.

        A frame that is spread over several lines may prove to be lost later: then `deliver` gets the error.
        """
        if not frame.strip(repair.BLANK):
            self._tool.drop("blank_line")
            return []
        if self._pieces is None and int(now) == self._second and self._in_vain > MOST_IN_VAIN:
            self._no_frame(now)
            return []
        reading = repair.read(frame)
        if self._pieces is not None and not reading.frames:
            whole = self._pieces.add(frame)
            if whole is not None:
                self._over()
                reading = repair.read(whole)
                return self._made_of(reading._replace(flaws=(*reading.flaws, Flaw.SEVERAL)), whole, now)
            if self._pieces.full:
                return self._given_up(now)
            self._wait(now, deliver)
            return []
        before = self._given_up(now) if self._pieces is not None else []
        if reading.goes_on:
            self._pieces = Pieces(frame)
            self._wait(now, deliver)
            return before
        return before + self._made_of(reading, frame, now)

    # --- a frame over several lines ---

    def _wait(self, now: float, deliver: Deliver) -> None:
        if self._timer is not None:
            self._timer.cancel()

        def too_late(later: float) -> None:
            for one in self._given_up(later):
                deliver(one, later)

        self._timer = self._tool.broker.timers.at(now + PIECE_WAIT, too_late)

    def _given_up(self, now: float) -> list[bytes]:
        """The rest of it does not come."""
        assert self._pieces is not None
        text = self._pieces.text
        self._over()
        return self._made_of(repair.read(text)._replace(flaws=()), text, now)

    def _over(self) -> None:
        self._pieces = None
        self.forget()

    def forget(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- what it is ---

    def _made_of(self, reading: Reading, text: bytes, now: float) -> list[bytes]:
        made = [self._checked(one, reading.flaws) for one in reading.frames]
        frames = [one for one in made if one is not None]
        for flaw in dict.fromkeys(reading.flaws):
            self._tool.note(NOTES.get(flaw, Note.BROKEN_JSON), now)
        if reading.lost is not None:
            self._tool.note(NOTES.get(reading.lost.flaw, Note.BROKEN_JSON), now)
            frames += self._lost(reading.lost)
        elif not reading.frames:
            if int(now) != self._second:
                self._second, self._in_vain = int(now), 0
            self._in_vain += len(text)
            self._no_frame(now)
        return frames

    def _checked(self, frame: bytes, flaws: tuple[Flaw, ...]) -> bytes | None:
        """The frame; None for a copy of our own in a line of a log, an error where null would break a promise."""
        envelope = wire.read(frame)
        if envelope.method is not UNSET:
            if Flaw.OTHER_TEXT in flaws and envelope.id is not UNSET and awaits(self._tool, bytes(envelope.id)):
                self._tool.drop("echo")
                return None
            return frame
        if Flaw.NOT_A_NUMBER not in flaws or envelope.result is UNSET or envelope.id is UNSET:
            return frame
        structured = (wire.members(envelope.result) or {}).get("structuredContent", wire.NULL)
        call = self._tool.pending.get(respelled(bytes(envelope.id)))
        if structured == wire.NULL or call is None or not call.is_tool_call:
            return frame
        promised = b'"outputSchema"' in (call.caller.definition(call.name) or b"")
        return self._failure(bytes(envelope.id), Flaw.NOT_A_NUMBER) if promised else frame

    def _lost(self, lost: Lost) -> list[bytes]:
        """What is to be said of a frame that cannot be read: to who waits for it, or to the program that asks."""
        if lost.is_request:
            if not awaits(self._tool, lost.id):  # else a copy of our own
                why = lost.flaw.words(self._tool.agent.limits.language)
                self._tool.link.send(self._tool.failure(lost.id, Fault.UNREADABLE, why=why))
            return []
        if not awaits(self._tool, lost.id):
            self._tool.drop("not_json_rpc")
            return []
        self._tool.drop("unreadable_answer")
        return [self._failure(lost.id, lost.flaw)]

    def _failure(self, id_: bytes, flaw: Flaw) -> bytes:
        """The error in the place of an answer, in the language of who waits for it."""
        number = respelled(id_)
        call = self._tool.pending.get(number)
        language = (self._tool if call is None else call.caller).agent.limits.language
        why = flaw.words(language)
        facts = {"tool_side": self._tool.name, "called": "" if call is None else call.name, "why": why}
        if call is None:
            return error_of(self._tool.agent, b"%d" % number, Fault.UNREADABLE_ANSWER, **facts)
        return call.caller.failure(b"%d" % number, Fault.UNREADABLE_ANSWER, **facts)

    def _no_frame(self, now: float) -> None:
        """Something that is no frame came."""
        self._tool.drop("not_json_rpc")
        self._tool.note(Note.PRINTS_TO_STDOUT, now)


def awaits(tool: ToolProgram, id_: bytes) -> bool:
    """Whether an answer with this id, however it is spelled, is waited for."""
    return respelled(id_) in tool.awaited_ids


def is_echo(tool: ToolProgram, method: str, id_: bytes, params: Raw | UnsetType) -> bool:
    """Whether a request is one of our own that came back; a device that has the wrong URL greets with an id of ours."""
    if not awaits(tool, id_):
        return False
    client = (wire.members(params) or {}).get("clientInfo", UNSET)
    return method != "initialize" or mcp.read_implementation(client).name == mcp.OWN_NAME
