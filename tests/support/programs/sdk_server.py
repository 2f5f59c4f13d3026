"""A real MCP server over stdio, with the official SDK 2.x, whose one tool reports its progress."""

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("Counter", instructions="Counts.", log_level="WARNING")


@server.tool(structured_output=False)
async def count(steps: int, context: Context) -> str:
    """Count to `steps`."""
    for step in range(1, steps + 1):
        await context.report_progress(step, steps, f"步骤 {step}")
    return f"counted to {steps}"


if __name__ == "__main__":
    print("a stray print, as programs have them")
    server.run("stdio")
