"""Streamable HTTP without sessions, 2026-07-28."""
