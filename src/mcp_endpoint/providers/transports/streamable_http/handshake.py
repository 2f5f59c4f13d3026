"""MCP's handshake with a server over Streamable HTTP: the first one, and the one that makes a lost session anew."""

import contextlib
import re
from collections.abc import Sequence

from msgspec import UNSET, DecodeError, Raw
from msgspec.json import decode, encode

from mcp_endpoint.language import Bilingual
from mcp_endpoint.logs.redaction import quote_peer
from mcp_endpoint.providers.source import Stopped, StopReason
from mcp_endpoint.providers.transports.http_answers import Refusal
from mcp_endpoint.providers.transports.stateless import Stateless
from mcp_endpoint.providers.transports.streamable_http.session import Session
from mcp_endpoint.wire import envelope, mcp
from mcp_endpoint.wire.envelope import Envelope, members

MOST_KEPT = 1000
"""Requests that are made again in a new session."""
_REVISION = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_PERHAPS_OLDER = Bilingual(
    '请检查 url 的路径；若对方使用较旧的 HTTP+SSE，请写 "type": "sse"',
    'check the path of its url; if it speaks the older HTTP+SSE, write "type": "sse"',
)
_ITS_OWN_WORDS = Bilingual(
    "括号中是对方的说明；若与协议无关，请检查 headers 和对方的配置",
    "its own words are in brackets; where they are not about MCP, check headers, and the settings of the server",
)
_KEPT = {"logging/setLevel": "level", "resources/subscribe": "uri", "resources/unsubscribe": "uri"}


class Handshake:
    """What was said when the server was greeted, to say it again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._id = b""
        self._hello = b""
        self._welcome: object = None
        self._capabilities: dict[str, Raw] = {}
        self._kept: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    async def greet(self, id_: bytes, head: Envelope, frame: bytes) -> tuple[Sequence[bytes], Stateless | None]:
        """Greet the server; where it refuses, in another revision, then as one of the stateless era.

        Returns what it said, its answer last, and how to speak to it if it is of that era. Raises Stopped.
        """
        self._id, self._hello = id_, frame
        try:
            answers = await self._asked()
        except Stopped as why:
            if why.why not in (StopReason.HTTP_STATUS, StopReason.NOT_MCP):
                raise
            refusal = why
        else:
            return answers, None
        older = _in_another_revision(head, refusal)
        if older is not None:
            self._hello = older
            with contextlib.suppress(Stopped):
                return await self._asked(), None
        stateless = Stateless(head.params if isinstance(head.params, Raw) else b"{}")
        greeting = await self._discovered(id_, stateless)
        if greeting is None:
            raise _with_hint(refusal)
        return [greeting], stateless

    async def again(self) -> list[bytes]:
        """Make a new session like the lost one; what the broker is to be told then.

        Raises Stopped: SESSION_LOST where the server says other things of itself than before, or why it refused.
        """
        welcome = self._welcome
        self._session.forget()
        await self._asked()
        if self._welcome != welcome:
            raise Stopped(StopReason.SESSION_LOST, "and it greets otherwise than before")
        with contextlib.suppress(Refusal):
            await self._session.tell(envelope.notification(mcp.INITIALIZED), repeatable=True)
        for id_, frame in self._kept.values():
            with contextlib.suppress(Stopped):
                await self._session.ask(id_, frame, lambda answer: None, repeatable=True)
        changed = dict.fromkeys(kind.changed for kind in mcp.Kind if kind.capability in self._capabilities)
        return [envelope.notification(name) for name in changed]

    def keep(self, id_: bytes, head: Envelope, frame: bytes) -> None:
        """Remember a request that the session will have to be told again."""
        method = str(head.method)
        if method in _KEPT:
            value = mcp.string((members(head.params) or {}).get(_KEPT[method])) or ""
            key = ("resources", value) if method.startswith("resources/") else (method, "")
            self._kept.pop(key, None)
            if method != "resources/unsubscribe" and len(self._kept) < MOST_KEPT:
                self._kept[key] = id_, frame

    async def _asked(self) -> list[bytes]:
        """Ask, and take the revision out of the answer; it stands in a header of all that follows."""
        answers: list[bytes] = []
        if not await self._session.ask(self._id, self._hello, answers.append, repeatable=True):
            raise Stopped(StopReason.NOT_MCP, "it accepted initialize without an answer")
        answer = envelope.read(answers[-1])
        result = members(answer.result)
        if result is None:
            error = bytes(answer.error).decode(errors="replace") if isinstance(answer.error, Raw) else ""
            raise Stopped(StopReason.NOT_MCP, quote_peer(f"it refused initialize: {error}"), _ITS_OWN_WORDS)
        version = mcp.text(result.get("protocolVersion"))
        if version in mcp.REVISIONS:
            self._session.speak(version)
        self._capabilities = members(result.get("capabilities", UNSET)) or {}
        try:
            self._welcome = version, decode(result.get("capabilities", b"{}"))
        except (DecodeError, UnicodeDecodeError, RecursionError):
            self._welcome = version
        self._session.greeted = True
        return answers

    async def _discovered(self, id_: bytes, stateless: Stateless) -> bytes | None:
        """The answer to `initialize` if the server speaks the stateless era."""
        question = stateless.discover()
        answers: list[bytes] = []
        try:
            await self._session.ask(b'"discover"', question.frame, answers.append, question.headers, repeatable=True)
        except Stopped:
            return None
        greeting = stateless.greeting(id_, answers[-1]) if answers else None
        if greeting is not None:
            self._session.forget()
            self._session.stateless = True
        return greeting


def _in_another_revision(head: Envelope, refusal: Stopped) -> bytes | None:
    """`initialize` in a revision that a refusal offers, where it is about that."""
    answer = refusal.answer if isinstance(refusal, Refusal) else None
    words = refusal.detail + (answer or b"").decode(errors="replace")
    params = members(head.params)
    if params is None or "version" not in words.lower():
        return None
    asked = mcp.text(params.get("protocolVersion"))
    offered = {one for one in _REVISION.findall(words) if one in mcp.REVISIONS} - {asked}
    version = max(offered, default=mcp.REVISIONS[1])
    if version == asked:
        return None
    params["protocolVersion"] = Raw(encode(version))
    assert isinstance(head.id, Raw)
    return b'{"jsonrpc":"2.0","id":%b,"method":"initialize","params":%b}' % (bytes(head.id), encode(params))


def _with_hint(refusal: Stopped) -> Stopped:
    """A page that is not there, or wants a GET, may be a server of the older transport."""
    if isinstance(refusal, Refusal) and refusal.status in (404, 405):
        return Stopped(refusal.why, refusal.cause, _PERHAPS_OLDER)
    return refusal
