"""Which server the requests of an API go to. Pure.

The first that a document names is meant. One that no request could reach is told when the document is read, with the
line that helps, and not at each call. None is chosen in its place: the second one may be the one that must not be used.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from mcp_endpoint.providers.openapi.document.document import Document
from mcp_endpoint.providers.openapi.document.values import BadDocument, a_text, an_object
from mcp_endpoint.wire.text import clean


def is_url(text: str) -> bool:
    """Whether a document's place is a URL and not a file."""
    return text.lower().startswith(("http://", "https://"))


def chosen_server(document: Document, place: str, base_url: str, *, secrets: bool) -> str:
    """The URL that paths are appended to: `base_url` of the settings, else the document's first.

    `place` is what the settings name as the document, `secrets` whether they have credentials. Raises BadDocument.
    """
    found = document.references.place
    base = found if is_url(found) else place
    named = [base_url] if base_url else [*_named(document.content)] or ["/"]
    first = named[0]
    if gap := re.search(r"\{[^{}]*\}", first):
        raise BadDocument(
            f"its server {clean(first, 80)} has no value for {clean(gap[0], 40)}: write the whole URL as base_url"
        )
    server = _made_whole(first, base)
    if not server:
        others = ", ".join(clean(one, 80) for one in named[1:4] if is_url(one))
        what = "no server" if named == ["/"] else f"no server but {clean(first, 80)}, which is no whole URL"
        raise BadDocument(f"it names {what}: base_url in the settings can name one{f' ({others}?)' if others else ''}")
    if is_url(place) and not base_url and secrets:
        _check_same_host(place, server)
    return server


def _made_whole(named: str, base: str) -> str | None:
    """A server's URL with a scheme and a host; None where that cannot be."""
    try:
        server = urljoin(base, named) if is_url(base) else named
        if server.startswith("//"):
            server = "https:" + server
        parts = urlsplit(server)
        if not is_url(server) or not parts.hostname or (parts.port or 1) < 1:
            return None
        return parts._replace(fragment="").geturl()
    except ValueError:
        return None


def own_server(node: dict[str, Any]) -> str | None:
    """The server that a path or an operation names for itself."""
    return next(_named(node), None)


def _named(node: dict[str, Any]) -> Iterator[str]:
    """The URLs of servers, the defaults of their variables put in; texts and a single server are taken as well."""
    servers = node.get("servers")
    for one in servers if isinstance(servers, list) else [servers]:
        described = an_object(one)
        url = a_text(one) or a_text(described.get("url"))
        for name, variable in an_object(described.get("variables")).items():
            default = an_object(variable).get("default")
            if isinstance(default, str | int | float) and default != "":
                url = url.replace("{" + name + "}", str(default))
        if url := url.strip():
            yield url


def _check_same_host(document: str, server: str) -> None:
    """Whoever may change a document at a URL must not be able to have the credentials sent somewhere else."""
    came_from, goes_to = urlsplit(document), urlsplit(server)
    if came_from.hostname != goes_to.hostname or (came_from.scheme, goes_to.scheme) == ("https", "http"):
        raise BadDocument(
            f"it comes from {came_from.scheme}://{came_from.hostname} and names the server {goes_to.scheme}://"
            f"{goes_to.hostname}; credentials go there only if base_url in the settings says so"
        )
