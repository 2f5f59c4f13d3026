"""Signing in to a tool server by OAuth."""
