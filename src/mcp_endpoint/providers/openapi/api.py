"""What the settings of a provider and its OpenAPI document come to: a server, its credentials, and operations."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from mcp_endpoint.providers.openapi.document import Document
from mcp_endpoint.providers.openapi.operation import WITHOUT_ASKING, Operation
from mcp_endpoint.providers.openapi.operations import Filter, operations
from mcp_endpoint.providers.openapi.reader import server_url
from mcp_endpoint.providers.openapi.security import Security
from mcp_endpoint.providers.openapi.values import BadDocument, a_list, an_object
from mcp_endpoint.providers.proxies import Route, direct
from mcp_endpoint.providers.text import clean


@dataclass(frozen=True)
class OpenApiSettings:
    """Which API is served and how; durations in seconds, sizes in bytes."""

    document: str
    """A file's path, or an http or https URL."""
    base_url: str = ""
    """The server to use in place of the one that the document names."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request to the server; they may hold secrets."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Secrets by the name of the security scheme that they fill."""
    document_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with the request for the document, and for each that it refers to."""
    methods: frozenset[str] = WITHOUT_ASKING
    """Which methods' operations become tools; all but DELETE where nothing else is said."""
    tags: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    """By operationId; an empty set stands for all, as for `tags`."""
    timeout: float = 30.0
    """Of one call, and of reading the document with all that it refers to."""
    max_response: int = 1024 * 1024
    allow_private: tuple[str, ...] = ()
    """Private addresses, networks and host names that may be connected to."""
    calls: int = 32
    """Calls at a time."""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Whose certificates are trusted; None for the usual ones."""
    route: Route = field(default=direct, repr=False)
    """Which proxy leads where."""


@dataclass(frozen=True)
class Api:
    """What a document and the settings come to."""

    title: str
    version: str
    server: str
    security: Security
    found: Sequence[Operation]
    left_out: Sequence[str]


def read_api(document: Document, settings: OpenApiSettings) -> Api:
    """What a document comes to, as far as those are there that it refers to. Takes long for a large one.

    Raises BadDocument.
    """
    security = Security(document, settings.headers, settings.env)
    wanted = Filter(frozenset(map(str.lower, settings.methods)), settings.tags, settings.operations)
    made = operations(document, wanted, frozenset(security.hidden))
    info = an_object(document.content.get("info"))
    return Api(
        title=clean(str(info.get("title", "")), 100) or "OpenAPI",
        version=clean(str(info.get("version", "")), 40),
        server=_server(document, settings),
        security=security,
        found=made.found,
        left_out=made.left_out,
    )


def _server(document: Document, settings: OpenApiSettings) -> str:
    """The URL that paths are appended to. Raises BadDocument."""
    servers = a_list(document.content.get("servers"))
    named = settings.base_url or (server_url(servers[0]) if servers else None) or "/"
    server = urljoin(settings.document, named) if is_url(settings.document) else named
    if not is_url(server) or not urlsplit(server).hostname:
        raise BadDocument("it names no server (or only a path); base_url in the settings can name one")
    if is_url(settings.document) and not settings.base_url and (settings.headers or settings.env):
        _check_same_host(settings.document, server)
    return server


def _check_same_host(document: str, server: str) -> None:
    """Whoever may change a document at a URL must not be able to have the credentials sent somewhere else."""
    came_from, goes_to = urlsplit(document), urlsplit(server)
    if came_from.hostname != goes_to.hostname or (came_from.scheme, goes_to.scheme) == ("https", "http"):
        raise BadDocument(
            f"it comes from {came_from.scheme}://{came_from.hostname} and names the server {goes_to.scheme}://"
            f"{goes_to.hostname}; credentials go there only if base_url in the settings says so"
        )


def is_url(text: str) -> bool:
    """Whether a document's place is a URL and not a file."""
    return text.lower().startswith(("http://", "https://"))
