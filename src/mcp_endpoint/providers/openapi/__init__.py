"""HTTP interfaces as tools: an OpenAPI document is read, and each of its operations can be called."""
