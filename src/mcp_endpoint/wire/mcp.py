"""What MCP says: its revisions, the shapes the broker must look into, and by what each method is routed.

The shapes are read leniently: they take what is needed and leave the rest as bytes.
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder, decode, encode

from mcp_endpoint.wire.envelope import NULL, members

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The handshake-era revisions, oldest first."""
OLDEST, NEWEST = REVISIONS[0], REVISIONS[-1]


OWN_NAME = "mcp-endpoint"
"""`clientInfo.name` of the broker."""
CALLER = "mcp-endpoint/caller"
"""Member of `params._meta` in which a tool side that asked for it is told who calls."""


INITIALIZED = "notifications/initialized"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
MESSAGE = "notifications/message"
RESOURCE_UPDATED = "notifications/resources/updated"
TASK_STATUS = "notifications/tasks/status"

TASKS_REVISION = "2025-11-25"
"""The one revision that has tasks in this form."""
RELATED_TASK = "io.modelcontextprotocol/related-task"
"""Member of `_meta` in which a message says to which task it belongs."""


class Kind(Enum):
    """What a tool side offers, by kind: how it is listed, and what names one of it.

    (method of the list, member of its result, member of a definition that names it, capability, what says it changed)
    """

    def __init__(self, method: str, member: str, name: str, capability: str, changed: str) -> None:
        self.method = method
        self.member = member
        self.naming = name
        self.capability = capability
        self.changed = changed

    # There is one of each; Enum's own hash is a call of Python code, and every relayed call looks up a listing.
    __hash__ = object.__hash__

    TOOLS = ("tools/list", "tools", "name", "tools", "notifications/tools/list_changed")
    PROMPTS = ("prompts/list", "prompts", "name", "prompts", "notifications/prompts/list_changed")
    RESOURCES = ("resources/list", "resources", "uri", "resources", "notifications/resources/list_changed")
    TEMPLATES = (
        "resources/templates/list",
        "resourceTemplates",
        "uriTemplate",
        "resources",
        "notifications/resources/list_changed",
    )


LISTED = {kind.method: kind for kind in Kind}
CHANGED = {name: [kind for kind in Kind if kind.changed == name] for name in {kind.changed for kind in Kind}}
"""Which lists have to be asked for again after a notification."""

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Levels of `notifications/message`, the most talkative first (RFC 5424)."""


ASKS = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""What a server may ask its client, and the capability that says that the client can answer."""


_MODEL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_model_name(name: str) -> bool:
    """Whether the APIs of models take it as the name of a tool; one that they do not take costs the whole request."""
    return _MODEL_NAME.fullmatch(name) is not None


class Route(Enum):
    """What the broker does with a request from a device side."""

    INITIALIZE = auto()
    PING = auto()
    LIST = auto()
    CALL_TOOL = auto()
    GET_PROMPT = auto()
    READ = auto()
    SUBSCRIBE = auto()
    UNSUBSCRIBE = auto()
    COMPLETE = auto()
    SET_LEVEL = auto()
    TASK = auto()
    LIST_TASKS = auto()
    REFUSE = auto()


ROUTES: dict[str, Route] = {
    "initialize": Route.INITIALIZE,
    "ping": Route.PING,
    **dict.fromkeys(LISTED, Route.LIST),
    "tools/call": Route.CALL_TOOL,
    "prompts/get": Route.GET_PROMPT,
    "resources/read": Route.READ,
    "resources/subscribe": Route.SUBSCRIBE,
    "resources/unsubscribe": Route.UNSUBSCRIBE,
    "completion/complete": Route.COMPLETE,
    "logging/setLevel": Route.SET_LEVEL,
    **dict.fromkeys(("tasks/get", "tasks/result", "tasks/cancel"), Route.TASK),
    "tasks/list": Route.LIST_TASKS,
    # The stateless era has no duplex connection; hosts that probe for it fall back at once when they are told so.
    "server/discover": Route.REFUSE,
}
"""Requests with a route of their own; any other goes to the agent's only tool side, if there is just one."""


class CallParams(Struct, gc=False):
    """Of `tools/call`: what routes it."""

    name: str
    meta: Raw | UnsetType = field(name="_meta", default=UNSET)
    task: Raw | UnsetType = UNSET
    arguments: Raw | UnsetType = UNSET


class Implementation(NamedTuple):
    """`clientInfo` or `serverInfo`: texts of at most 200 characters, empty where there was none."""

    name: str = ""
    version: str = ""


def read_implementation(raw: Raw | bytes | UnsetType) -> Implementation:
    """Read a `clientInfo` or `serverInfo`; a version that is a number is as good as one that is a text."""
    info = members(raw) or {}
    return Implementation(text(info.get("name")), text(info.get("version")))


def text(raw: Raw | None, limit: int = 200) -> str:
    """A JSON text or number as a text of at most `limit` characters; empty for anything else."""
    if raw is None:
        return ""
    try:
        value = decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return str(value)[:limit] if isinstance(value, str | int | float) else ""


class InitializeParams(NamedTuple):
    """Of a client's `initialize` params: the revision it asks for, who it is, and what it can be asked."""

    revision: str
    client: Implementation
    capabilities: Raw | UnsetType


def read_initialize(raw: Raw | bytes | UnsetType) -> InitializeParams:
    """Read a client's `initialize` params."""
    params = members(raw) or {}
    client = read_implementation(params.get("clientInfo", UNSET))
    return InitializeParams(text(params.get("protocolVersion")), client, params.get("capabilities", UNSET))


class ContentHead(Struct, gc=False):
    """Of one block of a result's content."""

    type: str = ""
    text: str = ""


class CallResultHead(Struct, gc=False):
    """Of a `tools/call` result: what the Xiaozhi server looks at."""

    content: list[ContentHead] = field(default_factory=list)
    is_error: bool = field(name="isError", default=False)
    error: Raw | UnsetType = UNSET


read_call_params = Decoder(CallParams).decode
"""Read the params of `tools/call`. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""
_call_result = Decoder(CallResultHead).decode
_list = Decoder(list[Raw]).decode


def read_call_result(raw: Raw | bytes) -> CallResultHead | None:
    """Read the result of `tools/call`; None if it does not fit."""
    try:
        return _call_result(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None


def begins_tasks(capabilities: dict[str, Raw]) -> bool:
    """Whether a server says that its tools may be called as tasks."""
    requests = members((members(capabilities.get("tasks", UNSET)) or {}).get("requests", UNSET)) or {}
    return "call" in (members(requests.get("tools", UNSET)) or {})


def read_page(kind: Kind, raw: Raw | bytes | UnsetType) -> tuple[list[Raw], Raw | None] | None:
    """One page of a tool side's list: its definitions, and the cursor of the next page if there is one.

    None if it is no such page. A list may be null where its language has that for an empty one, or an object where its
    members have numbers or names; a cursor that is no text is sent back as it came.
    """
    page = members(raw)
    if page is None and raw is not UNSET and bytes(raw)[:1] == b"[":
        page = {kind.member: Raw(raw)}  # the list alone
    if page == {}:
        page = {kind.member: NULL}  # an empty list, where members that are empty are left out
    if page is None or kind.member not in page:
        return None
    cursor = page.get("nextCursor", NULL)
    definitions = _definitions(kind, page[kind.member])
    return None if definitions is None else (definitions, None if cursor == NULL else cursor)


def _definitions(kind: Kind, raw: Raw) -> list[Raw] | None:
    if raw == NULL:
        return []
    try:
        return _list(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        pass
    named = members(raw)
    if named is None:
        return None
    if kind.naming in named:
        return [raw]
    # Numbers are how PHP writes a list with gaps.
    return [one if name.isdecimal() else _under(kind, name, one) for name, one in named.items()]


def _under(kind: Kind, name: str, raw: Raw) -> Raw:
    """A definition whose name stands outside of it."""
    definition = members(raw)
    return raw if definition is None else Raw(encode({kind.naming: name} | definition))


def string(raw: Raw | None) -> str | None:
    """A JSON string as it is; None for anything else."""
    if raw is None or bytes(raw)[:1] != b'"':
        return None
    try:
        value = decode(raw)
    except (DecodeError, UnicodeDecodeError):
        return None
    assert isinstance(value, str)
    return value
