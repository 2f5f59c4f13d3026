"""A real MCP server over WebSocket, with the official SDK 1.x, the last that has one: `sdk_ws_server.py PORT`.

It runs in .venv-mcp1, as sdk_client.py does.
"""

import sys
import warnings

import uvicorn
from mcp.server.fastmcp import FastMCP
from mcp.server.websocket import websocket_server
from starlette.types import Receive, Scope, Send

warnings.simplefilter("ignore", DeprecationWarning)  # 2.x has no WebSocket any more, and 1.x says so
server = FastMCP("Counter", log_level="WARNING")


@server.tool(structured_output=False)
async def count(steps: int) -> str:
    """Count to `steps`."""
    return f"counted to {steps}"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    inner = server._mcp_server
    async with websocket_server(scope, receive, send) as (incoming, outgoing):
        await inner.run(incoming, outgoing, inner.create_initialization_options())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", timeout_graceful_shutdown=1)
