"""What an HTTP answer to a frame means: frames, a lost session, a refusal. Shared by the HTTP kinds of sources."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from msgspec import UNSET, DecodeError, Raw
from msgspec.json import decode

from mcp_endpoint.errors import Code
from mcp_endpoint.providers.events import EVENT_LIMIT, RETRY, EventReader
from mcp_endpoint.providers.http_client import body_chunks, read_body, words_of
from mcp_endpoint.providers.outlet import Pace
from mcp_endpoint.providers.source import Stopped, Why
from mcp_endpoint.redaction import quote_peer
from mcp_endpoint.wire import envelope

JSON, EVENTS = "application/json", "text/event-stream"
ERROR_LIMIT = 64 * 1024
"""Bytes of the body of an error."""
ERROR_WITHIN = 10.0
MOST_IN_BATCH = 1000


def media_type(response: httpx.Response) -> str:
    """The kind of an answer's body, in lower case."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def refused(response: httpx.Response, id_: bytes | None, *, in_session: bool) -> bytes:
    """What an answer with status 300 or more says: a JSON-RPC error for the request with this id, or it raises.

    Raises Stopped: UNAUTHORIZED, SESSION_LOST or HTTP_STATUS.
    """
    status = response.status_code
    if status in (401, 403):
        await response.aclose()
        raise Stopped(Why.UNAUTHORIZED, f"HTTP {status}")
    if status == 404 and in_session:
        await response.aclose()
        raise Stopped(Why.SESSION_LOST, f"HTTP {status}")
    if status < 400 or media_type(response) != JSON:
        raise Stopped(Why.HTTP_STATUS, quote_peer(f"HTTP {status} {await words_of(response)}".strip()))
    body = await read_body(response, ERROR_LIMIT, ERROR_WITHIN)
    # Some servers say 400 where the specification has 404.
    if status == 400 and in_session and b"session" in body.lower():
        raise Stopped(Why.SESSION_LOST, f"HTTP {status}")
    try:
        frame = envelope.read(body)
    except ValueError:
        frame = envelope.Envelope()
    if id_ is None or frame.error is UNSET:
        raise Stopped(Why.HTTP_STATUS, quote_peer(f"HTTP {status} {body[:200].decode(errors='replace')}".strip()))
    assert isinstance(frame.error, Raw)
    return envelope.error(id_, frame.error)


def split(body: bytes) -> list[bytes]:
    """The frames of a JSON body: one, or those of a batch (2025-03-26)."""
    if body.lstrip()[:1] != b"[":
        return [body]
    try:
        return [bytes(frame) for frame in decode(body, type=list[Raw])][:MOST_IN_BATCH]
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return [body]


@dataclass
class Place:
    """Where in a stream of events we are: what is sent to go on behind it."""

    last_id: str | None = None
    retry: float = RETRY
    """Seconds to wait before it is opened again."""


async def messages(
    response: httpx.Response, place: Place, pace: Pace, limit: int = EVENT_LIMIT
) -> AsyncIterator[bytes]:
    """The frames of a stream of events, until it ends; `place` goes along, `pace` is that of all streams of a server.

    Raises Stopped: FRAME_TOO_LONG, or CONNECTION_LOST if it is cut off.
    """
    reader = EventReader(limit)
    async for chunk in body_chunks(response):
        events = reader.feed(chunk)
        place.last_id = place.last_id if reader.last_id is None else reader.last_id
        place.retry = place.retry if reader.retry is None else reader.retry
        for event in events:
            if event.is_message:
                yield event.data
            else:
                await pace.frame()


def failure(id_: bytes, why: Stopped) -> bytes:
    """The answer to a request that a server did not answer: its reason in both languages."""
    words = f"{why.why.zh} / {why}"
    return envelope.failure(id_, Code.TOOL_SIDE_FAILED, words, {"reason": why.why.reason})
