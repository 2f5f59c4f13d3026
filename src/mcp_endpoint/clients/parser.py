"""argparse in one of two languages, its own few words as well as ours, and how a line says which of them."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from mcp_endpoint.clients.exit_codes import USAGE
from mcp_endpoint.language import Bilingual, Language, UnknownLanguage, read

_TITLES = {"options": "选项", "positional arguments": "参数"}
_MISTAKES = (
    (r"the following arguments are required: (.+)", r"缺少 \1"),
    (r"unrecognized arguments: (.+)", r"无法识别：\1"),
    (r"argument (.+?): expected one argument", r"\1 后面缺少一个值"),
    (r"argument (.+?): invalid choice: (.+?) \((?:choose from|maybe you meant) (.+)\)", r"\1 不能是 \2，可选：\3"),
    (r"argument (.+?): not allowed with argument (.+)", r"\1 不能与 \2 同时使用"),
    (r"argument (.+?): ignored explicit argument (.+)", r"\1 不带值，而给出了 \2"),
    (r"ambiguous option: (.+?) could match (.+)", r"\1 不明确，可能是 \2"),
    (r"argument (.+?): (.+)", r"\1：\2"),
)
"""argparse's own complaints and how they are worded in Chinese; one that is not here stays as it is."""


class Ahead(argparse.Namespace):
    """What has to be known before the line is read, so that even its refusal is in one language."""

    lang: Language | None
    config: str | None
    command: str
    """The first word that is no option's: the command, if there is one."""


def look_ahead(words: Sequence[str]) -> Ahead:
    """The language and the settings file that a line asks for, wherever in it; None for what is missing or wrong.

    What stands behind `--` is for another program. Without it this may take one of that program's options for its own,
    which does no more than choose the language.
    """
    own = words[: words.index("--")] if "--" in words else words
    try:
        ahead, rest = _ahead(abbreviated=True).parse_known_args(own, Ahead())
    except argparse.ArgumentError:  # such as `--=1`, which may be short for either; who reads the line refuses it
        ahead, rest = _ahead(abbreviated=False).parse_known_args(own, Ahead())
    ahead.command = next((word for word in rest if not word.startswith("-")), "")
    return ahead


class _Quiet(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # `exit_on_error=False` is not enough: before Python 3.12 some mistakes end the program all the same.
        raise argparse.ArgumentError(None, message)


def _ahead(*, abbreviated: bool) -> argparse.ArgumentParser:
    parser = _Quiet(add_help=False, allow_abbrev=abbreviated)
    parser.add_argument("--lang", nargs="?", type=_language_or_none)
    parser.add_argument("--config", nargs="?")
    return parser


def _language_or_none(word: str) -> Language | None:
    try:
        return read(word)
    except UnknownLanguage:
        return None


class CommandLine(argparse.ArgumentParser):
    """argparse in one of two languages: its own few words as well as ours."""

    def __init__(
        self, language: Language, *, prog: str | None = None, description: str | None = None, epilog: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=_ChineseHelp if language == "zh" else argparse.HelpFormatter,
            add_help=False,
        )
        self._language: Language = language
        self.add_argument("-h", "--help", action="help", help=self.text("显示帮助", "show this help and exit"))
        # Before or behind the command: only where it is given it overwrites what stood before.
        self.add_argument(
            "--lang",
            type=self._read_language,
            metavar="zh|en",
            default=argparse.SUPPRESS,
            help=self.text("输出使用的语言", "the language to print in"),
        )

    def text(self, zh: str, en: str) -> str:
        """One of both."""
        return Bilingual(zh, en).to(self._language)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse's, but what is not known is refused by the command that it is given to, with that one's usage."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _read_language(self, word: str) -> Language:
        try:
            return read(word)
        except UnknownLanguage as error:
            raise argparse.ArgumentTypeError(error.told.to(self._language)) from None

    def error(self, message: str) -> NoReturn:
        """End with exit code 2, as argparse does."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {self.text('错误', 'error')}: {self.text(_in_chinese(message), message)}\n")


class _ChineseHelp(argparse.HelpFormatter):
    def add_usage(self, usage: str | None, actions: object, groups: object, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "用法: " if prefix is None else prefix)  # type: ignore[arg-type]

    def start_section(self, heading: str | None) -> None:
        super().start_section(_TITLES.get(heading or "", heading))


def _in_chinese(message: str) -> str:
    for pattern, words in _MISTAKES:
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return match.expand(words)
    return message
