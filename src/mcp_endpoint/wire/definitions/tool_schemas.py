"""The schemas of a tool: its input is an object or it cannot be called, its output is an extra that may be left out."""

import re
from typing import Any

from msgspec.json import decode

from mcp_endpoint.wire.definitions.ecma262 import compiles
from mcp_endpoint.wire.definitions.flaws import Flaw, Flaws
from mcp_endpoint.wire.definitions.references import MOST_HOPS, NAMED, ONE, SEVERAL, References, inside
from mcp_endpoint.wire.definitions.schema_repair import GONE, SchemaRepair, from_text, type_names
from mcp_endpoint.wire.envelope import members

INPUT, OUTPUT = "inputSchema", "outputSchema"
_OTHER_NAMES = ("input_schema", "inputschema", "parameters")
"""What other protocols, and hands that copy from them, call the schema of a tool's input."""


def refers_soundly(definition: bytes) -> bool:
    """Whether the references of a tool whose schemas are right otherwise all lead somewhere."""
    whole = members(definition) or {}
    schemas = (bytes(whole[name]) for name in (INPUT, OUTPUT) if name in whole)
    return all(References(decode(schema)).sound for schema in schemas if b'"$ref"' in schema)


def input_schema(members: dict[str, Any], flaws: Flaws) -> bool:
    """Make the schema of a tool's input one of an object; whether it can be meant so."""
    if members.get(INPUT) is None:
        other = next((name for name in _OTHER_NAMES if isinstance(members.get(name), dict)), None)
        if other is not None:
            flaws.tell(Flaw.OTHER_NAME, other)
            members[INPUT] = members.pop(other)
    value = members.get(INPUT)
    schema = from_text(value)
    says_nothing = schema is None or isinstance(schema, bool) or schema in ([], "")
    if says_nothing or (isinstance(schema, str) and type_names(schema) == "object"):
        absent = Flaw.NULL if INPUT in members else Flaw.MISSING
        flaws.tell(absent if value is None else Flaw.WRONG_TYPE, INPUT)
        members[INPUT] = {"type": "object"}
        return True
    if not isinstance(schema, dict):
        flaws.tell(Flaw.NO_ARGUMENTS, INPUT)
        return False
    if schema is not value:
        flaws.tell(Flaw.AS_TEXT, INPUT)
    if _is_bare(schema):
        flaws.tell(Flaw.NO_TYPE, INPUT)
        schema = {"type": "object", "properties": schema}
    references = SchemaRepair(flaws).repair(schema, INPUT)
    if not _of_object(schema, references):
        flaws.found.clear()
        flaws.tell(Flaw.NO_ARGUMENTS, INPUT)
        return False
    members[INPUT] = _with_type(schema, flaws, INPUT)
    return True


def _is_bare(schema: dict[str, Any]) -> bool:
    """Whether it is the properties alone, as SDKs want them of their callers: every member is a schema with a type."""
    known = ONE | NAMED | SEVERAL
    return bool(schema) and all(
        name not in known and isinstance(one, dict) and type_names(one.get("type")) is not GONE
        for name, one in schema.items()
    )


def output_schema(members: dict[str, Any], flaws: Flaws) -> None:
    """Make the schema of a tool's output one that compiles, or leave it out."""
    if OUTPUT not in members:
        return
    value = members[OUTPUT]
    schema = from_text(value)
    if not isinstance(schema, dict) or not schema:
        flaws.tell(Flaw.NULL if value is None else Flaw.WRONG_TYPE, OUTPUT)
        del members[OUTPUT]
        return
    if schema is not value:
        flaws.tell(Flaw.AS_TEXT, OUTPUT)
    references = SchemaRepair(flaws).repair(schema, OUTPUT)
    _without_what_does_not_compile(schema, flaws)
    if _of_object(schema, references):
        members[OUTPUT] = _with_type(schema, flaws, OUTPUT)
    else:
        flaws.tell(Flaw.OUTPUT_NOT_OBJECT, OUTPUT)
        members[OUTPUT] = schema


def _of_object(schema: Any, references: References, hops: int = MOST_HOPS) -> bool:
    """Whether a value of this schema may be an object."""
    if isinstance(schema, bool) or hops == 0:
        return True
    kind = schema.get("type")
    if kind is not None:
        types = kind if isinstance(kind, list) else [kind]
        return "object" in types or bool(schema.get("properties"))
    if "items" in schema or "prefixItems" in schema:
        return "properties" in schema
    values = schema.get("enum", [schema["const"]] if "const" in schema else [{}])
    if not any(isinstance(value, dict) for value in values):
        return False
    if "$ref" in schema and not _of_object(references.target(schema), references, hops - 1):
        return False
    any_ = all(
        any(_of_object(one, references, hops - 1) for one in schema[keyword])
        for keyword in ("anyOf", "oneOf")
        if keyword in schema
    )
    return any_ and all(_of_object(one, references, hops - 1) for one in schema.get("allOf", []))


def _with_type(schema: dict[str, Any], flaws: Flaws, place: str) -> dict[str, Any]:
    """The schema with the type that every client looks for, in front, and no boolean among its properties."""
    properties = schema.get("properties", {})
    for name, one in properties.items():
        if isinstance(one, bool):
            flaws.tell(Flaw.WRONG_TYPE, place, "properties", name)
            properties[name] = {} if one else {"not": {}}
    if schema.get("type") == "object":
        return schema
    flaws.tell(Flaw.NO_TYPE, place)
    return {"type": "object"} | {keyword: value for keyword, value in schema.items() if keyword != "type"}


_ANCHOR = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
DOUBTFUL = (b'"pattern', b'"nullable"', b'"$id"', b'nchor"', b'"id"')
"""What has to be in an output's schema for it not to compile although all its values are of the right types."""


def _without_what_does_not_compile(schema: dict[str, Any], flaws: Flaws) -> None:
    """Clients compile the schemas of outputs when they list: one that does not compile would cost them all tools."""
    waiting = [(schema, OUTPUT)]
    names: set[str] = set()
    for node, place in waiting:  # grows while it is worked off
        for word in ("$id", "$anchor", "$dynamicAnchor"):
            if word not in node:
                continue
            name = ("" if word == "$id" else "#") + node[word]
            if name in names or (word != "$id" and not _ANCHOR.fullmatch(node[word])):
                flaws.tell(Flaw.LISTED_TWICE if name in names else Flaw.WRONG_TYPE, place, word)
                del node[word]
            names.add(name)
        if "pattern" in node and not compiles(node["pattern"]):
            flaws.tell(Flaw.BAD_PATTERN, place, "pattern")
            del node["pattern"]
        patterns = node.get("patternProperties", {})
        for pattern in [pattern for pattern in patterns if not compiles(pattern)]:
            flaws.tell(Flaw.BAD_PATTERN, place, "patternProperties")
            del patterns[pattern]
        if "id" in node:  # up to draft 4 it was what is now `$id`
            flaws.tell(Flaw.WRONG_TYPE, place, "id")
            del node["id"]
        if "nullable" in node and "type" not in node:
            flaws.tell(Flaw.MISSING, place, "type")
            del node["nullable"]
        waiting += [(one, ".".join((place, *steps))) for steps, one in inside(node) if isinstance(one, dict)]
