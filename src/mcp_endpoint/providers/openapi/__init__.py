"""HTTP interfaces as tools: an OpenAPI document is read, and each of its operations can be called.

Lowest first: document (the text and what it refers to), operations (what of it becomes tools), requests (a call as an
HTTP request, and the answer to it), api (all that was read), loaders, loading, source.
"""
