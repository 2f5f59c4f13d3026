"""What an HTTP answer means: frames, a lost session, a refusal. Shared by the HTTP kinds of sources."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from msgspec import UNSET, DecodeError, Raw
from msgspec.json import decode

from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.net.event_reader import EVENT_LIMIT, RETRY, EventReader
from mcp_endpoint.net.http_answer import HttpAnswer
from mcp_endpoint.net.http_client import body_chunks, error_body, read_body
from mcp_endpoint.providers.net_errors import as_stopped
from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.source_output import Pacer
from mcp_endpoint.wire import envelope, mcp
from mcp_endpoint.wire.repair.answers import repaired

JSON, EVENTS = "application/json", "text/event-stream"
MOST_IN_BATCH = 1000
_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(?:event|data|id|retry)?:")
_SESSION = re.compile(r"session|会话", re.IGNORECASE)
_NOT_GREETED = re.compile(r"not (?:been )?initiali[sz]ed|before initiali[sz]|uninitiali[sz]ed|未初始化", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"not found|unknown|invalid|expired?|terminated|not exist|n't exist|no longer|no (?:valid|active|such)|missing"
    r"|required|closed|not recogni[sz]ed|(?:could not|cannot|can't) find|gone|stale|timed? ?out"
    r"|不存在|过期|失效|无效|未找到",
    re.IGNORECASE,
)
_ANSWERED = (-32601, -32602)
"""Codes of errors that are about the request itself, whatever the status."""


class Refusal(Stopped):
    """An answer that refuses a request: with `status`, and perhaps as a JSON-RPC error, which is `answer`.

    With SESSION_LOST it was not done, whatever it was, unless `status` is one of a broken server.
    """

    def __init__(self, why: StopReason, detail: str, status: int, answer: bytes | None = None) -> None:
        super().__init__(why, detail)
        self.status = status
        self.answer = answer


def media_type(response: httpx.Response) -> str:
    """The kind of an answer's body, in lower case."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def refused(
    response: httpx.Response, id_: bytes | None, *, greeted: bool, has_state: bool = False, named: bool = False
) -> bytes:
    """What an answer with status 300 or more says: a JSON-RPC error for the request with this id, or it raises.

    `greeted` says that the server has let us in before, `has_state` that there is a session to be lost, and `named`
    that it has an id. Raises Refusal: UNAUTHORIZED, SESSION_LOST or HTTP_STATUS.
    """
    status = response.status_code
    body = await error_body(response)
    said = HttpAnswer.of(status, response.headers, body)
    told = quote_peer(said.told())
    answer, code = _error_of(body, id_ or envelope.NULL_ID)
    if has_state and _is_lost(status, said.own_words, code, named=named):
        raise Refusal(StopReason.SESSION_LOST, told, status, answer)
    if status == 401 or (status == 403 and not greeted):
        raise Refusal(StopReason.UNAUTHORIZED, told, status, answer)
    if id_ is None or answer is None or status < 400:
        raise Refusal(StopReason.HTTP_STATUS, told, status, answer)
    return answer


def _is_lost(status: int, words: str, code: int | None, *, named: bool) -> bool:
    """Whether an answer says that there is no such session: programs have many ways to say so."""
    if status >= 500:
        return session_is_unknown(words)
    if _SESSION.search(words) or _NOT_GREETED.search(words):
        return status >= 400
    return named and status in (404, 410) and code not in _ANSWERED


def session_is_unknown(words: str) -> bool:
    """Whether an error's words can only mean that the session is not known, or was never begun."""
    return bool(_NOT_GREETED.search(words) or (_SESSION.search(words) and _UNKNOWN.search(words)))


def _error_of(body: bytes, id_: bytes) -> tuple[bytes | None, int | None]:
    """The JSON-RPC error in the body of an error, as the answer to a request with this id, and its code."""
    for one in _frames(body):
        try:
            head = envelope.read(one)
        except ValueError:
            continue
        members = envelope.members(head.error) or {}
        code = bytes(members.get("code", b""))
        if mcp.string(members.get("message")) is None or not re.fullmatch(rb"-?\d{1,9}", code):
            continue
        if head.jsonrpc or code.startswith(b"-"):
            assert isinstance(head.error, Raw)
            return envelope.error(id_, head.error), int(code)
    return None, None


def answer_to(frame: bytes, id_: bytes, *, has_state: bool) -> bytes | None:
    """A frame as the answer to the request with this id; None if it is none.

    An error without an id, on the answer to a request, is the answer: whose else. Raises Refusal (SESSION_LOST) where
    it says that the session is unknown.
    """
    try:
        head = envelope.read(frame)
    except ValueError:
        answers = (answer_to(one, id_, has_state=has_state) for one in repaired(frame))
        return next((one for one in answers if one is not None), None)
    if head.method is not UNSET:
        return None
    spelled = bytes(head.id) if isinstance(head.id, Raw) else envelope.NULL_ID
    if isinstance(head.error, Raw):
        if spelled == envelope.NULL_ID:
            frame, spelled = envelope.error(id_, head.error), id_
        message = mcp.string((envelope.members(head.error) or {}).get("message")) or ""
        if has_state and session_is_unknown(message):
            raise Refusal(StopReason.SESSION_LOST, quote_peer(message), 200, frame)
    same = envelope.id_key(spelled) == envelope.id_key(id_) or spelled in (b'"%b"' % id_, id_ + b".0")
    return frame if same else None


async def frames_in(response: httpx.Response, most: int, within: float) -> list[bytes]:
    """The frames in the body of an answer that is no stream of events, or does not say that it is one.

    Raises Stopped: NOT_MCP where it is something else, FRAME_TOO_LONG, CONNECTION_LOST.
    """
    with as_stopped():
        body = await read_body(response, most, within)
    answer = HttpAnswer.of(response.status_code, response.headers, body)
    if answer.charset.lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        body = answer.text.encode()
    frames = _frames(body)
    if not frames and response.status_code not in (202, 204) and body.strip():
        kind = answer.media_type or "no content type"
        title = answer.own_words if "html" in answer.media_type else ""
        raise Stopped(
            StopReason.NOT_MCP, quote_peer(f"HTTP {response.status_code}, {kind}{': ' if title else ''}{title}")
        )
    return frames


def _frames(body: bytes) -> list[bytes]:
    """The frames of a body by the look of it, which is more often right than its header: JSON, a batch, events."""
    body = body.removeprefix(_BOM).strip()
    if body[:1] == b"{":
        if b"\n" not in body or _is_one(body):
            return [body]
        lines = body.split(b"\n")[:MOST_IN_BATCH]
        return lines if _is_one(lines[0]) else repaired(body) or lines
    if body[:1] == b"[":  # a batch (2025-03-26)
        try:
            return [bytes(frame) for frame in decode(body, type=list[Raw])][:MOST_IN_BATCH]
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return repaired(body)
    if _FIELD.match(body):
        events = EventReader(len(body) + 2).feed(body + b"\n\n")
        return [event.data for event in events if event.is_message][:MOST_IN_BATCH]
    return []


def _is_one(body: bytes) -> bool:
    """Whether a body is one value, and not one a line."""
    try:
        decode(body, type=Raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


@dataclass
class StreamPosition:
    """Where in a stream of events we are: what is sent to go on behind it."""

    last_id: str | None = None
    retry: float = RETRY
    """Seconds to wait before it is opened again."""


async def messages(
    response: httpx.Response, position: StreamPosition, pacer: Pacer, limit: int = EVENT_LIMIT
) -> AsyncIterator[bytes]:
    """The frames of a stream of events, until it ends; `position` goes along, `pacer` is for all of a server.

    Raises Stopped: FRAME_TOO_LONG, or CONNECTION_LOST if it is cut off.
    """
    reader, begun = EventReader(limit), False
    chunks = body_chunks(response)
    with as_stopped():
        async for chunk in chunks:
            if not begun and chunk.lstrip()[:1] in (b"{", b"["):  # JSON that is called a stream of events
                for frame in _frames(await _rest(chunk, chunks, limit)):
                    yield frame
                return
            begun = begun or bool(chunk.strip())
            events = reader.feed(chunk)
            position.last_id = position.last_id if reader.last_id is None else reader.last_id
            position.retry = position.retry if reader.retry is None else reader.retry
            for event in events:
                if event.is_message:
                    yield event.data
                else:
                    await pacer.frame()
    last = reader.rest()
    if last is not None and last.is_message:
        try:
            envelope.read(last.data)
        except ValueError:
            return  # cut off in its middle
        yield last.data


async def _rest(body: bytes, chunks: AsyncIterator[bytes], limit: int) -> bytes:
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise Stopped(StopReason.FRAME_TOO_LONG, f"a body over {limit} bytes")
    return body


def failure(id_: bytes, why: Stopped) -> bytes:
    """The answer to a request that a server did not answer: its reason in both languages."""
    return envelope.failure(id_, Code.TOOL_SIDE_FAILED, " / ".join(why.sentences()), {"reason": why.why.reason})
