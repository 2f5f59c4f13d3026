"""Texts with gaps, matched in linear time."""

import re

_EXPRESSION = re.compile(r"\{[^{}]*\}")


class Pattern:
    """A name in which each `*` stands for any text, none included.

    No regular expression: tool programs choose the names, and a name must not be able to make it search for long.
    """

    __slots__ = ("_end", "_exact", "_middle", "_start", "literal")

    def __init__(self, text: str) -> None:
        self._start, *rest = parts = text.split("*")
        self.literal = sum(map(len, parts))
        """How many characters it says."""
        self._exact = not rest
        self._end = rest.pop() if rest else ""
        self._middle = [part for part in rest if part]

    def fits(self, name: str) -> bool:
        """Whether the whole name is of this form."""
        if self._exact:
            return name == self._start
        at, end = len(self._start), len(name) - len(self._end)
        if end < at or not (name.startswith(self._start) and name.endswith(self._end)):
            return False
        for part in self._middle:  # the first place of each leaves most room for the next
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    @classmethod
    def of_template(cls, template: str) -> "Pattern":
        """A URI template (RFC 6570) with a gap for each expression.

        It decides which tool side is asked; whether the URI is really made from the template, that one decides.
        """
        return cls(_EXPRESSION.sub("*", template))
