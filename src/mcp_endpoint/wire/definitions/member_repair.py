"""Members of a definition beside the schemas of a tool: what a wrong value can only mean is put in its place."""

import re
from collections.abc import Callable
from typing import Any

from mcp_endpoint.wire.definitions.flaws import Flaw, Flaws
from mcp_endpoint.wire.definitions.schema_repair import GONE, flag
from mcp_endpoint.wire.definitions.tool_schemas import input_schema, output_schema
from mcp_endpoint.wire.mcp import Kind

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")


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


REPAIR: dict[Kind, Callable[[dict[str, Any], Flaws], bool]] = {
    Kind.TOOLS: _tool,
    Kind.PROMPTS: _prompt,
    Kind.RESOURCES: _resource,
    Kind.TEMPLATES: _resource,
}
"""Repairs the members of a definition where they stand; whether it is of any use."""


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
