"""Who may come in, and how much of whom.

Lowest first: `addresses`, `refused_addresses`, `credentials`, `admission`; `fairness` stands alone.
"""
