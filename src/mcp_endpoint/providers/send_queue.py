"""Frames that wait until a server takes them."""

import asyncio
from collections import deque

QUEUE_BYTES = 8 * 1024 * 1024
QUEUE_FRAMES = 1000


class SendQueue:
    """Frames that wait for a peer to take them: at most so many, and so many bytes."""

    def __init__(self, most_bytes: int = QUEUE_BYTES, most_frames: int = QUEUE_FRAMES) -> None:
        self._most_bytes = most_bytes
        self._most_frames = most_frames
        self._bytes = 0
        self._frames: deque[bytes] = deque()
        self._there = asyncio.Event()

    def put(self, frame: bytes) -> bool:
        """Add one; False if there is no room for it. A frame alone always has room."""
        if self._frames and (len(self._frames) >= self._most_frames or self._bytes + len(frame) > self._most_bytes):
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._there.set()
        return True

    async def first(self) -> bytes:
        """The oldest one, once there is one. It keeps its room until `sent` is called."""
        while not self._frames:
            self._there.clear()
            await self._there.wait()
        return self._frames[0]

    def sent(self) -> None:
        """The oldest one is gone."""
        self._bytes -= len(self._frames.popleft())
