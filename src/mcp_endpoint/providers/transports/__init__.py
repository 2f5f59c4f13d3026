"""Ways to tool servers that run elsewhere: a child process, a URL, a WebSocket."""
