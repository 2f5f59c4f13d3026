"""The client of MCP over Streamable HTTP."""
