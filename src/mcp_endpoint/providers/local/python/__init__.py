"""A user's Python functions as tools."""
