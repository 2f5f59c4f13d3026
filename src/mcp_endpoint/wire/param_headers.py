"""Arguments of a tool call that are repeated as HTTP headers, because the tool's schema says so with `x-mcp-header`.

Specification 2026-07-28, "Custom Headers from Tool Parameters". A proxy may route by such a header, so one that says
something else than the body is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Raw

from mcp_endpoint.errors.refusals import Refusal
from mcp_endpoint.wire import envelope as wire
from mcp_endpoint.wire.stateless import InvalidRequest, decode, other_header, repeated_header, spell

MARK = "x-mcp-header"
_PREFIX = "Mcp-Param-"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_ONE = {
    *("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("not", "if", "then", "else", "contentSchema"),
}
_SEVERAL = {"allOf", "anyOf", "oneOf", "prefixItems"}
_BY_NAME = {"patternProperties", "dependentSchemas", "$defs", "definitions"}
"""Keywords of JSON Schema 2020-12 that hold a schema, a list of them, or several by name; `properties` is apart."""
KNOWN = 256
"""How many definitions are remembered with what they declare."""


class Declared(NamedTuple):
    """One argument that is repeated as a header."""

    path: tuple[str, ...]
    header: str
    is_integer: bool


def check(definition: bytes, arguments: Raw | None, headers: Mapping[str, str], repeated: Set[str]) -> None:
    """Hold the headers of a call against its arguments, by the definition of its tool. Raises InvalidRequest."""
    if MARK.encode() not in definition:
        return
    for declared in declared_by(definition):
        name = declared.header
        raw, value = headers.get(name.lower()), _at(arguments, declared.path)
        where = ".".join(declared.path)
        if raw is not None and name.lower() in repeated:
            raise repeated_header(name)
        rendered = _rendered(value)
        if rendered is None:
            if raw is not None:
                raise InvalidRequest(
                    Refusal.HEADER_MISMATCH,
                    f"有请求头 {name}，而没有与之对应的参数 {where}",
                    f"the header {name} is there, and no argument {where} like it",
                )
            continue
        if raw is None:
            raise InvalidRequest(
                Refusal.HEADER_MISMATCH,
                f"有参数 {where}，而缺少请求头 {name}",
                f"the header {name} is missing; the argument {where} is there",
            )
        said = decode(raw)
        if said is None or not (said == rendered or (declared.is_integer and _same_number(said, value))):
            raise other_header(name, f"参数 {where} ", f"the argument {where}")


def wanted(definition: bytes, arguments: Raw | None) -> dict[str, str]:
    """The headers that a call of the tool with this definition must have."""
    values = {declared.header: _rendered(_at(arguments, declared.path)) for declared in declared_by(definition)}
    return {header: spell(value) for header, value in values.items() if value is not None}


@lru_cache(KNOWN)
def declared_by(definition: bytes) -> tuple[Declared, ...]:
    """The headers that a tool's definition declares; none if any of them is against the rules.

    Clients leave out such a tool, so nobody is to be refused by it.
    """
    tool = wire.members(definition) or {}
    try:
        schema = json.loads(bytes(tool["inputSchema"])) if "inputSchema" in tool else None
    except (ValueError, RecursionError):
        return ()
    found: dict[str, Declared] = {}
    for path, position in _positions(schema):
        if MARK not in position:
            continue
        token, kind = position[MARK], position.get("type")
        fits = bool(path) and isinstance(token, str) and _TOKEN.fullmatch(token) and isinstance(kind, str)
        if not fits or kind not in ("string", "integer", "boolean") or token.lower() in found:
            return ()
        assert path is not None
        found[token.lower()] = Declared(path, _PREFIX + token, kind == "integer")
    return tuple(found.values())


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every schema within a schema, and the properties that lead to it; None if it is reached in another way."""
    waiting: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while waiting:
        path, schema = waiting.pop()
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for word, value in schema.items():
            if word == "properties" and isinstance(value, dict):
                waiting += [(None if path is None else (*path, name), one) for name, one in value.items()]
            elif word in _ONE:
                waiting.append((None, value))
            elif word in _SEVERAL and isinstance(value, list):
                waiting += [(None, one) for one in value]
            elif word in _BY_NAME and isinstance(value, dict):
                waiting += [(None, one) for one in value.values()]


def _at(arguments: Raw | None, path: tuple[str, ...]) -> object:
    """The argument at the end of a path; None if there is none."""
    node = arguments
    for name in path:
        node = None if node is None else (wire.members(node) or {}).get(name)
    try:
        return None if node is None else json.loads(bytes(node))
    except (ValueError, RecursionError):
        return None


def _rendered(value: object) -> str | None:
    """An argument as a client writes it into a header; None if it cannot."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return str(value) if isinstance(value, str | int | float) else None
    except ValueError:  # more digits than Python writes
        return None


def _same_number(said: str, value: object) -> bool:
    """Whether a header has an integer's value in another spelling."""
    number = _DECIMAL.fullmatch(said)
    if number is None or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return value == int(value) and int(number[1]) == int(value)
    except (ValueError, OverflowError):
        return False
