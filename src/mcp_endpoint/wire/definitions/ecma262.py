"""Whether a text is a regular expression of ECMA-262 with the flag `u`, as validators of JSON Schema compile it.

It decides on the grammar alone (ECMA-262, 22.2.1): what other languages have and it has not is found; a few expressions
that fail for another reason are not.
"""

import re

_ESCAPED = (
    r"[dDwWsSbBfnrtv0^$\\.*+?()\[\]{}|/]|[1-9]\d*|c[A-Za-z]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}"
    r"|u\{[0-9a-fA-F]{1,6}\}|[pP]\{[\w=]+\}"
)
_PIECE = re.compile(
    rf"""
    (?P<atom>   \\(?:{_ESCAPED}|k<[\w$]+>) | \[\^?(?:\\(?:{_ESCAPED}|-)|[^\]\\])*\] | [^\\\[\](){{}}*+?|^$] )
    | (?P<open> \((?:\?(?:[:=!]|<[=!]|<[A-Za-z_$][\w$]*>))? (?!\?) )
    | (?P<close> \) )
    | (?P<times> (?:[*+?]|\{{\d+(?:,\d*)?\}})\?? )
    | (?P<other> [|^$] )
    """,
    re.VERBOSE | re.DOTALL,
)
_RANGE_OF_CLASSES = re.compile(r"\\[dDwWsS]-[^\]]|[^\\\[^]-\\[dDwWsS]")


def compiles(pattern: str) -> bool:
    """Whether validators that are written in JavaScript can compile it."""
    at = depth = 0
    before = "other"
    while at < len(pattern):
        piece = _PIECE.match(pattern, at)
        if piece is None:
            return False
        kind, text = str(piece.lastgroup), piece[0]
        depth += (kind == "open") - (kind == "close")
        if depth < 0 or (kind == "times" and before not in ("atom", "close")):
            return False
        if kind == "atom" and text[0] == "[" and _RANGE_OF_CLASSES.search(text):
            return False
        at, before = piece.end(), kind
    return depth == 0
