"""A call through a running broker, with a tool program and a device of our own on both ends.

It uses an agent that nobody else has, so no user's tools and devices see anything of it.
"""

import asyncio
import json
import secrets
import ssl
from time import perf_counter
from typing import Any

from websockets.asyncio.client import ClientConnection

from mcp_endpoint.clients.device import DeviceError, session
from mcp_endpoint.clients.endpoint import DIAL_ERRORS, dial, endpoint, explain
from mcp_endpoint.language import Bilingual
from mcp_endpoint.tokens import Tokens, urls

NAME = "mcp-endpoint-doctor"
TOOL = "echo"
STEP = 10.0
"""Seconds that each step may take."""


class SelfTestFailed(Exception):
    """The call did not go through; `told` is a sentence."""

    def __init__(self, told: Bilingual) -> None:
        super().__init__(told.en)
        self.told = told


async def self_test(base: str, tokens: Tokens, tls: ssl.SSLContext | None = None) -> float:
    """Seconds that one call took through the broker at `base` (http or ws URL). Raises SelfTestFailed.

    Both connections are closed in the end, and the tool is taken back before.
    """
    tool_url, device_url = urls(base, tokens.mint(f"{NAME}-{secrets.token_hex(8)}"))
    where = endpoint(tool_url, "mcp")
    try:
        async with dial(where, tls=tls) as connection:
            program = _Program(connection)
            serving = asyncio.create_task(program.serve())
            try:
                await _ready(program, serving)
                # Alone: tools of others who serve every agent are none of this test's, and need not start for it.
                seconds = await _call(f"{device_url}&provider={NAME}", tls)
                await program.take_back()
                await _ready(program, serving)
                return seconds
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
    except DIAL_ERRORS as error:
        raise SelfTestFailed(explain(error, where).told) from error
    except DeviceError as error:
        raise SelfTestFailed(error.told) from error


async def _call(url: str, tls: ssl.SSLContext | None) -> float:
    word = secrets.token_hex(8)
    async with session(endpoint(url, "call"), tls=tls) as device:
        names = [tool.get("name") for tool in await device.greet(STEP)]
        if names != [TOOL]:
            raise SelfTestFailed(
                Bilingual(f"设备端看到的工具不对：{names}。", f"The device was shown {names} instead of the one tool.")
            )
        start = perf_counter()
        result = await device.call(TOOL, {"word": word}, STEP)
        seconds = perf_counter() - start
    if result.get("content") != [{"type": "text", "text": word}]:
        raise SelfTestFailed(
            Bilingual("调用返回了错误的结果。", "The call came back with something else than the tool said.")
        )
    return seconds


async def _ready(program: "_Program", serving: "asyncio.Task[None]") -> None:
    """The broker has the list that the program gave last."""
    listed = asyncio.create_task(program.listed.wait())
    try:
        await asyncio.wait({listed, serving}, timeout=STEP, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        if not listed.done():
            raise SelfTestFailed(
                Bilingual(
                    f"服务在 {STEP:g} 秒内没有完成与工具端的握手。",
                    f"The broker did not finish its handshake with the tool side within {STEP:g} s.",
                )
            )
    finally:
        listed.cancel()
    program.listed.clear()


class _Program:
    """A tool program with one tool, which says what it is told."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._tools: list[dict[str, Any]] = [{"name": TOOL, "inputSchema": {"type": "object"}}]
        self.listed = asyncio.Event()
        """Set when the broker has worked off the answer to its `tools/list`."""

    async def serve(self) -> None:
        """Answer the broker until cancelled. Raises ConnectionClosed when it closes the connection."""
        while True:
            frame = json.loads(await self._connection.recv())
            match frame.get("method"):
                case "initialize":
                    introduction = {
                        "protocolVersion": frame["params"]["protocolVersion"],
                        "capabilities": {"tools": {"listChanged": True}},
                        "serverInfo": {"name": NAME, "version": "1"},
                    }
                    await self._answer(frame, introduction)
                case "tools/list":
                    await self._answer(frame, {"tools": self._tools})
                    # The broker works off a link's frames in order: its answer to this comes after the list.
                    await self._send({"id": 1, "method": "ping"})
                case "tools/call":
                    word = frame["params"]["arguments"]["word"]
                    await self._answer(frame, {"content": [{"type": "text", "text": word}]})
                case "ping":
                    await self._answer(frame, {})
                case None if frame.get("id") == 1:
                    self.listed.set()

    async def take_back(self) -> None:
        """Have no tool any more, so that nothing of it stays listed."""
        self._tools = []
        await self._send({"method": "notifications/tools/list_changed"})

    async def _answer(self, request: dict[str, Any], result: dict[str, Any]) -> None:
        await self._send({"id": request["id"], "result": result})

    async def _send(self, members: dict[str, Any]) -> None:
        await self._connection.send(json.dumps({"jsonrpc": "2.0"} | members))
