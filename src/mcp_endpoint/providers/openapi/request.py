"""A tool's arguments as an HTTP request: checked against the schema, put where the document wants them. Pure."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from mcp_endpoint.providers.arguments import Reader
from mcp_endpoint.providers.offer import BadArguments
from mcp_endpoint.providers.openapi.operation import BODY, Body, Operation
from mcp_endpoint.providers.openapi.schema import is_binary
from mcp_endpoint.providers.openapi.styles import in_cookie, in_header, in_path, in_query, plain
from mcp_endpoint.providers.openapi.values import an_object

Part = tuple[str, tuple[str | None, bytes, str | None]]
"""One part of a multipart body: (name, (file name, content, media type))."""


@dataclass(frozen=True)
class Prepared:
    """What is sent, but for the server and the credentials."""

    path: str
    """With its query, encoded."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    content: bytes | None = None
    parts: tuple[Part, ...] = ()


class Preparer:
    """Makes requests for one operation."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._reader = Reader(operation.schema)

    def prepare(self, given: Mapping[str, Any], ignored: Callable[[str], None] = lambda name: None) -> Prepared:
        """The request for these arguments; `ignored` is told names that are none. Raises BadArguments."""
        arguments = self._reader.read(self._gathered(given), ignored)
        operation = self._operation
        path = operation.path.replace("#", "%23")
        query: list[str] = []
        headers: dict[str, str] = {}
        cookies: list[str] = []
        for parameter in operation.parameters:
            if parameter.argument not in arguments:
                continue
            value = arguments[parameter.argument]
            if value is None and parameter.where != "path" and not parameter.json:
                continue
            match parameter.where:
                case "path":
                    path = path.replace("{" + parameter.name + "}", in_path(parameter, value))
                case "query":
                    query += in_query(parameter, value)
                case "header":
                    headers[parameter.name] = in_header(parameter, value)
                case _:
                    cookies += in_cookie(parameter, value)
        content: bytes | None = None
        parts: tuple[Part, ...] = ()
        if operation.body is not None and BODY in arguments:
            content, parts, media_type = _written(operation.body, arguments[BODY])
            if media_type:
                headers["Content-Type"] = media_type
        if query:
            path += ("&" if "?" in path else "?") + "&".join(query)
        return Prepared(path, headers, tuple(cookies), content, parts)

    def _gathered(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments with what are members of the body put into it, where they were given in its place."""
        body = self._operation.body
        if body is None or BODY in given:
            return given
        parameters, members = self._operation.schema["properties"], an_object(body.schema.get("properties"))
        inside = {name: value for name, value in given.items() if name not in parameters and name in members}
        rest = {name: value for name, value in given.items() if name not in inside}
        return rest | {BODY: inside} if inside else given


def _written(body: Body, value: Any) -> tuple[bytes | None, tuple[Part, ...], str | None]:
    """A body as bytes or as parts, and its media type, which for parts the HTTP library makes."""
    kind = body.media_type
    if kind == "application/json" or kind.endswith("+json"):
        return json.dumps(value, ensure_ascii=False).encode(errors="replace"), (), kind
    if kind == "application/x-www-form-urlencoded":
        return _form(body, _members(value)).encode(), (), kind
    if kind == "multipart/form-data":
        return None, tuple(_parts(body, _members(value))), None
    if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
        return plain(value).encode(errors="replace"), (), f"{kind}; charset=utf-8"
    return _bytes(BODY, value), (), kind


def _members(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadArguments(f"{BODY} 应为对象 / {BODY} must be an object")
    return value


def _form(body: Body, members: dict[str, Any]) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in members.items():
        encoding = body.encoding.get(name)
        explode = not isinstance(encoding, dict) or encoding.get("explode") is not False
        if isinstance(value, list) and explode:
            pairs += [(name, plain(one)) for one in value if one is not None]
        elif isinstance(value, list):
            pairs.append((name, ",".join(plain(one) for one in value if one is not None)))
        elif value is not None:
            pairs.append((name, plain(value)))
    return "&".join(f"{quote_plus(name)}={quote_plus(value, errors='replace')}" for name, value in pairs)


def _parts(body: Body, members: dict[str, Any]) -> list[Part]:
    described = body.schema.get("properties")
    known: Mapping[str, Any] = described if isinstance(described, dict) else {}
    parts: list[Part] = []
    for name, value in members.items():
        schema = known.get(name)
        schema = schema if isinstance(schema, dict) else {}
        encoding = body.encoding.get(name)
        told = encoding.get("contentType") if isinstance(encoding, dict) else None
        media_type = told.partition(",")[0].strip() if isinstance(told, str) and "*" not in told else None
        several = isinstance(value, list)
        items = schema.get("items") if several else schema
        binary = isinstance(items, dict) and is_binary(items)
        for one in value if several else [value]:
            if binary:
                file_type = media_type or "application/octet-stream"
                parts.append((name, (name, _bytes(f"{BODY}.{name}", one), file_type)))
            elif isinstance(one, dict | list):
                parts.append((name, (None, json.dumps(one, ensure_ascii=False).encode(), "application/json")))
            elif one is not None:
                parts.append((name, (None, plain(one).encode(errors="replace"), media_type)))
    return parts


def _bytes(place: str, value: Any) -> bytes:
    try:
        return base64.b64decode(plain(value), validate=True)
    except (binascii.Error, ValueError):
        raise BadArguments(f"{place} 应为 base64 / {place} must be base64") from None
