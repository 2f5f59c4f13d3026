"""Streamable HTTP with sessions, 2025-03-26 to 2025-11-25. Lowest first:

`event_store`, `session_ids`, `streams` (of one session), `session`, `sessions` (all of a port), `requests` (the door).
"""
