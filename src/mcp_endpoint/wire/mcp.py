"""What MCP says: its revisions, the shapes the broker must look into, and by what each method is routed.

The shapes are read leniently: they take what is needed and leave the rest as bytes.
"""

from enum import Enum, auto
from typing import NamedTuple, TypeVar

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder, decode

from mcp_endpoint.wire.envelope import members

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The handshake-era revisions, oldest first."""
OLDEST, NEWEST = REVISIONS[0], REVISIONS[-1]


CALLER = "mcp-endpoint/caller"
"""Member of `params._meta` in which a tool side that asked for it is told who calls."""


INITIALIZED = "notifications/initialized"
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"
TOOLS_CHANGED = "notifications/tools/list_changed"


class Route(Enum):
    """What the broker does with a request from a device side."""

    INITIALIZE = auto()
    PING = auto()
    LIST_TOOLS = auto()
    CALL_TOOL = auto()
    REFUSE = auto()


ROUTES: dict[str, Route] = {
    "initialize": Route.INITIALIZE,
    "ping": Route.PING,
    "tools/list": Route.LIST_TOOLS,
    "tools/call": Route.CALL_TOOL,
    # The stateless era has no WebSocket; hosts that probe for it fall back at once when they are told so.
    "server/discover": Route.REFUSE,
}
"""Requests with a route of their own; any other goes to the agent's only tool side, if there is just one."""


class CallParams(Struct, gc=False):
    """Of `tools/call`: what routes it."""

    name: str
    meta: Raw | UnsetType = field(name="_meta", default=UNSET)


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


def read_initialize(raw: Raw | bytes | UnsetType) -> tuple[str, Implementation]:
    """Of a client's `initialize` params: the revision it asks for and who it is."""
    params = members(raw) or {}
    return text(params.get("protocolVersion")), read_implementation(params.get("clientInfo", UNSET))


class ListToolsResult(Struct, gc=False):
    """Of a tool side's answer to `tools/list`: one page."""

    tools: list[Raw]
    next_cursor: str | None = field(name="nextCursor", default=None)


class ToolHead(Struct, gc=False):
    """Of a tool's definition: its name."""

    name: str


class ContentHead(Struct, gc=False):
    """Of one block of a result's content."""

    type: str = ""
    text: str = ""


class CallResultHead(Struct, gc=False):
    """Of a `tools/call` result: what the Xiaozhi server looks at."""

    content: list[ContentHead] = field(default_factory=list)
    is_error: bool = field(name="isError", default=False)
    error: Raw | UnsetType = UNSET


Shape = TypeVar("Shape", bound=Struct)

_decoders: dict[type[Struct], Decoder[Struct]] = {
    shape: Decoder(shape) for shape in (ListToolsResult, ToolHead, CallResultHead)
}
read_call_params = Decoder(CallParams).decode
"""Read the params of `tools/call`. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""


def read_shape(shape: type[Shape], raw: Raw | bytes | UnsetType) -> Shape | None:
    """Read `raw` as `shape`; None if it is absent or does not fit."""
    if raw is UNSET:
        return None
    try:
        value = _decoders[shape].decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    assert isinstance(value, shape)
    return value
