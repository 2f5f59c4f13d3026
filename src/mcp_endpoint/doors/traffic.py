"""What `/stats` shows of the traffic of a link, whichever door it came in by."""

from collections.abc import Mapping
from typing import Protocol


class Counted(Protocol):
    """A link that counts its frames and their bytes."""

    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    last_frame: float | None
    """Monotonic seconds."""


def traffic_of(link: Counted, ping_rtt_ms: float | None = None) -> Mapping[str, float | int | None]:
    """The counters as `Link.traffic` has them; `ping_rtt_ms` where the door pings."""
    return {
        "frames_in": link.frames_in,
        "frames_out": link.frames_out,
        "bytes_in": link.bytes_in,
        "bytes_out": link.bytes_out,
        "last_frame": link.last_frame,
        "ping_rtt_ms": ping_rtt_ms,
    }
