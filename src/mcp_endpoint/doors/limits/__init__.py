"""Who may come in, and how much of whom. Lowest first: `addresses`, `refusals`, `credentials`, `admission`; `fairness`
stands alone.
"""
