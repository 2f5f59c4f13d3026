"""JSON as people keep it in files: in UTF-8 or UTF-16, with the comments and trailing commas that editors allow."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from mcp_endpoint.language import Bilingual

MOST_BYTES = 4 * 1024 * 1024

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_MOST_DIGITS = 300
"""Of a whole number: a longer one is beyond what any member takes, and slow to read."""


class UnusableJson(ValueError):
    """It cannot be read: at which place, if at a certain one, and why, in English and in Chinese."""

    def __init__(self, where: Bilingual | None, en: str, zh: str) -> None:
        super().__init__(en)
        self.where = where
        self.en = en
        self.zh = zh


class Members(dict[str, Any]):
    """An object of a file, with the names that stand in it twice: of those the last value is kept."""

    twice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """What a file has; `plain` says that it is JSON without comments and trailing commas."""

    document: Any
    plain: bool


def read_json(path: Path) -> Read:
    """The JSON in a file. Raises UnusableJson."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UnusableJson(None, f"cannot be read: {why}", f"无法读取：{why}") from None
    if len(data) > MOST_BYTES:
        raise UnusableJson(None, f"has more than {MOST_BYTES // 2**20} MB", f"超过 {MOST_BYTES // 2**20} MB")
    text = _text(data)
    try:
        return Read(_loads(text), plain=True)
    except json.JSONDecodeError as error:
        if text.isascii() and "/" not in text and "," not in text:
            _refuse(error)
    try:
        return Read(_loads(without_comments(text)), plain=False)
    except json.JSONDecodeError as error:
        _refuse(error)


def _text(data: bytes) -> str:
    encoding = next((name for bom, name in _BOMS.items() if data.startswith(bom)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:  # JSON begins with an ASCII character
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnusableJson(
            None,
            f"byte {error.start + 1} is not UTF-8 (is it GBK?); save the file as UTF-8",
            "不是 UTF-8 编码（是 GBK 吗？），请另存为 UTF-8",
        ) from None


def _loads(text: str) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> Members:
        found = Members(pairs)
        if len(found) < len(pairs):
            counted = Counter(name for name, _ in pairs)
            found.twice = tuple(name for name, count in counted.items() if count > 1)
        return found

    def whole(digits: str) -> float:
        return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)

    return json.loads(text, object_pairs_hook=members, parse_int=whole)


def _refuse(error: json.JSONDecodeError) -> Never:
    if not error.doc.strip():
        raise UnusableJson(None, "is empty", "是空文件") from None
    at = error.doc[error.pos : error.pos + 1]
    hint, zh = "a comma or a bracket may be missing, or too many", "可能缺少或多了逗号、括号"
    if "escape" in error.msg:
        hint, zh = "a backslash is written \\\\ (or / in paths)", "反斜杠应写作 \\\\（路径中可用 /）"
    elif at in tuple("，：；、｛｝［］【】"):
        hint, zh = "signs of JSON are ASCII: , : { } [ ]", "标点应使用英文半角：, : { } [ ]"
    elif at in ("'", "“", "”", "‘", "’", "「"):
        hint, zh = 'texts stand in straight double quotes: "', '文本应使用英文双引号 "'
    elif "control character" in error.msg:
        hint, zh = "a text ends in the line it began in: is a quote missing?", "文本不能跨行，是否缺少引号？"
    line, column = error.lineno, error.colno
    where = Bilingual(f"第 {line} 行第 {column} 列", f"line {line}, column {column}")
    raise UnusableJson(where, f"is not JSON ({error.msg}); {hint}", f"不是有效的 JSON：{zh}") from None


def without_comments(text: str) -> str:
    """`text` with blanks in place of `//…`, `/*…*/`, commas before a closing bracket and what JSON takes for no blank.

    So places stay.
    """
    kept = list(text)
    at, comma = 0, -1
    while at < len(text):
        character = text[at]
        end = at + 1
        if character == '"':
            end = _after_string(text, at)
        elif text.startswith("//", at):
            closed = text.find("\n", at)
            end = closed if closed >= 0 else len(text)
        elif text.startswith("/*", at):
            closed = text.find("*/", at + 2)
            if closed < 0:
                break
            end = closed + 2
        if character == "/" and end > at + 1:
            kept[at:end] = [one if one in "\r\n" else " " for one in text[at:end]]
        elif character in "]}" and comma >= 0:
            kept[comma] = " "
            comma = -1
        elif character.isspace():
            if not character.isascii():
                kept[at] = " "  # a no-break space, as it is copied out of pages
        else:
            comma = at if character == "," else -1
        at = end
    return "".join(kept)


def _after_string(text: str, at: int) -> int:
    """Where the text that begins at a quote is over."""
    at += 1
    while at < len(text) and text[at] not in '"\n':
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))
