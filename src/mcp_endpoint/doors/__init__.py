"""How peers come in: each of them becomes a link of the broker. Lowest first:

`limits`, `traffic`, `paths`, `outbox`, `port_state` (what all of a port share), `connection` (what every one goes
through before its head says which door it is for), and on it the doors, `websocket` and `http`, which do not know each
other.
"""
