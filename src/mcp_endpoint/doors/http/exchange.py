"""One HTTP request to a door for MCP clients, and its answer: what every such door needs of ASGI, and no more.

The doors are plain ASGI: between a request and the broker stands one task, no framework. An answer that refuses a
request is a JSON-RPC error with a typed reason, as the specification lets it be, beside the HTTP status.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from mcp_endpoint.doors.connection import Connection
from mcp_endpoint.doors.limits.addresses import ClientAddress
from mcp_endpoint.doors.port_state import PortState
from mcp_endpoint.errors.close_codes import End
from mcp_endpoint.errors.http_status import ADVICE, HTTP_STATUS
from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.wire import envelope as wire

Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
NOT_STORED: Header = (b"cache-control", b"no-store")
NO_FACTS: Mapping[str, object] = {}
UNREAD_PATIENCE = 1.0
"""Seconds a peer that is refused may go on sending: a close with unread input would reset the connection, and it would
never see the answer."""


class Exchange:
    """One request and the answer to it. Headers that come twice count as one, joined as HTTP has it."""

    __slots__ = (
        "_id",
        "_receive",
        "_send",
        "_whole",
        "address",
        "connection",
        "cors",
        "headers",
        "method",
        "parameters",
        "path",
        "port_state",
        "query",
        "repeated",
    )

    def __init__(self, port_state: PortState, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._whole = False
        self._id = wire.NULL_ID
        self.port_state = port_state
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        connection: Connection | None = scope["state"]["connection"]()
        assert connection is not None, "its transport has it"
        self.connection = connection
        """The TCP connection, which has a peer and may be cut off."""
        self.headers: dict[str, str] = {}
        """Names in lower case."""
        self.repeated: set[str] = set()
        """Names that came more than once."""
        for raw, value in scope["headers"]:
            name, text = raw.decode("latin-1"), value.decode("latin-1").strip(" \t")
            if name in self.headers:
                self.repeated.add(name)
            self.headers[name] = f"{self.headers[name]}, {text}" if name in self.headers else text
        self.parameters: list[tuple[str, str]] = parse_qsl(scope["query_string"].decode("latin-1"))
        self.query: dict[str, str] = dict(self.parameters)
        self.cors: tuple[Header, ...] = ()
        """What lets a page of an allowed origin read the answer."""
        self.address: ClientAddress = self.connection.address
        if self.address.proxy:
            self.address = port_state.admission.behind(self.address, scope["headers"])

    # --- in ---

    def single(self, name: str) -> str | None:
        """The value of a header that has one; None if it is missing or empty. The same one twice is one."""
        value = self.headers.get(name, "")
        if "," in value:  # several lines, or joined by a proxy
            different = {part.strip() for part in value.split(",")} - {""}
            value = different.pop() if len(different) == 1 else value
        return value or None

    async def piece(self) -> bytes | None:
        """The next piece of the body; None at its end, or if the peer is gone (see `gone`)."""
        if self._whole:
            return None
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._whole = True
            return None
        self._whole = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def gone(self) -> None:
        """Return once the peer has left, or the answer is complete; the body has to be read before."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    def about(self, id_: bytes) -> None:
        """Errors from here on are answers to the request with this id, spelled as it came."""
        self._id = id_

    # --- out ---

    async def start(self, status: int, headers: Iterable[Header] = ()) -> None:
        """Begin the answer."""
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.cors]})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        """The next piece of the answer; waits while the peer does not read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def reply(self, status: int, body: bytes = b"", headers: Iterable[Header] = ()) -> None:
        """The whole answer: JSON if it has a body. A peer that is still sending hears it before it is closed."""
        length = () if status == HTTPStatus.NO_CONTENT else ((b"content-length", b"%d" % len(body)),)
        kind = (JSON_TYPE, NOT_STORED) if body else ()
        empty = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers
        if self._whole or empty:
            await self.start(status, (*length, *kind, *headers))
            await self.body(body)
            return
        await self.start(status, (*length, *kind, *headers, (b"connection", b"close")))
        await self.body(body, more=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNREAD_PATIENCE):
                while await self.piece() is not None:
                    continue
        await self.body(b"")

    async def refuse(
        self,
        why: Refusal | End,
        headers: Iterable[Header] = (),
        *,
        log: bool = False,
        details: Bilingual | None = None,
        facts: Mapping[str, object] = NO_FACTS,
    ) -> None:
        """Answer with a typed error (see `failure`); `log` has it counted for its address and told to the log."""
        if log:
            self.port_state.admission.refuse(self.address, why, "request")
        status = why.status if isinstance(why, Refusal) else HTTP_STATUS.get(why, 404)
        await self.reply(
            status, failure(why, self.port_state.settings.broker.language, self._id, details, facts), headers
        )


def failure(
    why: Refusal | End,
    language: str,
    id_: bytes = wire.NULL_ID,
    details: Bilingual | None = None,
    facts: Mapping[str, object] = NO_FACTS,
) -> bytes:
    """The JSON-RPC error that tells a client why it was refused.

    Its message is in both languages: it is shown to whoever sets the client up, before anything is. `data.details` is
    in `language`, as those of all other errors are; it says what exactly is wrong if the caller knows more than the
    table. `facts` are more members of the data.
    """
    code = why.code if isinstance(why, Refusal) else Code.NOT_ALLOWED
    advice = ADVICE.get(why, Bilingual("", ""))
    told = Bilingual(why.zh + advice.zh, why.en + advice.en)
    data: dict[str, object] = {"reason": why.reason, "details": (details or told).to(language)}
    return wire.failure(id_, int(code), f"{told.en} / {told.zh}", {**data, **facts})
