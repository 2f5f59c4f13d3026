"""A relay that adds the token to each HTTP request as a header, for scenarios that leave out the query of a URL."""

import asyncio
import contextlib
import re

LIMIT = 64 * 1024


class Relay:
    """Listens on a port that the system chose; answers come back as the bytes they are."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.upstream = (host, port)
        self.header = f"Authorization: Bearer {token}\r\n\r\n".encode()
        self.host = host
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, self.host, 0, limit=LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*self.upstream)
        self._open |= {writer, forth}
        answers = asyncio.create_task(self._answers(back, writer))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"(?im)^content-length: *(\d+)", head)
                    body = await reader.readexactly(int(length[1])) if length else b""
                    forth.write(head[:-2] + self.header + body)
                    await forth.drain()
        finally:
            forth.close()
            await answers
            self._open -= {writer, forth}

    async def _answers(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await back.read(LIMIT):
                writer.write(data)
                await writer.drain()
        writer.close()
