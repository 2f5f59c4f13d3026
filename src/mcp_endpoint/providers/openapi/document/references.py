"""The documents that an API is made of, and where the references in them lead; `referencing` follows a reference.

Nothing is read here: a document that an operation turns out to need is wanted, whoever reads it adds it, and the
operations are looked at once more. So documents that nobody needs are never read.

A document must not make the broker read what its settings do not name, so a document from a file leads to files of its
own folder and of those in it, one from a URL to URLs of the same origin, and nowhere else.
"""

from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

from mcp_endpoint.net.http_client import same_origin
from mcp_endpoint.providers.openapi.document.texts import ValueReader
from mcp_endpoint.providers.openapi.document.values import BadDocument, reference
from mcp_endpoint.wire.text import clean

MOST_BYTES = 32 * 1024 * 1024
"""Of all documents of an API together."""
MOST_DOCUMENTS = 100
MOST_HOPS = 16
"""References that lead from one to the next."""


class References:
    """Documents by their places, which are URIs. A reference within the first one is `#/…`, any other `place#/…`."""

    def __init__(self, main: str) -> None:
        """`main` is the first document's own place; empty where it has none, and then it can lead to no other."""
        self._main = main
        self._folder = urljoin(main, ".")
        self._values = ValueReader()
        self._contents: dict[str, Any] = {}
        self._refused: dict[str, str] = {}
        self._places: set[str] = {""}
        self._wanted: list[str] = []
        self.left = MOST_BYTES
        """Bytes that further documents may have."""

    def add_main(self, data: bytes) -> Any:
        """Take in the first document, and return what it holds. Raises BadDocument."""
        content = self._read(data, self._main)
        self._contents[""] = _opened(content)
        return content

    def add(self, place: str, base: str, data: bytes) -> None:
        """Take in a wanted document that came from `base` in the end. Raises BadDocument."""
        self._contents[place] = _opened(self._read(data, base))

    @property
    def place(self) -> str:
        """Where the first document really is, a URI; empty where it has none."""
        return self._main

    @property
    def doubled(self) -> list[str]:
        """Keys that an object of a document has twice; the last one counts."""
        return self._values.doubled

    def refuse(self, place: str, why: str) -> None:
        """A wanted document cannot be had: whatever needs it fails with this reason."""
        self._refused[place] = f"the document {self._shown(place)} cannot be used: {why}"

    def take_wanted(self) -> list[str]:
        """The places of documents that are needed and not there; each is to be added or refused then."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def follow(self, node: Any) -> Any:
        """What a node stands for: itself, or what its reference leads to. Raises BadDocument."""
        for _ in range(MOST_HOPS):
            pointer = reference(node)
            if pointer is None:
                return node
            node = self.at(pointer)
        raise BadDocument(f"more than {MOST_HOPS} references lead from one to the next")

    def at(self, pointer: str) -> Any:
        """What stands at a pointer; an empty object if its document is wanted by now. Raises BadDocument."""
        place, _, fragment = pointer.partition("#")
        if place not in self._contents:
            self._want(place)
            return {}
        try:
            return self._contents[place].lookup("#" + fragment).contents
        except (Unresolvable, LookupError, TypeError, ValueError):
            raise BadDocument(f"a reference leads nowhere: {self._shown(place)}#{clean(fragment, 100)}") from None

    def _read(self, data: bytes, base: str) -> Any:
        whole, self.left = self.left, max(0, self.left - len(data))
        if len(data) > whole:
            together = "" if whole == MOST_BYTES else ", together with those before it"
            raise BadDocument(f"it has more than {MOST_BYTES} bytes{together}")
        return self._values.read(data, lambda pointer: self._absolute(pointer, base))

    def _absolute(self, pointer: str, base: str) -> str:
        if base == self._main and pointer.startswith("#"):
            return pointer
        try:
            place, fragment = urldefrag(urljoin(base, pointer))
        except ValueError:
            return pointer  # is refused if it is followed
        return f"{'' if place == self._main else place}#{fragment}"

    def _want(self, place: str) -> None:
        if place in self._refused:
            raise BadDocument(self._refused[place])
        if place in self._places:
            return
        if not self._is_inside(place):
            raise BadDocument(f"a reference to another document is not followed there: {self._shown(place)}")
        if len(self._places) >= MOST_DOCUMENTS:
            raise BadDocument(f"there are more than {MOST_DOCUMENTS} documents; this is one more: {self._shown(place)}")
        self._places.add(place)
        self._wanted.append(place)

    def _is_inside(self, place: str) -> bool:
        if self._main.startswith("file:"):
            return place.startswith(self._folder)  # where links lead is seen by whoever opens it
        try:
            return bool(self._main) and same_origin(httpx.URL(self._main), httpx.URL(place))
        except (httpx.InvalidURL, ValueError):
            return False

    def _shown(self, place: str) -> str:
        """A place to be told: seen from the first document, and never with a user or a query, which may be secret."""
        return shown_url(place.removeprefix(self._folder))


def shown_url(place: str) -> str:
    """A URL, or the end of one, to be told: without a user and a query, which may be secret."""
    try:
        parts = urlsplit(place)
    except ValueError:
        return "?"
    return clean(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl(), 100)


def _opened(content: Any) -> Any:
    """Something that looks up pointers in a document."""
    return Registry().with_resource("", Resource.opaque(content)).resolver()
