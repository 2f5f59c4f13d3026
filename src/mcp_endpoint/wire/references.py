"""Where the references within one JSON Schema lead."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

ONE = frozenset(
    {
        "items",
        "additionalProperties",
        "additionalItems",
        "unevaluatedProperties",
        "unevaluatedItems",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
    }
)
"""Keywords with a schema; `items` of older drafts may have a list of them."""
SEVERAL = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
"""Keywords with a list of schemas."""
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords with schemas under names."""

Pointer = tuple[str, ...]
_OTHER_WORD = {"$defs": "definitions", "definitions": "$defs"}


def inside(node: dict[str, Any]) -> Iterator[tuple[Pointer, Any]]:
    """The schemas directly inside one, and the steps to them."""
    for keyword, value in node.items():
        if keyword in NAMED and isinstance(value, dict):
            for name, one in value.items():
                yield (keyword, name), one
        elif keyword in ONE and not isinstance(value, list):
            yield (keyword,), value
        elif keyword in SEVERAL or keyword == "items":
            for place, one in enumerate(value if isinstance(value, list) else ()):
                yield (keyword, str(place)), one


class References:
    """All references within a schema whose keywords have values of the right types."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._names: dict[str, Any] = {}
        """Schemas by their own names: `$id`, and `#` with `$anchor`."""
        self.referring: list[tuple[dict[str, Any], Pointer]] = []
        """Schemas that refer to others, and where they are."""
        self._look(root, ())

    def _look(self, node: dict[str, Any], pointer: Pointer) -> None:
        if "$ref" in node:
            self.referring.append((node, pointer))
        if "$id" in node:
            self._names[node["$id"]] = node
        if "$anchor" in node:
            self._names[f"#{node['$anchor']}"] = node
        for steps, one in inside(node):
            if isinstance(one, dict):
                self._look(one, pointer + steps)

    def target(self, reference: str) -> Any:
        """The schema that a reference leads to; None if it leads nowhere."""
        if reference in self._names:
            return self._names[reference]
        place, _, fragment = reference.partition("#")
        node = self._names.get(place) if place else self._root
        if node is None or (fragment and not fragment.startswith("/")):
            return None
        return _at(node, tuple(_unescaped(step) for step in fragment.split("/")[1:]))

    def mended(self, reference: str, pointer: Pointer) -> str | None:
        """The reference as it was meant, in a schema at `pointer`; None if it cannot be known.

        Who puts a schema into another one often leaves it with references from its own root, and its definitions too.
        """
        if not reference.startswith("#/"):
            return None
        steps = tuple(_unescaped(step) for step in reference.split("/")[1:])
        others = (steps, (_OTHER_WORD[steps[0]], *steps[1:])) if steps[0] in _OTHER_WORD else (steps,)
        for length in range(len(pointer), -1, -1):
            for wanted in others:
                place = pointer[:length] + wanted
                if _at(self._root, place) is not None:
                    return "#" + "".join(
                        f"/{quote(step.replace('~', '~0').replace('/', '~1'), safe='$~')}" for step in place
                    )
        return None


def _unescaped(step: str) -> str:
    return unquote(step).replace("~1", "/").replace("~0", "~")


def _at(node: Any, steps: Pointer) -> Any:
    for step in steps:
        if isinstance(node, dict):
            node = node.get(step)
        elif isinstance(node, list) and step.isdecimal() and len(step) < 6 and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node if isinstance(node, dict | bool) else None
