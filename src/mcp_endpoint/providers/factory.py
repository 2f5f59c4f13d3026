"""Which source an entry of the file stands for. Each kind is imported when there is one of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcp_endpoint.language import Bilingual
from mcp_endpoint.providers.entries.entry import Kind, OpenApi, Server
from mcp_endpoint.providers.entries.headers import fit_headers
from mcp_endpoint.providers.entries.members import BadEntry
from mcp_endpoint.providers.entries.url_access import OAuthClient, route_of
from mcp_endpoint.providers.oauth.store import token_file
from mcp_endpoint.providers.source import Source, Stopped, StopReason

if TYPE_CHECKING:
    from ssl import SSLContext

    from mcp_endpoint.net.http_client import Sending
    from mcp_endpoint.net.proxies import Route
    from mcp_endpoint.providers.oauth.client import OAuth, SignIn


_OWN_NAMES = ("localhost", "host.docker.internal", "gateway.docker.internal", "host.containers.internal")
"""This machine, and the one that a container runs on; no public name ends in `.internal`."""


@dataclass(frozen=True)
class SourceContext:
    """What sources are opened with."""

    environ: Mapping[str, str]
    folder: Path
    """Relative paths start there, and tokens are kept there."""
    longest: Callable[[], float] | None = None
    """Seconds that a call of a Python function may take; None: what it allows itself."""
    debug: Callable[[], bool] = lambda: False
    """Whether files of functions are loaded again when they change."""


def make_source(server: Server, context: SourceContext) -> Source:
    """The source of an entry whose variables are put in; it is not open yet. Raises Stopped."""
    try:
        return _make(server, context)
    except BadEntry as error:
        told = error.remark.told()
        raise Stopped(StopReason.BAD_ENTRY, Bilingual(told["zh"], told["en"])) from None
    except ValueError as error:  # what only shows once variables are put in
        raise Stopped(StopReason.BAD_ENTRY, str(error)) from None


def _make(server: Server, context: SourceContext) -> Source:
    match server.kind:
        case Kind.STDIO:
            from mcp_endpoint.providers.transports.stdio import StdioSettings, StdioSource

            program = StdioSettings(server.command, server.environ, server.cwd, server.proxy_env)
            return StdioSource(program, context.environ)
        case Kind.HTTP | Kind.SSE:
            return _http(server, context)
        case Kind.WS:
            from mcp_endpoint.providers.transports.websocket import WebSocketSettings, WebSocketSource

            tls, route = tls_and_route(server, context)
            headers = fit_headers(server.headers)
            return WebSocketSource(
                WebSocketSettings(server.url, headers, private_places(server, server.url), tls=tls, route=route)
            )
        case Kind.OPENAPI:
            assert server.openapi is not None
            return _openapi(server, server.openapi, context)
        case Kind.PYTHON:
            from mcp_endpoint.providers.local.python.source import PythonFile, PythonSettings
            from mcp_endpoint.providers.local.tool_spec import Limits

            # A call ends when its caller is answered, or when its job has to; the file's own limit is for all of them.
            longest = context.longest() if context.longest is not None else Limits().timeout
            limits = Limits(timeout=server.timeout or longest)
            return PythonFile(PythonSettings(_found(server.python, context.folder), context.debug(), limits))


def _http(server: Server, context: SourceContext) -> Source:
    signed = None
    if server.access.oauth is not None or token_file(context.folder, server.name).exists():
        from mcp_endpoint.providers.oauth.signed_source import SignedSource

        signed = oauth_of(server, context)
    source = http_source(server, context, None if signed is None else signed.send)
    return source if signed is None else SignedSource(source, signed)


def http_source(
    server: Server,
    context: SourceContext,
    sending: "Sending | None" = None,
    open_within: float | None = None,
) -> Source:
    """The source of a URL of HTTP, of either transport; opening it may wait for a person. Raises Stopped, BadEntry."""
    from mcp_endpoint.net.http_client import send

    tls, route = tls_and_route(server, context)
    headers, allowed = fit_headers(server.headers), private_places(server, server.url)
    if server.kind is Kind.SSE:
        from mcp_endpoint.providers.transports.sse import OPEN_WITHIN, SseSettings, SseSource

        within = open_within or OPEN_WITHIN
        settings = SseSettings(server.url, headers, allowed, open_within=within, tls=tls, route=route)
        return SseSource(settings, sending or send)
    from mcp_endpoint.providers.transports.streamable_http.client import StreamableHttpSettings, StreamableHttpSource

    return StreamableHttpSource(
        StreamableHttpSettings(server.url, headers, allowed, tls=tls, route=route), sending or send
    )


def oauth_of(server: Server, context: SourceContext, person: "SignIn | None" = None) -> "OAuth":
    """What signs the requests to a server. Raises Stopped, BadEntry."""
    from mcp_endpoint.net.addresses import AllowedAddresses
    from mcp_endpoint.net.http_client import HttpSettings
    from mcp_endpoint.providers.oauth.client import OAuth, OAuthSettings

    tls, route = tls_and_route(server, context)
    http = HttpSettings(allowed=AllowedAddresses.of(private_places(server, server.url)), tls=tls, route=route)
    client = server.access.oauth or OAuthClient()
    return OAuth(server.url, OAuthSettings(token_file(context.folder, server.name), client=client, http=http), person)


def tls_and_route(server: Server, context: SourceContext) -> "tuple[SSLContext | None, Route]":
    """Whose certificates are trusted on the way to a server, and which proxy leads there. Raises Stopped, BadEntry."""
    from mcp_endpoint.net.trust import tls_trusting

    try:
        tls = tls_trusting(server.access.ca, context.folder)
    except ValueError as error:
        raise Stopped(StopReason.BAD_ENTRY, f"ca: {error}") from None
    return tls, route_of(server.access.proxy, context.environ)


def _openapi(server: Server, api: OpenApi, context: SourceContext) -> Source:
    from mcp_endpoint.providers.openapi.api import OpenApiSettings
    from mcp_endpoint.providers.openapi.source import OpenApi as OpenApiSource

    document = api.document if "://" in api.document else _found(api.document, context.folder)
    defaults = OpenApiSettings(document)
    tls, route = tls_and_route(server, context)
    return OpenApiSource(
        OpenApiSettings(
            document,
            api.base_url,
            fit_headers(server.headers, ascii_only=False),
            server.environ,
            fit_headers(api.document_headers, ascii_only=False),
            frozenset(map(str.lower, api.methods)) or defaults.methods,
            frozenset(api.tags),
            frozenset(api.operations),
            server.timeout or defaults.timeout,
            api.max_response or defaults.max_response,
            private_places(server, api.document, api.base_url),
            tls=tls,
            route=route,
        )
    )


def private_places(server: Server, *urls: str) -> tuple[str, ...]:
    """The private places that a server may be at: those that it lists, and one that its URL spells out.

    An address, or a name that can mean one machine only, is meant where the owner wrote it. Any other name may come
    to mean something else: it has to be listed.
    """
    hosts = [urlsplit(url).hostname or "" for url in urls if "://" in url]
    return (*server.allow_private, *(host for host in hosts if host in _OWN_NAMES or _is_address(host)))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _found(path: str, folder: Path) -> str:
    """A path as it is written, from the folder of the file where it is relative; a module's name stays one."""
    place = folder / Path(path).expanduser()
    return str(place) if place.exists() or path.endswith((".py", ".json", ".yaml", ".yml")) else path
