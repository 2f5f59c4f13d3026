"""What the sources of this folder have in common: how they speak to their owner, and frames that wait to be sent."""

import asyncio
from collections import deque
from collections.abc import Callable

from mcp_endpoint.providers.source import Stopped

UNSENT_BYTES = 8 * 1024 * 1024
UNSENT_FRAMES = 1000


class Outlet:
    """A source's side of its contract: frames, then one end, and nothing before it is opened or after it is shut."""

    def __init__(self) -> None:
        self._take: Callable[[bytes], None] | None = None
        self._stopped: Callable[[Stopped], None] | None = None
        self.shut = False
        """Whether nothing is told any more: the source ended, or was closed."""

    def open(self, take: Callable[[bytes], None], stopped: Callable[[Stopped], None]) -> None:
        """Speak to these from now on."""
        self._take, self._stopped = take, stopped

    def frame(self, frame: bytes) -> None:
        """Tell one frame."""
        if not self.shut and self._take is not None:
            self._take(frame)

    def end(self, why: Stopped) -> None:
        """Tell the end; only the first one counts."""
        if not self.shut and self._stopped is not None:
            self.shut = True
            self._stopped(why)

    def close(self) -> None:
        """Tell nothing any more."""
        self.shut = True


class Unsent:
    """Frames that wait for a peer to take them: at most so many, and so many bytes."""

    def __init__(self, most_bytes: int = UNSENT_BYTES, most_frames: int = UNSENT_FRAMES) -> None:
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


async def end_tasks(*tasks: "asyncio.Task[None] | None") -> None:
    """Cancel tasks and wait until they are over."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
