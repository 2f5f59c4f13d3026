"""`servers`: the tool servers that the broker opens itself."""
