"""A client of one source: asks and waits for answers, and keeps what else comes. Every wait is bounded."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from mcp_endpoint.providers.source import Source, Stopped
from support.sockets import PATIENCE

Frame = dict[str, Any]


class Asker:
    """Hands a source frames and takes what it says."""

    def __init__(self, hand: Callable[[bytes], None]) -> None:
        self._hand = hand
        self._came: asyncio.Queue[Frame] = asyncio.Queue()
        self._kept: list[Frame] = []
        self._id = 0

    def take(self, frame: bytes) -> None:
        assert b"\n" not in frame
        self._came.put_nowait(json.loads(frame))

    def tell(self, **members: Any) -> None:
        self._hand(json.dumps({"jsonrpc": "2.0"} | members).encode())

    def begin(self, method: str, params: Any = None) -> int:
        self._id += 1
        self.tell(id=self._id, method=method, **({} if params is None else {"params": params}))
        return self._id

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The first frame that is wanted; those before it are kept for later."""
        for frame in self._kept:
            if wanted(frame):
                self._kept.remove(frame)
                return frame
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = await self._came.get()
                if wanted(frame):
                    return frame
                self._kept.append(frame)

    async def answer(self, id_: object) -> Frame:
        return await self.until(lambda frame: frame.get("id") == id_ and "method" not in frame)

    async def said(self, method: str) -> Any:
        return (await self.until(lambda frame: frame.get("method") == method)).get("params")

    async def ask(self, method: str, params: Any = None) -> Any:
        answer = await self.answer(self.begin(method, params))
        assert "result" in answer, answer
        return answer["result"]

    async def refused(self, method: str, params: Any = None) -> tuple[int, str]:
        answer = await self.answer(self.begin(method, params))
        return answer["error"]["code"], answer["error"]["message"]

    async def call(self, tool: str, arguments: Any = None, **more: Any) -> Frame:
        result = await self.ask("tools/call", {"name": tool, "arguments": arguments or {}, **more})
        assert isinstance(result, dict)
        return result

    async def text(self, tool: str, arguments: Any = None) -> str:
        """The text of a call that worked."""
        result = await self.call(tool, arguments)
        assert not result.get("isError"), result
        return text_of(result)

    async def error(self, tool: str, arguments: Any = None) -> str:
        """The text of a call that did not work."""
        result = await self.call(tool, arguments)
        assert result.get("isError") is True, result
        return text_of(result)

    async def listed(self, method: str) -> dict[str, Any]:
        """All pages of a list, by name."""
        found: dict[str, Any] = {}
        cursor: dict[str, str] = {}
        while True:
            page = await self.ask(method, cursor)
            (items,) = [value for key, value in page.items() if key != "nextCursor"]
            for one in items:
                name = one.get("uri") or one.get("uriTemplate") or one["name"]
                assert name not in found
                found[name] = one
            if "nextCursor" not in page:
                return found
            cursor = {"cursor": page["nextCursor"]}

    @property
    def kept(self) -> list[Frame]:
        """What came and nobody asked for yet."""
        while not self._came.empty():
            self._kept.append(self._came.get_nowait())
        return self._kept


def text_of(result: Frame) -> str:
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


@contextlib.asynccontextmanager
async def asking(source: Source) -> AsyncIterator[Asker]:
    """A source that is open during the block, and greeted."""
    asker = Asker(source.send)
    ends: list[Stopped] = []
    try:
        await source.open(asker.take, ends.append)
        await asker.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
        asker.tell(method="notifications/initialized")
        yield asker
    finally:
        async with asyncio.timeout(PATIENCE):
            await source.close()
    assert ends == []
