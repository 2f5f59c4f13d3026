"""What the Xiaozhi server makes of an agent's tools, in a small peer: it reads a list as that does, and fails as it.

Its module is no package that could be installed here. What matters of it: the list is worked off tool by tool, whatever
raises on the way ends the work on the whole answer, and only behind the last page is the session ready. Of an input's
schema it keeps `type`, `properties` and `required`, which is all that its model is shown.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection

from support.peers import PATIENCE, Frame, dialled

MEBIBYTE = 1_048_576
_UNCLEAN = re.compile(r"[^a-zA-Z0-9_\-\u4e00-\u9fff]")


class Xiaozhi:
    """One session, from the moment on at which it has the whole list, or has failed over it."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last_call = 0
        self.tools: dict[str, dict[str, Any]] = {}
        """What its model is shown, by cleaned name."""
        self._names: dict[str, str] = {}
        self.failure: Exception | None = None
        """Why it will never be ready."""

    async def begin(self) -> None:
        info = {"name": "XiaozhiMCPEndpointClient", "version": "1.0.0"}
        capabilities = {"roots": {"listChanged": True}, "sampling": {}}
        params = {"protocolVersion": "2024-11-05", "capabilities": capabilities, "clientInfo": info}
        await self._send(id=1, method="initialize", params=params)
        await self._send(method="notifications/initialized", params={})
        await self._send(id=2, method="tools/list")
        assert "result" in await self._answer(1)
        while True:
            result = (await self._answer(2))["result"]
            try:
                for one in result["tools"]:
                    if isinstance(one, dict):
                        self._take(one)
                for shown in self.tools.values():
                    for cleaned, name in self._names.items():
                        shown["description"] = shown["description"].replace(name, cleaned)
            except (TypeError, AttributeError, KeyError) as failure:
                self.failure = failure
                return
            if not result.get("nextCursor"):
                return
            await self._send(id=2, method="tools/list", params={"cursor": result["nextCursor"]})

    def _take(self, one: dict[str, Any]) -> None:
        name = one.get("name", "")
        kept: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        schema = one.get("inputSchema")
        if isinstance(schema, dict):
            kept = {
                "type": schema.get("type", "object"),
                "properties": schema.get("properties", {}),
                "required": [name for name in schema.get("required", []) if isinstance(name, str)],
            }
        cleaned = _UNCLEAN.sub("_", name)
        self.tools[cleaned] = {"description": one.get("description", ""), "parameters": kept}
        self._names[cleaned] = name

    async def call(self, tool: str, **arguments: object) -> str:
        """What its model hears of a call."""
        assert self.failure is None, f"the session is not ready: {self.failure!r}"
        assert "encrypted_device_id" not in self.tools[tool]["parameters"]["properties"]
        self._last_call += 1
        params = {"name": self._names[tool], "arguments": arguments}
        await self._send(id=self._last_call, method="tools/call", params=params)
        text = (await self._answer(self._last_call))["result"]["content"][0]["text"]
        assert isinstance(text, str)
        return text

    async def _send(self, **members: object) -> None:
        await self._connection.send(json.dumps({"jsonrpc": "2.0"} | members))

    async def _answer(self, id_: int) -> Frame:
        async with asyncio.timeout(PATIENCE):
            while True:
                frame: Frame = json.loads(await self._connection.recv())
                if frame.get("id") == id_ and "method" not in frame:
                    return frame


@contextlib.asynccontextmanager
async def xiaozhi(url: str) -> AsyncIterator[Xiaozhi]:
    """A Xiaozhi server's session that has got its tools, or has failed over them."""
    async with dialled(url, max_size=MEBIBYTE) as connection:
        session = Xiaozhi(connection)
        await session.begin()
        yield session
