"""WebSocket links that cost little: thousands of them fit one process, and they know the frames that they will get."""

import asyncio
import json
import socket
import struct
from typing import Any

from support.programs.abuse import HEAD
from support.sockets import BINARY, PING, PONG, TEXT, ws_frame

HELLO = b'{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}'
TOOLS = b'{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}'
RESULT = b'{"content":[{"type":"text","text":"%s"}],"isError":false}'
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for an end by RST."""


class LightLink(asyncio.Protocol):
    """One link from its handshake on."""

    transport: asyncio.Transport

    def __init__(self, path: str) -> None:
        self.path = path
        self.lost = False
        self._rest = bytearray()
        """What came and is not whole yet."""
        self._needed = 0
        """Bytes that it has to have before there is anything in it to be had."""
        self.upgraded = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's classes
        self.transport.write(HEAD.format(path=self.path, header="").encode())

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        if not self.upgraded.is_set():
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._rest += data
                return
            assert b" 101 " in head, head
            data = rest
            self.upgraded.set()
            self.opened()
        at, size = 0, len(data)
        self._needed = 0
        while size - at >= 2:
            start, length = at + 2, data[at + 1]
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start])
            if size < start + length:
                self._needed = start + length - at if size >= start else 0
                break
            opcode, payload = data[at] & 0x0F, data[start : start + length]
            if opcode in (TEXT, BINARY):
                self.got(payload)
            elif opcode == PING:
                self.transport.write(ws_frame(PONG, payload))
            at = start + length
        self._rest += data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def send(self, frame: bytes) -> None:
        self.transport.write(ws_frame(TEXT, frame))

    def opened(self) -> None:
        """The handshake is over."""

    def got(self, frame: bytes) -> None:
        """A text or binary frame came."""
        raise NotImplementedError

    def reset(self) -> None:
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class LightProgram(LightLink):
    """A tool side that has the tool `t`, whose result is `padding` letters."""

    def __init__(self, path: str, padding: int = 0) -> None:
        super().__init__(path)
        self._result = RESULT % (b"x" * padding)

    def got(self, frame: bytes) -> None:
        id_ = id_of(frame)
        if b'"tools/call"' in frame[:200]:
            self.answer(id_, self._result)
        elif b'"initialize"' in frame:
            self.answer(id_, HELLO)
        elif b'"tools/list"' in frame:
            self.answer(id_, TOOLS)

    def answer(self, id_: bytes, result: bytes) -> None:
        self.send(b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (id_, result))


class LightDevice(LightLink):
    """A device. It is ready when it has been shown the tool `t`, and asks for the list until then."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.ready = asyncio.Event()

    def opened(self) -> None:
        about: dict[str, Any] = {"protocolVersion": "2024-11-05", "capabilities": {}}
        self.ask(1, "initialize", about | {"clientInfo": {"name": "d", "version": "1"}})
        self.ask(2, "tools/list")

    def ask(self, id_: int, method: str, params: dict[str, Any] | None = None) -> None:
        message = {"jsonrpc": "2.0", "id": id_, "method": method}
        self.send(json.dumps(message if params is None else message | {"params": params}).encode())

    def got(self, frame: bytes) -> None:
        message = json.loads(frame)
        if message.get("id") == 2:
            if message["result"]["tools"]:
                self.ready.set()
            else:
                self.ask(2, "tools/list")  # its tool side is not there yet; the broker waits `tools_wait` for it


def id_of(frame: bytes) -> bytes:
    """The id of a frame whose first members are `jsonrpc` and `id`, as it is spelled; empty where there is none."""
    start = frame.find(b'"id":')
    if start < 0:
        return b""
    start += 5
    end = frame.find(b",", start)
    return frame[start : end if end > 0 else frame.index(b"}", start)].strip()
