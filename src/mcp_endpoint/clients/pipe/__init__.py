"""The bridge from a tool program to an endpoint."""
