"""A person signs in with a browser on this machine, which comes back to a small server on loopback."""

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from mcp_endpoint.providers.source import Stopped, Why

ANSWER_WITHIN = 300.0
"""Seconds a person has to sign in."""
READ_WITHIN = 5.0
HEAD_LIMIT = 16 * 1024
_PAGE = b"You are signed in, or not, as the broker will say. This page can be closed."


class LoopbackSignIn:
    """Waits on 127.0.0.1 for the browser. Make it with `start`, and `close` it in the end."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._server: asyncio.Server | None = None
        self._came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, show: Callable[[str], None], port: int = 0) -> "LoopbackSignIn":
        """Listen on a port, any free one if 0; `show` gets the URL to be opened. Raises OSError."""
        sign_in = cls(show)
        sign_in._server = await asyncio.start_server(sign_in._serve, "127.0.0.1", port, limit=HEAD_LIMIT)
        return sign_in

    @property
    def redirect_uri(self) -> str:
        """Where the browser is sent back to."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/callback"

    async def show(self, url: str) -> None:
        """Have a person open this URL."""
        self._show(url)

    async def answer(self) -> dict[str, str]:
        """The query with which the browser came back. Raises Stopped (UNAUTHORIZED) after 300 s."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._came
        except TimeoutError:
            raise Stopped(Why.UNAUTHORIZED, f"nobody signed in within {ANSWER_WITHIN:g} s") from None

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_WITHIN):
                head = await reader.readuntil(b"\r\n\r\n")
            method, target, *_ = head.decode("latin-1").split(" ", 2)
            parts = urlsplit(target)
            query = dict(parse_qsl(parts.query, max_num_fields=20))
            known = method == "GET" and parts.path == "/callback" and ("code" in query or "error" in query)
            status = "200 OK" if known else "404 Not Found"
            body = _PAGE if known else b""
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                f"Connection: close\r\n\r\n".encode()
                + body
            )
            async with asyncio.timeout(READ_WITHIN):
                await writer.drain()
            if known and not self._came.done():
                self._came.set_result(query)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
