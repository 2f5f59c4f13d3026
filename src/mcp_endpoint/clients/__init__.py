"""The commands: programs that dial in to an endpoint from outside, and what else one does with a broker.

Lowest first: `exit_codes`; `terminal` and `parser`; `endpoint`, `http_get`, `urls`; `running_broker`, `device`; the
commands of one file (`token`, `check_config`) and of a folder (`pipe`, `doctor`, `servers`); `command_line`, which
lists them all.
"""
