"""Ways to tool servers that run elsewhere: a child process, a URL, a WebSocket. They do not know each other.

Lowest first: what several share (child_environ, child_process; http_answers, stateless), then one file or folder for
each transport: stdio, streamable_http, sse, websocket.
"""
