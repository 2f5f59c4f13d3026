"""A forward proxy for tests: HTTP (CONNECT, and whole URLs for plain HTTP) or SOCKS5, with or without a password."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class ForwardProxy:
    """`asked` are the targets that it was asked for; `names` says where a name leads that it alone knows."""

    user: str = ""
    names: dict[str, str] = field(default_factory=dict)
    refuses: bool = False
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            await (self._socks if first == b"\x05" else self._http)(first, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _http(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        self.asked.append(f"{method} {target}")
        wanted = f"basic {base64.b64encode(self.user.encode()).decode()}".lower()
        if self.user and f"proxy-authorization: {wanted}" not in head.lower():
            writer.write(b"HTTP/1.1 407 Who Are You\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif self.refuses:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif method == "CONNECT":
            host, _, port = target.rpartition(":")
            await self._joined(host, int(port), reader, writer, b"", b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            parts = urlsplit(target)
            lines = head.replace(target, parts._replace(scheme="", netloc="").geturl(), 1).split("\r\n")
            own = [line for line in lines if not line.lower().startswith("proxy-")]
            await self._joined(parts.hostname or "", parts.port or 80, reader, writer, "\r\n".join(own).encode(), b"")

    async def _socks(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if self.user:
            writer.write(b"\x05\x02" if 2 in methods else b"\x05\xff")
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            good = f"{user.decode()}:{password.decode()}" == self.user
            writer.write(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return
        else:
            writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(map(str, await reader.readexactly(4)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"SOCKS {host}:{port}")
        if self.refuses:
            writer.write(b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")
            return
        await self._joined(host, port, reader, writer, b"", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

    async def _joined(
        self,
        host: str,
        port: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        before: bytes,
        answer: bytes,
    ) -> None:
        there, back = await asyncio.open_connection(self.names.get(host, host), port)
        writer.write(answer)
        back.write(before)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()


@contextlib.asynccontextmanager
async def forward_proxy(user: str = "", refuses: bool = False, **names: str) -> AsyncIterator[ForwardProxy]:
    """A proxy on loopback; a name is written with `_` for `.`."""
    proxy = ForwardProxy(user, {name.replace("_", "."): place for name, place in names.items()}, refuses)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await proxy._serve(reader, writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is gone in the next turn
