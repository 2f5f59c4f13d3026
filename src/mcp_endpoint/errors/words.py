"""What a row of a table has that people read."""

from enum import Enum

from mcp_endpoint.language import Bilingual


class Worded(Enum):
    """A row of a table that people read: Chinese and English words, to stand inside a sentence."""

    def __init__(self, zh: str, en: str) -> None:
        self.zh = zh
        self.en = en
        self.reason = self.name.lower()
        """For programs."""

    def words(self, language: str) -> str:
        """The words in `language` ("zh" or "en")."""
        return Bilingual(self.zh, self.en).to(language)
