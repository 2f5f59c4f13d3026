"""Links of tool programs, and their registrations with an agent.

Lowest first: `list_fetch` (asking for what it has); `program` (what it is asked and answers, and its registration,
which outlives the link); `frame_repair`, `log_messages`, `subscriptions`, `whom_to_ask` (what else may come, a concern
each); `tool_side` (the handshake, and what the program says by itself); `registry` (an agent's registrations).
"""
