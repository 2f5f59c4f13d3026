"""One HTTP GET, as `doctor` needs it: bounded in time and size, without proxies, and with the answer's clock."""

import asyncio
import json
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 5.0
"""Seconds for one answer."""

LARGEST = 64 * 1024 * 1024
"""Bytes of one answer that are read."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `skew` is how many seconds its clock is ahead of ours, None without a Date."""

    status: int
    body: bytes
    skew: float | None

    def json(self) -> Json:
        """The body as a JSON object; empty if it is none."""
        with suppress(ValueError, RecursionError):
            body = json.loads(self.body)
            if isinstance(body, dict):
                return body
        return {}


async def fetch(base: str, path: str, tls: ssl.SSLContext | None = None, **headers: str) -> Answer:
    """GET `base` + `path`; no proxy, no redirect. Raises one of DIAL_ERRORS; ValueError for what is no HTTP."""
    parts = urlsplit(base)
    secure = parts.scheme == "https"
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port or (443 if secure else 80), ssl=(tls or True) if secure else None
        )
        try:
            # HTTP/1.0: the answer ends with the connection, in no chunks.
            lines = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "mcp-endpoint-doctor"} | headers
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"GET {parts.path.rstrip('/')}{path} HTTP/1.0\r\n{head}\r\n".encode())
            data = bytearray()
            while len(data) < LARGEST and (chunk := await reader.read(65536)):
                data += chunk
        finally:
            writer.close()
    return _parsed(bytes(data))


def _parsed(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdecimal():
        raise ValueError("not an HTTP answer")
    skew = None
    for name, _, value in (line.partition(":") for line in lines):
        if name.lower() == "date":
            with suppress(ValueError):
                skew = parsedate_to_datetime(value.strip()).timestamp() - time.time()
    return Answer(int(rest[:3]), body, skew)


def unchecked_tls() -> ssl.SSLContext:
    """For the broker on this machine, whose certificate names the address that others dial."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
