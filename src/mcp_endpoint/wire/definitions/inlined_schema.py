"""A schema for a reader that keeps only `properties` and `required` of its root: all that these need stands in them.

What a reference leads to is put in its place, as far as there is room. Where a reference leads back to what it stands
in, or the room is used up, stands a plain value of the same type.
"""

from typing import Any

from msgspec.json import encode

from mcp_endpoint.wire.definitions.references import NAMED, ONE, SEVERAL, References, inside

DEEPEST = 24
"""Schemas in one another, below which no reference is followed."""
_DEFINITIONS = ("$defs", "definitions")
PARTS = ("allOf", "anyOf", "oneOf")


class _Inliner:
    def __init__(self, root: dict[str, Any], room: int) -> None:
        self._references = References(root)
        self._room = room
        self._sizes: dict[int, int] = {}
        self._depth = 0

    def whole(self, node: Any, within: tuple[int, ...] = ()) -> Any:
        """A copy of a schema without references; `within` are the schemas that it stands in."""
        if not isinstance(node, dict):
            return node
        self._depth += 1
        copy = {
            keyword: self._inside(keyword, value, within)
            for keyword, value in node.items()
            if keyword not in ("$ref", *_DEFINITIONS)
        }
        target = self._references.target(node) if "$ref" in node else None
        if isinstance(target, dict):
            if id(target) in within or self._depth > DEEPEST or not self._fits(target):
                copy = _plain(target) | copy
            else:
                copy = self.whole(target, (*within, id(target))) | copy
        self._depth -= 1
        return copy

    def _inside(self, keyword: str, value: Any, within: tuple[int, ...]) -> Any:
        if keyword in NAMED and isinstance(value, dict):
            return {name: self.whole(one, within) for name, one in value.items()}
        if keyword in SEVERAL or (keyword == "items" and isinstance(value, list)):
            return [self.whole(one, within) for one in value]
        return self.whole(value, within) if keyword in ONE else value

    def _fits(self, target: dict[str, Any]) -> bool:
        size = self._sizes.get(id(target))
        if size is None:
            own = {keyword: value for keyword, value in target.items() if keyword not in _DEFINITIONS}
            size = self._sizes[id(target)] = len(encode(own))
        self._room -= size
        return self._room >= 0


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """What there is to say of a value without saying what is in it."""
    if "type" in schema:
        return {"type": schema["type"]}
    return {"type": "object"} if "properties" in schema else {}


def has_reference(schema: dict[str, Any]) -> bool:
    """Whether there is a reference anywhere in a schema."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if "$ref" in node:
            return True
        waiting += [one for _, one in inside(node) if isinstance(one, dict)]
    return False


def inlined(schema: dict[str, Any], room: int) -> dict[str, Any]:
    """The schema of a tool's input with all that it says of its arguments in `properties` and `required`.

    What is put in place of references has `room` bytes, all together.
    """
    whole = _Inliner(schema, room).whole(schema, (id(schema),))
    properties, required = _arguments(whole)
    rest = {keyword: value for keyword, value in whole.items() if keyword not in PARTS}
    rest |= {"type": "object", "properties": properties}
    return rest | ({"required": required} if required else {})


def _arguments(schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments that a schema of an object knows by name, and those that it wants in any case."""
    properties: dict[str, Any] = dict(schema.get("properties", {}))
    required: list[str] = list(schema.get("required", []))
    for keyword in PARTS:
        parts = [_arguments(one) for one in schema.get(keyword, []) if _of_object(one)]
        for known, wanted in parts:
            properties = known | properties
            required += wanted if keyword == "allOf" else []
        if keyword != "allOf" and parts:
            required += [name for name in parts[0][1] if all(name in wanted for _, wanted in parts)]
    return properties, [name for name in dict.fromkeys(required) if name in properties]


def _of_object(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type", "object") in ("object", ["object"], ["object", "null"])
