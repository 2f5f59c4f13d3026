"""The stateless era (2026-07-28): the envelope that each request carries, and headers that must agree with its body.

Pure rules (specification 2026-07-28, "General fields", "Request Metadata", "Caching", "Subscriptions"). They
are the broker's own, not `mcp.shared.inbound`'s, so that it runs without the SDK; a test holds the two together.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Set
from typing import NamedTuple

from msgspec import DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder, encode

from mcp_endpoint.errors.json_rpc import Code
from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.language import Bilingual
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.mcp import LEVELS, LISTED, REVISIONS, Kind, string

REVISION = "2026-07-28"
SUPPORTED = (REVISION, *reversed(REVISIONS))
"""What a client is told that is spoken here: one that knows no stateless revision of these may still shake hands."""

VERSION_HEADER, METHOD_HEADER, NAME_HEADER = "mcp-protocol-version", "mcp-method", "mcp-name"
_PREFIX = "io.modelcontextprotocol/"
VERSION, CLIENT_INFO = _PREFIX + "protocolVersion", _PREFIX + "clientInfo"
CAPABILITIES, LOG_LEVEL = _PREFIX + "clientCapabilities", _PREFIX + "logLevel"
ENVELOPE = frozenset({VERSION, CLIENT_INFO, CAPABILITIES, LOG_LEVEL})
"""Members of a request's `_meta` that mean nothing to a tool side of the handshake era."""
SERVER_INFO, SUBSCRIPTION_ID = _PREFIX + "serverInfo", _PREFIX + "subscriptionId"

DISCOVER, LISTEN, READ = "server/discover", "subscriptions/listen", "resources/read"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
REMOVED = frozenset({"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""Methods of the handshake era that this one does without."""
NAMED = {"tools/call": "name", "prompts/get": "name", READ: "uri"}
"""Which member of the params is repeated in `Mcp-Name`."""
CACHEABLE = frozenset({*LISTED, READ, DISCOVER})
"""Whose results say for how long they may be kept, and by whom."""
STATE, RESPONSES = "requestState", "inputResponses"
"""Members of a request's params when it is made again because its result asked for something."""
NO_RESOURCE = -32002
"""What up to 2025-11-25 said that there is no such resource."""
TTL_MS = 0
"""Milliseconds for which lists may be kept: tool sides come and go at any moment, and a list costs next to nothing."""

NONE: Set[str] = frozenset()

_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")
_PLAIN = re.compile(r"(?! )[\x20-\x7e]*(?<! )")
_FIELD_VALUE = re.compile(r"[\x20-\x7e\t]*")


class RequestMeta(NamedTuple):
    """What the envelope of a request says."""

    client_info: Raw | None
    capabilities: Raw
    log_level: str | None


class Filter(Struct):
    """Which changes a client wants to hear of."""

    tools: bool = field(name="toolsListChanged", default=False)
    prompts: bool = field(name="promptsListChanged", default=False)
    resources: bool = field(name="resourcesListChanged", default=False)
    uris: list[str] = field(name="resourceSubscriptions", default_factory=list)

    @property
    def methods(self) -> frozenset[str]:
        """The notifications about lists that it lets through."""
        asked = {Kind.TOOLS: self.tools, Kind.PROMPTS: self.prompts, Kind.RESOURCES: self.resources}
        return frozenset(kind.changed for kind, wanted in asked.items() if wanted)

    def honoured(self, uris: list[str]) -> bytes:
        """The filter as it is acknowledged: what was not asked for is left out."""
        flags = {"toolsListChanged": self.tools, "promptsListChanged": self.prompts}
        flags["resourcesListChanged"] = self.resources
        asked: dict[str, object] = {name: True for name, wanted in flags.items() if wanted}
        return encode(asked | ({"resourceSubscriptions": uris} if uris else {}))


class InvalidRequest(Exception):
    """A request that does not fit the rules: which reason of the table, and what exactly is wrong in both languages."""

    def __init__(self, why: Refusal, zh: str, en: str, **data: object) -> None:
        super().__init__(en)
        self.why = why
        self.details = Bilingual(zh, en)
        self.data = data


def has_envelope(params: Raw | UnsetType) -> bool:
    """Whether a request is of this era by its body: the member with the version is in no older one's `_meta`."""
    return b"protocolVersion" in (b"" if isinstance(params, UnsetType) else bytes(params)) and VERSION in _meta(params)


def _meta(params: Raw | UnsetType) -> dict[str, Raw]:
    members = wire.members(params) or {}
    return (wire.members(members["_meta"]) if "_meta" in members else None) or {}


def unsupported(requested: str) -> InvalidRequest | None:
    """Why a version cannot be spoken without a handshake; None if it can."""
    if requested == REVISION:
        return None
    return InvalidRequest(
        Refusal.UNSUPPORTED_VERSION,
        f"本服务支持的无状态版本是 {REVISION}",
        f"the stateless revision spoken here is {REVISION}",
        supported=list(SUPPORTED),
        requested=requested[:100],
    )


def repeated_header(name: str) -> InvalidRequest:
    """Two readers of the request might take different ones."""
    return InvalidRequest(
        Refusal.HEADER_MISMATCH, f"请求头 {name} 出现了多次", f"the header {name} came more than once"
    )


def other_header(name: str, zh: str, en: str) -> InvalidRequest:
    """A header does not say what the place in the body does that it repeats."""
    return InvalidRequest(Refusal.HEADER_MISMATCH, f"请求头 {name} 与{zh}不一致", f"the header {name} is not {en}")


def check(method: str, params: Raw | UnsetType, headers: Mapping[str, str], repeated: Set[str] = NONE) -> RequestMeta:
    """Read the envelope of a request and hold its headers against its body. Raises InvalidRequest.

    `headers` by lower-case name, `repeated` those that came more than once.
    """
    for name in (VERSION_HEADER, METHOD_HEADER, NAME_HEADER):
        if name in repeated:
            raise repeated_header(name)
    members, meta = wire.members(params) or {}, _meta(params)
    missing = [name for name in (VERSION, CAPABILITIES) if name not in meta]
    if missing:
        zh, en = f"params._meta 缺少 {'、'.join(missing)}", f"params._meta has no {' and no '.join(missing)}"
        raise InvalidRequest(Refusal.NO_ENVELOPE, zh, en)
    version = string(meta[VERSION])
    if version is None or headers.get(VERSION_HEADER) != version:
        raise other_header(VERSION_HEADER, " params._meta 中的版本", "the version in params._meta")
    if headers.get(METHOD_HEADER) != method:
        raise other_header(METHOD_HEADER, "请求体的 method ", "the method of the body")
    named = NAMED.get(method)
    if named is not None and members.get(named, wire.NULL) != wire.NULL:
        value = string(members[named])
        if value is None or decode(headers.get(NAME_HEADER)) != value:
            raise other_header(NAME_HEADER, f" params.{named} ", f"params.{named}")
    wrong = unsupported(version)
    if wrong is not None:
        raise wrong
    return _request_meta(meta)


def _request_meta(meta: dict[str, Raw]) -> RequestMeta:
    if wire.members(meta[CAPABILITIES]) is None:
        raise InvalidRequest(Refusal.NO_ENVELOPE, f"{CAPABILITIES} 须为对象", f"{CAPABILITIES} must be an object")
    level = None
    if meta.get(LOG_LEVEL, wire.NULL) != wire.NULL:
        level = string(meta[LOG_LEVEL])
        if level not in LEVELS:
            levels = ", ".join(LEVELS)
            raise InvalidRequest(
                Refusal.NO_ENVELOPE, f"{LOG_LEVEL} 须为 {levels} 之一", f"{LOG_LEVEL} must be one of {levels}"
            )
    return RequestMeta(meta.get(CLIENT_INFO), meta[CAPABILITIES], level)


def decode(value: str | None) -> str | None:
    """What a header's value stands for, out of its base64 form if it is in that; None if it is malformed or missing."""
    if value is None or not _FIELD_VALUE.fullmatch(value):
        return None
    sentinel = _SENTINEL.fullmatch(value)
    if sentinel is None:
        return value
    try:
        data = base64.b64decode(sentinel[1], validate=True)
        # One spelling per value: a reader that decodes strictly and one that does not must not differ.
        return str(data, "utf-8") if base64.b64encode(data).decode() == sentinel[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def spell(text: str) -> str:
    """A header's value for any text: the text itself where it is plain, else its base64 form."""
    if _PLAIN.fullmatch(text) and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


_filter = Decoder(Filter)


def read_filter(params: Raw | UnsetType, limit: int) -> Filter:
    """What `subscriptions/listen` asks for, of `limit` resources at most. Raises InvalidRequest."""
    members = wire.members(params) or {}
    try:
        asked = _filter.decode(members.get("notifications", wire.NULL))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(
            Refusal.BAD_FILTER,
            "params.notifications 须为对象，其中有若干开关和一个 URI 列表",
            "params.notifications must be an object of flags and a list of URIs",
        ) from None
    asked.uris = list(dict.fromkeys(asked.uris))
    if len(asked.uris) > limit:
        zh, en = f"一个流最多订阅 {limit} 个资源", f"a stream may be subscribed to {limit} resources"
        raise InvalidRequest(Refusal.BAD_FILTER, zh, en)
    return asked


# --- towards the tool side, and back ---


def without_envelope(id_: bytes, method: str, params: Raw | UnsetType) -> bytes:
    """The same request as one of the handshake era."""
    members = wire.members(params) or {}
    for name in (STATE, RESPONSES):
        members.pop(name, None)
    meta = {name: value for name, value in _meta(params).items() if name not in ENVELOPE}
    if meta:
        members["_meta"] = Raw(encode(meta))
    else:
        members.pop("_meta", None)
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (id_, encode(method), encode(members))


def complete(result: Raw | bytes, method: str, server_info: bytes | None) -> bytes:
    """A result with what this era wants in it beside what its tool side said, which stays as it was spelled.

    One that says itself what type of result it is comes from a tool side that knows this era, and is left alone.
    """
    members = wire.members(result)
    if members is None or "resultType" in members:
        return bytes(result)
    added = [b'"resultType":"complete"']
    if method in CACHEABLE:
        if "ttlMs" not in members:
            added.append(b'"ttlMs":%d' % TTL_MS)
        if "cacheScope" not in members:
            added.append(b'"cacheScope":"private"')
    if server_info is not None:
        stamp = b'"%b":%b' % (SERVER_INFO.encode(), server_info)
        meta = wire.members(members["_meta"]) if "_meta" in members else {}
        if "_meta" not in members:
            added.append(b'"_meta":{%b}' % stamp)
        elif meta is not None and SERVER_INFO not in meta:
            members["_meta"] = Raw(_with(bytes(members["_meta"]), stamp))
            result = encode(members)
    return _with(bytes(result), b",".join(added))


def input_required(questions: Mapping[str, tuple[str, Raw | UnsetType]], state: str) -> bytes:
    """The result that asks a client for something before its request can be completed: by key, method and params."""
    requests = {key: Raw(_request(method, params)) for key, (method, params) in questions.items()}
    return encode({"resultType": "input_required", "inputRequests": requests, STATE: state})


def _request(method: str, params: Raw | UnsetType) -> bytes:
    return encode({"method": method} if isinstance(params, UnsetType) else {"method": method, "params": params})


def error_of(error: Raw, method: str, params: Raw | UnsetType, own: str) -> tuple[bytes, int]:
    """An error as this era has it, and its code: a resource that is not there is -32602 now, and said by its URI.

    `own` is the reason in the data of those errors that have the former code for it and mean something else.
    """
    members = wire.members(error) or {}
    code = _integer(members.get("code"))
    if method != READ or code not in (NO_RESOURCE, Code.INVALID_PARAMS):
        return bytes(error), code
    data = (wire.members(members["data"]) if "data" in members else None) or {}
    if code == NO_RESOURCE and string(data.get("reason")) == own:
        return bytes(error), code
    uri = (wire.members(params) or {}).get("uri")
    if uri is not None and (data or members.get("data", wire.NULL) == wire.NULL):
        members["data"] = Raw(encode({"uri": uri} | data))
    return encode(members | {"code": int(Code.INVALID_PARAMS)}), int(Code.INVALID_PARAMS)


def _integer(raw: Raw | None) -> int:
    text = b"" if raw is None else bytes(raw)
    return int(text) if text.lstrip(b"-").isdigit() and len(text) < 16 else 0


def _with(value: bytes, more: bytes) -> bytes:
    """A JSON object with more members at its end."""
    inside = value.strip()[1:-1]
    return b"{%b,%b}" % (inside, more) if inside.strip() else b"{%b}" % more


def of_subscription(id_: bytes, method: str, params: Raw | UnsetType) -> bytes:
    """A notification for the stream that the request with this id opened."""
    members = wire.members(params) or {}
    meta = _meta(params) | {SUBSCRIPTION_ID: Raw(id_)}
    return wire.notification(method, encode(members | {"_meta": Raw(encode(meta))}))
