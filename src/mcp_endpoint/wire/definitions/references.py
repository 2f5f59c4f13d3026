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
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"})
"""Keywords with schemas under names; `dependencies` of older drafts may have lists of names there."""

MOST_HOPS = 16
"""References that lead from one to the next."""

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
        self._bases: dict[int, dict[str, Any]] = {}
        """By its identity, where the references of a schema start: the nearest one around it with a `$id`."""
        self._found: dict[tuple[int, str], Any] = {}
        self._hops: dict[int, int] = {}
        """How many references lead from a schema to something else."""
        self.referring: list[tuple[dict[str, Any], Pointer]] = []
        """Schemas that refer to others, and where they are."""
        self._look(root, (), root)

    def _look(self, node: dict[str, Any], pointer: Pointer, base: dict[str, Any]) -> None:
        if "$id" in node and not node["$id"].startswith("#"):
            base = self._names[node["$id"]] = node
        if "$ref" in node:
            self.referring.append((node, pointer))
            self._bases[id(node)] = base
        if "$anchor" in node:
            self._names[f"#{node['$anchor']}"] = node
        for steps, one in inside(node):
            if isinstance(one, dict):
                self._look(one, pointer + steps, base)

    def target(self, node: dict[str, Any]) -> Any:
        """The schema that a schema refers to; None if that is nowhere."""
        reference, base = node["$ref"], self._bases[id(node)]
        key = (id(base), reference)
        if key not in self._found:
            self._found[key] = self._find(reference, base)
        return self._found[key]

    def _find(self, reference: str, base: dict[str, Any]) -> Any:
        if reference in self._names:
            return self._names[reference]
        place, _, fragment = reference.partition("#")
        start = self._names.get(place) if place else base
        if start is None or (fragment and not fragment.startswith("/")):
            return None
        return _at(start, tuple(_unescaped(step) for step in fragment.split("/")[1:]))

    @property
    def sound(self) -> bool:
        """Whether each leads somewhere."""
        return not any(self.target(node) is None or self.circles(node) for node, _ in self.referring)

    def circles(self, node: dict[str, Any]) -> bool:
        """Whether one reference leads to the next and never to anything else, or not in sight."""
        passed: list[int] = []
        here: Any = node
        while isinstance(here, dict) and "$ref" in here and id(here) not in self._hops:
            self._hops[id(here)] = MOST_HOPS + 1  # until it is known better: who comes back here goes in a circle
            passed.append(id(here))
            here = self.target(here)
        hops = self._hops[id(here)] if isinstance(here, dict) and "$ref" in here else 0
        for one in reversed(passed):
            hops += 1
            self._hops[one] = hops
        return self._hops.get(id(node), 0) > MOST_HOPS

    def meant(self, node: dict[str, Any], pointer: Pointer) -> str | None:
        """The reference as it was meant, in a schema at `pointer`; None if it cannot be known.

        Who puts a schema into another one often leaves it with references from its own root, and its definitions too.
        """
        if not node["$ref"].startswith("#/") or self._bases[id(node)] is not self._root:
            return None
        steps = tuple(_unescaped(step) for step in node["$ref"].split("/")[1:])
        others = (steps, (_OTHER_WORD[steps[0]], *steps[1:])) if steps[0] in _OTHER_WORD else (steps,)
        for length in range(len(pointer), -1, -1):
            for wanted in others:
                place = pointer[:length] + wanted
                if _at(self._root, place) is not None:
                    return "#" + "".join(f"/{_escaped(step)}" for step in place)
        return None


def _escaped(step: str) -> str:
    return quote(step.replace("~", "~0").replace("/", "~1"), safe="$~")


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
