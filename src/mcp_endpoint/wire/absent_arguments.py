"""What callers write for an argument that they leave out, and whether a schema can mean it. Pure.

The schemas are those of other programs, so they are only followed as far as it takes to be sure.
"""

import re
from typing import Any

from msgspec import DecodeError, Raw, UnsetType
from msgspec.json import decode, encode

from mcp_endpoint.wire.envelope import members

LONGEST_BLANK = 256
"""Bytes of a text of blanks in the place of a call's arguments."""
LARGEST_DEFINITION = 262_144
"""Bytes of a definition that is read for the sake of an empty argument."""
LONGEST_PATTERN = 500
MOST_STEPS = 500
"""Schemas that are looked at for one call."""

# Formats whose texts cannot be empty (JSON Schema 2020-12, "Validation", section 7.3; OpenAPI, "Data Types").
_FORMATS = frozenset(
    (
        *("date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
        *("uri", "url", "iri", "uuid"),
    )
)
_MAY_TAKE_LONG = re.compile(r"\||\)[*+?{]")


def no_arguments(raw: Raw | UnsetType) -> bool:
    """Whether `arguments` are null, or a text with nothing in it: no server can read these."""
    if not isinstance(raw, Raw) or len(raw) > LONGEST_BLANK:
        return False
    given = bytes(raw)
    if given[:1] != b'"':
        return given == b"null"
    try:
        return not decode(given, type=str).strip()
    except (DecodeError, UnicodeDecodeError):
        return False


def is_refused_by_format(name: Any) -> bool:
    """Whether an empty text is none of that format."""
    return isinstance(name, str) and name in _FORMATS


def is_refused_by_pattern(pattern: Any) -> bool:
    """Whether an empty text surely does not match. A pattern that could take long to find out is not tried."""
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN or _MAY_TAKE_LONG.search(pattern):
        return False
    try:
        return re.search(pattern, "") is None
    except (re.error, RecursionError, OverflowError):
        return False  # another dialect than Python's


def without_arguments(params: Raw | UnsetType) -> bytes:
    """The params of a call without its arguments."""
    return encode({name: value for name, value in (members(params) or {}).items() if name != "arguments"})


def without_empty(params: Raw | UnsetType, definition: bytes) -> bytes | None:
    """The params of a call without optional arguments that are null or "" where the schema of the tool does not allow
    it; None where there are none. All other values stay the bytes they came in.
    """
    call = members(params) or {}
    given = members(call["arguments"]) if "arguments" in call else None
    empty = {name: decode(raw) for name, raw in (given or {}).items() if bytes(raw) in (b"null", b'""')}
    if given is None or not empty or len(definition) > LARGEST_DEFINITION:
        return None
    try:
        schema = decode((members(definition) or {}).get("inputSchema", Raw(b"null")))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    rules = _Rules(schema)
    dropped = {name for name, value in empty.items() if not rules.requires(name) and rules.refuses(name, value)}
    if not dropped:
        return None
    kept = {name: raw for name, raw in given.items() if name not in dropped}
    return encode(call | {"arguments": Raw(encode(kept))})


class _Rules:
    """What a schema says of the members of one object, as far as it can be seen at once."""

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._steps = MOST_STEPS

    def _parts(self, schema: Any, depth: int = 0) -> list[dict[str, Any]]:
        """A schema and all that hold together with it."""
        self._steps -= 1
        if not isinstance(schema, dict) or self._steps < 0 or depth > 16:
            return []
        found = [schema]
        if "$ref" in schema:
            found += self._parts(self._at(schema["$ref"]), depth + 1)
        for one in _list(schema.get("allOf")):
            found += self._parts(one, depth + 1)
        return found

    def _at(self, pointer: Any) -> Any:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            return None
        node = self._root
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def requires(self, name: str) -> bool:
        """Whether a member is required, or would be in one of the forms that the object may have."""
        for part in self._parts(self._root):
            for one in (part, *_list(part.get("anyOf")), *_list(part.get("oneOf"))):
                if any(name in _list(each.get("required")) for each in self._parts(one)):
                    return True
        return self._steps < 0

    def refuses(self, name: str, value: str | None) -> bool:
        """Whether the value is surely not allowed as that member."""
        for part in self._parts(self._root):
            properties = part.get("properties")
            known = properties if isinstance(properties, dict) else {}
            schema = known.get(name, part.get("additionalProperties"))
            if (name in known or "patternProperties" not in part) and self._refuses(schema, value, 0):
                return True
        return False

    def _refuses(self, schema: Any, value: str | None, depth: int) -> bool:
        self._steps -= 1
        if self._steps < 0 or depth > 16 or not isinstance(schema, dict):
            return schema is False
        kinds = schema.get("type")
        kinds = [kinds] if isinstance(kinds, str) else _list(kinds)
        if kinds and ("null" if value is None else "string") not in kinds:
            return not (value is None and schema.get("nullable") is True)
        words = [schema["const"]] if "const" in schema else _list(schema.get("enum"))
        if words and value not in words:
            return True
        if value is not None and (
            (isinstance(schema.get("minLength"), int) and schema["minLength"] > 0)
            or is_refused_by_format(schema.get("format"))
            or is_refused_by_pattern(schema.get("pattern"))
        ):
            return True
        if "$ref" in schema and self._refuses(self._at(schema["$ref"]), value, depth + 1):
            return True
        if any(self._refuses(one, value, depth + 1) for one in _list(schema.get("allOf"))):
            return True
        several = (_list(schema.get(word)) for word in ("anyOf", "oneOf"))
        return any(one and all(self._refuses(each, value, depth + 1) for each in one) for one in several)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
