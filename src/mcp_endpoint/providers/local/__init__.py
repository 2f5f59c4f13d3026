"""An MCP server inside this process, for what is no MCP server of its own."""
