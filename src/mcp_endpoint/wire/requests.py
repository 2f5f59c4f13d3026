"""What a caller sent that cannot be read: served where it can mean one thing, else refused under its own id.

A caller is held to more than a tool program: what it means by NaN as an argument is not clear, and other text beside a
request is no banner of a program.
"""

from msgspec import UNSET

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.repair import Flaw, Reading, read, whose

NOT_CLEAR = {Flaw.OTHER_TEXT, Flaw.LOOSE}


def read_request(frame: bytes) -> Reading:
    """The requests that it can only mean, or what is lost; neither if its id cannot be told."""
    reading = read(frame)
    if Flaw.NOT_A_NUMBER in reading.flaws and len(reading.frames) == 1:
        return Reading(lost=whose(reading.frames[0], Flaw.NOT_A_NUMBER))
    lost = reading.lost
    if lost is not None:
        return Reading(lost=lost if lost.flaw is not Flaw.CUT_SHORT and not reading.frames else None)
    if NOT_CLEAR.intersection(reading.flaws) or not all(_keeps_its_id(one, frame) for one in reading.frames):
        return Reading()
    return reading


def _keeps_its_id(one: bytes, frame: bytes) -> bool:
    """Whether the answer will carry the id that was sent: who sent half a character as one would not know it again."""
    id_ = wire.read(one).id
    return id_ is UNSET or bytes(id_) in frame or not frame.isascii()
