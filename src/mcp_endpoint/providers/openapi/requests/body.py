"""The body of a request: JSON, a form, parts, text or bytes, as the document says. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from mcp_endpoint.providers.arguments.errors import BadArguments
from mcp_endpoint.providers.openapi.document.values import an_object
from mcp_endpoint.providers.openapi.operations.operation import BODY, QUERY_STYLES, Body, Parameter
from mcp_endpoint.providers.openapi.operations.schema import is_binary
from mcp_endpoint.providers.openapi.requests.styles import in_query, plain

Part = tuple[str, tuple[str | None, bytes, str | None]]
"""One part of a multipart body: (name, (file name, content, media type))."""


def written(body: Body, value: Any) -> tuple[bytes | None, tuple[Part, ...], str | None]:
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
    pairs: list[str] = []
    for name, value in members.items():
        encoding = an_object(body.encoding.get(name))
        if value is not None:
            pairs += _styled(name, encoding, value) if _STYLED & encoding.keys() else _unstyled(name, value)
    return "&".join(pairs)


_STYLED = {"style", "explode", "allowReserved"}
"""Whoever says one of these wants a member written as a parameter of a query is (OpenAPI 3.1, "Encoding Object")."""


def _styled(name: str, encoding: Mapping[str, Any], value: Any) -> list[str]:
    said, explode = encoding.get("style"), encoding.get("explode")
    style = said if said in QUERY_STYLES else "form"
    explode = explode if isinstance(explode, bool) else style == "form"
    return in_query(Parameter(name, name, "query", style, explode, encoding.get("allowReserved") is True), value)


def _unstyled(name: str, value: Any) -> list[str]:
    values = [one for one in value if one is not None] if isinstance(value, list) else [value]
    return [f"{quote_plus(name)}={quote_plus(plain(one), errors='replace')}" for one in values]


def _parts(body: Body, members: dict[str, Any]) -> list[Part]:
    described = body.schema.get("properties")
    known: Mapping[str, Any] = described if isinstance(described, dict) else {}
    parts: list[Part] = []
    for name, value in members.items():
        schema = known.get(name)
        schema = schema if isinstance(schema, dict) else {}
        told = an_object(body.encoding.get(name)).get("contentType")
        media_type = told.partition(",")[0].strip() if isinstance(told, str) and "*" not in told else None
        several = isinstance(value, list)
        items = schema.get("items") if several else schema
        binary = isinstance(items, dict) and is_binary(items)
        for one in value if several else [value]:
            if binary:
                file_type = media_type or "application/octet-stream"
                parts.append((name, (name, _bytes(f"{BODY}.{name}", one), file_type)))
            elif isinstance(one, dict | list):
                content = json.dumps(one, ensure_ascii=False).encode(errors="replace")
                parts.append((name, (None, content, media_type or "application/json")))
            elif one is not None:
                parts.append((name, (None, plain(one).encode(errors="replace"), media_type)))
    return parts


def _bytes(place: str, value: Any) -> bytes:
    try:
        return base64.b64decode(plain(value), validate=True)
    except (binascii.Error, ValueError):
        raise BadArguments(f"{place} 应为 base64 / {place} must be base64") from None
