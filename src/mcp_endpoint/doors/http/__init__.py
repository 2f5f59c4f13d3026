"""The HTTP doors: MCP clients of both eras, HTTP+SSE, and what people and monitors ask."""
