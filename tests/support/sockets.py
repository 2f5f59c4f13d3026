"""A bare TCP connection to the broker, for what no well-behaved client library does: WebSocket frames by hand."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.peers import Broker

PATIENCE = 60.0
"""Seconds that any wait may take: for what hangs, so that no slow machine runs into it."""

TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0


class Wire:
    """A bare TCP connection, for what no well-behaved client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, broker: "Broker", receive_buffer: int | None = None) -> AsyncIterator["Wire"]:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(sock, (broker.host, broker.port))
            limit = {} if receive_buffer is None else {"limit": receive_buffer}
            reader, writer = await asyncio.open_connection(sock=sock, **limit)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def upgrade(self, path: str, *headers: str) -> bytes:
        """Ask for a WebSocket; the whole head of the answer."""
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.write("\r\n".join([*lines, "", ""]).encode())
        return await self.head()

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All that comes until the broker closes the connection, cleanly or not."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                while piece := await self.reader.read(65_536):
                    data += piece
        return data

    async def reply(self) -> "Reply":
        """One HTTP answer that ends where its Content-Length says."""
        head = (await self.head()).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        async with asyncio.timeout(PATIENCE):
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Reply(int(status.split()[1]), headers, body.decode())

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        self.write(ws_frame(opcode, payload, fin=fin))

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame from the broker."""
        async with asyncio.timeout(PATIENCE):
            first, second = await self.reader.readexactly(2)
            assert not second & 0x80, "a server does not mask"
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_frame(self) -> tuple[int, str]:
        """Code and reason of the close frame; frames before it are skipped."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0], payload[2:].decode()


def ws_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame as a client sends it, masked with zeros."""
    length = len(payload)
    if length < 126:
        size = struct.pack("!B", 0x80 | length)
    elif length < 65_536:
        size = struct.pack("!BH", 0x80 | 126, length)
    else:
        size = struct.pack("!BQ", 0x80 | 127, length)
    return bytes([(0x80 if fin else 0) | opcode]) + size + b"\0\0\0\0" + payload


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: str
