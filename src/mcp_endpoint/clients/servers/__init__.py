"""`servers`: the servers that the broker opens itself, shown, changed and signed in to.

Lowest first: `files`; `changes`, `overview` and `login`, which know nothing of each other; `command`.
"""
