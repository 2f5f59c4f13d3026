"""Whom a command talks to: two streams, and the language they are read in."""

from dataclasses import dataclass
from typing import TextIO

from mcp_endpoint.language import Bilingual, Language
from mcp_endpoint.logs.redaction import escape_controls


@dataclass(frozen=True)
class Terminal:
    """`out` is for what was asked for, `err` for what went wrong; each text is one write, so that no log line of
    another thread comes between.
    """

    language: Language
    out: TextIO
    err: TextIO

    def say(self, text: Bilingual | str) -> None:
        """Print to `out`; a plain `str` is not ours to translate, or the same in both languages."""
        self._print(self.out, text)

    def complain(self, text: Bilingual | str) -> None:
        """Print to `err`."""
        self._print(self.err, text)

    def _print(self, stream: TextIO, text: Bilingual | str) -> None:
        told = text.to(self.language) if isinstance(text, Bilingual) else text
        # A peer's text may be in it: of control characters only tabs and line ends, and nothing the encoding lacks.
        shown = "\n".join("\t".join(map(escape_controls, line.split("\t"))) for line in told.splitlines())
        encoding = stream.encoding or "utf-8"
        stream.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
