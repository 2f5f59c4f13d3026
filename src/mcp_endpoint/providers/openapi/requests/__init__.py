"""A call of a tool as an HTTP request, and the answer to that as its result. Pure.

Lowest first: `styles`, `body`, `request`; `headers`, `security` and `response` know none of these.
"""
