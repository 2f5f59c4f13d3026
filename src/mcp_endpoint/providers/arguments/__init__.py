"""The arguments of a call as they were meant. Pure and bounded.

Lowest first: errors and meanings; checks; repair; reader.
"""
