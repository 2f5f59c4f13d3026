"""Signing in to a tool server by OAuth.

Lowest first: browser and store; client; signed_source.
"""
