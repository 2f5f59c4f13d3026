"""A server with everything that the conformance suite asks for.

Usage: everything.py [--http] [--part NAME]

Over stdio, or with --http on a port that the system chose and that is the first line it prints. With --part it serves
one part only, so that several tool programs can serve together what one can alone.
"""

import argparse
import socket
import warnings

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning

from changes import changes
from content import content
from dialogue import dialogue
from events import RecentEvents
from serving import Everything

PARTS = {"content": content, "dialogue": dialogue, "changes": changes}
RETRY = 100
"""Milliseconds after which a client shall ask again for a stream that was closed."""


async def over_stdio(server: Everything) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def over_http(server: Everything) -> None:
    app = server.streamable_http_app(event_store=RecentEvents(), retry_interval=RETRY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(app, log_level="warning", http="h11", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--part", choices=PARTS)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # logging is what the suite asks for
    server = Everything(chosen.part or "everything", [PARTS[chosen.part]] if chosen.part else [*PARTS.values()])
    anyio.run(over_http if chosen.http else over_stdio, server)


if __name__ == "__main__":
    main()
