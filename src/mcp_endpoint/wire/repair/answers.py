"""What a tool server sent that cannot be read, where no session of the broker knows what it was asked."""

from mcp_endpoint.errors.json_rpc import MESSAGES, Code
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.repair import frames as repair


def repaired(frame: bytes) -> list[bytes]:
    """The frame if it can be read, else what it can only mean, and an error in the place of an answer that is lost."""
    try:
        wire.read(frame)
        str(frame, "utf-8")
    except ValueError:
        reading = repair.read(frame)
    else:
        return [frame]
    lost = reading.lost
    if lost is None or lost.is_request:
        return list(reading.frames)
    return [*reading.frames, unreadable(lost)]


def unreadable(lost: repair.Lost) -> bytes:
    """The error in the place of an answer that cannot be read."""
    words = f"应答无法读取：{lost.flaw.zh} / The answer cannot be read: {lost.flaw.en}"
    data: dict[str, object] = {"reason": "unreadable_answer"}
    return wire.failure(lost.id, Code.INTERNAL_ERROR, f"{MESSAGES[Code.INTERNAL_ERROR]}：{words}", data)
