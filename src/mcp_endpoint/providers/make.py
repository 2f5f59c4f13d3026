"""Which source an entry of the file stands for. Each kind is imported when there is one of it."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcp_endpoint.providers.provider import Hub
from mcp_endpoint.providers.server_entry import Kind, OpenApi, Server
from mcp_endpoint.providers.source import Source, Stopped, Take, Why
from mcp_endpoint.providers.supervisor import TOKENS

if TYPE_CHECKING:
    from mcp_endpoint.providers.oauth import OAuth


def make_source(server: Server, hub: Hub) -> Source:
    """The source of an entry whose variables are put in; it is not open yet. Raises Stopped."""
    try:
        return _make(server, hub)
    except ValueError as error:  # what only shows once variables are put in
        raise Stopped(Why.BAD_ENTRY, str(error)) from None


def _make(server: Server, hub: Hub) -> Source:
    match server.kind:
        case Kind.STDIO:
            from mcp_endpoint.providers.stdio import StdioSettings, StdioSource

            return StdioSource(StdioSettings(server.command, server.environ, server.cwd), hub.environ)
        case Kind.HTTP:
            return _http(server, hub)
        case Kind.SSE:
            from mcp_endpoint.providers.sse_client import SseSettings, SseSource

            return SseSource(SseSettings(server.url, server.headers, private(server, server.url)))
        case Kind.WS:
            from mcp_endpoint.providers.websocket_client import WebSocketSettings, WebSocketSource

            return WebSocketSource(WebSocketSettings(server.url, server.headers, private(server, server.url)))
        case Kind.OPENAPI:
            assert server.openapi is not None
            return _openapi(server, server.openapi, hub)
        case Kind.PYTHON:
            from mcp_endpoint.providers.offer import Limits
            from mcp_endpoint.providers.python_file import PythonFile, PythonSettings

            # A call ends when its caller is answered, or when its job has to; the file's own limit is for all of them.
            limits = Limits(timeout=server.timeout or hub.office.longest())
            return PythonFile(PythonSettings(_found(server.python, hub.folder), hub.debug(), limits))


def _http(server: Server, hub: Hub) -> Source:
    from mcp_endpoint.providers.streamable_http import StreamableHttpSettings, StreamableHttpSource

    settings = StreamableHttpSettings(server.url, server.headers, private(server, server.url))
    store = token_file(hub.folder, server.name)
    if not store.exists():
        return StreamableHttpSource(settings)
    from mcp_endpoint.providers.addresses import Allowed
    from mcp_endpoint.providers.http_client import HttpSettings
    from mcp_endpoint.providers.oauth import OAuth, OAuthSettings

    allowed = Allowed.of(settings.allow_private)
    signed = OAuth(server.url, OAuthSettings(store, http=HttpSettings(allowed=allowed)))
    return Signed(StreamableHttpSource(settings, signed.send), signed)


def _openapi(server: Server, api: OpenApi, hub: Hub) -> Source:
    from mcp_endpoint.providers.openapi.api import OpenApiSettings
    from mcp_endpoint.providers.openapi.source import OpenApi as OpenApiSource

    document = api.document if "://" in api.document else _found(api.document, hub.folder)
    defaults = OpenApiSettings(document)
    return OpenApiSource(
        OpenApiSettings(
            document,
            api.base_url,
            server.headers,
            server.environ,
            api.document_headers,
            frozenset(map(str.lower, api.methods)) or defaults.methods,
            frozenset(api.tags),
            frozenset(api.operations),
            server.timeout or defaults.timeout,
            api.max_response or defaults.max_response,
            private(server, api.document, api.base_url),
        )
    )


class Signed:
    """A source whose requests are signed: both end together."""

    def __init__(self, source: Source, oauth: "OAuth") -> None:
        self._source = source
        self._oauth = oauth

    async def open(self, take: Take, stopped: Callable[[Stopped], None]) -> None:
        """Open it. Raises Stopped."""
        await self._source.open(take, stopped)

    def send(self, frame: bytes) -> None:
        """Hand it one frame."""
        self._source.send(frame)

    async def close(self) -> None:
        """End both."""
        await self._source.close()
        await self._oauth.close()

    @property
    def said(self) -> Sequence[str]:
        """Its last lines."""
        return self._source.said


def private(server: Server, *urls: str) -> tuple[str, ...]:
    """The private places that a server may be at: those that it lists, and one that its URL spells out.

    An address, or `localhost`, that the owner wrote is meant. A name may come to mean something else: it has to be
    listed.
    """
    hosts = [urlsplit(url).hostname or "" for url in urls if "://" in url]
    return (*server.allow_private, *(host for host in hosts if host == "localhost" or _is_address(host)))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def token_file(folder: Path, server: str) -> Path:
    """Where the tokens of a server are kept."""
    return folder / TOKENS / f"{server.encode().hex()}.json"


def _found(path: str, folder: Path) -> str:
    """A path as it is written, from the folder of the file where it is relative; a module's name stays one."""
    place = folder / Path(path).expanduser()
    return str(place) if place.exists() or path.endswith((".py", ".json", ".yaml", ".yml")) else path
