"""What a caller sent that cannot be read: served where it can mean one thing, else refused under its own id.

A caller is held to more than a tool program: what it means by NaN as an argument is not clear, and other text beside a
request is no banner of a program.
"""

from msgspec import UNSET

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.repair.frames import Flaw, Reading, read, whose

UNCLEAR = (Flaw.NOT_A_NUMBER, Flaw.LOOSE)
"""What is wrong with a request that is otherwise known, so that it is refused under its id."""


def read_request(frame: bytes) -> Reading:
    """The requests that it can only mean, or what is lost; neither if its id cannot be told."""
    reading = read(frame)
    unclear = next((flaw for flaw in UNCLEAR if flaw in reading.flaws), None)
    if unclear is not None and len(reading.frames) == 1 and Flaw.OTHER_TEXT not in reading.flaws:
        return Reading(lost=whose(reading.frames[0], unclear))
    lost = reading.lost
    if lost is not None:
        return Reading(lost=lost if lost.flaw is not Flaw.CUT_SHORT and not reading.frames else None)
    if unclear is not None or Flaw.OTHER_TEXT in reading.flaws:
        return Reading()
    if not all(_keeps_its_id(one, frame) for one in reading.frames):
        return Reading()
    return reading


def _keeps_its_id(one: bytes, frame: bytes) -> bool:
    """Whether the answer will carry the id that was sent: who sent half a character as one would not know it again."""
    id_ = wire.read(one).id
    return id_ is UNSET or bytes(id_) in frame or not frame.isascii()
