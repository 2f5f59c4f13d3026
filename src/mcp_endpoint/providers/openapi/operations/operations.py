"""The operations of an OpenAPI document that become tools.

Pure. An operation that cannot become a tool is left out with its reason and harms no other.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_endpoint.providers.openapi.document.document import METHODS, Document
from mcp_endpoint.providers.openapi.document.values import BadDocument, a_list, reference
from mcp_endpoint.providers.openapi.operations.operation import WITHOUT_ASKING, Operation
from mcp_endpoint.providers.openapi.operations.operation_reader import OperationReader
from mcp_endpoint.wire.text import clean, slug

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
    everything = list(_all(document, wanted.methods, result))
    names = _names(everything)
    too_many = 0
    for (path, method, item, operation), name in zip(everything, names, strict=True):
        if not wanted(method, operation):
            continue
        if len(result.found) >= MOST_OPERATIONS:
            too_many += 1
            continue
        try:
            one = OperationReader(document, hidden).read(name, method, path, item, operation)
        except BadDocument as error:
            result.left_out.append(f"{clean(f'{method.upper()} {path}', 200)}: {error}")
            continue
        result.found.append(one)
    if too_many:
        result.left_out.insert(
            0, f"{too_many} operations over {MOST_OPERATIONS}: choose with tags, operations or methods in the entry"
        )
    return result


def _all(
    document: Document, methods: frozenset[str], result: Operations
) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """All operations, those too that are not wanted: the names of the others must not depend on what is."""
    for path, node in document.paths().items():
        if path.startswith("x-"):
            continue
        path = path if path.startswith("/") else f"/{path}"
        shown = clean(path, 200)
        try:
            item = document.path(node)
        except BadDocument as error:
            result.left_out.append(f"{shown}: {error}")
            continue
        for method in METHODS:
            operation = item.get(method)
            if method not in methods and reference(operation) is not None:
                continue  # what nobody wants is not read
            try:
                operation = document.follow(operation)
            except BadDocument as error:
                result.left_out.append(f"{method.upper()} {shown}: {error}")
                continue
            if isinstance(operation, dict):
                yield path, method, item, operation


def _names(everything: Sequence[tuple[str, str, dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Names that stay, whatever operation is added beside: what is not plain ends with a hash of method and path."""
    plain = [_name(method, path, operation) for path, method, _, operation in everything]
    count = Counter(name for name, _ in plain)
    names: list[str] = []
    taken: set[str] = set()
    for (path, method, _, _), (name, is_whole) in zip(everything, plain, strict=True):
        if count[name] > 1 or not is_whole:
            name = _hashed(name, f"{method} {path}")
        while name in taken:
            name = _hashed(name, name)
        taken.add(name)
        names.append(name)
    return names


def _name(method: str, path: str, operation: Mapping[str, Any]) -> tuple[str, bool]:
    """What an operation is called, and whether that is all that names it: letters of other scripts get lost."""
    given = operation.get("operationId")
    id_ = str(given) if isinstance(given, str | int) else ""
    if name := slug(id_):
        return name, id_.isascii()
    return slug(f"{method}_{path.strip('/')}") or method, path.isascii()


def _hashed(name: str, of: str) -> str:
    return f"{name[:55]}_{hashlib.sha256(of.encode(errors='replace')).hexdigest()[:8]}"
