"""A program that abuses a broker until it is killed: `abuse.py HOW HOST PORT PATH [HEADER]`.

It runs as a process of its own, and prints a line whenever it has made another STRIDE steps.
"""

import contextlib
import json
import select
import socket
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from support.sockets import PING, PONG, TEXT, ws_frame

STRIDE = 20
PIECE = 16_384
"""Bytes sent at once: a longer system call would hold up its core, whoever else wants it."""
HEAD = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{header}\r\n"
)
POST = (
    "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Accept: application/json, text/event-stream\r\n{headers}Content-Length: {length}\r\n\r\n"
)
HTTP_CONNECTIONS, PIPELINED = 100, 8


class Abuser:
    def __init__(self, host: str, port: str, path: str, header: str = "") -> None:
        self.where = (host, int(port))
        self.path = path
        self.head = HEAD.format(path=path, header=f"{header}\r\n" if header else "").encode()

    def dial(self) -> socket.socket:
        return socket.create_connection(self.where, timeout=10)

    def link(self) -> socket.socket:
        sock = self.dial()
        sock.sendall(self.head)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = sock.recv(1)  # the broker's first frame may come with it, and is for whoever reads next
            if not piece:
                break
            answer += piece
        assert b" 101 " in answer, answer
        return sock

    def connections(self) -> Iterator[None]:
        """Open connections that say nothing, and keep up to 900 of them."""
        held: deque[socket.socket] = deque()
        while True:
            with contextlib.suppress(OSError):
                held.append(self.dial())
            if len(held) > 900:
                held.popleft().close()
            yield

    def tokens(self) -> Iterator[None]:
        """Dial with a bad token, and leave the refused connection as it is."""
        held: deque[socket.socket] = deque()
        while True:
            with contextlib.suppress(OSError):
                held.append(self.dial())
                held[-1].sendall(self.head)
            if len(held) > 900:
                held.popleft().close()
            yield

    def frames(self, *texts: bytes) -> Iterator[None]:
        """Send these frames as fast as the broker takes them, and read what it answers."""
        sock = self.link()
        sock.setblocking(False)
        flood = b"".join(ws_frame(TEXT, text) for text in texts)
        flood *= max(1, 500_000 // len(flood))
        left = memoryview(flood)
        while True:
            readable, writable, _ = select.select([sock], [sock], [], 0.1)
            if readable and not sock.recv(PIECE):
                return
            if writable:
                left = left[sock.send(left[:PIECE]) :] or memoryview(flood)
            yield

    def calls(self) -> Iterator[None]:
        """More calls at a time than an agent may have."""
        call = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"t","arguments":{}}}'
        return self.frames(*(call % number for number in range(5000)))

    def pings(self) -> Iterator[None]:
        return self.frames(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')

    def junk(self) -> Iterator[None]:
        return self.frames(b"x")

    def posts(self) -> Iterator[None]:
        """Requests over HTTP that stand for themselves."""
        about = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": about}}
        return self.requests_by_http(message, "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n")

    def batches(self) -> Iterator[None]:
        """Batches of a session, each as long as one may be."""
        params = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        with self.dial() as sock:
            sock.sendall(self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            answer = sock.recv(PIECE).decode()
            session = next(line for line in answer.split("\r\n") if line.lower().startswith("mcp-session-id:"))
            pings = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(100)]
            yield from self.requests_by_http(pings, f"{session}\r\n")

    def requests_by_http(self, message: object, headers: str) -> Iterator[None]:
        """The same request on many connections, on each a few more whenever some are answered."""
        request = self.post(message, headers)
        socks = [self.dial() for _ in range(HTTP_CONNECTIONS)]
        for sock in socks:
            sock.sendall(request * PIPELINED)
        while True:
            for sock in select.select(socks, [], [], 0.1)[0]:
                answers = sock.recv(PIECE)
                if not answers:
                    return
                sock.sendall(request * answers.count(b"HTTP/1.1 20"))
                yield

    def post(self, message: object, headers: str = "") -> bytes:
        body = json.dumps(message).encode()
        return POST.format(path=self.path, headers=headers, length=len(body)).encode() + body

    def lists(self) -> Iterator[None]:
        """A tool program whose tools change all the time."""
        hello = b'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}}'
        tools = b'{"jsonrpc":"2.0","id":%d,"result":{"tools":[{"name":"t","inputSchema":{},"description":"%s"}]}}'
        changed = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
        answers = (tools % (number, b"x" * 1000) for number in range(2, 50))
        return self.frames(hello, *(frame for answer in answers for frame in (answer, changed)))

    def definitions(self) -> Iterator[None]:
        """A tool program with forty times as many tools as it may have, and other ones all the time."""
        sock = self.link()
        changed = ws_frame(TEXT, b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
        for number, request in enumerate(self.requests(sock)):
            if request is None:
                sock.sendall(changed)
                yield
                continue
            result = b'{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}'
            if request["method"] == "tools/list":
                tools = b",".join(b'{"name":"t%d"}' % (number + one) for one in range(20_000))
                result = b'{"tools":[%s],"nextCursor":"more"}' % tools
            frame = ws_frame(TEXT, b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (request["id"], result))
            for start in range(0, len(frame), PIECE):
                sock.sendall(frame[start : start + PIECE])
                yield

    def requests(self, sock: socket.socket) -> Iterator[dict[str, Any] | None]:
        """What the broker asks; None whenever it has asked nothing for a while."""
        data = b""
        while True:
            if not select.select([sock], [], [], 0.01)[0]:
                yield None
                continue
            piece = sock.recv(PIECE)
            if not piece:
                return
            data += piece
            while len(data) >= 4:
                start, length = 2, data[1]
                if length == 126:
                    start, length = 4, int.from_bytes(data[2:4])
                if len(data) < start + length:
                    break
                opcode, payload = data[0] & 0x0F, data[start : start + length]
                data = data[start + length :]
                if opcode == PING:
                    sock.sendall(ws_frame(PONG, payload))
                elif opcode == TEXT and "id" in (frame := json.loads(payload)):
                    yield frame

    def huge(self) -> Iterator[None]:
        """Messages over the size limit, one link after the other, each with all that the broker still takes of it."""
        message = ws_frame(TEXT, b"x" * 5_000_000)
        while True:
            with contextlib.suppress(OSError, AssertionError), self.link() as sock:
                for start in range(0, len(message), PIECE):
                    sock.sendall(message[start : start + PIECE])
                    yield
            yield

    def large(self) -> Iterator[None]:
        """Calls whose arguments are just under the size limit."""
        call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"x":"%s"}}}'
        return self.frames(call % (b"x" * 3_900_000))

    def members(self) -> Iterator[None]:
        """Calls that are not large, and costly all the same: a great many members have to be looked at."""
        meta = b",".join(b'"%d":1' % number for number in range(24_000))
        call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":1,%s}}}'
        return self.frames(call % meta)

    def bodies(self) -> Iterator[None]:
        """Large requests over HTTP at once: many heads first, and then the bodies."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"x": "x" * 3_900_000}}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        with self.dial() as sock:
            sock.sendall(self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            answer = sock.recv(PIECE).decode()
        session = next(line for line in answer.split("\r\n") if line.lower().startswith("mcp-session-id:"))
        head, body = self.post(message, f"{session}\r\n").split(b"\r\n\r\n", 1)
        while True:
            socks = [self.dial() for _ in range(8)]
            for sock in socks:
                sock.sendall(head + b"\r\n\r\n")
                sock.setblocking(False)
            left = {sock: memoryview(body) for sock in socks}
            while left:
                for sock in select.select([], list(left), [], 0.01)[1]:  # it may be made to rest
                    with contextlib.suppress(BlockingIOError):
                        left[sock] = left[sock][sock.send(left[sock][:PIECE]) :]
                    if not left[sock]:
                        del left[sock]
                yield
            for sock in socks:
                sock.setblocking(True)
                sock.recv(PIECE)
                sock.close()

    def unfinished(self) -> Iterator[None]:
        """Begin messages of 3 MB on one link after the other, and never end them.

        In small pieces, or it would be a flood of handshakes, which have a limit of their own.
        """
        held: list[socket.socket] = []
        piece = PIECE // 16
        while True:
            with contextlib.suppress(OSError, AssertionError):  # it is closed in the middle
                held.append(self.link())
                message = ws_frame(TEXT, b"x" * 3_000_000)
                for start in range(0, len(message) - 1, piece):
                    held[-1].sendall(message[start : min(start + piece, len(message) - 1)])
                    yield
            if len(held) > 40:
                held.pop(0).close()
            yield


def main(how: str, *where: str) -> None:
    steps = getattr(Abuser(*where), how)()
    for count, _ in enumerate(steps, 1):
        if count % STRIDE == 0:
            print(count, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
