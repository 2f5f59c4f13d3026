"""What can be made of bytes that are not quite JSON-RPC."""
