"""The body of a POST to a door for MCP clients: read within limits, and its JSON-RPC messages."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import UNSET, DecodeError, Raw
from msgspec.json import Decoder

from mcp_endpoint.broker.work_budget import LARGE, expected
from mcp_endpoint.doors.http.exchange import NO_FACTS, Exchange, Header
from mcp_endpoint.doors.http.media import Accepted, accepted, is_json
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.repair.frames import BLANK, Flaw
from mcp_endpoint.wire.repair.requests import read_request

MAX_BATCH = 100
"""Messages of one batch: far more than the few requests at a session's start that batches are used for."""
BEFORE_TEXT = BLANK + b"\xef\xbb\xbf\xff\xfe"
"""Bytes that may stand before a text, those of byte order marks among them."""

_batch = Decoder(list[Raw])


class Refused(Exception):
    """A request that cannot be taken, and why."""

    def __init__(
        self,
        why: Refusal | End,
        id_: bytes = wire.NULL_ID,
        headers: tuple[Header, ...] = (),
        details: Bilingual | None = None,
        facts: Mapping[str, object] = NO_FACTS,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.id = id_
        """The id of the request that is refused; null if it has none that is known."""
        self.headers = headers
        self.details = details
        """What exactly is wrong, where more is known than the reason."""
        self.facts = facts
        """More members of the error's data."""


class Message:
    """One JSON-RPC message of a body: its bytes, and as much of it as a door needs."""

    __slots__ = ("envelope", "frame", "key")

    def __init__(self, frame: bytes) -> None:
        try:
            self.envelope = envelope = wire.read(frame)
        except wire.NotJson:
            [frame] = repaired(frame)[:1]
            self.envelope = envelope = wire.read(frame)
        except wire.NotAnEnvelope as error:
            raise Refused(Refusal.NOT_ONE_MESSAGE, error.id) from None
        self.frame = frame
        self.key: bytes | None = None
        """The key of a request's id; None for a notification or an answer."""
        if envelope.method is UNSET:
            if envelope.result is UNSET and envelope.error is UNSET:
                raise Refused(Refusal.NOT_ONE_MESSAGE)
        elif envelope.id is not UNSET:
            self.key = wire.id_key(envelope.id)
            if self.key is None:
                raise Refused(Refusal.NOT_ONE_MESSAGE)
        if envelope.jsonrpc != "2.0":
            raise Refused(Refusal.NOT_ONE_MESSAGE, self.id)

    @property
    def id(self) -> bytes:
        """A request's id as it was spelled; null for anything else."""
        return wire.NULL_ID if self.key is None or self.envelope.id is UNSET else bytes(self.envelope.id)


def repaired(body: bytes) -> tuple[bytes, ...]:
    """The messages that a body can only mean which is not JSON in UTF-8. Raises Refused, for the request that it is."""
    reading = read_request(body)
    if reading.frames and Flaw.SEVERAL not in reading.flaws:
        return reading.frames
    if reading.lost is None:
        raise Refused(Refusal.BODY_NOT_JSON)
    flaw = reading.lost.flaw
    details = Bilingual(f"请求体无法读取：{flaw.zh}", f"the body cannot be read: {flaw.en}")
    raise Refused(Refusal.BODY_NOT_JSON, reading.lost.id, details=details)


class Post(NamedTuple):
    """A POST to a door: its messages, and what its client takes as an answer."""

    messages: list[Message]
    is_batch: bool
    takes: Accepted


def accepted_by(exchange: Exchange) -> Accepted:
    """What the client takes as an answer. Raises Refused if that is neither JSON nor a stream of events."""
    takes = accepted(exchange.headers.get("accept"))
    if not (takes.json or takes.events):
        raise Refused(Refusal.NOT_ACCEPTABLE)
    return takes


def check_type(exchange: Exchange) -> None:
    """Refuse a body that says it is no JSON, or is compressed.

    One that does not say what it is may be JSON, but not from a page in a browser: a page can send neither JSON nor
    anything unknown without asking first, only text, forms and bodies without a type (Fetch, 2.2.2).
    """
    headers = exchange.headers
    if headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise Refused(Refusal.BODY_ENCODED, headers=((b"accept-encoding", b"identity"),))
    if not (is_json(headers["content-type"]) if headers.get("content-type") else "origin" not in headers):
        raise Refused(Refusal.NOT_JSON_TYPE)


async def read_post(exchange: Exchange, agent_id: str) -> Post:
    """A whole POST. Raises Refused."""
    takes = accepted_by(exchange)
    check_type(exchange)
    return Post(*parse(await read_body(exchange, agent_id), batches=True), takes)


async def read_body(exchange: Exchange, agent_id: str) -> bytes:
    """The whole body, as long as it is and comes within the limits. Raises Refused.

    It counts among the agent's half-received messages while it comes, as one at a WebSocket does.
    """
    port_state = exchange.port_state
    limits = port_state.settings.websocket
    length = exchange.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.max_message_size:
        raise Refused(Refusal.BODY_TOO_BIG)
    share, counted, paid = port_state.fairness.join(agent_id), 0, 0.0
    body = bytearray()
    try:
        async with asyncio.timeout(limits.message_timeout):
            while (piece := await exchange.piece()) is not None:
                body += piece
                counted += len(piece)
                share.unfinished += len(piece)
                if counted > limits.max_message_size:
                    raise Refused(Refusal.BODY_TOO_BIG)
                if share.unfinished > max(limits.max_unfinished, limits.max_message_size):
                    raise Refused(End.TOO_MUCH_UNFINISHED)
                if counted >= LARGE and not paid:
                    paid = expected(int(length) if length.isdigit() else counted)
                    await port_state.fairness.rested(share, paid)
    except TimeoutError:
        raise Refused(Refusal.BODY_TIMEOUT) from None
    finally:
        share.unfinished -= counted
        share.charge(expected(counted) - paid, port_state.loop.time())  # of one that did not say how long it is
        port_state.fairness.leave(agent_id)
    return bytes(body)


def parse(body: bytes, *, batches: bool = False) -> tuple[list[Message], bool]:
    """The messages of a body, and whether it was a batch, which only `batches` lets it be. Raises Refused."""
    parts: tuple[bytes, ...] = (body,)
    is_batch = batches and body.lstrip(BEFORE_TEXT)[:1] == b"["
    try:
        if not body.isascii():
            str(body, "utf-8")
        if is_batch:
            parts = tuple(map(bytes, _batch.decode(body)))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        parts = repaired(body)
    if not 0 < len(parts) <= (MAX_BATCH if is_batch else 1):
        raise Refused(Refusal.NOT_ONE_MESSAGE)
    messages = [Message(part) for part in parts]
    keys = [message.key for message in messages if message.key is not None]
    if len(set(keys)) < len(keys):
        raise Refused(Refusal.ID_IN_USE)
    return messages, is_batch
