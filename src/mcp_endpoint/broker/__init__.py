"""The heart, without I/O: agents, their tool sides and device sides, and what goes where.

Lowest first; nothing imports upward, annotations included:

- `link` (what doors give the broker and get from it), `timers`, `broker_state` (what all agents share);
- `side` (what both sides have in common), `call` (a request on its way, and the client that made it);
- `offers` (tools, prompts and resources, and what they are called; it knows no link);
- `tool_side` (links of tool programs, and their registrations with an agent);
- `agent_state` (what one agent is: its catalogue, its tasks, why it is as it is);
- `device_side` (links of those who call);
- `agent` (what happens to one), `report` (what `/stats` shows of it), `connection_manager` (all agents: what doors and
  providers talk to).

A file that needs its agent before there is one says what of it in a small Protocol of its own (`AgentOfSide` …).
`work_budget` is for doors and providers, which stand on this floor: how much of everybody's time a peer may take.
"""
