"""One operation of an OpenAPI document as a tool: its name, what it takes, and where in a request that goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp_endpoint.providers.openapi.document.document import METHODS

WITHOUT_ASKING = frozenset(METHODS) - {"delete"}
"""The methods whose operations become tools where the settings name none."""
QUERY_STYLES = ("form", "spaceDelimited", "pipeDelimited", "deepObject")
BODY = "body"
"""The argument that is the request's body."""


@dataclass(frozen=True)
class Parameter:
    """One value of a call that is no part of the body, and where it goes."""

    argument: str
    """What the tool calls it."""
    name: str
    where: str
    """`path`, `query`, `header` or `cookie`."""
    style: str
    explode: bool
    reserved: bool = False
    """Whether reserved characters of a query are sent as they are."""
    json: bool = False
    """Whether the value is sent as JSON."""


@dataclass(frozen=True)
class Body:
    """What the body of a request is written as."""

    media_type: str
    schema: Mapping[str, Any]
    encoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One operation as a tool."""

    name: str
    method: str
    path: str
    server: str | None
    """A server of its own, as the document writes it."""
    description: str
    title: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    security: tuple[Mapping[str, Any], ...]
    """Alternatives; each needs all the schemes that are its keys."""
    schema: Mapping[str, Any]
    """Of the tool's input."""

    def definition(self) -> dict[str, object]:
        """The tool as it is listed."""
        reads = self.method in ("get", "head", "options", "trace")
        hints: dict[str, object] = {"readOnlyHint": reads, "openWorldHint": True}
        if not reads:
            # Nobody can know what a POST does, so only what reads is said to destroy nothing.
            hints |= {"destructiveHint": True, "idempotentHint": self.method in ("put", "delete")}
        return {
            "name": self.name,
            **({"title": self.title} if self.title else {}),
            "description": self.description,
            "inputSchema": self.schema,
            "annotations": hints,
        }
