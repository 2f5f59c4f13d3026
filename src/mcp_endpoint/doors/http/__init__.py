"""HTTP: the doors for MCP clients, and the pages for people and monitors. Lowest first:

`media`, `exchange` (a request and its answer), `body`, `access`, `no_oauth`, `event_stream`, `event_link`; then the
doors, one for each transport of MCP, which do not know each other: `sse`, `streamable`, `stateless`; and what leads to
them: `router` by the path, `era` by the version. `ops` has the pages.
"""
