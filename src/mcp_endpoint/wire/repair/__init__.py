"""What can be made of bytes that are not quite JSON-RPC.

Lowest first: ids, pieces, error_objects and frames; requests and answers.
"""
