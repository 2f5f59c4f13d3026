"""An OpenAPI document as it is read: JSON or YAML, bounded, of version 3 in the end, with its references followed.

PyYAML reads YAML, `referencing` follows references. Only those within the document are followed: a document must not
make the broker read a file or a URL that its settings do not name.
"""

import json
import math
import re
from typing import Any, cast

import yaml
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

from mcp_endpoint.providers.openapi.v2 import from_version_2

MOST_BYTES = 32 * 1024 * 1024
MOST_VALUES = 4_000_000
"""Values in a document, those counted again that a YAML alias repeats."""
DEEPEST = 120
MOST_HOPS = 16
"""References that lead from one to the next."""


class BadDocument(Exception):
    """The document, or a part of it, cannot be used; the message says why."""


class _Yaml(yaml.SafeLoader if not hasattr(yaml, "CSafeLoader") else yaml.CSafeLoader):  # type: ignore[misc]
    """YAML 1.2 as OpenAPI has it: `no` is a text, and so is a date."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  the library's own form


for _tag, _form, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_form})$"), list(_first))
# In 1.1 a number with a zero in front is octal, and one with colons counts in sixties.
_Yaml.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Yaml.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))


class Document:
    """A document of version 3."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._resolver = Registry().with_resource("", Resource.opaque(content)).resolver()

    def follow(self, node: Any) -> Any:
        """What a node stands for: itself, or what its reference leads to. Raises BadDocument."""
        for _ in range(MOST_HOPS):
            pointer = reference(node)
            if pointer is None:
                return node
            node = self.at(pointer)
        raise BadDocument(f"more than {MOST_HOPS} references lead from one to the next")

    def at(self, pointer: str) -> Any:
        """What stands at `#/…`. Raises BadDocument."""
        if pointer != "#" and not pointer.startswith("#/"):
            raise BadDocument(f"a reference to another document is not followed: {pointer[:100]}")
        try:
            return self._resolver.lookup(pointer).contents
        except (Unresolvable, LookupError, TypeError, ValueError):
            raise BadDocument(f"a reference leads nowhere: {pointer[:100]}") from None


def reference(node: Any) -> str | None:
    """The reference that a node is; None for any other."""
    pointer = node.get("$ref") if isinstance(node, dict) else None
    return pointer if isinstance(pointer, str) else None


def read_document(data: bytes) -> Document:
    """Read a document; one of version 2.0 is converted. Raises BadDocument."""
    if len(data) > MOST_BYTES:
        raise BadDocument(f"it has more than {MOST_BYTES} bytes")
    content = _Counted().copy(_parse(data), 0)
    if not isinstance(content, dict):
        raise BadDocument("it is no object")
    version = str(content.get("openapi", content.get("swagger", "")))
    if version.startswith("2."):
        content = from_version_2(content)
    elif not version.startswith(("3.0", "3.1", "3.2")):
        raise BadDocument(f"it is no OpenAPI document of version 2.0 or 3.0 to 3.2 (version: {version[:20] or '-'})")
    if not isinstance(content.get("paths", {}), dict):
        raise BadDocument("its paths are no object")
    return Document(content)


def _parse(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadDocument("it is not UTF-8") from None
    try:
        if text.lstrip()[:1] == "{":
            return json.loads(text)
        return yaml.load(text, _Yaml)
    except json.JSONDecodeError as error:
        raise BadDocument(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise BadDocument(f"{place}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadDocument(f"it is neither JSON nor YAML ({type(error).__name__})") from None


class _Counted:
    """Copies what was read into plain JSON values whose keys are texts, up to a limit."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def copy(self, node: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise BadDocument(f"it has more than {MOST_VALUES} values")
        if depth > DEEPEST:
            raise BadDocument(f"it is nested more than {DEEPEST} deep")
        if isinstance(node, dict):
            return {str(key): self.copy(value, depth + 1) for key, value in node.items()}
        if isinstance(node, list):
            return [self.copy(value, depth + 1) for value in node]
        if node is None or isinstance(node, str | int) or (isinstance(node, float) and math.isfinite(node)):
            return node
        raise BadDocument(f"it has a value that JSON does not know ({type(node).__name__})")


def an_object(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def a_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
