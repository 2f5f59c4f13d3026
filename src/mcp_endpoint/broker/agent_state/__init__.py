"""What one agent is: what it offers, what may be used of it, which tasks go on, and all of that in words.

Lowest first: `catalogue` (what clients see at one moment), `permission` (for how long a name that they saw holds),
`tasks`, `agent_state` (what may be asked of an agent), `why` (why it is as it is, in sentences).
"""
