"""What MCP says: its revisions, the shapes the broker must look into, and by what each method is routed.

The shapes are read leniently: they take what is needed and leave the rest as bytes.
"""

from enum import Enum, auto
from typing import TypeVar

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The handshake-era revisions, oldest first."""
OLDEST, NEWEST = REVISIONS[0], REVISIONS[-1]


CALLER = "mcp-endpoint/caller"
"""Member of `params._meta` in which a tool side that asked for it is told who calls."""


class Route(Enum):
    """What the broker does with a request from a device side."""

    INITIALIZE = auto()
    PING = auto()
    LIST_TOOLS = auto()
    CALL_TOOL = auto()


ROUTES: dict[str, Route] = {
    "initialize": Route.INITIALIZE,
    "ping": Route.PING,
    "tools/list": Route.LIST_TOOLS,
    "tools/call": Route.CALL_TOOL,
}
"""Requests with a route of their own; any other goes to the agent's only tool side, if there is just one."""


class CallParams(Struct, gc=False):
    """Of `tools/call`: what routes it."""

    name: str
    meta: Raw | UnsetType = field(name="_meta", default=UNSET)


class Implementation(Struct, gc=False):
    """`clientInfo` or `serverInfo`."""

    name: str = ""
    version: str = ""


class InitializeParams(Struct, gc=False):
    """Of a client's `initialize`."""

    protocol_version: str = field(name="protocolVersion", default="")
    client_info: Implementation = field(name="clientInfo", default_factory=Implementation)


class InitializeResult(Struct, gc=False):
    """Of a tool side's answer to `initialize`."""

    protocol_version: str = field(name="protocolVersion", default="")
    capabilities: dict[str, Raw] = field(default_factory=dict)
    server_info: Raw | UnsetType = field(name="serverInfo", default=UNSET)
    instructions: str | None = None


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
    shape: Decoder(shape)
    for shape in (InitializeParams, InitializeResult, Implementation, ListToolsResult, ToolHead, CallResultHead)
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
