"""Pure reading and writing of frames: bytes in, values out.

Lowest first: text and envelope; mcp; absent_arguments and stateless; param_headers. Of the folders, which do not know
each other, definitions is for lists, repair for bytes that are not quite JSON-RPC, xiaozhi for what is read out.
"""
