"""The text of an OpenAPI document, JSON or YAML, as plain values; bounded. PyYAML reads YAML."""

import json
import math
import re
from collections.abc import Callable
from typing import Any, cast

import yaml

MOST_VALUES = 4_000_000
"""Values in all documents of an API, those counted again that a YAML alias repeats."""
DEEPEST = 120


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


class Values:
    """Reads texts into plain JSON values whose keys are texts, up to a limit that holds for all of them together."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def read(self, data: bytes, absolute: Callable[[str], str]) -> Any:
        """The values of a text, each reference in it as `absolute` writes it. Raises BadDocument."""
        return self._copy(_parse(data), 0, absolute)

    def _copy(self, node: Any, depth: int, absolute: Callable[[str], str]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise BadDocument(f"it has more than {MOST_VALUES} values")
        if depth > DEEPEST:
            raise BadDocument(f"it is nested more than {DEEPEST} deep")
        if isinstance(node, dict):
            new = {str(key): self._copy(value, depth + 1, absolute) for key, value in node.items()}
            if (pointer := reference(new)) is not None:
                new["$ref"] = absolute(pointer)
            return new
        if isinstance(node, list):
            return [self._copy(value, depth + 1, absolute) for value in node]
        if node is None or isinstance(node, str | int) or (isinstance(node, float) and math.isfinite(node)):
            return node
        raise BadDocument(f"it has a value that JSON does not know ({type(node).__name__})")


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
