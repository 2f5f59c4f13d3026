"""Which source an entry of the file stands for. Each kind is imported when there is one of it."""

from mcp_endpoint.providers.provider import Hub
from mcp_endpoint.providers.server_entry import Kind, Server
from mcp_endpoint.providers.source import Source, Stopped, Why


def make_source(server: Server, hub: Hub) -> Source:
    """The source of an entry whose variables are put in; it is not open yet. Raises Stopped."""
    match server.kind:
        case Kind.STDIO:
            from mcp_endpoint.providers.stdio import StdioSettings, StdioSource

            settings = StdioSettings(server.command, server.environ, server.cwd)
            return StdioSource(settings, hub.environ)
        case _:
            raise Stopped(Why.INTERNAL, server.kind.value)
