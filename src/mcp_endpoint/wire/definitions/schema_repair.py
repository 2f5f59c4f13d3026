"""JSON Schemas as programs write them, made such that nobody who reads them fails.

Libraries refuse a whole list for one `"required": null` in it, model APIs a whole request. What a wrong value can only
mean is put in its place; a keyword whose value means nothing is left out, since a schema without it allows more, never
less. What is right already stays as it is.
"""

from math import isfinite
from typing import Any

from msgspec import DecodeError
from msgspec.json import decode

from mcp_endpoint.wire.definitions.flaws import Flaw, Flaws
from mcp_endpoint.wire.definitions.references import NAMED, ONE, SEVERAL, References

_TYPES = {
    **{name: name for name in ("string", "number", "integer", "boolean", "array", "object", "null")},
    **dict.fromkeys(("str", "text", "date", "datetime", "file"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    "bool": "boolean",
    **dict.fromkeys(("list", "tuple"), "array"),
    **dict.fromkeys(("dict", "map"), "object"),
    **dict.fromkeys(("none", "nil"), "null"),
}
"""What programs call a type, in small letters."""
_TEXTS = frozenset(
    {
        "title",
        "description",
        "format",
        "pattern",
        "$ref",
        "$id",
        "$schema",
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$comment",
        "contentEncoding",
        "contentMediaType",
    }
)
_COUNTS = frozenset(
    {f"{end}{what}" for end in ("min", "max") for what in ("Length", "Items", "Properties", "Contains")}
)
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_NUMBERS = _COUNTS | {"minimum", "maximum", *_BOUNDS, "multipleOf"}
_FLAGS = frozenset({"uniqueItems", "deprecated", "readOnly", "writeOnly", "nullable"})
_WORDS = {"true": True, "false": False}

GONE: Any = object()
"""Stands for a value that means nothing: its member is left out."""


def flag(value: Any) -> Any:
    """What is meant by a value where a boolean is due."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower(), GONE)
    return bool(value) if value in (0, 1) else GONE


def from_text(value: Any) -> Any:
    """What stands in a text that is JSON of an object or a list; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return decode(value)
        except (DecodeError, RecursionError):
            return value
    return value


def type_names(value: Any) -> Any:
    """The types that are meant: a name, or a list of names; GONE if any type may be."""
    if isinstance(value, str) and "|" in value:
        value = value.split("|")
    names = value if isinstance(value, list) else [value]
    known = [_TYPES.get("null" if name is None else str(name).strip().lower()) for name in names]
    if value is None or not known or None in known:
        return GONE
    if known == names:
        return value
    return list(dict.fromkeys(known)) if isinstance(value, list) else known[0]


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


class SchemaRepair:
    """Goes through a schema and repairs it where it stands; how deep it may be is for who read it to see to."""

    def __init__(self, flaws: Flaws) -> None:
        self._flaws = flaws

    def repair(self, root: dict[str, Any], place: str) -> References:
        """Repair all that is inside a schema; its references, which all lead somewhere then."""
        self._schema(root, place)
        references = References(root)
        for node, pointer in references.referring:
            if references.target(node) is None:
                self._flaws.tell(Flaw.LEADS_NOWHERE, place, *pointer, "$ref")
                meant = references.meant(node, pointer)
                if meant is None:
                    del node["$ref"]
                else:
                    node["$ref"] = meant
        for node, pointer in references.referring:
            if references.circles(node):
                self._flaws.tell(Flaw.LEADS_NOWHERE, place, *pointer, "$ref")
                del node["$ref"]
        return references

    def _schema(self, node: dict[str, Any], place: str) -> None:
        for keyword in sorted(node, key=lambda keyword: keyword != "required"):  # properties may add to it
            if keyword not in node:
                continue
            value = node[keyword]
            right = self._value(node, keyword, value, f"{place}.{keyword}")
            if right is GONE:
                self._flaws.tell(Flaw.NULL if value is None else Flaw.WRONG_TYPE, place, keyword)
                del node[keyword]
            elif right is not value:
                node[keyword] = right

    def _value(self, node: dict[str, Any], keyword: str, value: Any, place: str) -> Any:
        """What is meant by the value of a keyword: the very same if it is right, GONE if nothing is."""
        if keyword in _TEXTS:
            return value if isinstance(value, str) else GONE
        if keyword in NAMED:
            return self._named(node, keyword, value, place)
        if keyword in ONE:
            return self._one(keyword, value, place)
        if keyword in SEVERAL:
            return self._several(value, place)
        if keyword in _NUMBERS:
            return self._number(node, keyword, value, place)
        if keyword in _FLAGS:
            return self._told(flag(value), value, place)
        if keyword == "type":
            return self._told(type_names(value), value, place, Flaw.UNKNOWN_TYPE)
        if keyword == "enum":
            values = from_text(value)
            return self._told(values, value, place) if isinstance(values, list) and values else GONE
        if keyword == "dependentRequired":
            right = isinstance(value, dict) and all(map(_are_names, value.values()))
            return value if right else GONE
        return self._required(node, value, place) if keyword == "required" else value

    def _told(self, right: Any, value: Any, place: str, flaw: Flaw = Flaw.WRONG_TYPE) -> Any:
        """A value that is not as it was is told, unless it is left out, which is told for all."""
        if right is not GONE and right is not value:
            self._flaws.tell(flaw, place)
        return right

    def _required(self, node: dict[str, Any], value: Any, place: str) -> Any:
        value, before = from_text(value), value
        if isinstance(value, str):
            properties = node.get("properties")
            meant = [value] if isinstance(properties, dict) and value in properties else GONE
            return self._told(meant, value, place)
        if isinstance(value, dict):
            value = [name for name, needed in value.items() if flag(needed) is True]
        if not isinstance(value, list):
            return GONE
        names = list(dict.fromkeys(name for name in value if isinstance(name, str)))
        return before if names == before else self._told(names, before, place)

    def _number(self, node: dict[str, Any], keyword: str, value: Any, place: str) -> Any:
        if isinstance(value, bool):
            # Up to draft 4 it says how the bound beside it is meant.
            bound = node.get(_BOUNDS.get(keyword, ""))
            if value and isinstance(bound, int | float) and not isinstance(bound, bool):
                del node[_BOUNDS[keyword]]
                return self._told(bound, value, place)
            return GONE
        number = value
        if isinstance(value, str):
            try:
                number = int(value)
            except ValueError:
                try:
                    number = float(value)
                except ValueError:
                    return GONE
        if not isinstance(number, int | float) or not isfinite(number):
            return GONE
        if keyword in _COUNTS and (number < 0 or number != int(number)):
            return GONE
        return self._told(number, value, place)

    # --- schemas inside ---

    def _named(self, node: dict[str, Any], keyword: str, value: Any, place: str) -> Any:
        schemas = from_text(value)
        if isinstance(schemas, list) and all(
            isinstance(one, dict) and isinstance(one.get("name"), str) for one in schemas
        ):
            # How PHP writes an empty object; or properties that have their names inside.
            schemas = {one["name"]: {key: more for key, more in one.items() if key != "name"} for one in schemas}
        if not isinstance(schemas, dict):
            return GONE
        for name, one in schemas.items():
            if keyword == "properties" and isinstance(one, dict) and isinstance(one.get("required"), bool | str):
                self._lift(node, name, one, f"{place}.{name}")
            if keyword == "dependencies" and _are_names(one):
                continue
            right = self._sub(one, f"{place}.{name}")
            if right is not one:
                schemas[name] = right
        return self._told(schemas, value, place)

    def _lift(self, node: dict[str, Any], name: str, one: dict[str, Any], place: str) -> None:
        """Up to draft 3 a property said itself whether it is required."""
        needed = flag(one["required"])
        if needed is GONE:
            return
        self._flaws.tell(Flaw.REQUIRED_INSIDE, place, "required")
        del one["required"]
        names = node.get("required", [])
        if needed and name not in names:
            node["required"] = [*names, name]

    def _one(self, keyword: str, value: Any, place: str) -> Any:
        if keyword == "items" and isinstance(value, list) and value:
            return self._several(value, place)
        if isinstance(value, str) and value.strip().lower() in _WORDS:
            return self._told(flag(value), value, place)
        return GONE if value is None else self._sub(value, place)

    def _several(self, value: Any, place: str) -> Any:
        schemas = from_text(value)
        schemas = [schemas] if isinstance(schemas, dict) else schemas
        if not isinstance(schemas, list) or not schemas:
            return GONE
        value = self._told(schemas, value, place)
        for number, one in enumerate(value):
            right = self._sub(one, f"{place}.{number}")
            if right is not one:
                value[number] = right
        return value

    def _sub(self, value: Any, place: str) -> Any:
        """What is meant where a schema is due; one that allows anything if that cannot be known."""
        if isinstance(value, bool):
            return value
        schema = from_text(value)
        if isinstance(schema, str):
            name = type_names(schema)
            schema = {"description": schema} if name is GONE else {"type": name}
        elif not isinstance(schema, dict):
            schema = {}
        if schema is not value:
            self._flaws.tell(Flaw.NULL if value is None else Flaw.WRONG_TYPE, place)
        self._schema(schema, place)
        return schema
