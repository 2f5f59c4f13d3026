"""What every part of the reader of OpenAPI documents needs: why one cannot be used, and values of the expected form."""

from typing import Any, cast


class BadDocument(Exception):
    """The document, or a part of it, cannot be used; the message says why."""


def reference(node: Any) -> str | None:
    """The reference that a node is; None for any other."""
    pointer = node.get("$ref") if isinstance(node, dict) else None
    return pointer if isinstance(pointer, str) else None


def an_object(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def a_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def a_text(value: Any) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""
