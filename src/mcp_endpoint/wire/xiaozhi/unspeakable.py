"""What nobody can read out: pictures, sounds and files in results of tools, and what is said in their place."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET, Raw

from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.envelope import members

NOUNS = {
    "image": ("一张图片", "a picture"),
    "audio": ("一段声音", "a sound"),
    "video": ("一段视频", "a video"),
    "file": ("一个文件", "a file"),
}
"""In Chinese and English."""
MOST_NAMED = 5
"""Things that are named one by one."""
LONGEST_NAME = 80
LONGEST_ABOUT = 200
LEAST_RUN = 512
"""Characters without a gap from which on a text is looked at: no word of any language is as long."""

# Letters with escapes among them, as a JSON text may have it, or in lines, as mail has it.
_RUN = re.compile(
    r"data:(?P<type>[\w.+-]{1,40}\\?/[\w.+-]{1,80})?(?:;[\w.+=-]{1,80}){0,4};base64,(?P<url>[A-Za-z0-9+/_\\-]{16,}+)={0,2}"
    r"|(?<![A-Za-z0-9+/_\\-])(?P<run>(?:[A-Za-z0-9+/_-]{60,100}+\r?\n){7,}+[A-Za-z0-9+/_-]*+|[A-Za-z0-9+/_\\-]{512,}+)={0,2}"
)
_HALF_RUN = re.compile(r"[A-Za-z0-9+/_\\\r\n-]{256}")
_BEGINNINGS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "audio/wav",
    "SUQz": "audio/mp3",
    "T2dnUw": "audio/ogg",
    "JVBERi": "file/pdf",
    "UEsDB": "file/zip",
}
"""How files of a kind begin in base64."""
_PLAIN = re.compile(r"[a-z0-9]{1,8}")


class Attachment(NamedTuple):
    """One picture, sound or file."""

    kind: str = "file"
    label: str = ""
    """Its format, as people call it."""
    size: int | None = None
    """Bytes."""
    name: str = ""
    about: str = ""

    def words(self, language: str) -> str:
        """What it is, how it is called and how large it is."""
        zh, en = NOUNS[self.kind]
        size = None if self.size is None else size_words(self.size, language)
        facts = [fact for fact in (self.name, self.label, size, self.about) if fact]
        if language == "zh":
            return f"{zh}（{'，'.join(facts)}）" if facts else zh
        return f"{en} ({', '.join(facts)})" if facts else en


def sentence(attachments: Sequence[Attachment], language: str) -> str:
    """One sentence that tells of all of them."""
    named, more = [thing.words(language) for thing in attachments[:MOST_NAMED]], len(attachments) - MOST_NAMED
    if language == "zh":
        return f"工具返回了{'、'.join(named)}{f'等 {len(attachments)} 项' if more > 0 else ''}，无法朗读。"
    listed = named if more <= 0 else [*named, f"{more} more"]
    said = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
    return f"The tool returned {said}, which cannot be read out."


def size_words(size: int, language: str) -> str:
    """A number of bytes as it is said."""
    if size < 1024:
        return f"{size} 字节" if language == "zh" else f"{size} bytes"
    if size < 1024 * 1024:
        return f"{round(size / 1024)} KB"
    return f"{size / 1024 / 1024:.1f} MB"


def of_block(kind: str, block: dict[str, Raw]) -> Attachment | None:
    """What a block of content is or links to; None if it is none of these."""
    if kind in ("image", "audio", "video"):
        return _attachment(kind, block, block.get("data"))
    if kind == "resource":
        inner = members(block.get("resource", UNSET)) or {}
        return _attachment("file", inner, inner.get("blob"))
    if kind == "resource_link":
        return _attachment("file", block, None)
    if mcp.string(block.get("data")):
        return _attachment("file", block, block.get("data"))
    return None


def _attachment(kind: str, facts: dict[str, Raw], data: Raw | None) -> Attachment:
    type_, label = _format(mcp.string(facts.get("mimeType")) or "")
    encoded = mcp.string(data) if data is not None else None
    if encoded is not None:
        size: int | None = _decoded(encoded.rpartition(",")[2])
    else:
        told = bytes(facts.get("size", Raw(b"")))
        size = int(told) if told.isdigit() and len(told) < 16 else None
    uri = mcp.string(facts.get("uri")) or ""
    name = mcp.string(facts.get("title")) or mcp.string(facts.get("name"))
    if not name and not uri.startswith("data:"):
        name = uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    about = _line(mcp.string(facts.get("description")), LONGEST_ABOUT)
    return Attachment(type_ if kind == "file" else kind, label, size, _line(name, LONGEST_NAME), about)


def has_data(text: str) -> bool:
    """Whether a text has base64 of something in it."""
    if not _may_have_data(text):
        return False
    return any(match["url"] is not None or _is_data(match["run"]) for match in _RUN.finditer(text))


def without_data(text: str, language: str) -> str:
    """The text with words in place of what is base64 of something; the very same if there is none."""
    if not has_data(text):
        return text
    found: list[Attachment] = []

    def put(match: re.Match[str]) -> str:
        data = match["url"] or match["run"]
        if match["url"] is None and not _is_data(data):
            return match[0]
        told = (match["type"] or "").replace("\\", "")
        told = told or next((type_ for begin, type_ in _BEGINNINGS.items() if data.startswith(begin)), "")
        found.append(Attachment(*_format(told), _decoded(data)))
        return f"[{found[-1].words(language)}]"

    said = _RUN.sub(put, text)
    alone = len(found) == 1 and said.strip() == f"[{found[0].words(language)}]"
    return sentence(found, language) if alone else said


def _may_have_data(text: str) -> bool:
    """Whether it is worth a search: a long run covers one of the places, half as far apart, that are looked at."""
    half = LEAST_RUN // 2
    return ";base64," in text or any(_HALF_RUN.match(text, at) for at in range(0, len(text) - half, half))


def _is_data(run: str) -> bool:
    """Whether a long run of letters can only be data: an `xxxx…` or a long path is not."""
    head = run[:4096]
    return any(map(str.isdigit, head)) and any(map(str.islower, head)) and any(map(str.isupper, head))


def _format(mime: str) -> tuple[str, str]:
    """Kind and label of a media type."""
    kind, _, rest = mime.lower().partition("/")
    form = rest.partition(";")[0].removeprefix("x-").partition("+")[0]
    label = form.upper() if _PLAIN.fullmatch(form) and kind != "text" else ""
    return (kind if kind in NOUNS else "file"), label


def _decoded(encoded: str) -> int:
    """How many bytes base64 stands for."""
    return len(encoded.rstrip("=")) * 3 // 4


def _line(text: str | None, most: int) -> str:
    """A text on one line, cut."""
    line = " ".join((text or "").split())
    return line if len(line) <= most else f"{line[:most]}…"
