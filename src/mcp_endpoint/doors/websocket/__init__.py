"""The WebSocket door: tool sides on `mcp`, device sides on `call`."""
