"""Calls that go on after their caller was answered.

Lowest first: jobs (what there is of them), job_tools (an agent asks about its own), job_store (all of one broker),
job_tasks (the same as tasks of MCP), job_watch (calls of one source that may become jobs).
"""
