"""The client of MCP over Streamable HTTP.

Lowest first: streams, session, handshake, client.
"""
