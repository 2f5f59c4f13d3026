"""The heart, without I/O: agents, their tool sides and device sides, and what goes where."""
