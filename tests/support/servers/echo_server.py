"""A live HTTP server that says what it was sent, and misbehaves under some paths."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.servers.live import live


class Echo:
    """An ASGI app; `slow` requests wait until they are cut off, and are counted."""

    def __init__(self, document: dict[str, Any] | None = None) -> None:
        self.document = document or {}
        self.texts: dict[str, bytes] = {}
        """Further documents, by path."""
        self.elsewhere = ""
        self.requests: list[dict[str, Any]] = []
        self.cut_off = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen = {
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": headers,
            "body": body.decode(errors="replace"),
        }
        self.requests.append(seen)
        status, kind, content, more = await self._answer(scope["path"], seen)
        fields = [(b"content-type", kind.encode()), *more]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, path: str, seen: dict[str, Any]) -> tuple[int, str, bytes, list[tuple[bytes, bytes]]]:
        json_type = "application/json; charset=utf-8"
        if path in self.texts:
            return 200, "text/plain", self.texts[path], []
        match path.removeprefix("/api"):
            case "/openapi.json":
                return 200, json_type, json.dumps(self.document).encode(), []
            case "/away":
                return 302, "text/plain", b"", [(b"location", f"{self.elsewhere}/api/echo".encode())]
            case "/here":
                return 307, "text/plain", b"", [(b"location", b"/api/echo?redirected=1")]
            case "/round":
                return 302, "text/plain", b"", [(b"location", b"/api/round")]
            case "/big":
                return 200, "text/plain", b"x" * 3_000_000, []
            case "/long":
                return 200, json_type, json.dumps({"text": "é" * 20_000}).encode(), []
            case "/slow":
                await asyncio.sleep(3600)
            case "/broken":
                return 200, json_type, b"{broken", []
            case "/empty":
                return 204, "", b"", []
            case "/latin":
                return 200, "text/plain; charset=latin-1", "é".encode("latin-1"), []
            case "/picture":
                return 200, "image/png", b"\x89PNG", []
            case "/bytes":
                return 200, "application/octet-stream", b"\0\1", []
            case "/problem":
                problem = {"type": "about:blank", "title": "Bad\x1b[31m", "detail": "No such \u202ething"}
                return 422, "application/problem+json", json.dumps(problem).encode(), []
            case "/validation":
                return 422, json_type, b'{"detail": [{"loc": ["a"], "msg": "wrong"}]}', []
            case "/html":
                return 500, "text/html", b"<html>secret stack</html>", []
            case "/repeats":
                return 403, json_type, json.dumps({"message": f"not {seen['headers'].get('x-mine')}"}).encode(), []
            case "/words":
                return 503, "text/plain", b"come back later", []
        return 200, json_type, json.dumps(seen).encode(), []


@contextmanager
def echoing(elsewhere: str = "") -> Iterator[tuple[Echo, str]]:
    """An echo server that is up, and its URL; `elsewhere` is what it redirects to."""
    echo = Echo()
    echo.elsewhere = elsewhere
    with live(echo) as url:
        yield echo, url
