"""Results of tools made short enough for a device to read out (issue 5, part 7).

Text is cut behind a sentence, never inside a character; who asked hears that there was more.
"""

import re

from msgspec import Raw
from msgspec.json import decode, encode

from mcp_endpoint.wire import mcp
from mcp_endpoint.wire.envelope import members

NOTES = {"zh": "（内容过长，已截断）", "en": " (The rest was too long and is left out.)"}

_SENTENCE_END = re.compile(r"[。！？!?…；;\n]+[”’」』)）\"']*|\.(?=\s|$)")
_FRAME = 64
"""Bytes that the JSON around one text needs at most."""


def shortened(result: Raw | bytes, limit: int, language: str) -> Raw | bytes:
    """The result of a call in at most about `limit` bytes; the very same if it is not longer, or has no text."""
    if len(result) <= limit:
        return result
    whole = members(result)
    head = mcp.read_call_result(result)
    if whole is None or head is None or not any(block.type == "text" for block in head.content):
        return result
    whole.pop("structuredContent", None)  # it says what the text says, for programs
    blocks = decode(whole.pop("content"), type=list[Raw])
    room = limit - len(encode(whole)) - len('"content":[],')
    kept: list[Raw] = []
    for block, raw in zip(head.content, blocks, strict=True):
        if len(raw) + 1 <= room:
            kept.append(raw)
            room -= len(raw) + 1
        elif block.type == "text":
            kept.append(Raw(encode({"type": "text", "text": cut(block.text, room - _FRAME, NOTES[language])})))
            break  # what comes behind a text that is cut would be taken for its end
    return encode(whole | {"content": Raw(encode(kept))})


def cut(text: str, room: int, note: str) -> str:
    """As many whole sentences as fit `room` bytes of JSON together with the note; else as many characters."""
    room = max(room - len(encode(note)), 0)
    low, high = 0, len(text)
    while low < high:  # how many bytes a character needs depends on it
        middle = (low + high + 1) // 2
        if len(encode(text[:middle])) - 2 <= room:
            low = middle
        else:
            high = middle - 1
    fitting = text[:low]
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, low)]
    sentences = fitting[: ends[-1]] if ends and ends[-1] > low // 2 else fitting
    return sentences.rstrip() + note
