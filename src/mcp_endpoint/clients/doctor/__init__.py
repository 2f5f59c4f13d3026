"""`doctor`: what is wrong, and what to do.

Lowest first: `findings`, `self_test`; `host_checks`, `broker_checks` and `stats_checks`; `command`.
"""
