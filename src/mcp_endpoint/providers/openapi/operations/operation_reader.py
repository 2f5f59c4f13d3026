"""Reads one operation of an OpenAPI document: its parameters, its body, and the schema of its tool's input. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from mcp_endpoint.providers.openapi.document.document import Document
from mcp_endpoint.providers.openapi.document.references import MOST_HOPS
from mcp_endpoint.providers.openapi.document.values import BadDocument, a_list, an_object
from mcp_endpoint.providers.openapi.operations.operation import BODY, QUERY_STYLES, Body, Operation, Parameter
from mcp_endpoint.providers.openapi.operations.schema import stand_alone
from mcp_endpoint.providers.openapi.operations.servers import own_server
from mcp_endpoint.wire.text import clean, slug

MOST_PARAMETERS = 2000
"""Of one operation; lists of NetBox have some hundreds, one for each way to filter by each member."""
LONGEST_DESCRIPTION = 1200

_STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": QUERY_STYLES,
    "header": ("simple",),
    "cookie": ("form",),
}
_NOT_PARAMETERS = frozenset(
    {
        *("accept", "content-type", "authorization"),
        *("content-length", "transfer-encoding", "content-encoding", "accept-encoding", "host", "expect"),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings"),
        *("x-http-method", "x-http-method-override", "x-method-override"),
    }
)
"""Headers that no caller gives: those that other members of a document say (OpenAPI 3.1, "Parameter Object"), those
that say where a request ends and whom it is for (RFC 9110, 7.6.1 and 8.6; RFC 9112, 6), and those that make it another
method than its tool says."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class OperationReader:
    """Reads one operation."""

    def __init__(self, document: Document, hidden: frozenset[tuple[str, str]]) -> None:
        self._document = document
        self._hidden = hidden
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []

    def read(self, name: str, method: str, path: str, item: dict[str, Any], operation: dict[str, Any]) -> Operation:
        """The operation as a tool of this name; `item` is what its path says for all methods. Raises BadDocument."""
        listed = self._listed(item, operation)
        gaps = _gaps(path)
        for gap in gaps:
            if ("path", gap) not in listed:
                # A gap that nobody describes is still a gap.
                listed["path", gap] = {"name": gap, "in": "path", "schema": {"type": "string"}}
        parameters = tuple(self._parameter(one) for one in listed.values() if self._is_asked(one, gaps))
        body = self._body(operation)
        schema = stand_alone(
            self._document,
            {"type": "object", "properties": self._properties, "required": self._required},
        )
        schema |= {"additionalProperties": False}
        if not schema["required"]:
            del schema["required"]
        summary, text = (_string(operation.get(key)) for key in ("summary", "description"))
        described = clean("\n\n".join(part for part in (summary, text) if part), LONGEST_DESCRIPTION)
        return Operation(
            name=name,
            method=method,
            path=path,
            server=own_server(operation) or own_server(item),
            description=described or f"{method.upper()} {clean(path, 200)}",
            title=clean(summary, 120),
            parameters=parameters,
            body=None if body is None else Body(body[0], _resolved(schema["properties"][BODY], schema), body[1]),
            security=tuple(
                one
                for one in a_list(operation.get("security", self._document.content.get("security")))
                if isinstance(one, dict)
            ),
            schema=schema,
        )

    def _listed(self, item: dict[str, Any], operation: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
        """The parameters of a path and of its operation, which replaces those that have the same place and name."""
        listed: dict[tuple[str, str], dict[str, Any]] = {}
        for node in [*a_list(item.get("parameters")), *a_list(operation.get("parameters"))]:
            parameter = an_object(self._document.follow(node))
            where, name = _string(parameter.get("in")).lower(), _string(parameter.get("name")).strip()
            if where in _STYLES and name:
                # Names of headers are equal whatever their case.
                key = where, name.lower() if where == "header" else name
                listed[key] = parameter | {"in": where, "name": name}
        if len(listed) > MOST_PARAMETERS:
            raise BadDocument(f"it has more than {MOST_PARAMETERS} parameters")
        return listed

    def _is_asked(self, parameter: dict[str, Any], gaps: list[str]) -> bool:
        """Whether a parameter is one for the caller to give. Raises BadDocument for one that must be and cannot."""
        where, name = parameter["in"], parameter["name"]
        if (where, name.lower()) in self._hidden:
            return False
        if where == "path":
            return name in gaps
        if where != "header":
            return True
        if not _TOKEN.fullmatch(name):
            if parameter.get("required") is True:
                raise BadDocument(f"it needs the header {clean(name, 80)}, which is no name of one")
            return False
        return is_given(name)

    def _parameter(self, node: dict[str, Any]) -> Parameter:
        where, name = node["in"], node["name"]
        known = _STYLES[where]
        style = node["style"] if node.get("style") in known else known[0]
        content = an_object(node.get("content"))
        schema = an_object(next(iter(content.values()), {})).get("schema") if content else node.get("schema")
        argument = self._argument(name, where)
        note = _string(node.get("description"))
        if where == "query" and node.get("allowEmptyValue") is True:
            schema = {"anyOf": [an_object(schema), {"const": ""}]}
        self._put(argument, schema, note, required=where == "path" or node.get("required") is True)
        explode = node.get("explode")
        return Parameter(
            argument=argument,
            name=name,
            where=where,
            style=style,
            explode=explode if isinstance(explode, bool) else style == "form",
            reserved=node.get("allowReserved") is True,
            json=bool(content) and _preference(next(iter(content))) == 0,
        )

    def _argument(self, name: str, where: str) -> str:
        argument = slug(name) or where
        while argument in self._properties or argument == BODY:
            argument = f"{argument}_{where}"
        return argument

    def _put(self, argument: str, schema: Any, note: str, *, required: bool) -> None:
        described = dict(an_object(schema))
        if note:
            described["description"] = note
        # What is only read is asked for here all the same: it is a parameter and not a member of an object.
        described.pop("readOnly", None)
        self._properties[argument] = described
        if required:
            self._required.append(argument)

    def _body(self, operation: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if "requestBody" not in operation:
            return None
        body = an_object(self._document.follow(operation["requestBody"]))
        content = an_object(body.get("content"))
        if not content:
            return None
        media_type = min(content, key=lambda one: (_preference(one), _kind(one) != "application/json"))
        if _preference(media_type) == len(_PREFERRED):
            raise BadDocument(f"its body can only be {clean(media_type, 80)}, which cannot be written")
        described = an_object(content[media_type])
        schema = described.get("schema")
        if schema is None and _kind(media_type) == "application/octet-stream":
            schema = {"type": "string", "format": "binary"}
        self._put(BODY, schema, _string(body.get("description")), required=body.get("required") is True)
        return _kind(media_type), an_object(described.get("encoding"))


def is_given(header: str) -> bool:
    """Whether a header of a document may be sent as it says."""
    name = header.lower()
    return name not in _NOT_PARAMETERS and not name.startswith("proxy-")


def _resolved(part: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a schema, or the definition that it is only a reference to."""
    for _ in range(MOST_HOPS):
        pointer = part.get("$ref")
        if not isinstance(pointer, str):
            break
        part = an_object(whole["$defs"].get(pointer.removeprefix("#/$defs/")))
    return part


_PREFERRED = ("json", "application/x-www-form-urlencoded", "multipart/form-data", "text", "application/octet-stream")


def _kind(media_type: str) -> str:
    kind = media_type.partition(";")[0].strip().lower()
    if kind in ("*/*", "application/*", "application/*+json"):
        return "application/json"
    return "text/plain" if kind == "text/*" else kind


def _preference(media_type: str) -> int:
    """The place of a media type among those that can be written; the first is best."""
    kind = _kind(media_type)
    if kind == "application/json" or kind.endswith("+json"):
        return 0
    if kind in _PREFERRED:
        return _PREFERRED.index(kind)
    if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
        return 3
    return 4 if kind.startswith(("image/", "audio/", "video/")) or kind == "application/zip" else len(_PREFERRED)


def _gaps(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:] if "}" in part]


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
