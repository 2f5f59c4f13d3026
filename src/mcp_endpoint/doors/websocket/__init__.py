"""The WebSocket door: tool sides on `mcp`, device sides on `call`. Lowest first:

`heartbeat`, `frames`, `handshake`, `partial_message`, `links` (all of a port), and one link in three parts, each on the
one before: `sending`, `closing`, `link`.
"""
