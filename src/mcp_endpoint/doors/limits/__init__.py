"""Who may come in, and how much of whom is served at a time."""
