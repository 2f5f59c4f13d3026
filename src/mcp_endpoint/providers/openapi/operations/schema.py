"""Schemas of an OpenAPI document as JSON Schema 2020-12 that stands alone: what it refers to comes along in `$defs`.

Only keywords that say something about a value are taken over, each if its own value is of the right form: the result is
valid whatever the document says. A schema that becomes too large loses what its references lead to, the farthest first.
"""

import json
import re
from pathlib import PurePosixPath
from typing import Any

from mcp_endpoint.providers.openapi.document.document import Document
from mcp_endpoint.providers.openapi.document.values import BadDocument, reference
from mcp_endpoint.wire.text import clean

LARGEST = 48 * 1024
"""Bytes of the schema of one tool's input."""
REACHES = (64, 6, 3, 2, 1, 0)
"""How many references away definitions are taken along, tried in this order until the schema is small enough."""
LONGEST_NOTE = 400
LONGEST_PATTERN = 500

_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum")
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas")


def is_binary(schema: dict[str, Any]) -> bool:
    """Whether a schema, as `stand_alone` returns it, is one of bytes, which are written as base64."""
    return schema.get("contentEncoding") == "base64"


def stand_alone(document: Document, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose own references are those of the document, as one that needs no document. Raises BadDocument."""
    for reach in REACHES:
        converted = _Conversion(document, reach).whole(schema)
        if len(json.dumps(converted, ensure_ascii=False).encode()) <= LARGEST:
            return converted
    _without_notes(converted)
    if len(json.dumps(converted, ensure_ascii=False).encode()) <= LARGEST:
        return converted
    raise BadDocument(f"the schema of its input has more than {LARGEST} bytes")


def _without_notes(schema: Any) -> None:
    """Take the descriptions of the parts out of a schema."""
    if isinstance(schema, dict):
        for key in ("properties", "$defs"):
            for one in schema[key].values() if isinstance(schema.get(key), dict) else ():
                if isinstance(one, dict):
                    one.pop("description", None)
                _without_notes(one)


class _Conversion:
    """One schema on its way; definitions are converted nearest first."""

    def __init__(self, document: Document, reach: int) -> None:
        self._document = document
        self._reach = reach
        self._names: dict[str, str] = {}
        self._queue: list[tuple[str, int]] = []

    def whole(self, schema: dict[str, Any]) -> dict[str, Any]:
        converted = self._convert(schema, 0)
        assert isinstance(converted, dict)
        definitions: dict[str, Any] = {}
        for pointer, distance in self._queue:  # grows while it is worked off
            definitions[self._names[pointer]] = self._convert(self._document.at(pointer), distance)
        return converted | ({"$defs": definitions} if definitions else {})

    def _convert(self, schema: Any, distance: int) -> dict[str, Any] | bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            return {}
        new = self._members(schema, distance)
        pointer = reference(schema)
        if pointer is not None:
            name = self._name(pointer, distance + 1)
            return new | ({"$ref": f"#/$defs/{name}"} if name else {})
        return _nullable(new) if schema.get("nullable") is True else new

    def _name(self, pointer: str, distance: int) -> str | None:
        """The name of a definition; None for one that is too far away."""
        if pointer not in self._names:
            if distance > self._reach:
                return None
            self._document.at(pointer)
            stem = re.sub(r"[^A-Za-z0-9_.-]", "_", _last_word(pointer))[:60] or "root"
            taken = set(self._names.values())
            number = 1
            while (name := stem if number == 1 else f"{stem}_{number}") in taken:
                number += 1
            self._names[pointer] = name
            self._queue.append((pointer, distance))
        return self._names[pointer]

    def _members(self, schema: dict[str, Any], distance: int) -> dict[str, Any]:
        new = _values(schema)
        for key in _ONE:
            if isinstance(schema.get(key), dict | bool):
                new[key] = self._convert(schema[key], distance)
        for key in _SEVERAL:
            value = schema.get(key)
            if isinstance(value, list) and value:
                new[key] = [self._convert(one, distance) for one in value]
        for key in _NAMED:
            value = schema.get(key)
            if isinstance(value, dict):
                new[key] = {name: self._convert(one, distance) for name, one in value.items() if not _read_only(one)}
                if key == "properties" and "required" in new:
                    gone = {name for name, one in value.items() if _read_only(one)}
                    new["required"] = [name for name in new["required"] if name not in gone]
        return new


def _last_word(pointer: str) -> str:
    """What a pointer calls what it leads to: its last step, or the name of a file that it leads to as a whole."""
    place, _, fragment = pointer.partition("#")
    return fragment.rpartition("/")[2] or PurePosixPath(place).stem


def _read_only(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("readOnly") is True


def _values(schema: dict[str, Any]) -> dict[str, Any]:
    """The keywords whose values are no schemas."""
    new: dict[str, Any] = {}
    kind = schema.get("type")
    if kind == "file" or (kind in ("string", None) and schema.get("format") == "binary"):
        new |= {"type": "string", "contentEncoding": "base64"}
    elif isinstance(kind, str) and kind in _TYPES:
        new["type"] = kind
    elif isinstance(kind, list) and kind and all(one in _TYPES for one in kind):
        new["type"] = list(dict.fromkeys(kind))
    elif kind is None and (meant := _meant_type(schema)) is not None:
        new["type"] = meant
    if isinstance(schema.get("format"), str) and schema["format"] != "binary":
        new["format"] = clean(schema["format"], 40)
    if isinstance(schema.get("description"), str) and (note := clean(schema["description"], LONGEST_NOTE)):
        new["description"] = note
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        new["enum"] = schema["enum"]
    for key in ("const", "default"):
        if key in schema:
            new[key] = schema[key]
    for key in _COUNTS:
        if _is_number(schema.get(key)) and int(schema[key]) == schema[key] >= 0:
            new[key] = int(schema[key])
    _put_bounds(schema, new)
    if _is_number(schema.get("multipleOf")) and schema["multipleOf"] > 0:
        new["multipleOf"] = schema["multipleOf"]
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and len(pattern) <= LONGEST_PATTERN:
        new["pattern"] = pattern
    required = schema.get("required")
    if isinstance(required, list) and all(isinstance(name, str) for name in required):
        new["required"] = list(dict.fromkeys(required))
    if schema.get("uniqueItems") is True:
        new["uniqueItems"] = True
    if schema.get("deprecated") is True:
        new["deprecated"] = True
    return new


def _meant_type(schema: dict[str, Any]) -> str | None:
    """The type of a schema that names none, as authors forget: what has members is an object, what has items a list."""
    if "enum" in schema or "const" in schema:
        return None
    if isinstance(schema.get("properties"), dict):
        return "object"
    return "array" if isinstance(schema.get("items"), dict) else None


def _put_bounds(schema: dict[str, Any], new: dict[str, Any]) -> None:
    """Bounds of numbers: in version 3.0 `exclusiveMinimum` only says how `minimum` is meant."""
    for key in _NUMBERS:
        exclusive = "exclusive" + key[0].upper() + key[1:]
        if _is_number(schema.get(key)):
            new[exclusive if schema.get(exclusive) is True else key] = schema[key]
        if _is_number(schema.get(exclusive)):
            new[exclusive] = schema[exclusive]


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema for a value that may be null as well, as version 3.0 has it."""
    kind = schema.get("type")
    if any(key in schema for key in ("allOf", "anyOf", "oneOf", "not", "const")):
        note = {"description": schema.pop("description")} if "description" in schema else {}
        return note | {"anyOf": [schema, {"type": "null"}]}
    if isinstance(kind, str):
        schema["type"] = [kind, "null"] if kind != "null" else kind
    if "enum" in schema and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e300
