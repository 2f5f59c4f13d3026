"""What a bridge tells whoever started it: lines with their time, each in the one language that is read there."""

from typing import TYPE_CHECKING

from loguru import logger

from mcp_endpoint.language import Bilingual, Language
from mcp_endpoint.logs.redaction import quote_peer

if TYPE_CHECKING:
    from loguru import Record


class Report:
    """Lines of the log, as those of several bridges and of their programs come at any time; with a `name`, each line
    begins with it.
    """

    def __init__(self, language: Language, name: str | None = None) -> None:
        self._language: Language = language
        self._label = "" if name is None else f"[{quote_peer(name)}] "
        self._log = logger.patch(self._begin)

    def of(self, name: str) -> "Report":
        """The report of one bridge among several."""
        return Report(self._language, name)

    def info(self, text: Bilingual) -> None:
        """What goes well."""
        self._log.info("{}", text.to(self._language))

    def warning(self, text: Bilingual) -> None:
        """What goes on by itself."""
        self._log.warning("{}", text.to(self._language))

    def error(self, text: Bilingual) -> None:
        """What ends a bridge."""
        self._log.error("{}", text.to(self._language))

    def exception(self, text: Bilingual) -> None:
        """What ends a bridge and should not happen: with the traceback of the exception that is being handled."""
        self._log.exception("{}", text.to(self._language))

    def again(self, why: Bilingual, wait: float) -> None:
        """Why there is no connection, and when the next one is tried."""
        self.warning(Bilingual(f"{why.zh} {wait:.1f} 秒后重试。", f"{why.en} Next try in {wait:.1f} s."))

    def _begin(self, record: "Record") -> None:
        record["message"] = self._label + record["message"]
