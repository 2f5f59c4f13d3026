"""A tool's arguments as an HTTP request: checked against the schema, put where the document wants them. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_endpoint.providers.arguments.meanings import is_blank, is_word_for_nothing, structure
from mcp_endpoint.providers.arguments.reader import Reader
from mcp_endpoint.providers.openapi.document.values import an_object
from mcp_endpoint.providers.openapi.operations.operation import BODY, Operation
from mcp_endpoint.providers.openapi.requests.body import Part, written
from mcp_endpoint.providers.openapi.requests.styles import in_cookie, in_header, in_path, in_query


@dataclass(frozen=True)
class PreparedRequest:
    """What is sent, but for the server and the credentials."""

    path: str
    """With its query, encoded."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    content: bytes | None = None
    parts: tuple[Part, ...] = ()


class RequestBuilder:
    """Makes requests for one operation."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._reader = Reader(operation.schema)

    def build(self, given: Mapping[str, Any], ignored: Callable[[str], None] = lambda name: None) -> PreparedRequest:
        """The request for these arguments; `ignored` is told names that are none. Raises BadArguments."""
        arguments = self._reader.read(self._gathered(given), ignored)
        operation = self._operation
        # Behind `#` there is what tells operations of one path apart in a document; it is never sent (RFC 3986, 3.5).
        path = operation.path.partition("#")[0]
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
                case "header" if parameter.name.lower() == "cookie":
                    cookies.append(in_header(parameter, value))  # there is one such header (RFC 6265, 5.4)
                case "header":
                    headers[parameter.name] = in_header(parameter, value)
                case _:
                    cookies += in_cookie(parameter, value)
        content: bytes | None = None
        parts: tuple[Part, ...] = ()
        if operation.body is not None and BODY in arguments:
            content, parts, media_type = written(operation.body, arguments[BODY])
            if media_type:
                headers["Content-Type"] = media_type
        if query:
            path += ("&" if "?" in path else "?") + "&".join(query)
        return PreparedRequest(path, headers, tuple(cookies), content, parts)

    def _gathered(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments with what are members of the body put into it, where they were given in its place or beside."""
        body = self._operation.body
        if body is None:
            return given
        parameters, members = self._operation.schema["properties"], an_object(body.schema.get("properties"))
        inside = {name: value for name, value in given.items() if name not in parameters and name in members}
        if not inside:
            return given
        there = given.get(BODY)
        there = {} if is_blank(there) or is_word_for_nothing(there) else there
        there = there if isinstance(there, dict) else structure(there)
        if not isinstance(there, dict) or inside.keys() & there.keys():
            return given
        rest = {name: value for name, value in given.items() if name not in inside}
        return rest | {BODY: there | inside}
