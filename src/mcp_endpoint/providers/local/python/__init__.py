"""A user's Python functions as tools.

Lowest first: `results` (what a function returned); `parameters` (what it takes); `functions` (each as a tool, a prompt
or a resource); `module` (the file they are in, loaded and loaded again); `source` (all of it as a tool server).
"""
