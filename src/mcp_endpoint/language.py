"""The language in which a person is addressed: every text exists in Chinese and English, and who shows it chooses.

Nothing here knows a terminal or a file, and nothing is kept: what chooses is told all that it goes by.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Language = Literal["zh", "en"]

VARIABLE = "MCP_ENDPOINT_LANG"
"""The variable of the environment that chooses; it is no setting, as it concerns commands that read none."""

_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
"""Which variable says how messages are worded, the first that is not empty (POSIX.1-2024, 8.2)."""

_NO_LANGUAGE = ("c", "posix")


class Bilingual(NamedTuple):
    """A text in both languages."""

    zh: str
    en: str

    def to(self, language: str) -> str:
        """The text for a reader of `language`, "zh" or "en"."""
        return self.zh if language == "zh" else self.en


class UnknownLanguage(ValueError):
    """What should choose the language names none.

    `told` says so; `str()` is that in the language of `reader`, in both where it is not known which of them is read.
    """

    def __init__(self, told: Bilingual, reader: Language | None = None) -> None:
        super().__init__(told.to(reader) if reader is not None else f"{told.zh} / {told.en}")
        self.told = told


def read(word: str) -> Language:
    """`zh` or `en`, in any case. Raises UnknownLanguage."""
    match word.strip().lower():
        case "zh":
            return "zh"
        case "en":
            return "en"
    raise UnknownLanguage(Bilingual("应为 zh 或 en", "must be zh or en"))


def choose(option: Language | None, environ: Mapping[str, str], system: str | None, settings: Language) -> Language:
    """The language of what a command prints.

    The first that says something counts: `option` (of the command line), `MCP_ENDPOINT_LANG`, the locale in `environ`,
    `system` (the locale that the system tells by other means) and `settings`. Raises UnknownLanguage.
    """
    if option is not None:
        return option
    locale = next((environ[name] for name in _LOCALE if environ.get(name)), "")
    reader = _of_locale(locale) or _of_locale(system or "")
    if given := environ.get(VARIABLE, "").strip():
        try:
            return read(given)
        except UnknownLanguage as error:
            place, told = f"{VARIABLE} = {given!a}", error.told
            raise UnknownLanguage(Bilingual(f"{place}：{told.zh}", f"{place}: {told.en}"), reader) from None
    return reader or settings


def _of_locale(name: str) -> Language | None:
    """That of a locale such as `zh_CN.UTF-8`; any language but Chinese counts as English. None for `C` and such."""
    word = name.strip().lower().replace("-", "_").partition(".")[0].partition("@")[0].partition("_")[0]
    if not word or word in _NO_LANGUAGE:
        return None
    return "zh" if word in ("zh", "chinese") else "en"
