"""Why the arguments of a call are not taken."""


class BadArguments(Exception):
    """What a call was given does not fit; the message says in plain words what, and what is allowed."""


class TooComplex(Exception):
    """To find out what was meant would take more work than one call is worth."""
