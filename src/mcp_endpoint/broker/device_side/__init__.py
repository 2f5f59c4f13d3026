"""Links of those who call: Xiaozhi servers, the console, MCP clients.

Lowest first: `device_view` (lists that were shown, and the names in them); `own_answers` (what the broker knows by
itself); `no_tool` (why a request leads nowhere); `results` (what clients are given of a tool's result); `targets`
(where a request leads, other than `tools/call`); `device_side` (each frame that comes, `tools/call`, and the one
outcome of every request).
"""
