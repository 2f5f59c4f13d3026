"""An MCP endpoint broker: tool sides dial in, device sides call their tools."""

__version__ = "0.1.0"
