"""Streamable HTTP without sessions, 2026-07-28. Lowest first:

`link` (one request), `input_required` (requests that wait for their client's answers), `listen`, `requests` (the door).
"""
