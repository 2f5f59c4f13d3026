"""An OpenAPI document of version 3 in the end, whatever it was, with its references followed. Does no I/O."""

from typing import Any

from mcp_endpoint.providers.openapi.references import References
from mcp_endpoint.providers.openapi.v2 import PathConverter, head_of_version_2
from mcp_endpoint.providers.openapi.values import BadDocument, an_object


class Document:
    """A document; what it says of paths is asked from `paths` and `path`, the rest is its content."""

    def __init__(self, content: dict[str, Any], references: References, *, is_old: bool) -> None:
        """`is_old`: the content is one of version 2.0."""
        self.references = references
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
        item = an_object(self.follow(node))
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
        raise BadDocument("it is no object")
    version = str(content.get("openapi", content.get("swagger", "")))
    if not version.startswith(("2.", "3.0", "3.1", "3.2")):
        raise BadDocument(f"it is no OpenAPI document of version 2.0 or 3.0 to 3.2 (version: {version[:20] or '-'})")
    if not isinstance(content.get("paths", {}), dict):
        raise BadDocument("its paths are no object")
    return Document(content, references, is_old=version.startswith("2."))
