"""Calls that go on after their caller was answered.

Lowest first: `job_store` (what there is of them), `job_tools` (an agent asks about its own), `job_manager` (all of one
broker), `job_tasks` (the same as tasks of MCP), `job_watch` (calls of one source that may become jobs).
"""
