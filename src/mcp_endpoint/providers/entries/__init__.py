"""The `mcpServers` file: its text, and what each entry of it means."""
