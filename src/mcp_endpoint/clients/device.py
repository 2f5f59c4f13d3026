"""A device for the command line: lists and calls the tools of an agent just as the Xiaozhi server does.

The frames are byte for byte those of the Xiaozhi server (docs/protocol.md, 7.1): `initialize`, `initialized` and
`tools/list` back to back, pages under the same id, then calls whose ids start at 1 again. What works here works there.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from mcp_endpoint.clients.endpoint import (
    DIAL_ERRORS,
    NO_URL,
    URL_VARIABLE,
    Endpoint,
    UnusableURL,
    dial,
    endpoint,
    explain,
)
from mcp_endpoint.clients.exit_codes import FAILED, USAGE
from mcp_endpoint.clients.terminal import Terminal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer

TIMEOUT = 30.0
"""Seconds the Xiaozhi server waits for a call."""

PAGES = 64
INITIALIZE_ID, LIST_ID = 1, 2

Frames = Callable[[str, str], None]
"""Told of every frame: ("sent" or "received", the text)."""


class DeviceError(Exception):
    """No list, no result. `told` is a sentence for the user; what a peer said is the same in both languages."""

    def __init__(self, told: Bilingual) -> None:
        super().__init__(told.en)
        self.told = told


class Device:
    """One device session over an open connection: `greet` once, then any number of calls."""

    def __init__(self, connection: ClientConnection, where: Endpoint, on_frame: Frames | None = None) -> None:
        self._connection = connection
        self._where = where
        self._on_frame: Frames = on_frame or (lambda _direction, _text: None)
        self._calls = 0

    async def greet(self, within: float = TIMEOUT) -> list[dict[str, Any]]:
        """Make the handshake and return the tools as the endpoint describes them. Raises DeviceError."""
        await self._send(
            {
                "jsonrpc": "2.0",
                "id": INITIALIZE_ID,
                "method": "initialize",
                "params": {
                    "protocolVersion": "2024-11-05",
                    "capabilities": {"roots": {"listChanged": True}, "sampling": {}},
                    "clientInfo": {"name": "XiaozhiMCPEndpointClient", "version": "1.0.0"},
                },
            }
        )
        await self._send({"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}})
        listing: dict[str, Any] = {"jsonrpc": "2.0", "id": LIST_ID, "method": "tools/list"}
        await self._send(listing)
        await self._answer(INITIALIZE_ID, "initialize", within)
        tools: list[dict[str, Any]] = []
        for _ in range(PAGES):
            page = await self._answer(LIST_ID, "tools/list", within)
            found = page.get("tools")
            if not isinstance(found, list):
                raise _failed("工具列表无效。", "The answer to tools/list holds no list of tools.")
            tools += [tool for tool in found if isinstance(tool, dict)]
            cursor = page.get("nextCursor")
            if not cursor:
                return tools
            await self._send(listing | {"params": {"cursor": cursor}})
        raise _failed(f"工具列表超过 {PAGES} 页。", f"The list of tools has more than {PAGES} pages.")

    async def call(self, name: str, arguments: Mapping[str, Any], within: float = TIMEOUT) -> dict[str, Any]:
        """Call a tool and return its result, which may say `isError`. Raises DeviceError."""
        self._calls += 1
        params = {"name": name, "arguments": dict(arguments)}
        await self._send({"jsonrpc": "2.0", "id": self._calls, "method": "tools/call", "params": params})
        return await self._answer(self._calls, "tools/call", within)

    async def _send(self, frame: dict[str, Any]) -> None:
        text = json.dumps(frame)
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise DeviceError(explain(error, self._where).told) from error
        self._on_frame("sent", text)

    async def _answer(self, id_: int, method: str, within: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(within):
                return await self._next_answer(id_, method)
        except TimeoutError:
            raise _failed(
                f"{within:g} 秒内没有收到对 {method} 的应答。", f"No answer to {method} within {within:g} s."
            ) from None

    async def _next_answer(self, id_: int, method: str) -> dict[str, Any]:
        """The result of the request `id_`; whatever else arrives is none of our business."""
        while True:
            try:
                text = await self._connection.recv(decode=True)
            except ConnectionClosed as closed:
                raise DeviceError(explain(closed, self._where).told) from closed
            self._on_frame("received", text)
            try:
                frame = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if not isinstance(frame, dict) or "method" in frame:
                continue
            error, known = frame.get("error"), frame.get("id")
            # True equals 1, and an error without an id can only mean the one request that is under way.
            if type(known) is not int and not (known is None and error is not None):
                continue
            if known is not None and known != id_:
                continue
            if error is not None:
                words = _error_words(error)
                raise DeviceError(Bilingual(words, words))
            result = frame.get("result")
            if not isinstance(result, dict):
                raise _failed(f"对 {method} 的应答无效。", f"The answer to {method} holds no result.")
            return result


def _failed(zh: str, en: str) -> DeviceError:
    return DeviceError(Bilingual(zh, en))


def _error_words(error: object) -> str:
    """A JSON-RPC error as one sentence: message, code, and the broker's details."""
    if not isinstance(error, dict):
        return quote_peer(json.dumps(error), 1000)
    words = f"{error.get('message')} ({error.get('code')})"
    data = error.get("data")
    if isinstance(data, dict) and isinstance(data.get("details"), str):
        words += f": {data['details']}"
    elif data is not None:
        words += f": {json.dumps(data, ensure_ascii=False)}"
    return quote_peer(words, 2000)


@asynccontextmanager
async def session(
    where: Endpoint, on_frame: Frames | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Device]:
    """A device connected to `where`; `tls` as for `dial`. Raises DeviceError."""
    try:
        # No subprotocol: the Xiaozhi server offers none.
        connection = await dial(where, subprotocol=None, tls=tls)
    except DIAL_ERRORS as error:
        raise DeviceError(explain(error, where).told) from error
    try:
        yield Device(connection, where, on_frame)
    finally:
        await connection.close()


async def list_tools(url: str, *, within: float = TIMEOUT) -> list[dict[str, Any]]:
    """The tools behind the device URL `url`, as the endpoint describes them. Raises DeviceError, UnusableURL."""
    async with session(endpoint(url, "call")) as device:
        return await device.greet(within)


async def call_tool(url: str, name: str, arguments: Mapping[str, Any], *, within: float = TIMEOUT) -> dict[str, Any]:
    """The result of one call, after the handshake. Raises DeviceError, UnusableURL."""
    async with session(endpoint(url, "call")) as device:
        await device.greet(within)
        return await device.call(name, arguments, within)


def run_tools(url: str | None, environ: Mapping[str, str], terminal: Terminal) -> int:
    """The command `tools`: a line per tool, its name and the first line of its description. An exit code."""
    where = _where(url, environ, terminal)
    if where is None:
        return USAGE
    try:
        tools = asyncio.run(list_tools(where.url))
    except DeviceError as error:
        terminal.complain(error.told)
        return FAILED
    for tool in tools:
        first, *_ = str(tool.get("description") or "").strip().splitlines() or [""]
        terminal.say(f"{quote_peer(str(tool.get('name')))}\t{quote_peer(first)}".rstrip())
    if not tools:
        terminal.complain(Bilingual("没有工具，工具程序连接了吗？", "There are no tools; is a tool program connected?"))
    return 0


def run_call(url: str | None, name: str, arguments: str, environ: Mapping[str, str], terminal: Terminal) -> int:
    """The command `call TOOL JSON`: the result's text, other content as JSON. An exit code.

    A result that says `isError` is complained of and fails, as any other error does.
    """
    where = _where(url, environ, terminal)
    if where is None:
        return USAGE
    try:
        members = json.loads(arguments or "{}")
    except ValueError:
        members = None
    if not isinstance(members, dict):
        terminal.complain(
            Bilingual(
                '参数应是一个 JSON 对象，例如 {"a": 1}。', 'The arguments must be one JSON object, as in {"a": 1}.'
            )
        )
        return USAGE
    try:
        result = asyncio.run(call_tool(where.url, name, members))
    except DeviceError as error:
        terminal.complain(error.told)
        return FAILED
    failed = result.get("isError") is True
    for text in result_texts(result):
        (terminal.complain if failed else terminal.say)(text)
    return FAILED if failed else 0


def result_texts(result: Mapping[str, Any]) -> list[str]:
    """The content of a tool's result: texts as they are, everything else as JSON."""
    content = result.get("content")
    if not isinstance(content, list) or not content:
        return [json.dumps(result, ensure_ascii=False)]
    return [
        block["text"]
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)
        else json.dumps(block, ensure_ascii=False)
        for block in content
    ]


def _where(url: str | None, environ: Mapping[str, str], terminal: Terminal) -> Endpoint | None:
    url = url or environ.get(URL_VARIABLE)
    if not url:
        terminal.complain(NO_URL)
        return None
    try:
        where = endpoint(url, "call")
    except UnusableURL as error:
        terminal.complain(error.told)
        return None
    for note in where.notes:
        terminal.complain(note)
    return where
