"""What the tests of the providers' sources talk with: a source that is open, and whoever it talks to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcp_endpoint.providers.source import Source, Stopped, StopReason
from support.peers import PATIENCE, Frame


class Talk:
    """A source that is open. Frames come out as they are asked for; its end is waited for with `end`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended: asyncio.Future[Stopped] = asyncio.get_running_loop().create_future()
        self._number = 0
        self.passed: list[Frame] = []
        """Frames that came while an answer was waited for."""

    async def open(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.source.open(self.frames.put_nowait, self._ended.set_result)
        assert self.frames.empty()
        assert not self._ended.done()

    async def bytes(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.frames.get()

    async def end(self) -> Stopped:
        """Why it ended by itself."""
        async with asyncio.timeout(PATIENCE):
            return await self._ended

    @property
    def ended(self) -> bool:
        return self._ended.done()

    def send(self, **members: object) -> None:
        self.source.send(json.dumps({"jsonrpc": "2.0"} | members, ensure_ascii=False).encode())

    def ask(self, method: str, **params: object) -> int:
        """Send a request and do not wait."""
        self._number += 1
        self.send(id=self._number, method=method, **({"params": params} if params else {}))
        return self._number

    async def answer(self, number: int) -> Frame:
        """The answer with this id. Lines that are no frames are passed over, other frames are kept in `passed`."""
        for frame in self.passed:
            if frame.get("id") == number and "method" not in frame:
                self.passed.remove(frame)
                return frame
        while True:
            with contextlib.suppress(ValueError):
                frame = json.loads(await self.bytes())
                if frame.get("id") == number and "method" not in frame:
                    return frame
                self.passed.append(frame)

    async def request(self, method: str, **params: object) -> Frame:
        return await self.answer(self.ask(method, **params))

    async def notified(self, method: str) -> Frame:
        """The next notification with this method."""
        for frame in self.passed:
            if frame.get("method") == method:
                self.passed.remove(frame)
                return frame
        while True:
            frame = json.loads(await self.bytes())
            if frame.get("method") == method:
                return frame
            self.passed.append(frame)

    async def greet(self, version: str = "2025-11-25") -> Any:
        """MCP's handshake; what the server says of itself."""
        hello = await self.request(
            "initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "test", "version": "1"}
        )
        self.send(method="notifications/initialized")
        return hello["result"]

    async def tools(self) -> list[str]:
        return [tool["name"] for tool in (await self.request("tools/list"))["result"]["tools"]]

    async def call(self, tool: str, **arguments: object) -> str:
        """The text of a call's result."""
        text = (await self.request("tools/call", name=tool, arguments=arguments))["result"]["content"][0]["text"]
        assert isinstance(text, str)
        return text


@contextlib.asynccontextmanager
async def talking(source: Source) -> AsyncIterator[Talk]:
    """`source`, open; it is closed in the end, and may then say nothing any more."""
    talk = Talk(source)
    try:
        await talk.open()
        yield talk
    finally:
        async with asyncio.timeout(PATIENCE):
            await source.close()
        talk.frames = asyncio.Queue()
    source.send(b'{"jsonrpc":"2.0","method":"x"}')
    assert talk.frames.empty()


async def refusal(source: Source) -> StopReason:
    """Why a source does not open."""
    try:
        with pytest.raises(Stopped) as stopped:
            await source.open(lambda frame: None, lambda why: None)
    finally:
        await source.close()
    return stopped.value.why
