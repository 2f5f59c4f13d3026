"""The operations of an OpenAPI document that become tools.

Pure. An operation that cannot become a tool is left out with its reason and harms no other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_endpoint.providers.openapi.document import Document
from mcp_endpoint.providers.openapi.operation import METHODS, WITHOUT_ASKING, Operation
from mcp_endpoint.providers.openapi.reader import OperationReader
from mcp_endpoint.providers.openapi.values import BadDocument, a_list
from mcp_endpoint.providers.text import clean, slug

MOST_OPERATIONS = 2000


@dataclass(frozen=True)
class Filter:
    """Which operations become tools; an empty set stands for all."""

    methods: frozenset[str] = WITHOUT_ASKING
    tags: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    """By operationId."""

    def __call__(self, method: str, operation: Mapping[str, Any]) -> bool:
        """Whether an operation is wanted."""
        tags = {tag for tag in a_list(operation.get("tags")) if isinstance(tag, str)}
        return (
            method in self.methods
            and (not self.tags or bool(tags & self.tags))
            and (not self.operations or operation.get("operationId") in self.operations)
        )


@dataclass
class Operations:
    """What was made of a document."""

    found: list[Operation] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Sentences: which operation, and why."""


def operations(document: Document, wanted: Filter, hidden: frozenset[tuple[str, str]]) -> Operations:
    """The wanted operations. `hidden` parameters, as (where, name in lower case), are filled in by the settings."""
    result = Operations()
    taken: set[str] = set()
    for path, method, item, operation in _all(document, wanted.methods, result):
        if not wanted(method, operation):
            continue
        shown = clean(f"{method.upper()} {path}", 200)
        if len(result.found) >= MOST_OPERATIONS:
            result.left_out.append(f"{shown}: there are more than {MOST_OPERATIONS} operations")
            break
        try:
            one = OperationReader(document, hidden).read(
                _free(_name(method, path, operation), taken), method, path, item, operation
            )
        except BadDocument as error:
            result.left_out.append(f"{shown}: {error}")
            continue
        taken.add(one.name)
        result.found.append(one)
    return result


def _all(
    document: Document, methods: frozenset[str], result: Operations
) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    for path, node in document.paths().items():
        if not path.startswith("/"):
            continue
        shown = clean(path, 200)
        try:
            item = document.path(node)
        except BadDocument as error:
            result.left_out.append(f"{shown}: {error}")
            continue
        for method in (one for one in METHODS if one in methods):
            try:
                operation = document.follow(item.get(method))
            except BadDocument as error:
                result.left_out.append(f"{method.upper()} {shown}: {error}")
                continue
            if isinstance(operation, dict):
                yield path, method, item, operation


def _name(method: str, path: str, operation: Mapping[str, Any]) -> str:
    given = operation.get("operationId")
    return (slug(given) if isinstance(given, str) else "") or slug(f"{method}_{path.strip('/')}") or method


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name[:58]}_{number}"
    return free
