"""What can be wrong with a definition, and how its owner hears of it."""

from typing import NamedTuple

from mcp_endpoint.errors.words import Worded

MOST_IN_A_SENTENCE = 2
MOST_PER_DEFINITION = 4
"""Places of one definition that are told; who repairs these finds the others."""
LONGEST_PLACE = 120
LONGEST_NAME = 64


class Flaw(Worded):
    """What is wrong at a place of a definition: (Chinese, English), with the place in front."""

    # What is repaired: the definition serves.
    NULL = ("{place} 为 null", "{place} is null")
    MISSING = ("缺少 {place}", "{place} is missing")
    WRONG_TYPE = ("{place} 的类型不对", "{place} is of a wrong type")
    NO_TYPE = ('{place} 没有 "type": "object"', '{place} has no "type": "object"')
    UNKNOWN_TYPE = ("{place} 不是 JSON Schema 的类型", "{place} is no type of JSON Schema")
    AS_TEXT = ("{place} 是写成文本的 JSON", "{place} is JSON written as text")
    REQUIRED_INSIDE = ("{place} 应写在上一级的 required 列表中", "{place} belongs into the list of required names")
    LEADS_NOWHERE = ("{place} 指向不存在的位置", "{place} leads nowhere")
    OTHER_NAME = ("{place} 应为 inputSchema", "{place} should be called inputSchema")
    BAD_PATTERN = ("{place} 不是 ECMA-262 正则表达式", "{place} is no regular expression of ECMA-262")
    OUTPUT_NOT_OBJECT = (
        "{place} 不是对象的 schema，只对 MCP 2026-07-28 的客户端显示",
        "{place} is no schema of an object, and is shown to clients of MCP 2026-07-28 alone",
    )
    # What cannot be used: the definition is left out.
    NOT_AN_OBJECT = ("不是 JSON 对象", "it is no JSON object")
    NO_NAME = ("{place} 不是文本或为空", "{place} is no text, or empty")
    LONG_NAME = ("{place} 太长", "{place} is too long")
    HIDDEN_CHARACTERS = ("{place} 含有控制字符", "{place} has control characters")
    NO_URI = ("{place} 不是 URI", "{place} is no URI")
    NO_ARGUMENTS = ("{place} 不是参数对象的 schema", "{place} is no schema of an object with arguments")
    TOO_LARGE = ("太大，一页放不下", "it is too large for a page")
    TOO_MUCH = ("有误，但要修正的内容太多", "something is wrong with it, and there is too much to mend")
    TOO_MANY_REFERENCES = ("列表中的 $ref 太多", "with it the list has too many references")
    TOO_DEEP = ("嵌套太深", "it is nested too deeply")
    UNREADABLE = ("含有无法读取的数值", "it has a value that cannot be read")
    LISTED_TWICE = ("{place} 与前面的重复", "{place} is that of one before it")


class FlawAt(NamedTuple):
    """A flaw and where it is: members from the definition on, joined by dots."""

    flaw: Flaw
    place: str

    def words(self, language: str) -> str:
        """What is wrong there, in "zh" or "en", to stand inside a sentence."""
        return self.flaw.words(language).format(place=_printable(self.place, LONGEST_PLACE))


class Flaws:
    """The flaws of one definition, as they are found: the first few with their places."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[FlawAt] = []

    def tell(self, flaw: Flaw, *place: str) -> None:
        """One more."""
        if len(self.found) < MOST_PER_DEFINITION:
            self.found.append(FlawAt(flaw, ".".join(part for part in place if part)))


class Remark(NamedTuple):
    """What the owner of a program is told of one of its definitions."""

    name: str
    left_out: bool
    flaws: tuple[FlawAt, ...]

    def words(self, language: str) -> str:
        """Which definition and what is wrong with it, in "zh" or "en"."""
        between, (left, right) = ("、", "（）") if language == "zh" else (", ", "()")
        told = between.join(at.words(language) for at in self.flaws[:MOST_IN_A_SENTENCE])
        told += " …" if len(self.flaws) > MOST_IN_A_SENTENCE else ""
        return f"{_printable(self.name, LONGEST_NAME)}{'' if language == 'zh' else ' '}{left}{told}{right}"

    def report(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "name": _printable(self.name, LONGEST_NAME),
            "left_out": self.left_out,
            "reasons": list(dict.fromkeys(at.flaw.reason for at in self.flaws)),
            "zh": "、".join(at.words("zh") for at in self.flaws),
            "en": ", ".join(at.words("en") for at in self.flaws),
        }


def _printable(text: str, limit: int) -> str:
    """A program's own words on one line, and not too many of them."""
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return "".join(character if character.isprintable() else "\ufffd" for character in cut)
