"""The `mcpServers` file: its text, and what each entry of it means.

Lowest first: json_file, variables and members; foreign_entries, headers and url_access; entry; servers_file.
"""
