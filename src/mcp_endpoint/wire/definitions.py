"""One definition of a list as its program sent it, made fit for every client, or found of no use.

Clients check a list as a whole: one bad definition hides all others of the agent. So each is looked at alone. One that
is right stays the very same bytes, which costs one typed read; only what that read refuses is taken apart.
"""

import re
import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder, decode, encode

from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.flaws import At, Flaw, Flaws
from mcp_endpoint.wire.mcp import Kind, string
from mcp_endpoint.wire.schema_types import ObjectSchema
from mcp_endpoint.wire.schemas import GONE, flag
from mcp_endpoint.wire.tool_schemas import DOUBTFUL, input_schema, output_schema, refers_soundly

DEEPEST = 128
"""Objects and lists in one another: some readers of JSON give up at a few hundred."""
LONGEST_NAMES = {Kind.TOOLS: 256, Kind.PROMPTS: 256, Kind.RESOURCES: 4096, Kind.TEMPLATES: 4096}

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.", re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")


class Fit(NamedTuple):
    """What became of a definition: its name and bytes, or None for one of no use, and what was wrong with it."""

    name: str
    definition: bytes | None
    flaws: tuple[At, ...] = ()


# --- what is right, as types ---


class _Annotations(Struct, gc=False):
    title: str | UnsetType = UNSET
    read_only: bool | UnsetType = field(name="readOnlyHint", default=UNSET)
    destructive: bool | UnsetType = field(name="destructiveHint", default=UNSET)
    idempotent: bool | UnsetType = field(name="idempotentHint", default=UNSET)
    open_world: bool | UnsetType = field(name="openWorldHint", default=UNSET)


class _Icon(Struct, gc=False):
    src: str
    mime_type: str | UnsetType = field(name="mimeType", default=UNSET)
    sizes: list[str] | UnsetType = UNSET
    theme: Literal["light", "dark"] | UnsetType = UNSET


class _Execution(Struct, gc=False):
    task_support: Literal["required", "optional", "forbidden"] | UnsetType = field(name="taskSupport", default=UNSET)


class _Named(Struct, gc=False):
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    icons: list[_Icon] | UnsetType = UNSET
    meta: dict[str, Raw] | UnsetType = field(name="_meta", default=UNSET)


class _Tool(_Named, gc=False, kw_only=True):
    input_schema: ObjectSchema = field(name="inputSchema")
    output_schema: ObjectSchema | UnsetType = field(name="outputSchema", default=UNSET)
    annotations: _Annotations | UnsetType = UNSET
    execution: _Execution | UnsetType = UNSET


class _Argument(Struct, gc=False):
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    required: bool | UnsetType = UNSET


class _Prompt(_Named, gc=False):
    arguments: list[_Argument] | UnsetType = UNSET


class _ResourceAnnotations(Struct, gc=False):
    audience: list[Literal["user", "assistant"]] | UnsetType = UNSET
    priority: float | UnsetType = UNSET
    last_modified: str | UnsetType = field(name="lastModified", default=UNSET)


class _Template(_Named, gc=False, kw_only=True):
    uri_template: str = field(name="uriTemplate")
    mime_type: str | UnsetType = field(name="mimeType", default=UNSET)
    annotations: _ResourceAnnotations | UnsetType = UNSET


class _Resource(_Named, gc=False, kw_only=True):
    uri: str
    mime_type: str | UnsetType = field(name="mimeType", default=UNSET)
    size: int | UnsetType = UNSET
    annotations: _ResourceAnnotations | UnsetType = UNSET


_right: dict[Kind, Callable[[Raw | bytes], Any]] = {
    Kind.TOOLS: Decoder(_Tool).decode,
    Kind.PROMPTS: Decoder(_Prompt).decode,
    Kind.RESOURCES: Decoder(_Resource).decode,
    Kind.TEMPLATES: Decoder(_Template).decode,
}
_ATTRIBUTE = {Kind.TOOLS: "name", Kind.PROMPTS: "name", Kind.RESOURCES: "uri", Kind.TEMPLATES: "uri_template"}


def fit(kind: Kind, raw: Raw | bytes, room: int = sys.maxsize) -> Fit:
    """A definition as every client can take it, the same bytes if it is so already.

    One of more bytes than there is `room` for is not taken apart, which is a hundred times the work of reading it.
    """
    definition = bytes(raw)
    if _too_deep(definition):
        return Fit("", None, (At(Flaw.TOO_DEEP, ""),))
    try:
        right = _right[kind](definition)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        name = getattr(right, _ATTRIBUTE[kind])
        if _of_name(kind, name) is None and not _doubtful(kind, definition):
            return Fit(name, definition)
    if len(definition) > room:
        name = string((wire.members(definition) or {}).get(kind.naming)) or ""
        return Fit(name, None, (At(Flaw.TOO_MUCH, ""),))
    return _mended(kind, definition)


def _doubtful(kind: Kind, definition: bytes) -> bool:
    """Whether it may be wrong in a way that types cannot say, so that it has to be taken apart."""
    if kind is Kind.PROMPTS:
        return False
    if kind is not Kind.TOOLS:
        return b'"priority"' in definition or b'"lastModified"' in definition
    if b'"outputSchema"' in definition and any(word in definition for word in DOUBTFUL):
        return True
    return b'"$ref"' in definition and not refers_soundly(definition)


def _too_deep(definition: bytes) -> bool:
    if definition.count(b"{") + definition.count(b"[") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", definition).translate(None, _NO_BRACKET)
    for _ in range(8):  # the innermost pairs vanish each time, which leaves next to nothing of what is not deep
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > DEEPEST - 8


def _of_name(kind: Kind, name: str) -> Flaw | None:
    """What is wrong with a name or a URI."""
    if not name:
        return Flaw.NO_NAME
    if len(name) > LONGEST_NAMES[kind]:
        return Flaw.LONG_NAME
    return Flaw.NO_URI if kind is Kind.RESOURCES and not _is_uri(name) else None


def _is_uri(text: str) -> bool:
    """Whether it begins as a URI does, and names a host where its scheme needs one."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    needs_host = parts.scheme in ("http", "https", "ws", "wss", "ftp")
    return bool(_URI.match(text)) and (not needs_host or bool(parts.hostname)) and port != 0


def _mended(kind: Kind, definition: bytes) -> Fit:
    flaws = Flaws()
    try:
        members = decode(definition)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return Fit("", None, (At(Flaw.UNREADABLE, ""),))
    if not isinstance(members, dict):
        return Fit("", None, (At(Flaw.NOT_AN_OBJECT, ""),))
    name = members.get(kind.naming)
    wrong = _of_name(kind, name) if isinstance(name, str) else Flaw.NO_NAME
    if not isinstance(name, str) or wrong is not None:
        shown = name if isinstance(name, str) else ""
        return Fit(shown, None, (At(wrong or Flaw.NO_NAME, kind.naming),))
    before = encode(members)
    if not _MEND[kind](members, flaws):
        return Fit(name, None, tuple(flaws.found))
    after = encode(members)
    return Fit(name, definition if after == before else after, tuple(flaws.found))


# --- each kind ---


def _tool(members: dict[str, Any], flaws: Flaws) -> bool:
    if not input_schema(members, flaws):
        return False
    output_schema(members, flaws)
    _common(members, flaws)
    _object(members, "annotations", flaws, _TOOL_HINTS)
    _object(members, "execution", flaws, {"taskSupport": _one_of("required", "optional", "forbidden")})
    return True


def _prompt(members: dict[str, Any], flaws: Flaws) -> bool:
    _common(members, flaws)
    _members(members, "", flaws, {"arguments": _arguments})
    return True


def _resource(members: dict[str, Any], flaws: Flaws) -> bool:
    if not isinstance(members.get("name"), str):
        flaws.tell(Flaw.NO_NAME, "name")
        members["name"] = members.get("uri", members.get("uriTemplate"))
    _common(members, flaws)
    _members(members, "", flaws, {"mimeType": _text, "size": _size})
    _object(members, "annotations", flaws, _RESOURCE_HINTS)
    return True


_MEND: dict[Kind, Callable[[dict[str, Any], Flaws], bool]] = {
    Kind.TOOLS: _tool,
    Kind.PROMPTS: _prompt,
    Kind.RESOURCES: _resource,
    Kind.TEMPLATES: _resource,
}


# --- their members ---

_Read = Callable[[Any], Any]
"""What is meant by a value: the very same, another one, or GONE."""


def _members(members: dict[str, Any], place: str, flaws: Flaws, read: dict[str, _Read]) -> None:
    for name, meant in read.items():
        if name not in members:
            continue
        value = members[name]
        right = GONE if value is None else meant(value)
        if right is not value:
            flaws.tell(Flaw.NULL if value is None else Flaw.WRONG_TYPE, place, name)
            if right is GONE:
                del members[name]
            else:
                members[name] = right


def _common(members: dict[str, Any], flaws: Flaws) -> None:
    _members(members, "", flaws, {"title": _text, "description": _text, "icons": _icons, "_meta": _meta})


def _object(members: dict[str, Any], name: str, flaws: Flaws, read: dict[str, _Read]) -> None:
    """A member that is an object of hints, none of which has to be there."""
    _members(members, "", flaws, {name: lambda value: value if isinstance(value, dict) else GONE})
    if name in members:
        _members(members[name], name, flaws, read)


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else GONE


def _meta(value: Any) -> Any:
    return value if isinstance(value, dict) else GONE


def _one_of(*words: str) -> _Read:
    return lambda value: value if value in words else GONE


def _size(value: Any) -> Any:
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        return int(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and value >= 0 and value == int(value) else GONE


def _icons(value: Any) -> Any:
    """Those that have a source; a single one is a list of one."""
    icons = [value] if isinstance(value, dict) and "src" in value else value
    if not isinstance(icons, list):
        return GONE
    kept = [_icon(icon) for icon in icons if isinstance(icon, dict) and isinstance(icon.get("src"), str)]
    return value if kept == value else kept


def _icon(icon: dict[str, Any]) -> dict[str, Any]:
    right = {name: value for name, value in icon.items() if name not in ("mimeType", "sizes", "theme")}
    sizes = icon.get("sizes")
    if isinstance(sizes, str):  # as a draft of the specification had it
        sizes = sizes.split()
    if isinstance(sizes, list) and all(isinstance(size, str) for size in sizes):
        right["sizes"] = sizes
    if isinstance(icon.get("mimeType"), str):
        right["mimeType"] = icon["mimeType"]
    if icon.get("theme") in ("light", "dark"):
        right["theme"] = icon["theme"]
    return right


def _arguments(value: Any) -> Any:
    """Of a prompt: those that have a name; an object has them as its members."""
    if isinstance(value, dict):
        value = [{"name": name} | (one if isinstance(one, dict) else {}) for name, one in value.items()]
    if not isinstance(value, list):
        return GONE
    named = [{"name": one} if isinstance(one, str) else one for one in value]
    kept = [_argument(one) for one in named if isinstance(one, dict) and isinstance(one.get("name"), str)]
    return value if kept == value else kept


def _argument(argument: dict[str, Any]) -> dict[str, Any]:
    right = dict(argument)
    _members(right, "", Flaws(), {"title": _text, "description": _text, "required": flag})
    return right


_TOOL_HINTS: dict[str, _Read] = {
    "title": _text,
    **dict.fromkeys(("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"), flag),
}
_RESOURCE_HINTS: dict[str, _Read] = {
    "audience": lambda value: (
        value if isinstance(value, list) and all(one in ("user", "assistant") for one in value) else GONE
    ),
    "priority": lambda value: (
        value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else GONE
    ),
    "lastModified": lambda value: value if isinstance(value, str) and _DATE.fullmatch(value) else GONE,
}
