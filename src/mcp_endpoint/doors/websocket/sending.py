"""The way out of a WebSocket link: frames are queued, written once per piece of input, and bounded.

Frames towards peers are never masked, fragmented or compressed, so their header is written here. What waits for a peer
that does not read, frames and answers to its pings alike, is held to `send_buffer` for `send_timeout`, and to a hard
limit at any time.
"""

from asyncio import Protocol, TimerHandle, Transport

from mcp_endpoint.broker.link import Ended
from mcp_endpoint.doors.websocket.links import WebSocketLinks
from mcp_endpoint.errors.close_codes import End

_SHORT = [bytes((0x81, length)) for length in range(126)]


class Sending(Protocol):
    """The part of a link that writes; the rest of it reads, and says how it ends."""

    call_timeout: float | None = None
    """Devices have the time that their agent's settings give them."""

    __slots__ = (
        "_ended",
        "_limit",
        "_links",
        "_out",
        "_port_state",
        "_queued",
        "_slow",
        "_transport",
        "bytes_out",
        "frames_out",
    )

    def __init__(self, links: WebSocketLinks) -> None:
        self._links = links
        self._port_state = links.port_state
        limits = self._port_state.settings.websocket
        self._transport: Transport
        self._out: list[bytes] = []
        self._queued = 0
        self._limit = limits.send_buffer + 2 * limits.max_message_size
        self._slow: TimerHandle | None = None
        self._ended: Ended | None = None
        self.frames_out = self.bytes_out = 0

    def send(self, frame: bytes, about: bytes | None = None) -> None:
        """Queue one text frame; it is written when the input that led to it is worked off."""
        if self._ended is not None:
            return
        length = len(frame)
        if length < 126:
            header = _SHORT[length]
        elif length < 65_536:
            header = b"\x81\x7e" + length.to_bytes(2)
        else:
            header = b"\x81\x7f" + length.to_bytes(8)
        if not self._out:
            self._port_state.outbox.add(self)
        self._out.append(header)
        self._out.append(frame)
        self._queued += length
        self.frames_out += 1
        self.bytes_out += length
        if self._queued > self._limit or (
            self._slow is not None and self._queued + self._transport.get_write_buffer_size() > self._limit
        ):
            self._overflow()

    def flush(self) -> None:
        """Write what is queued, in one write."""
        if self._out:
            out, self._out = self._out, []
            self._queued = 0
            self._transport.write(b"".join(out))

    def _write(self, data: bytes) -> None:
        """Write what is no text frame, after the frames that were queued before it."""
        if self._transport.is_closing():
            return
        self.flush()
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limit:
            self._overflow()

    def _overflow(self) -> None:
        self._note_end(Ended(End.SEND_OVERFLOW, End.SEND_OVERFLOW.code))
        self._out.clear()
        self._transport.abort()

    def pause_writing(self) -> None:
        """More than `send_buffer` bytes wait for the peer: it has `send_timeout` seconds to read on."""
        if self._slow is None:
            self._slow = self._port_state.loop.call_later(
                self._port_state.settings.websocket.send_timeout, self._too_slow
            )

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        self._slow = None
        self.close(End.SLOW_READER)

    # --- the rest's ---

    def close(self, end: End) -> None:
        """Send what is queued, then a close frame."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Something that must not happen did, on this connection: end it alone."""
        raise NotImplementedError

    def _note_end(self, ended: Ended) -> None:
        raise NotImplementedError
