"""The bridge from tools to an endpoint: stdio MCP servers, functions, and whatever else the broker can open itself.

Lowest first: `lines` and `report`, `running`, the two bridges `stdio` and `source`, `several` of them, `command`.
"""
