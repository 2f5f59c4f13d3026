"""A real MCP server over HTTP, with the official SDK 2.x: `sdk_http_server.py streamable|json|stateless|sse`.

`stateless` is one that speaks only the era of 2026-07-28; the SDK's server speaks both, so the other is refused before.
"""

import sys
from typing import Annotated

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

server = MCPServer("Counter", instructions="Counts.", log_level="WARNING")
cancelled = anyio.Event()


@server.tool(structured_output=False)
async def count(steps: int, context: Context) -> str:
    """Count to `steps`."""
    for step in range(1, steps + 1):
        await context.report_progress(step, steps, f"步骤 {step}")
    return f"counted to {steps}"


@server.tool(structured_output=False)
async def hang(context: Context) -> str:
    """Report that it began, and never end."""
    try:
        await context.report_progress(1, 2, "hanging")
        await anyio.sleep_forever()
    finally:
        cancelled.set()
    return ""


@server.tool(structured_output=False)
async def was_cancelled() -> str:
    """Say so once `hang` was cancelled."""
    with anyio.fail_after(10):
        await cancelled.wait()
    return "cancelled"


@server.tool(structured_output=False)
async def region(where: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], context: Context) -> str:
    """Tell the header that came with the argument."""
    request = context.request_context.request
    return f"{where}: {request.headers.get('mcp-param-region')}"


@server.tool(structured_output=False)
async def grow(context: Context) -> str:
    """Add a tool, and tell."""
    server.add_tool(was_cancelled, name="grown")
    if sys.argv[1] == "stateless":
        await context.notify_tools_changed()
    else:
        await context.request_context.session.send_tool_list_changed()
    return "grown"


@server.resource("note://one")
def note() -> str:
    """Return a note."""
    return "a note"


@server.prompt()
def greet(name: str) -> str:
    """Return a greeting."""
    return f"Greet {name}"


def stateless_only(app: ASGIApp) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        versions = [value for name, value in scope.get("headers", ()) if name == b"mcp-protocol-version"]
        if scope["type"] == "http" and versions != [b"2026-07-28"]:
            data = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
            error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
            refusal = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status_code=400)
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return serve


if __name__ == "__main__":
    apps = {
        "streamable": server.streamable_http_app,
        "json": lambda: server.streamable_http_app(json_response=True),
        "stateless": lambda: stateless_only(server.streamable_http_app()),
        "sse": server.sse_app,
    }
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    uvicorn.run(apps[sys.argv[1]](), host="127.0.0.1", port=port, log_level="info", timeout_graceful_shutdown=1)
