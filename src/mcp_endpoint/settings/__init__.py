"""The settings: what there is to set, what a value may look like, the file, and reading it anew. Lowest first:
`values`, `file`, `schema`, `warnings`, `load`, `reload`.
"""
