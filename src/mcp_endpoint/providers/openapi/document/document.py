"""An OpenAPI document of version 3 in the end, whatever it was, with its references followed. Does no I/O."""

from typing import Any

from mcp_endpoint.providers.openapi.document.references import References
from mcp_endpoint.providers.openapi.document.values import BadDocument, an_object
from mcp_endpoint.providers.openapi.document.version_2 import PathConverter, head_of_version_2

METHODS = ("get", "put", "post", "patch", "head", "options", "trace", "delete")
_OTHERS = {
    "asyncapi": "an AsyncAPI document",
    "swaggerVersion": "a document of Swagger 1",
    "mcpServers": "a list of MCP servers",
    "arazzo": "an Arazzo document",
    "overlay": "an overlay",
    "_postman_id": "a Postman collection",
    "log": "an HTTP archive",
}
"""What other JSON and YAML files that people take for such a document are, by a member of theirs."""


class NoDocument(BadDocument):
    """It is another text than a document; `content`, its values, may say where one is."""

    def __init__(self, why: str, content: Any) -> None:
        super().__init__(why)
        self.content = content


class Document:
    """A document; what it says of paths is asked from `paths` and `path`, the rest is its content."""

    def __init__(self, content: dict[str, Any], references: References, *, is_old: bool) -> None:
        """`is_old`: the content is one of version 2.0."""
        self.references = references
        self.notes = [f'the key "{key}" is there twice in one object; the last counts' for key in references.doubled]
        """What its owner should know of it."""
        self.content = head_of_version_2(content) if is_old else content
        self._paths = content.get("paths")
        self._converter = PathConverter(content, self._followed_if_it_can_be) if is_old else None

    def follow(self, node: Any) -> Any:
        """What a node stands for: itself, or what its reference leads to. Raises BadDocument."""
        return self.references.follow(node)

    def at(self, pointer: str) -> Any:
        """What stands at a reference. Raises BadDocument."""
        return self.references.at(pointer)

    def paths(self) -> dict[str, Any]:
        """What stands under each path, references not followed. Raises BadDocument."""
        return an_object(self.follow(self._paths))

    def path(self, node: Any) -> dict[str, Any]:
        """What a path stands for, its operations by method. Raises BadDocument."""
        given = an_object(self.follow(node))
        item = {name.lower() if name.lower() in METHODS else name: value for name, value in given.items()}
        return item if self._converter is None else self._converter.path(item)

    def _followed_if_it_can_be(self, node: Any) -> Any:
        try:
            return self.follow(node)
        except BadDocument:
            return node  # whoever needs it finds out again, and why


def read_document(data: bytes, place: str = "") -> Document:
    """Read a document whose own place is a URI; one of version 2.0 is converted. Raises BadDocument."""
    references = References(place)
    content = references.add_main(data)
    if not isinstance(content, dict):
        raise NoDocument("it is no object", content)
    version = str(content.get("openapi", content.get("swagger", ""))).strip().removeprefix("v")
    if version not in ("2", "3") and not version.startswith(("2.", "3.0", "3.1", "3.2")):
        raise NoDocument(_something_else(content, version), content)
    if not isinstance(content.get("paths", {}), dict):
        raise BadDocument("its paths are no object")
    return Document(content, references, is_old=version.startswith("2"))


def _something_else(content: dict[str, Any], version: str) -> str:
    for member, name in _OTHERS.items():
        if member in content:
            return f"it is {name} and no OpenAPI document of version 2.0 or 3.0 to 3.2"
    if "postman" in str(an_object(content.get("info")).get("schema", "")):
        return "it is a Postman collection: export it as OpenAPI"
    return f"it is no OpenAPI document of version 2.0 or 3.0 to 3.2 (version: {version[:20] or '-'})"
