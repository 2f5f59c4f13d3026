"""An MCP server inside this process, for what is no MCP server of its own.

Lowest first: threads and tool_spec (what it serves); server; python (a user's functions).
"""
