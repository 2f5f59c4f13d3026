"""MCP of the stateless era (2026-07-28) for a broker that speaks the handshake era: pure, frames in, frames out.

There is no `initialize` there, no session and no request from the server. Each request carries who asks and in which
revision, in its `_meta` and again in HTTP headers; what changes is told on the answer to `subscriptions/listen`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import UNSET, DecodeError, Raw
from msgspec.json import decode, encode

from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.wire import envelope, mcp
from mcp_endpoint.wire.envelope import Envelope, members
from mcp_endpoint.wire.param_headers import MARK, wanted
from mcp_endpoint.wire.stateless import (
    CAPABILITIES,
    CLIENT_INFO,
    DISCOVER,
    LISTEN,
    LOG_LEVEL,
    NAMED,
    REVISION,
    SERVER_INFO,
    VERSION,
    spell,
)

LISTEN_ID = b'"listen"'
"""Never the id of a request of the broker, which are integers."""
DISCOVER_ID = b'"discover"'
MOST_SUBSCRIPTIONS = 1000
MOST_TOOLS = 1000
"""Tools with arguments in headers."""

_LISTENED = (("toolsListChanged", "tools"), ("promptsListChanged", "prompts"), ("resourcesListChanged", "resources"))


@dataclass(frozen=True)
class Post:
    """A request to be sent, and the headers that say the same as its body."""

    frame: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Stateless:
    """What is known of one server, and of the broker's side of the conversation with it."""

    def __init__(self, hello: Raw | bytes) -> None:
        """`hello` is the params of the broker's `initialize`."""
        params = members(hello) or {}
        self._asked = mcp.text(params.get("protocolVersion"))
        self._info = params.get("clientInfo", Raw(b'{"name":"mcp-endpoint","version":"0"}'))
        self._level: Raw | None = None
        self._subscribed: dict[str, None] = {}
        self._capabilities: dict[str, Raw] = {}
        self._marked: dict[str, bytes] = {}

    def discover(self) -> Post:
        """The question whether the server speaks this era at all."""
        return self._post(DISCOVER_ID, DISCOVER, {})

    def greeting(self, id_: bytes, answer: bytes) -> bytes | None:
        """The answer to `initialize` out of the one to `discover`; None if the server does not speak this era."""
        try:
            result = members(envelope.read(answer).result) or {}
            supported = decode(result["supportedVersions"], type=list[str])
        except (ValueError, KeyError, DecodeError):
            return None
        if REVISION not in supported:
            return None
        self._capabilities = members(result.get("capabilities", UNSET)) or {}
        meta = members(result.get("_meta", UNSET)) or {}
        hello: dict[str, object] = {
            "protocolVersion": self._asked if self._asked in mcp.REVISIONS else mcp.NEWEST,
            "capabilities": result.get("capabilities", Raw(b"{}")),
            "serverInfo": meta.get(SERVER_INFO, Raw(b'{"name":"","version":""}')),
        }
        if "instructions" in result:
            hello["instructions"] = result["instructions"]
        return envelope.result(id_, encode(hello))

    def outgoing(self, id_: bytes, frame: Envelope) -> Post | bytes:
        """A request of the broker as this era has it, or the answer to one that it has no more."""
        method = frame.method
        assert isinstance(method, str)
        params = members(frame.params) or {}
        match method:
            case "ping":
                return self._post(id_, DISCOVER, {})  # the cheapest question of this era that has an answer
            case "logging/setLevel":
                self._level = params.get("level")
                return envelope.result(id_, b"{}")
            case "resources/subscribe" | "resources/unsubscribe":
                uri = mcp.string(params.get("uri"))
                if uri is None or (method.endswith("/subscribe") and len(self._subscribed) >= MOST_SUBSCRIPTIONS):
                    return envelope.failure(id_, Code.INVALID_PARAMS, "no uri, or too many subscriptions")
                if method.endswith("/subscribe"):
                    self._subscribed[uri] = None
                else:
                    self._subscribed.pop(uri, None)
                return envelope.result(id_, b"{}")
        return self._post(id_, method, params)

    def _post(self, id_: bytes, method: str, params: dict[str, Raw]) -> Post:
        meta = members(params.get("_meta", UNSET)) or {}
        meta[VERSION] = Raw(encode(REVISION))
        meta[CLIENT_INFO] = self._info
        # It is asked to claim nothing: the broker could not serve a request inside a result.
        meta[CAPABILITIES] = Raw(b"{}")
        if self._level is not None:
            meta[LOG_LEVEL] = self._level
        body = encode(params | {"_meta": Raw(encode(meta))})
        headers = {"MCP-Protocol-Version": REVISION, "Mcp-Method": spell(method)}
        name = mcp.string(params.get(NAMED.get(method, "")))
        if name is not None:
            headers["Mcp-Name"] = spell(name)
            if method == "tools/call":
                headers |= wanted(self._marked.get(name, b""), params.get("arguments"))
        return Post(b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (id_, encode(method), body), headers)

    def listens(self) -> Post | None:
        """The request whose answer tells of changes; None if there is nothing that could change."""
        asked: dict[str, object] = {name: True for name, _ in self._changing()}
        if self._subscribed:
            asked["resourceSubscriptions"] = list(self._subscribed)
        if not asked:
            return None
        return self._post(LISTEN_ID, LISTEN, {"notifications": Raw(encode(asked))})

    def missed(self) -> list[bytes]:
        """What to tell after a gap in listening: anything may have changed meanwhile."""
        return [envelope.notification(f"notifications/{capability}/list_changed") for _, capability in self._changing()]

    def _changing(self) -> Iterator[tuple[str, str]]:
        for name, capability in _LISTENED:
            offered = members(self._capabilities.get(capability, UNSET)) or {}
            if bytes(offered.get("listChanged", b"")) == b"true":
                yield name, capability

    def incoming(self, frame: bytes, method: str) -> bytes:
        """An answer to a request with this method, or a notification, as the handshake era has it."""
        try:
            answer = envelope.read(frame)
        except ValueError:
            return frame
        result = members(answer.result)
        if result is None:
            return frame
        if method == "ping":
            return envelope.result(_id(answer), b"{}")
        if method == "tools/list":
            self._learn(result.get("tools"))
        kind = mcp.string(result.pop("resultType", None))
        if kind == "input_required":
            text = "It asks for input in the middle of a request, which cannot be passed on."
            return envelope.failure(_id(answer), Code.TOOL_SIDE_FAILED, text)
        return frame if kind is None else envelope.result(_id(answer), encode(result))

    def _learn(self, tools: Raw | None) -> None:
        """Keep which arguments of which tools go into headers."""
        try:
            definitions = decode(tools or b"[]", type=list[Raw])
        except DecodeError:
            return
        for definition in definitions:
            marked = MARK.encode() in bytes(definition)
            if not marked and not self._marked:
                continue
            name = mcp.string((members(definition) or {}).get("name"))
            if name is not None:
                self._marked.pop(name, None)
                if marked and len(self._marked) < MOST_TOOLS:
                    self._marked[name] = bytes(definition)


def _id(answer: Envelope) -> bytes:
    return bytes(answer.id) if isinstance(answer.id, Raw) else envelope.NULL_ID
