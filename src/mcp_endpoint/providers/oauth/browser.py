"""A person signs in with a browser, which comes back to a small server on loopback, or whose address is pasted here.

The browser need not be on this machine: then it cannot come back, and shows the address that it was sent to.
"""

import asyncio
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.source import Stopped, StopReason

ANSWER_WITHIN = 300.0
"""Seconds a person has to sign in."""
READ_WITHIN = 5.0
HEAD_LIMIT = 16 * 1024
MOST_PASTED = 16 * 1024
"""Characters of an address that is pasted."""
_PAGE = b"You are signed in, or not, as the broker will say. This page can be closed."
_BARE_CODE = re.compile(r"[\w.~/+%-]{6,2000}")


def read_callback(text: str) -> dict[str, str] | None:
    """The query of an address that a browser was sent back to, or the code alone; None where there is neither."""
    text = text.strip().strip("'\"<>`“”").strip().replace("&amp;", "&")
    if len(text) > MOST_PASTED:
        return None
    try:
        parts = urlsplit(text)
        query = parts.query or parts.fragment
    except ValueError:
        return None
    if not query and re.match(r"(?:code|error|state|iss)=", text):
        query = text
    found = dict(parse_qsl(query, max_num_fields=20)) if query else {}
    if not query and _BARE_CODE.fullmatch(text) and "//" not in text:
        found = {"code": unquote(text)}
    return found if "code" in found or "error" in found else None


class LoopbackSignIn:
    """Waits on 127.0.0.1 for the browser. Make it with `start`, and `close` it in the end."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._server: asyncio.Server | None = None
        self._redirect_uri = ""
        self._path = "/callback"
        self._state: str | None = None
        self._came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, show: Callable[[str], None], port: int = 0, redirect_uri: str = "") -> "LoopbackSignIn":
        """Listen on a port, any free one if 0; `show` gets the URL to be opened.

        `redirect_uri` is one that was registered: if it is of this machine, its own port is listened on; else the
        address is to be pasted. Raises OSError, ValueError.
        """
        sign_in = cls(show)
        if redirect_uri:
            parts = urlsplit(redirect_uri)
            sign_in._redirect_uri, sign_in._path = redirect_uri, parts.path or "/"
            if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost"):
                return sign_in
            port = port or parts.port or 80
        sign_in._server = await asyncio.start_server(sign_in._serve, "127.0.0.1", port, limit=HEAD_LIMIT)
        if not redirect_uri:
            sign_in._redirect_uri = f"http://127.0.0.1:{sign_in._server.sockets[0].getsockname()[1]}/callback"
        return sign_in

    @property
    def redirect_uri(self) -> str:
        """Where the browser is sent back to."""
        return self._redirect_uri

    async def show(self, url: str) -> None:
        """Have a person open this URL."""
        self._state = dict(parse_qsl(urlsplit(url).query)).get("state")
        self._show(url)

    def pasted(self, text: str) -> bool:
        """Take the address that the browser was sent back to, as a person pasted it; False if it is none of ours."""
        query = read_callback(text)
        if query is None or self._state is None:
            return False
        return self._take({"state": self._state} | query)

    def _take(self, query: dict[str, str]) -> bool:
        """Whether a query is of this sign-in; then it is the answer."""
        if query.get("state") != self._state or self._came.done():
            return False
        self._came.set_result(query)
        return True

    async def answer(self) -> dict[str, str]:
        """The query with which the browser came back. Raises Stopped (UNAUTHORIZED) after 300 s, and for a refusal."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                query = await self._came
        except TimeoutError:
            raise Stopped(StopReason.UNAUTHORIZED, f"nobody signed in within {ANSWER_WITHIN:g} s") from None
        if "code" not in query:
            words = f"{query.get('error', '')} {query.get('error_description', '')}".strip()
            raise Stopped(StopReason.UNAUTHORIZED, quote_peer(f"the sign-in was refused: {words}"))
        return query

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
            query = read_callback(target) if urlsplit(target).path == self._path and "?" in target else None
            known = method == "GET" and query is not None and query.get("state") == self._state
            status = "200 OK" if known else "404 Not Found"
            body = _PAGE if known else b""
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                f"Connection: close\r\n\r\n".encode()
                + body
            )
            async with asyncio.timeout(READ_WITHIN):
                await writer.drain()
            if known and query is not None:
                self._take(query)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
