"""Streamable HTTP with sessions, 2025-03-26 to 2025-11-25."""
