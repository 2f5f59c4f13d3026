"""What the settings of a provider and its OpenAPI document come to: a server, its credentials, and operations."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mcp_endpoint.net.proxies import Route, direct
from mcp_endpoint.providers.openapi.document.document import Document
from mcp_endpoint.providers.openapi.document.values import an_object
from mcp_endpoint.providers.openapi.operations.operation import WITHOUT_ASKING, Operation
from mcp_endpoint.providers.openapi.operations.operations import Filter, operations
from mcp_endpoint.providers.openapi.operations.servers import chosen_server
from mcp_endpoint.providers.openapi.requests.security import Security
from mcp_endpoint.wire.text import clean


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
    notes: Sequence[str]
    """What its owner should know of the document."""


def read_api(document: Document, settings: OpenApiSettings) -> Api:
    """What a document comes to, as far as those are there that it refers to. Takes long for a large one.

    Raises BadDocument.
    """
    security = Security(document, settings.headers, settings.env)
    wanted = Filter(frozenset(map(str.lower, settings.methods)), settings.tags, settings.operations)
    made = operations(document, wanted, frozenset(security.hidden))
    secrets = bool(settings.headers or settings.env)
    info = an_object(document.content.get("info"))
    return Api(
        title=clean(str(info.get("title", "")), 100) or "OpenAPI",
        version=clean(str(info.get("version", "")), 40),
        server=chosen_server(document, settings.document, settings.base_url, secrets=secrets),
        security=security,
        found=made.found,
        left_out=made.left_out,
        notes=document.notes,
    )
